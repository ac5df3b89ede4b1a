<?php

use Illuminate\Http\Request;
use Illuminate\Support\Facades\Route;

// Without session and cookies: these answer even where Redis or the key are missing.

Route::get('/json', fn (Request $request) => response()->json([
    'pid' => getmypid(),
    'path' => $request->path(),
    'query' => $request->query(),
    'url' => $request->fullUrl(),
    'secure' => $request->isSecure(),
    'ip' => $request->ip(),
    'worker' => app()->bound('regie.served') ? app('regie.served') : null,
]));

// The addresses that the application uses, as its configuration resolved them. No passwords.
Route::get('/addresses', fn () => response()->json([
    'redis' => config('database.redis.default.host') . ':' . config('database.redis.default.port'),
    'database' => config('database.default') === 'sqlite'
        ? 'sqlite'
        : config('database.connections.mysql.host') . ':' . config('database.connections.mysql.port'),
    'cache' => config('cache.default'),
    'session' => config('session.driver'),
    'queue' => config('queue.default'),
]));

Route::get('/stream', fn () => response()->stream(function () {
    for ($piece = 1; $piece <= 3; $piece++) {
        echo "piece $piece\n";
        if (ob_get_level() > 0) {
            ob_flush();
        }
        flush();
        usleep(100_000);
    }
}, 200, ['Content-Type' => 'text/plain', 'X-Accel-Buffering' => 'no']));

Route::get('/download', fn () => response()->download(base_path('README.md'), 'readme.txt'));

Route::get('/boom', function () {
    throw new RuntimeException('Boom, on purpose.');
});

Route::get('/dd', function () {
    dd(['dumped' => true]);
});
