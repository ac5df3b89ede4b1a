<?php // What PHP logs.
require_once __DIR__ . '/executor.php';
behave(function () {
    error_log('from error_log ' . $_GET['i']);
    frankenphp_log('from frankenphp_log', FRANKENPHP_LOG_LEVEL_WARN, ['order' => 7, 'who' => $_GET['i']]);
    echo 'logged';
});
