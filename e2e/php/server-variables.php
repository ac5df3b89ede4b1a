<?php // What the server says of the request.
require_once __DIR__ . '/executor.php';
behave(function () {
    foreach (['REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'SERVER_PROTOCOL', 'SERVER_NAME', 'HTTP_HOST', 'REMOTE_ADDR'] as $name) {
        echo $name, '=', $_SERVER[$name] ?? '(none)', "\n";
    }
    echo 'time=', abs(time() - $_SERVER['REQUEST_TIME']) <= 60 ? 'now' : 'stale', ' ', is_float($_SERVER['REQUEST_TIME_FLOAT']) ? 'float' : '', "\n";
    echo 'worker=', var_export(isset($_SERVER['FRANKENPHP_WORKER']), true), "\n";
});
