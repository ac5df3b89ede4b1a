<?php // Each request has its own.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo json_encode(['get' => $_GET, 'post' => $_POST, 'cookie' => $_COOKIE, 'files' => $_FILES]);
    $_GET['left'] = $_POST['left'] = $_COOKIE['left'] = $_SERVER['left'] = 'behind';
});
