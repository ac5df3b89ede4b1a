<?php // An uncaught exception is shown (display_errors is on in this test) and ends the script, not the pool.
require_once __DIR__ . '/executor.php';
ini_set('display_errors', '1');
behave(function () {
    echo 'before ', $_GET['i'], ' ';
    throw new RuntimeException('out of ' . $_GET['i']);
});
