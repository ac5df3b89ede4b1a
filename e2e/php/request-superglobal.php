<?php // $_REQUEST is made when it is first named, and must not stay that of the first visitor.
require_once __DIR__ . '/executor.php';
behave(function () {
    if (isset($_GET['look'])) {
        include __DIR__ . '/request-superglobal-look.inc';
    } else {
        echo 'not looked';
    }
});
