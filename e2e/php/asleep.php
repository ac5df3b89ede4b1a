<?php // max_execution_time counts processor time: who sleeps does not use it.
require_once __DIR__ . '/executor.php';
behave(function () {
    set_time_limit(1);
    usleep(1_500_000);
    echo 'awake';
});
