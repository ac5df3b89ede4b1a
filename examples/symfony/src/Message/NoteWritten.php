<?php

namespace App\Message;

/** Somebody has written a note. */
final class NoteWritten
{
    public function __construct(public string $text)
    {
    }
}
