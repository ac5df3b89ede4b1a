<?php

/*
 * Run in an application whose workers are up and idle.
 *
 *   php push.php rate N       pushes N no-op jobs as the framework does, many a pipeline, and prints the seconds until
 *                             all are done
 *   php push.php latency N    dispatches N jobs, one after the other, and prints the milliseconds from each dispatch to
 *                             the start of its job
 */

require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
[, $what, $count] = $argv;
$redis = $app->make('redis')->connection();
$waiting = fn () => $redis->llen('queues:default') + $redis->zcard('queues:default:reserved')
    + $redis->zcard('queues:default:delayed');

if ($what === 'latency') {
    for ($i = 0; $i < (int) $count; $i++) {
        dispatch(new App\Jobs\Late(microtime(true)));
        [, $took] = $redis->blpop('latency', 10);
        echo round($took * 1000, 3), "\n";
    }
    exit(0);
}

$queue = $app->make('queue')->connection();
$payload = (new ReflectionMethod($queue, 'createPayload'))->invoke($queue, new App\Jobs\Noop(), 'default');
$read = json_decode($payload, true);
$started = microtime(true);
for ($i = 0; $i < (int) $count; $i += 500) {
    $redis->pipeline(function ($pipe) use ($payload, $read, $i) {
        for ($j = $i; $j < $i + 500; $j++) {
            $fresh = [sprintf('00000000-0000-4000-8000-%012d', $j), sprintf('%032d', $j)];
            $pipe->rpush('queues:default', str_replace([$read['uuid'], $read['id']], $fresh, $payload));
            $pipe->rpush('queues:default:notify', 1);
        }
    });
}
$limit = $started + 120;
while ($waiting() > 0) {
    if (microtime(true) > $limit) {
        fwrite(STDERR, $waiting() . " jobs are left after two minutes\n");
        exit(1);
    }
    usleep(2000);
}
echo round(microtime(true) - $started, 4), "\n";
