<?php // Output inside a fiber.
require_once __DIR__ . '/executor.php';
behave(function () {
    $fiber = new Fiber(function () {
        echo 'Fiber ', Fiber::suspend('asks');
        flush();
    });
    echo $fiber->start(), ' ';
    $fiber->resume($_GET['i']);
});
