<?php // A status with words of its own.
require_once __DIR__ . '/executor.php';
behave(function () {
    header('HTTP/1.1 433 Quite Unusual');
    echo 'unusual';
});
