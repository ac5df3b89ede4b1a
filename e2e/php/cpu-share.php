<?php // ?limit= seconds are allowed, ?burn= milliseconds of processor time are used.
require_once __DIR__ . '/executor.php';
ini_set('display_errors', '1');
behave(function () {
    $spent = function (): int {
        $usage = getrusage();

        return 1000 * ($usage['ru_utime.tv_sec'] + $usage['ru_stime.tv_sec'])
            + intdiv($usage['ru_utime.tv_usec'] + $usage['ru_stime.tv_usec'], 1000);
    };
    set_time_limit((int) $_GET['limit']);
    $end = $spent() + (int) $_GET['burn'];
    while ($spent() < $end) {
        for ($i = 0; $i < 1000; $i++) {
        }
    }
    echo 'done';
});
