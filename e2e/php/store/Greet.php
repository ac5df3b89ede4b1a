<?php

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Queue\InteractsWithQueue;

class Greet implements ShouldQueue
{
    use InteractsWithQueue;
    use Queueable;

    public function __construct(private string $whom)
    {
    }

    public function handle(): void
    {
        file_put_contents(base_path('greeted'), $this->whom . ' ' . $this->attempts() . "\n", FILE_APPEND);
    }
}
