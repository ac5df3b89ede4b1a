<?php // Objects, autoloaders and statics of the boot survive in the loop.
require_once __DIR__ . '/executor.php';
spl_autoload_register(function (string $class) {
    if ($class === 'Loaded') {
        eval('final class Loaded { public static int $times = 0; }');
    }
});
$object = new stdClass();
$object->count = 0;
behave(function () use ($object) {
    Loaded::$times++;
    echo json_encode([spl_object_id($object), ++$object->count, Loaded::$times]);
});
