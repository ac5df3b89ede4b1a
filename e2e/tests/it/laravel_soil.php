
// Says what it finds of other requests, and soils everything that it can reach.
Route::get('/soil/{who}', function (Illuminate\Http\Request $request, string $who) {
    $database = Illuminate\Support\Facades\DB::connection();
    $redis = Illuminate\Support\Facades\Redis::connection();
    $found = [
        'config' => config('app.name'),
        'bound' => app()->bound('soiled'),
        'locale' => app()->getLocale(),
        'timezone' => date_default_timezone_get(),
        'session' => session('who'),
        'flash' => session('flash'),
        'listeners' => count(app('events')->getListeners('soiled')),
        'view' => view()->shared('who'),
        'macro' => Illuminate\Support\Str::hasMacro('soiled'),
        'global' => $GLOBALS['soiled'] ?? null,
        'precision' => ini_get('precision'),
        'cached' => cache()->get('who'),
        'redis' => $redis->get('who'),
        'level' => $database->transactionLevel(),
        'notes' => $database->table('notes')->count(),
        'foreign' => $database->select('pragma foreign_keys'),
        'folder' => basename(getcwd()),
        'logged' => count($database->getQueryLog()),
    ];
    config(['app.name' => $who]);
    app()->instance('soiled', $who);
    app()->setLocale('de');
    date_default_timezone_set('Asia/Tokyo');
    session(['who' => $who]);
    session()->flash('flash', $who);
    app('events')->listen('soiled', fn () => $who);
    view()->share('who', $who);
    Illuminate\Support\Str::macro('soiled', fn () => $who);
    $GLOBALS['soiled'] = array_fill(0, 10000, $who);
    ini_set('precision', '5');
    cache()->put('who', $who, 600);
    $redis->set('who', $who);
    $database->enableQueryLog();
    $database->beginTransaction();
    $database->table('notes')->insert(['author' => $who, 'text' => 'never kept']);
    chdir('/');
    if ($request->query('end') === 'exit') {
        exit('gone');
    }
    if ($request->query('end') === 'error') {
        throw new RuntimeException('on purpose');
    }
    if ($request->query('end') === 'memory') {
        ini_set('memory_limit', (memory_get_usage() + (8 << 20)) . '');
        str_repeat('x', 64 << 20);
    }

    return response()->json($found);
});
