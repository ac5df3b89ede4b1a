<?php // What is flushed leaves at once.
require_once __DIR__ . '/executor.php';
behave(function () {
    echo 'He';
    flush();
    // Goes on only when the first part has been seen.
    for ($n = 0; $n < 500 && !is_file($_GET['gate']); $n++) {
        usleep(10_000);
        clearstatcache();
    }
    echo 'llo ', $_GET['i'];
});
