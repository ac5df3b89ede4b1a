<?php

/*
 * The application in worker mode: booted once, then one turn of the loop per request.
 *
 * It keeps FrankenPHP's contract as Laravel Octane's own worker does: it wants
 * FRANKENPHP_WORKER at boot, loops on frankenphp_handle_request() with a static closure, and
 * ends after MAX_REQUESTS so that its process can be replaced. Laravel 8 has no Octane for
 * this driver, so what Octane would do between requests stands below.
 */

use Illuminate\Container\Container;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Application;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Facade;

if (!($_SERVER['FRANKENPHP_WORKER'] ?? false) || !function_exists('frankenphp_handle_request')) {
    echo 'This is a worker script: it is started by the server, not asked for by a browser.';
    exit(1);
}

ignore_user_abort(true);
ini_set('display_errors', 'stderr');

$basePath = $_SERVER['APP_BASE_PATH'] ?? $_ENV['APP_BASE_PATH'] ?? dirname(__DIR__);

require $basePath . '/vendor/autoload.php';

/** @var Application $app */
$app = require $basePath . '/bootstrap/app.php';
$kernel = $app->make(Kernel::class);
$kernel->bootstrap();

// Held by all requests: what keeps no request's state and is dear to make again. All else is
// made anew in each request's own copy of the application, and forgotten with it.
foreach (['config', 'files', 'encrypter', 'db', 'redis', 'router', 'view', 'blade.compiler'] as $service) {
    try {
        $app->make($service);
    } catch (Throwable $error) {
        // Without a key there is no encrypter; the request says so better than the boot could.
        fwrite(STDERR, "not ready at boot: $service: {$error->getMessage()}\n");
    }
}

$served = 0;

$handleRequest = static function () use ($app, $kernel, &$served): void {
    $sandbox = clone $app;
    $sandbox->instance('app', $sandbox);
    $sandbox->instance(Container::class, $sandbox);
    $sandbox->instance(Application::class, $sandbox);
    $sandbox->instance('config', clone $app['config']);
    $sandbox->instance('worker.requests', ++$served);
    Container::setInstance($sandbox);
    Facade::clearResolvedInstances();
    Facade::setFacadeApplication($sandbox);

    $kernel->setApplication($sandbox);
    $router = $sandbox['router'];
    $router->setContainer($sandbox);
    $view = $sandbox['view'];
    $view->flushState();
    $view->setContainer($sandbox);
    $view->share('app', $sandbox);
    $sandbox['db']->setApplication($sandbox);

    try {
        $request = Request::capture();
        $response = $kernel->handle($request);
        $response->send();
        $kernel->terminate($request, $response);
        $router->current()?->flushController();
    } finally {
        foreach ($sandbox['db']->getConnections() as $connection) {
            $connection->flushQueryLog();
        }
        $sandbox->flush();
        Container::setInstance($app);
        Facade::clearResolvedInstances();
        Facade::setFacadeApplication($app);
        unset($sandbox);
    }
};

$maxRequests = (int) ($_SERVER['MAX_REQUESTS'] ?? $_ENV['MAX_REQUESTS'] ?? 1000);

try {
    while (($maxRequests <= 0 || $served < $maxRequests) && frankenphp_handle_request($handleRequest)) {
        // PHP's own collector waits for ten thousand suspects; a worker tidies up a little earlier.
        if ($served % 50 === 0) {
            gc_collect_cycles();
        }
    }
} finally {
    foreach ($app['db']->getConnections() as $connection) {
        $connection->disconnect();
    }
}
