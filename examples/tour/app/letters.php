<?php

declare(strict_types=1);

/*
 * The program `letters` of regie.toml: writes the letters that the page "Job" orders, one after the other. It waits for
 * them in the store, so it starts at once and costs nothing meanwhile. Told to stop, it ends the letter in hand.
 */

namespace Tour;

require_once __DIR__ . '/tour.php';

if (!class_exists(\Redis::class)) {
    fwrite(STDERR, "the PHP extension redis is not loaded: apt install php-redis, then regie start letters\n");
    exit(0);
}
$stop = false;
if (function_exists('pcntl_async_signals')) {
    pcntl_async_signals(true);
    pcntl_signal(SIGTERM, function () use (&$stop): void {
        $stop = true;
    });
}
$store = store();
while (!$stop) {
    $ordered = $store->blPop(['tour:letters'], 1);
    if (!$ordered) {
        continue;
    }
    $letter = json_decode($ordered[1], true);
    $letter['waited_ms'] = round((microtime(true) - $letter['at']) * 1000, 1);
    usleep(200_000);
    $letter['by'] = getmypid();
    $store->multi()->lPush('tour:written', json_encode($letter))->lTrim('tour:written', 0, 9)->exec();
}
