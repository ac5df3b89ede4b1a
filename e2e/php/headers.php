<?php // Status and headers; one without a space is taken, one without a colon is not.
require_once __DIR__ . '/executor.php';
behave(function () {
    header('Foo: bar');
    header('Foo2:bar2');
    header('Nothing');
    header('Many: 1');
    header('Many: 2', false);
    header('Gone: 1');
    header_remove('Gone');
    header('I: ' . $_GET['i']);
    http_response_code(201);
    echo 'made ', $_GET['i'];
});
