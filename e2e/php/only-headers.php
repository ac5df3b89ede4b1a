<?php // A response without a body.
require_once __DIR__ . '/executor.php';
behave(function () {
    http_response_code(204);
    header('X-Only: yes');
    flush();
});
