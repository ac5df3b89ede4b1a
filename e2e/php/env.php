<?php // The pool's environment: at boot in $_SERVER too, in a worker's request by getenv() only.
require_once __DIR__ . '/executor.php';
$boot = $_SERVER['FROM_POOL'] ?? null;
behave(function () use ($boot) {
    echo json_encode([$boot, $_SERVER['FROM_POOL'] ?? null, getenv('FROM_POOL'), $_SERVER['FROM_PARENT'] ?? null, getenv('FROM_PARENT'), getenv('NOTIFY_SOCKET')]);
});
