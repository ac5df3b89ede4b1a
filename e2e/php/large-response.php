<?php // A large response leaves whole, in small writes and in large ones.
require_once __DIR__ . '/executor.php';
behave(function () {
    $letter = chr(ord('a') + ($_GET['i'] ?? 0) % 26);
    echo str_repeat($letter, 3_000_000);
    for ($n = 0; $n < 2000; $n++) {
        echo str_repeat($letter, 100);
    }
    echo str_repeat($letter, 70_000), str_repeat($letter, 65_528), '.';
});
