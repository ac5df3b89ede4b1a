<?php // The response ends, the script goes on; what it writes then is dropped and is no abort.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo 'seen';
    $first = isset($_GET['fastcgi']) ? fastcgi_finish_request() : frankenphp_finish_request();
    echo 'never seen';
    flush();
    $second = frankenphp_finish_request();
    file_put_contents($_GET['to'], json_encode([$first, $second, connection_status(), strlen(file_get_contents('php://input'))]));
});
