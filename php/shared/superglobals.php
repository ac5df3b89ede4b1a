<?php

/* Whether files that run before the checkpoint ask PHP itself who asks: see laravel/doubts.php. */

namespace Regie\Rewind;

/** What of PHP's own says who asks. Settings of the environment are in $_SERVER too, and are no request's. */
const OF_THE_REQUEST = '/\$_(?:GET|POST|COOKIE|REQUEST|FILES|SESSION)\b'
    . '|\$_SERVER\s*\[\s*[\'"](?:HTTP_|HTTPS|REQUEST_|REMOTE_|QUERY_STRING|PATH_INFO|SERVER_(?:NAME|PORT|ADDR))'
    . '|\b(?:getallheaders|apache_request_headers)\s*\(|php:\/\/input|filter_input\s*\(/';

/** The first of the files that asks PHP itself who asks, with its line. */
function reads_superglobals(string ...$patterns): ?string
{
    foreach (array_merge([], ...array_map(static fn (string $pattern): array => glob($pattern) ?: [], $patterns)) as $file) {
        $text = (string) file_get_contents($file);
        // Comments say much.
        if (preg_match(OF_THE_REQUEST, $text) && preg_match(OF_THE_REQUEST, $code = uncommented($text), $found, PREG_OFFSET_CAPTURE)) {
            $line = substr_count($code, "\n", 0, $found[0][1]) + 1;

            return "$file:$line";
        }
    }

    return null;
}

/** The same lines without comments. */
function uncommented(string $code): string
{
    $out = '';
    foreach (token_get_all($code) as $token) {
        [$kind, $text] = is_array($token) ? $token : [null, $token];
        $out .= in_array($kind, [T_COMMENT, T_DOC_COMMENT], true) ? str_repeat("\n", substr_count($text, "\n")) : $text;
    }

    return $out;
}
