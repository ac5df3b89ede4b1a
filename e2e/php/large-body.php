<?php // A large body arrives whole.
require_once __DIR__ . '/executor.php';
behave(function () {
    $body = file_get_contents('php://input');
    echo strlen($body), ' ', md5($body);
});
