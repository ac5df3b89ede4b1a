<?php // getopt() in the loop does not spoil $_SERVER.
require_once __DIR__ . '/executor.php';
behave(function () {
    getopt('abc', ['long']);
    echo isset($_SERVER['HTTP_HOST']) ? 'request' : 'boot', ' ', isset($_SERVER['FRANKENPHP_WORKER']) ? 'worker' : 'clean', ' ', isset($_SERVER['FROM_POOL']) && getenv('FRANKENPHP_WORKER') ? 'pool' : 'clean';
});
