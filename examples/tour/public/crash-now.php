<?php

declare(strict_types=1);

/* Ends badly, on purpose. Only for the tour's own pages: a foreign page could send a form here. */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

if (($_SERVER['REQUEST_METHOD'] ?? '') !== 'POST' || !sameOrigin()) {
    json(['error' => 'POST from the tour itself only'], 403);

    return;
}

switch ($_GET['way'] ?? '') {
    case 'segfault':
        posix_kill(getmypid(), 11);
        break;
    case 'kill':
        posix_kill(getmypid(), 9);
        break;
    case 'memory':
        ini_set('memory_limit', '32M');
        $string = str_repeat('x', 1024);
        while (true) {
            $string .= $string;
        }
        // No way past the loop.
    case 'loop':
        ignore_user_abort(true);
        while (true) {
            // Nothing to do, for ever.
        }
        // No way past the loop.
    default:
        json(['error' => 'no such way'], 404);
}
