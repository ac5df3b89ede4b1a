<?php

/*
 * Run in an application whose workers are up and idle.
 *
 *   php push.php rate N       pushes N no-op jobs as the framework does, many a pipeline or an insert, and prints the
 *                             seconds until all are done
 *   php push.php latency N    dispatches N jobs, one after the other, and prints the milliseconds from each dispatch to
 *                             the start of its job
 *   php push.php fill N       pushes N no-op jobs into the Redis queue, and prints how many wait
 *   php push.php drain N      prints the seconds until N jobs less wait
 *   php push.php dispatch N   dispatches N no-op jobs, one after the other, and prints the milliseconds that each took
 *   php push.php stats FILE   asks the jobs role at this socket for its numbers, twenty times, and prints the milliseconds
 */

require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
[, $what, $count] = $argv;
$queue = $app->make('queue')->connection();
$table = $queue instanceof Illuminate\Queue\DatabaseQueue ? $app->make('db')->table('jobs') : null;
$redis = $table ? null : $app->make('redis')->connection();
$waiting = fn () => $table ? $table->count() : $redis->llen('queues:default') + $redis->zcard('queues:default:reserved')
    + $redis->zcard('queues:default:delayed');

if ($what === 'latency') {
    for ($i = 0; $i < (int) $count; $i++) {
        dispatch(new App\Jobs\Late(microtime(true)));
        [, $took] = $redis->blpop('latency', 10);
        echo round($took * 1000, 3), "\n";
    }
    exit(0);
}

if ($what === 'dispatch') {
    for ($i = 0; $i < (int) $count; $i++) {
        $started = microtime(true);
        dispatch(new App\Jobs\Noop());
        echo round((microtime(true) - $started) * 1000, 3), "\n";
    }
    exit(0);
}
if ($what === 'stats') {
    for ($i = 0; $i < 20; $i++) {
        $started = microtime(true);
        $socket = stream_socket_client("unix://$count");
        fwrite($socket, "{\"ask\":\"stats\"}\n");
        $answer = json_decode(stream_get_contents($socket), true);
        $took = (microtime(true) - $started) * 1000;
        $answer['groups'][0]['queues'][0]['waiting'] ?? exit(1);
        echo round($took, 3), "\n";
    }
    exit(0);
}
if ($what === 'drain') {
    $started = microtime(true);
    $goal = $redis->llen('queues:default') - (int) $count;
    while ($redis->llen('queues:default') > $goal) {
        if (microtime(true) > $started + 120) {
            fwrite(STDERR, "not done in two minutes\n");
            exit(1);
        }
        usleep(2000);
    }
    echo round(microtime(true) - $started, 4), "\n";
    exit(0);
}

$payload = (new ReflectionMethod($queue, 'createPayload'))->invoke($queue, new App\Jobs\Noop(), 'default');
$read = json_decode($payload, true);
$started = microtime(true);
for ($i = 0; $i < (int) $count; $i += 500) {
    if ($table) {
        $row = ['queue' => 'default', 'attempts' => 0, 'reserved_at' => null, 'available_at' => time(), 'created_at' => time()];
        foreach (array_chunk(range($i, $i + 499), 100) as $some) {
            $table->insert(array_map(fn (int $j) => $row + [
                'payload' => str_replace($read['uuid'], sprintf('00000000-0000-4000-8000-%012d', $j), $payload),
            ], $some));
        }
        continue;
    }
    $redis->pipeline(function ($pipe) use ($payload, $read, $i) {
        for ($j = $i; $j < $i + 500; $j++) {
            $fresh = [sprintf('00000000-0000-4000-8000-%012d', $j), sprintf('%032d', $j)];
            $pipe->rpush('queues:default', str_replace([$read['uuid'], $read['id']], $fresh, $payload));
            $pipe->rpush('queues:default:notify', 1);
        }
    });
}
if ($what === 'fill') {
    echo $waiting(), "\n";
    exit(0);
}
$limit = $started + 120;
while ($waiting() > 0) {
    if (microtime(true) > $limit) {
        fwrite(STDERR, $waiting() . " jobs are left after two minutes\n");
        exit(1);
    }
    // A table is locked while it is counted.
    usleep($table ? 20000 : 2000);
}
echo round(microtime(true) - $started, 4), "\n";
