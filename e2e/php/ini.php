<?php // Settings of the pool, and of the request.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode([ini_get('memory_limit'), ini_get('user_agent'), @ini_set('user_agent', 'script'), ini_get('user_agent'), ini_get('post_max_size')]);
});
