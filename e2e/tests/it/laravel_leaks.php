
use Illuminate\Auth\GenericUser;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Auth;
use Illuminate\Support\Facades\Cookie;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Event;
use Illuminate\Support\Facades\Gate;
use Illuminate\Support\Facades\Lang;
use Illuminate\Support\Facades\Log;
use Illuminate\Support\Facades\URL;
use Illuminate\Support\Facades\View;

// Says what it finds of any visitor, then leaves the visitor's name wherever it can.

config(['auth.providers.users' => ['driver' => 'names']]);
Auth::provider('names', fn () => new class() implements UserProvider {
    public function retrieveById($id) { return new GenericUser(['id' => $id]); }
    public function retrieveByToken($id, $token) { return null; }
    public function updateRememberToken(Authenticatable $user, $token) {}
    public function retrieveByCredentials(array $credentials) { return null; }
    public function validateCredentials(Authenticatable $user, array $credentials) { return false; }
});

Route::get('/leaks/{who}', function (Request $request, string $who) {
    $app = app();
    $view = $app['view'];
    $cookies = $app->make(EncryptCookies::class);
    $found = [
        'session' => $request->session()->get('name'),
        'flash' => $request->session()->get('flash'),
        'user' => Auth::id(),
        'gate' => Gate::has('leak'),
        'queued' => count(Cookie::getQueuedCookies()),
        'locale' => [$app->getLocale(), Lang::getLocale(), Carbon::getLocale(), Lang::getFallback()],
        'line' => Lang::get('leak.name'),
        'namespace' => $app['translation.loader']->namespaces()['leak'] ?? null,
        'shared' => $view->shared('name'),
        'sections' => count($view->getSections()),
        'paths' => count($view->getFinder()->getPaths()),
        'config' => [config('app.name'), config('leak')],
        'listeners' => count(Event::getListeners('leak')),
        'url' => [url('/x'), URL::getDefaultParameters()],
        'bound' => $app->bound('leak'),
        'route' => Route::has('leak'),
        'binding' => $app->make('leak.base'),
        'transaction' => DB::transactionLevel(),
        'queries' => [DB::logging(), count(DB::getQueryLog())],
        'prefix' => DB::getTablePrefix(),
        'array' => cache()->store('array')->get('leak'),
        'now' => Carbon::hasTestNow(),
        'intended' => $request->session()->get('url.intended'),
        'middleware' => count($app[Illuminate\Contracts\Http\Kernel::class]->getMiddlewareGroups()['web']),
        'readable' => $cookies->isDisabled('leak'),
        'kept' => $cookies === $app->make(EncryptCookies::class),
    ];

    $cookies->disableFor('leak');
    $app->extend('encrypter', fn ($encrypter) => clone $encrypter);
    $found['renewed'] = $cookies !== $app->make(EncryptCookies::class);
    $request->session()->put('name', $who);
    $request->session()->flash('flash', $who);
    Auth::id() ?? Auth::login(new GenericUser(['id' => $who]));
    Gate::define('leak', fn () => true);
    Cookie::queue('seen', $who);
    $app->setLocale($who === 'ada' ? 'fr' : 'de');
    Lang::setFallback('it');
    Lang::addLines(['leak.name' => $who], 'en');
    Lang::addNamespace('leak', "/$who");
    View::share('name', $who);
    $view->startSection('leak');
    $view->addLocation("/$who");
    config(['app.name' => $who, 'leak' => $who]);
    Event::listen('leak', fn () => $who);
    URL::forceRootUrl("https://$who.example");
    URL::defaults(['who' => $who]);
    $app->instance('leak', $who);
    $app->instance('leak.base', $who);
    Route::get("/leak/of/$who", fn () => $who)->name('leak');
    Route::getRoutes()->refreshNameLookups();
    DB::enableQueryLog();
    DB::beginTransaction();
    DB::table('notes')->count();
    DB::connection()->setTablePrefix($who);
    cache()->store('array')->put('leak', $who, 60);
    Log::withContext(['who' => $who]);
    Carbon::setTestNow('2001-01-01');
    $app[Illuminate\Contracts\Http\Kernel::class]->appendMiddlewareToGroup('web', 'leak');
    match ($request->query('end')) {
        'exit' => exit('gone'),
        'error' => throw new RuntimeException("of $who"),
        default => null,
    };
    Carbon::setTestNow();
    $view->stopSection();

    return response()->json($found + ['token' => csrf_token(), 'id' => $request->session()->getId()]);
});

app()->bind('leak.base', fn () => 'of the boot');
