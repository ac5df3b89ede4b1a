<?php // A status line that is none does no harm.
require_once __DIR__ . '/executor.php';
behave(function () {
    header('HTTP/');
    echo 'fine';
});
