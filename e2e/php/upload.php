<?php // An uploaded file is there for its request, and gone after it.
require_once __DIR__ . '/executor.php';
behave(function () {
    $file = $_FILES['file'] ?? null;
    echo json_encode([$_POST['field'] ?? null, $file['name'] ?? null, $file['size'] ?? null, $file ? md5_file($file['tmp_name']) : null, $file ? is_uploaded_file($file['tmp_name']) : null]);
    if ($file) {
        header('X-Path: ' . $file['tmp_name']);
    }
});
