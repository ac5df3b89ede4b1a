<?php // Buffers that a request leaves open end with it.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo ob_get_level(), ' ';
    ob_start(fn (string $text) => strtoupper($text));
    ob_start();
    echo 'shout ', $_GET['i'];
});
