<?php

declare(strict_types=1);

/* Twelve lines, 250 ms apart, each sent at once. */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

header('Content-Type: text/plain; charset=utf-8');
header('Cache-Control: no-store');
header('X-Accel-Buffering: no');
unbuffer();
$start = microtime(true);
for ($piece = 1; $piece <= 12; $piece++) {
    printf("piece %2d of 12, written after %4d ms by process %d\n", $piece, (microtime(true) - $start) * 1000, getmypid());
    flush();
    if ($piece < 12) {
        usleep(250_000);
    }
}
