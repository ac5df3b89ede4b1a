<?php // die() ends the request and is no outage.
require_once __DIR__ . '/executor.php';
behave(function () {
    register_shutdown_function(function () {
        echo ' shutdown';
    });
    die('died ' . $_GET['i']);
});
