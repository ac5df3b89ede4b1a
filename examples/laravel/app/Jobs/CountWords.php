<?php

namespace App\Jobs;

use App\Models\Note;
use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\SerializesModels;

/** Work that a visitor need not wait for. With QUEUE_CONNECTION=sync it is done before the answer all the same. */
class CountWords implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable, SerializesModels;

    public int $tries = 3;

    public function __construct(public Note $note)
    {
    }

    public function handle(): void
    {
        $this->note->update(['words' => count(preg_split('/\s+/u', trim($this->note->text)))]);
    }
}
