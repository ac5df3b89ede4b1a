<?php // A stream that was opened before the loop survives in it.
require_once __DIR__ . '/executor.php';
$words = fopen('data://text/plain,word1%0Aword2%0Aword3%0A', 'r');
$input = fopen('php://input', 'r');
behave(function () use ($words, $input) {
    echo trim((string) fgets($words)), ' ', is_resource($input) ? 'open' : 'closed', ' ', file_get_contents('php://input');
});
