<?php

namespace Regie\Jobs\Laravel;

use Illuminate\Contracts\Foundation\Application;
use Illuminate\Queue\Worker;
use Throwable;

/**
 * What the application has said to all of its workers, where queue:work looks for it before each job: in the cache, and in
 * the maintenance mode. `$restart` is what was said last before this worker was booted.
 *
 * @param list<string> $queues as connection:queue
 */
function signals(Application $app, array $queues, mixed $restart): array
{
    // PHP remembers that a file was there.
    clearstatcache();
    $said = restart($app);

    return [
        'restart' => $said === null ? null : (string) $said,
        'old' => $said !== $restart,
        'paused' => paused($app, $queues),
        'down' => $app->isDownForMaintenance(),
        'fingerprint' => describe($app)['fingerprint'],
    ];
}

/** When queue:restart was called last. */
function restart(Application $app): mixed
{
    // Known since Laravel 11.
    if (!(get_class_vars(Worker::class)['restartable'] ?? true)) {
        return null;
    }
    try {
        return $app->make('cache')->store()->get('illuminate:queue:restart');
    } catch (Throwable) {
        // Without its cache, queue:work would not run at all; jobs may need none.
        return null;
    }
}

/** Those of the queues that queue:pause has paused: one, or all of a connection, or all (Laravel 12 and later). */
function paused(Application $app, array $queues): array
{
    if (!$queues || !(get_class_vars(Worker::class)['pausable'] ?? true)) {
        return [];
    }
    $all = 'illuminate:queues:paused';
    $keys = [];
    foreach ($queues as $queue) {
        $keys[$queue] = "illuminate:queue:paused:$queue";
    }
    $said = $app->make('cache')->store()->many([$all, ...array_values($keys)]);

    return array_values(array_filter($queues, static fn (string $queue): bool => !empty($said[$all]) || !empty($said[$keys[$queue]])));
}
