<?php // The request's body is read from php://input, as often as one likes.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo file_get_contents('php://input'), '|', strlen(file_get_contents('php://input'));
});
