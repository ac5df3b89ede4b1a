<?php // max_execution_time counts CPU time: a busy loop is ended.
require_once __DIR__ . '/executor.php';
ini_set('display_errors', '1');
behave(function () {
    set_time_limit(1);
    for (;;) {
    }
});
