<?php // The smallest page.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo 'Hello ', $_GET['i'] ?? 'nobody';
});
