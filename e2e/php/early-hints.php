<?php // An informational response goes ahead of the final one.
require_once __DIR__ . '/executor.php';
behave(function () {
    header('Link: </style.css>; rel=preload; as=style');
    $sent = headers_send(103);
    header_remove('Link');
    header('I: ' . $_GET['i']);
    echo 'final ', http_response_code(), ' ', $sent;
});
