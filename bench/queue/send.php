<?php

/*
 * Run in a Symfony application whose workers are up and idle: `php send.php N` puts N messages that do nothing into the
 * stream as the framework does, many a pipeline, and prints the seconds until all are handled.
 */

$count = (int) $argv[1];
$message = trim((string) shell_exec("php messages.php stream 'new Nothing()'"));
$at = parse_url(preg_replace('~^redis:///~', 'file:///', getenv('MESSENGER_TRANSPORT_DSN')));
$redis = new Redis();
isset($at['host']) ? $redis->connect($at['host'], $at['port']) : $redis->connect($at['path']);
isset($at['pass']) && $redis->auth(urldecode($at['pass']));
$redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
$started = microtime(true);
for ($i = 0; $i < $count; $i += 500) {
    $pipe = $redis->pipeline();
    for ($j = $i; $j < $i + 500; $j++) {
        $pipe->xadd('orders', '*', ['message' => $message]);
    }
    $pipe->exec();
}
while (($left = $redis->xlen('orders')) > 0) {
    if (microtime(true) > $started + 120) {
        fwrite(STDERR, "$left messages are left after two minutes\n");
        exit(1);
    }
    usleep(2000);
}
echo round(microtime(true) - $started, 4), "\n";
