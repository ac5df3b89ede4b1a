<?php // Running out of memory costs the request, not the next one.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (isset($_GET['much'])) {
        ini_set('memory_limit', '8M');
        $much = [];
        for (;;) {
            $much[] = str_repeat('x', 100_000);
        }
    }
    echo 'fine ', getmypid();
});
