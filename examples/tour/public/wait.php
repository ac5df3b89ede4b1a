<?php

declare(strict_types=1);

/* Sleeps up to ten seconds, then says so. */

namespace Tour;

require_once __DIR__ . '/../app/tour.php';

$seconds = max(0, min(10, (float) ($_GET['seconds'] ?? 1)));
usleep((int) ($seconds * 1_000_000));
json(['pid' => getmypid(), 'slept' => $seconds]);
