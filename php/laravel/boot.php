<?php

/*
 * Laravel in rewind mode: the application is booted once, up to the moment when it would take a request. Each request
 * begins at the checkpoint, with its own superglobals, and takes the way of public/index.php.
 *
 * What a boot does without knowing the request is done before: environment, configuration, providers, routes. Requests to
 * the paths in REGIE_PRIME (joined by commas, "/" by default, "" for none) are run in a process that is thrown away, so
 * that their classes are loaded here too. Connections that the boot has opened are closed: each request opens its own.
 *
 * Laravel 8 and later.
 */

namespace Regie\Rewind;

use Illuminate\Contracts\Http\Kernel;
use Illuminate\Foundation\Bootstrap\RegisterProviders;
use Illuminate\Foundation\Bootstrap\SetRequestForConsole;
use Illuminate\Http\Request;

$base = rtrim(getenv('REGIE_APP_BASE') ?: getcwd(), '/');
if (!is_file("$base/bootstrap/app.php")) {
    error_log("$base/bootstrap/app.php is missing: this is no Laravel application");
    exit(1);
}

require "$base/vendor/autoload.php";
require __DIR__ . '/doubts.php';

/** @var \Illuminate\Foundation\Application $app */
$app = require "$base/bootstrap/app.php";
$kernel = $app->make(Kernel::class);

// As the kernel boots it within its first request, with a request of no importance for providers that look at one.
$steps = (fn (): array => $this->bootstrappers())->call($kernel);
$at = array_search(RegisterProviders::class, $steps, true);
array_splice($steps, $at === false ? count($steps) : $at, 0, [SetRequestForConsole::class, Doubts::class]);
$doubts = $app->instance(Doubts::class, new Doubts($base));
$app->bootstrapWith($steps);
$app->forgetInstance(Doubts::class);
if (($doubt = $doubts->found($app)) !== null) {
    regie_doubt($doubt);
}

// Managers and factories, none of which opens a connection or knows a visitor.
$services = ['auth', 'cache', 'cookie', 'db', 'encrypter', 'hash', 'log', 'redirect', 'router', 'session', 'translator', 'url', 'validator', 'view'];
foreach ($services as $service) {
    if ($app->bound($service)) {
        try {
            $app->make($service);
        } catch (\Throwable) {
            // Whoever needs it is told.
        }
    }
}

// The first use of OpenSSL reads its tables, and it keeps no state of what it has encrypted.
try {
    $app->make('encrypter')->decrypt($app->make('encrypter')->encrypt('warm'));
} catch (\Throwable) {
    // Without a key the application tells its visitors.
}

// So does the first use of a time zone.
date_create();

// To look for what is not there compiles every route.
try {
    $app->make('router')->getRoutes()->match(Request::create('/' . bin2hex(random_bytes(8))));
} catch (\Throwable) {
}

$paths = array_filter(array_map('trim', explode(',', getenv('REGIE_PRIME') === false ? '/' : getenv('REGIE_PRIME'))));
if ($paths) {
    regie_prime(static function () use ($app, $kernel, $paths): void {
        foreach ($paths as $path) {
            $request = Request::create($app->make('config')->get('app.url', 'http://localhost') . $path);
            $response = $kernel->handle($request);
            ob_start();
            $response->sendContent();
            ob_end_clean();
            $kernel->terminate($request, $response);
        }
    });
}

if ($app->resolved('db')) {
    foreach (array_keys($app->make('db')->getConnections()) as $name) {
        $app->make('db')->purge($name);
    }
}
if ($app->resolved('redis')) {
    foreach (array_keys($app->make('redis')->connections() ?? []) as $name) {
        $app->make('redis')->purge($name);
    }
}

chdir("$base/public");
unset($base, $steps, $at, $doubts, $doubt, $services, $service, $paths, $name);
regie_checkpoint();

define('LARAVEL_START', microtime(true));
if (is_file($maintenance = $app->storagePath() . '/framework/maintenance.php')) {
    require $maintenance;
}
$response = $kernel->handle($request = Request::capture())->send();
$kernel->terminate($request, $response);
