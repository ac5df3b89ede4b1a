<?php // A client that goes away is seen by PHP.
require_once __DIR__ . '/executor.php';
behave(function () {
    ignore_user_abort(true);
    for ($n = 0; $n < 500 && !connection_aborted(); $n++) {
        echo str_repeat('x', 100);
        flush();
        usleep(10_000);
    }
    file_put_contents($_GET['to'], connection_status() . ' ' . ($n < 500 ? 'seen' : 'not seen'));
});
