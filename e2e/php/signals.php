<?php // Signals that the application has taken are its own.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (!function_exists('pcntl_signal')) {
        echo 'no pcntl';
        return;
    }
    $heard = [];
    pcntl_async_signals(true);
    foreach ([SIGHUP, SIGUSR1, SIGUSR2, SIGALRM] as $signal) {
        pcntl_signal($signal, function (int $signal) use (&$heard) {
            $heard[] = $signal;
        });
        posix_kill(getmypid(), $signal);
    }
    echo $heard === [SIGHUP, SIGUSR1, SIGUSR2, SIGALRM] ? 'heard all' : 'heard ' . implode(' ', $heard), ' ', $_GET['i'];
});
