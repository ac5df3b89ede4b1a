<?php // The calls that Symfony's FrankenPHP runner makes, in its order: what the server said at boot, without the headers, is
// merged into each request's $_SERVER; the kernel terminates when the response has left; FRANKENPHP_LOOP_MAX ends the loop.
ignore_user_abort(true);
$boot = array_filter($_SERVER, static fn (string $key) => !str_starts_with($key, 'HTTP_'), ARRAY_FILTER_USE_KEY);
$boot['APP_RUNTIME_MODE'] = 'web=1&worker=1';

$handle = static function () use ($boot, &$request, &$response): void {
    $_SERVER += $boot;
    $request = $_GET;
    $response = json_encode([
        $_SERVER['APP_RUNTIME_MODE'], $_SERVER['FROM_POOL'], !empty($_SERVER['FRANKENPHP_WORKER']),
        $_SERVER['HTTP_X_OWN'] ?? null, $_SERVER['QUERY_STRING'], $_GET,
    ]);
    echo $response;
};

$most = (int) ($_SERVER['FRANKENPHP_LOOP_MAX'] ?? $_ENV['FRANKENPHP_LOOP_MAX'] ?? 500);
$loops = 0;
do {
    $going = frankenphp_handle_request($handle);
    if ($request && $response) {
        // The client has its answer. Bounded, should nobody open the gate.
        for ($look = 0; isset($request['gate']) && $look < 6000 && !file_exists($request['gate']); $look++) {
            usleep(10000);
            clearstatcache();
        }
        error_log('terminated ' . ($request['i'] ?? ''));
    }
    $request = $response = null;
    gc_collect_cycles();
} while ($going && ($most <= 0 || ++$loops < $most));
