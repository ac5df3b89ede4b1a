<?php

namespace App;

class Kernel extends \Illuminate\Foundation\Console\Kernel
{
}

class Handler extends \Illuminate\Foundation\Exceptions\Handler
{
    /** What is reported is noted where the tests look. */
    public function report(\Throwable $e)
    {
        note('reported ' . $e::class . ': ' . $e->getMessage());
    }
}

/** Adds a line to the file that tells the tests what has happened. */
function note(string $what): void
{
    file_put_contents(storage_path('notes'), $what . "\n", FILE_APPEND);
}
