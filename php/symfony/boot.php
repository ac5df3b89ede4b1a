<?php

/*
 * Symfony in rewind mode: public/index.php runs as it is, through the Runtime component, up to the moment when its kernel
 * would take a request. The kernel is booted before the checkpoint, and each request begins there.
 *
 * Requests to the paths in REGIE_PRIME (joined by commas, "/" by default, "" for none) are run in a process that is
 * thrown away, so that their classes are loaded here too.
 *
 * Symfony 5.4 and later, with symfony/runtime.
 */

namespace Regie\Rewind;

$base = rtrim(getenv('REGIE_APP_BASE') ?: getcwd(), '/');
foreach (['vendor/autoload_runtime.php', 'public/index.php'] as $needed) {
    if (!is_file("$base/$needed")) {
        error_log("$base/$needed is missing: rewind mode runs Symfony applications that use symfony/runtime");
        exit(1);
    }
}

require __DIR__ . '/../shared/superglobals.php';
if (($reads = reads_superglobals("$base/public/index.php", "$base/src/Kernel.php")) !== null) {
    regie_doubt("$reads looks at the request while the application boots");
}

// The application's own autoloader is loaded by the script below, which does nothing where it is loaded already.
spl_autoload_register(static function (string $class): void {
    if ($class === 'Regie\Rewind\Runtime') {
        require __DIR__ . '/runtime.php';
    }
});
chdir("$base/public");
$_SERVER['APP_RUNTIME'] = $_ENV['APP_RUNTIME'] = 'Regie\Rewind\Runtime';
$_SERVER['SCRIPT_FILENAME'] = "$base/public/index.php";
require "$base/public/index.php";
