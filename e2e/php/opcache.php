<?php // Opcache is on, and its memory is one for all workers.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (isset($_GET['reset'])) {
        echo json_encode(opcache_reset()), ' ';
    }
    if (isset($_GET['warm'])) {
        opcache_compile_file(__DIR__ . '/hello.php');
    }
    $status = opcache_get_status(true);
    echo json_encode([is_array($status), isset($status['scripts'][__DIR__ . '/hello.php']), $status['restart_pending'] ?? null, getmypid(), $status['opcache_statistics']['manual_restarts'] ?? null]);
});
