<?php

namespace Regie\Move\Laravel;

use Illuminate\Contracts\Foundation\Application;
use Illuminate\Contracts\Queue\ClearableQueue;
use Illuminate\Contracts\Queue\Queue;
use Illuminate\Events\CallQueuedListener;
use Throwable;

use function Regie\Jobs\Laravel\server;

/** The queue in which dispatching is tried. Nobody works on it, and it is empty before and after. */
const TRIAL_QUEUE = 'regie-probe';

/** How long dispatching a job takes, each in microseconds; the first one, which connects, is left out. */
function dispatch_times(Application $app, string $connection, int $count): array
{
    $queue = $app->make('queue')->connection($connection);
    if (!$queue instanceof ClearableQueue) {
        return ['us' => []];
    }
    $times = [];
    $queue->clear(TRIAL_QUEUE);
    try {
        for ($i = 0; $i <= $count; $i++) {
            $begun = hrtime(true);
            $queue->push('regie.probe', ['padding' => str_repeat('x', 400)], TRIAL_QUEUE);
            $times[] = intdiv(hrtime(true) - $begun, 1000);
        }
    } finally {
        $queue->clear(TRIAL_QUEUE);
    }

    return ['us' => array_slice($times, 1)];
}

/** Each line: what was tried, whether it is well, and what there is to say. */
function probe(Application $app, float $patience): array
{
    $config = $app->make('config');
    $lines = [];
    $line = static function (string $what, ?bool $well, string $said) use (&$lines): void {
        $lines[] = ['what' => $what, 'well' => $well, 'said' => $said];
    };
    $session = $config->get('session.driver');
    $cache = $config->get('cache.default');
    $default = $config->get('queue.default');
    $drivers = [
        'queue' => $config->get("queue.connections.$default.driver"),
        'cache' => $config->get("cache.stores.$cache.driver"),
        'sessions' => $session,
    ];
    foreach ($drivers as $what => $driver) {
        $line($what, null, "the application's configuration says $driver");
    }
    if (in_array('redis', $drivers, true)) {
        $client = $config->get('database.redis.client', 'phpredis');
        if ($client === 'phpredis') {
            $there = extension_loaded('redis');
            $line('extension', $there, $there ? 'redis ' . phpversion('redis') . ' is loaded' : 'redis is not loaded');
        }
        foreach (connections_in_use($config, $drivers, $default, $cache) as $name) {
            attempt($line, "redis $name", static function () use ($app, $name): array {
                $begun = hrtime(true);
                $app->make('redis')->connection($name)->ping();
                $at = server($app, $name);

                return [true, ($at['path'] ?? "{$at['host']}:{$at['port']}") . ' answers PING in ' . ms(hrtime(true) - $begun)];
            });
        }
    }
    attempt($line, 'cache', static function () use ($app, $cache, $drivers): array {
        [$key, $value] = ['regie:probe:' . bin2hex(random_bytes(8)), bin2hex(random_bytes(8))];
        $store = $app->make('cache')->store($cache);
        $begun = hrtime(true);
        $store->put($key, $value, 60);
        $same = $store->get($key) === $value;
        $store->forget($key);
        $span = ms(hrtime(true) - $begun);

        return $same || in_array($drivers['cache'], ['null', null], true)
            ? [true, "put, get and forget in $span"] : [false, 'what was put did not come back'];
    });
    if (in_array($drivers['queue'], ['sync', 'null', 'deferred', 'background', null], true)) {
        $line('dispatch', null, "jobs run where they are dispatched ($default)");

        return $lines;
    }
    attempt($line, 'dispatch', static function () use ($app, $default): array {
        $times = dispatch_times($app, $default, 50)['us'];
        if (!$times) {
            return [null, 'not measured: this driver cannot clear a queue'];
        }
        sort($times);
        $median = $times[intdiv(count($times), 2)] * 1000;

        return [$median < 10_000_000, 'the median of ' . count($times) . ' is ' . ms($median) . ' (the aim is under 10 ms)'];
    });
    attempt($line, 'job', static fn (): array => run_a_job($app, $default, $drivers['cache'], $patience));

    return $lines;
}

function attempt(callable $line, string $what, callable $try): void
{
    try {
        $line($what, ...$try());
    } catch (Throwable $e) {
        $line($what, false, $e->getMessage());
    }
}

/** The Redis connections that the drivers use. */
function connections_in_use(mixed $config, array $drivers, ?string $default, ?string $cache): array
{
    $names = [
        $drivers['queue'] === 'redis' ? $config->get("queue.connections.$default.connection", 'default') : null,
        $drivers['cache'] === 'redis' ? $config->get("cache.stores.$cache.connection", 'default') : null,
        $drivers['sessions'] === 'redis' ? $config->get('session.connection') ?? 'default' : null,
    ];

    return array_values(array_unique(array_filter($names)));
}

/**
 * A job goes through a worker and is gone. It is one that any worker of the application can run, whoever started it: a
 * listener of the framework's own that writes a mark where this process can see it.
 */
function run_a_job(Application $app, string $default, ?string $cache, float $patience): array
{
    $mark = 'regie-probe-' . bin2hex(random_bytes(8));
    $shared = !in_array($cache, ['array', 'null', null], true);
    $file = $app->storagePath() . "/framework/cache/$mark";
    $job = $shared
        ? new CallQueuedListener('cache', 'put', [$mark, 'done', 60])
        : new CallQueuedListener('files', 'put', [$file, 'done']);
    $job->tries = 1;
    $seen = static fn (): bool => $shared ? $app->make('cache')->get($mark) === 'done' : is_file($file);
    $queue = $app->make('queue')->connection($default);
    $begun = hrtime(true);
    $queue->push($job);
    $ran = null;
    // A worker may be in the middle of another job.
    while ($ran === null && hrtime(true) - $begun < $patience * 1e9) {
        usleep(2000);
        $ran = $seen() ? hrtime(true) - $begun : null;
    }
    if ($ran !== null) {
        $shared ? $app->make('cache')->forget($mark) : @unlink($file);
        while (held($app, $default, $queue, $mark) && hrtime(true) - $begun < $patience * 1e9) {
            usleep(2000);
        }
        if (!held($app, $default, $queue, $mark)) {
            return [true, 'dispatched, run by a worker after ' . ms($ran) . ', and gone from the queue'];
        }
    }
    $taken = take_back($app, $default, $queue, $mark);
    $was = $ran === null ? "no worker has run it within $patience s" : 'it was run, but it was still in the queue';

    return [false, $was . ($taken ? '; it was taken back' : '')];
}

/** Whether the queue still holds the job with this mark. */
function held(Application $app, string $default, Queue $queue, string $mark): bool
{
    return look($app, $default, $queue, $mark, false);
}

function take_back(Application $app, string $default, Queue $queue, string $mark): bool
{
    return look($app, $default, $queue, $mark, true);
}

function look(Application $app, string $default, Queue $queue, string $mark, bool $remove): bool
{
    $config = $app->make('config')->get("queue.connections.$default");
    $name = $config['queue'] ?? 'default';
    if ($config['driver'] === 'database') {
        $rows = $app->make('db')->connection($config['connection'] ?? null)->table($config['table'])
            ->where('queue', $name)->where('payload', 'like', "%$mark%");

        return $remove ? $rows->delete() > 0 : $rows->exists();
    }
    if ($config['driver'] !== 'redis') {
        return false;
    }
    $redis = $app->make('redis')->connection($config['connection'] ?? 'default');
    $found = false;
    foreach (['lrange' => '', 'zrange' => ':reserved'] as $read => $shelf) {
        foreach ($redis->command($read, ["queues:$name$shelf", 0, -1]) as $payload) {
            if (str_contains($payload, $mark)) {
                $found = true;
                if ($remove) {
                    $shelf === '' ? $redis->lrem("queues:$name", 1, $payload) : $redis->zrem("queues:$name$shelf", $payload);
                }
            }
        }
    }

    return $found;
}

function ms(int|float $nanoseconds): string
{
    return round($nanoseconds / 1e6, 2) . ' ms';
}
