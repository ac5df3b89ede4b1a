<?php // Who is there: of this request, and of no other.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode([$_SERVER['PHP_AUTH_USER'] ?? null, $_SERVER['PHP_AUTH_PW'] ?? null, $_SERVER['REMOTE_USER'] ?? null, $_SERVER['HTTP_AUTHORIZATION'] ?? null]);
});
