<?php // A child that the script forks ends, and the answer is its parent's.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (!function_exists('pcntl_fork')) {
        echo 'no pcntl';
        return;
    }
    echo 'before ';
    $child = pcntl_fork();
    if ($child === 0) {
        echo 'child ';
        exit(7);
    }
    pcntl_waitpid($child, $status);
    echo 'parent ', pcntl_wexitstatus($status), ' ', $_GET['i'] ?? '';
});
