<?php

/*
 * In place of the file that symfony/runtime writes: it asks the script that included it for
 * the application, resolves its arguments and runs it. In a worker the runtime is ours, since
 * Symfony's own learned FrankenPHP's contract only in 7.4.
 */

if (true === (require_once __DIR__ . '/autoload.php') || empty($_SERVER['SCRIPT_FILENAME'])) {
    return;
}

$app = require $_SERVER['SCRIPT_FILENAME'];
if (!is_object($app)) {
    throw new TypeError(sprintf('Expected a callable from "%s", got %s.', $_SERVER['SCRIPT_FILENAME'], get_debug_type($app)));
}

$runtime = $_SERVER['APP_RUNTIME'] ?? $_ENV['APP_RUNTIME'] ?? (empty($_SERVER['FRANKENPHP_WORKER'])
    ? Symfony\Component\Runtime\SymfonyRuntime::class
    : App\Runtime\WorkerRuntime::class);
$runtime = new $runtime(($_SERVER['APP_RUNTIME_OPTIONS'] ?? []) + ['project_dir' => dirname(__DIR__)]);

[$app, $arguments] = $runtime->getResolver($app)->resolve();
$app = $app(...$arguments);

exit($runtime->getRunner($app)->run());
