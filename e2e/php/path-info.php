<?php // What stands behind the script in the path.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode([basename($_SERVER['SCRIPT_FILENAME']), $_SERVER['SCRIPT_NAME'], $_SERVER['PATH_INFO'] ?? null, $_SERVER['PHP_SELF']], JSON_UNESCAPED_SLASHES);
});
