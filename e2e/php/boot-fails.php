<?php // A worker script that does not come up while a file says so.
require_once __DIR__ . '/executor.php';
if (is_file(getenv('FAIL_WHILE'))) {
    fwrite(STDERR, "the database is not there\n");
    exit(1);
}
behave(function () {
    echo 'up';
});
