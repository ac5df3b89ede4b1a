<?php

/*
 * How a script of `regie move` tells what it does: lines that begin with a record separator and hold one JSON object,
 * `{"done":N,"total":N}` on the way, `{"result":…}` or `{"error":"…"}` at the end. Whatever else the application prints is
 * not for us.
 */

namespace Regie\Move;

/** One thing to say. */
function say(array $what): void
{
    $flags = JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE;
    fwrite(STDOUT, "\x1e" . json_encode($what, $flags) . "\n");
}

/** How far it is; said now and then. */
function progress(int $done, int $total): void
{
    if ($done % 100 === 0) {
        say(['done' => $done, 'total' => $total]);
    }
}
