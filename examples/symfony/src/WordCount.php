<?php

namespace App;

/** How many words all visitors have written, in a file that web and queue workers share. */
final class WordCount
{
    public function __construct(private string $wordCountFile)
    {
    }

    public function add(int $words): void
    {
        $file = fopen($this->wordCountFile, 'c+');
        flock($file, LOCK_EX);
        $total = (int) stream_get_contents($file) + $words;
        rewind($file);
        fwrite($file, (string) $total);
        fclose($file);
    }

    public function total(): int
    {
        return (int) @file_get_contents($this->wordCountFile);
    }
}
