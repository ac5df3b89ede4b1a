<?php

/* Runs due events after the answer has gone: the caller hangs up at once. */

ignore_user_abort(true);

if (!headers_sent()) {
    header('Expires: Wed, 11 Jan 1984 05:00:00 GMT');
    header('Cache-Control: no-cache, must-revalidate, max-age=0');
}
if (isset($_GET['loopback'])) {
    echo 'loopback ok';

    return;
}
if (function_exists('fastcgi_finish_request')) {
    fastcgi_finish_request();
}

require_once __DIR__ . '/wp-load.php';

usleep(200_000);
$file = fopen(ABSPATH . 'wp-content/cron.json', 'c+');
flock($file, LOCK_EX);
$cron = json_decode((string) stream_get_contents($file), true) ?: ['spawned' => 0, 'ran' => 0];
$cron['ran']++;
ftruncate($file, 0);
rewind($file);
fwrite($file, json_encode($cron));
