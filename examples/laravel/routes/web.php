<?php

use App\Models\Note;
use Illuminate\Http\Request;
use Illuminate\Support\Facades\Route;

// Session and view, no database: the first page, and the one that benchmarks ask for.
Route::get('/', function (Request $request) {
    $visits = $request->session()->increment('visits');

    return view('home', ['visits' => $visits]);
})->name('home');

// A model on SQLite, a form with CSRF, validation, redirect with a message.
Route::get('/notes', fn () => view('notes', ['notes' => Note::query()->latest('id')->limit(20)->get()]))->name('notes');

Route::post('/notes', function (Request $request) {
    Note::create($request->validate([
        'author' => 'required|string|max:80',
        'text' => 'required|string|max:500',
    ]));

    return redirect()->route('notes')->with('message', 'Thank you.');
});

Route::get('/notes/{note}', fn (Note $note) => response()->json($note->only('id', 'author', 'text')));

Route::get('/json', fn (Request $request) => response()->json([
    'pid' => getmypid(),
    'path' => $request->path(),
    'query' => $request->query(),
    'url' => $request->fullUrl(),
    'secure' => $request->isSecure(),
    'ip' => $request->ip(),
    'worker' => app()->bound('worker.requests') ? app('worker.requests') : null,
]));

// Who am I? Said once with ?name=, kept in the session, never anybody else's.
Route::get('/me', function (Request $request) {
    if (is_string($request->query('name'))) {
        $request->session()->put('name', $request->query('name'));
    }

    return response()->json(['name' => $request->session()->get('name'), 'pid' => getmypid()]);
});

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

// A value through the cache store, whichever it is.
Route::get('/cache', fn () => response()->json(['count' => cache()->increment('hits')]));

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

Route::get('/download', fn () => response()->download(base_path('composer.json'), 'composer.txt'));

Route::get('/boom', function () {
    throw new RuntimeException('Boom, on purpose.');
});

Route::get('/dd', function () {
    dd(['dumped' => true]);
});
