<?php // Malformed cookies.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode($_COOKIE);
});
