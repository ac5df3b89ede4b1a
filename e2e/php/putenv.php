<?php // putenv() changes getenv() alone; in a worker script it lasts as long as the script.
require_once __DIR__ . '/executor.php';
behave(function () {
    $before = getenv('PUT_HERE');
    putenv('PUT_HERE=' . $_GET['i']);
    echo json_encode([$before, getenv('PUT_HERE') === $_GET['i'], $_ENV['PUT_HERE'] ?? null, $_SERVER['PUT_HERE'] ?? null]);
});
