<?php // STDIN, STDOUT and STDERR: in worker scripts and jobs; in classic web requests they are left out as under php-fpm.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode([PHP_SAPI, defined('STDIN'), defined('STDOUT'), defined('STDERR') && is_resource(STDERR)]);
});
