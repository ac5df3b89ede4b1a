<?php

namespace App\MessageHandler;

use App\Message\NoteWritten;
use App\WordCount;
use Symfony\Component\Messenger\Attribute\AsMessageHandler;

/** Work that a visitor need not wait for. With `sync://` it is done before the answer all the same. */
#[AsMessageHandler]
final class NoteWrittenHandler
{
    public function __construct(private WordCount $words)
    {
    }

    public function __invoke(NoteWritten $note): void
    {
        $this->words->add(count(preg_split('/\s+/u', trim($note->text))));
    }
}
