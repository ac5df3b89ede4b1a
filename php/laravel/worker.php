<?php

/*
 * Laravel in worker mode, for applications that have neither a worker script of their own nor Octane: booted once, then
 * one turn of the loop per request.
 *
 * There is one application object, and no copy of it per request: whoever has kept it, in a closure or a provider, has
 * the right one. After each request everything that was there at the end of the boot is put back as it was then: the
 * container with its bindings and instances, the configuration, and the properties of each service that the boot has
 * made (and of the objects these hold). So sessions, guards, queued cookies, locale, shared view data, listeners, gates
 * and macros of instances are gone with their request, and what the request made anew is forgotten.
 *
 * Kept on purpose: open connections (with transactions rolled back, and closed when the request has changed their
 * configuration), and what was read from files: translations, paths of views.
 *
 * Not put back: static properties of classes, which only the application knows how to reset.
 *
 * Laravel 8 and later.
 */

namespace Regie\Worker;

use ArrayObject;
use Closure;
use Illuminate\Container\Container;
use Illuminate\Contracts\Http\Kernel;
use Illuminate\Contracts\Routing\ResponseFactory;
use Illuminate\Database\Connection;
use Illuminate\Database\DatabaseManager;
use Illuminate\Foundation\Application;
use Illuminate\Foundation\Bootstrap\RegisterProviders;
use Illuminate\Foundation\Bootstrap\SetRequestForConsole;
use Illuminate\Http\Request;
use Illuminate\Redis\RedisManager;
use Illuminate\Routing\CompiledRouteCollection;
use Illuminate\Routing\Contracts\ControllerDispatcher;
use Illuminate\Routing\Route;
use Illuminate\Session\Middleware\StartSession;
use Illuminate\Session\Store;
use Illuminate\Support\Carbon;
use Illuminate\Support\Facades\Facade;
use Illuminate\Support\Once;
use Illuminate\Support\Str;
use Illuminate\Translation\Translator;
use Illuminate\View\Factory as ViewFactory;
use Illuminate\View\FileViewFinder;
use PDO;
use ReflectionClass;
use ReflectionMethod;
use Throwable;

/** An object and the values that its properties had. */
final class Held
{
    private array $then;

    /** @var array<string, Closure> What writes properties of a class. */
    private static array $writers = [];

    /** Class whose code may write the properties => names as PHP lists them => names. */
    private array $scopes = [];

    /** @param string[] $kept Properties that are left as they are. */
    public function __construct(private object $object, private array $kept)
    {
        $this->then = [];
        // Value by value: a whole copy would share what the object holds by reference.
        foreach ((array) $this->object as $key => $value) {
            $this->then[$key] = $value;
        }
    }

    public function putBack(): void
    {
        if (regie_unchanged($this->object, $this->then)) {
            return;
        }
        $now = (array) $this->object;
        if ($now === $this->then) {
            return;
        }
        $changes = [];
        foreach ($this->then as $key => $value) {
            if (!array_key_exists($key, $now) || $now[$key] !== $value) {
                $this->note($changes, $key, [$value], $now);
            }
        }
        foreach (array_diff_key($now, $this->then) as $key => $value) {
            $this->note($changes, $key, [], $now);
        }
        foreach ($changes as $class => $values) {
            $write = self::$writers[$class] ??= Closure::bind(static function (object $object, array $values): void {
                foreach ($values as $name => $value) {
                    try {
                        if ($value) {
                            $object->$name = $value[0];
                        } else {
                            unset($object->$name);
                        }
                    } catch (\Error) {
                        // Written once and for all: what is read-only has got its value in this request.
                    }
                }
            }, null, $class);
            $write($this->object, $values);
        }
    }

    private function note(array &$changes, int|string $key, array $value, array $now): void
    {
        [$class, $name] = $this->scopes[$key] ??= $this->scope((string) $key);
        if (!in_array($name, $this->kept, true)) {
            $changes[$class][$name] = $value;
        } elseif (array_key_exists($key, $now)) {
            // So that the next comparison finds nothing to look into.
            $this->then[$key] = $now[$key];
        } else {
            unset($this->then[$key]);
        }
    }

    /** Whether all is as it was, these properties aside. */
    public function sameBut(string ...$names): bool
    {
        $now = (array) $this->object;
        if ($now === $this->then) {
            return true;
        }
        foreach ($this->then + $now as $key => $value) {
            $same = array_key_exists($key, $now) && array_key_exists($key, $this->then) && $now[$key] === $this->then[$key];
            if (!$same && !in_array($this->scope((string) $key)[1], $names, true)) {
                return false;
            }
        }

        return true;
    }

    /** PHP lists a private property as "\0Class\0name", a protected one as "\0*\0name". */
    private function scope(string $key): array
    {
        $own = $this->object::class;
        if ($key === '' || $key[0] !== "\0") {
            return [$own, $key];
        }
        $end = strrpos($key, "\0");
        $class = substr($key, 1, $end - 1);

        return [$class === '*' ? $own : $class, substr($key, $end + 1)];
    }
}

final class Worker
{
    /** What is kept although a request may have changed it. */
    private const KEPT = [
        // See keepPaths and keepLines.
        FileViewFinder::class => ['views'],
        Translator::class => ['loaded'],
        Connection::class => ['pdo', 'readPdo', 'reconnector'],
        DatabaseManager::class => ['connections'],
        RedisManager::class => ['connections'],
    ];

    /** Objects per array that are looked into: what is longer is a table, and no state. */
    private const LONGEST = 100;

    /** @var array<int, Held> by the object's id */
    private array $held = [];

    /** @var array<string, Connection> */
    private array $connections = [];

    private array $database;

    private string $locale;

    private array $lines = [];

    private int $served = 0;

    private Closure $instances;

    private Closure $putFacades;

    /** @var array<string, Route> Cached routes that were made, by name; absent when the routes are not cached. */
    private ?ArrayObject $routes = null;

    /** @var array<string, array> What those were when they were made, without DERIVED. */
    private ArrayObject $routesThen;

    /** @var array<string, true> Those that this request has asked for. */
    private ArrayObject $routesUsed;

    /** Properties of a route that follow from its others, or are emptied by leave(). */
    private const DERIVED = [
        'compiled' => 0, 'computedMiddleware' => 0, 'controller' => 0, 'parameterNames' => 0, 'parameters' => 0,
        "\0*\0originalParameters" => 0,
    ];

    public function __construct(private Application $app, private Kernel $kernel)
    {
    }

    /** Makes what nearly every request needs, knows no visitor and opens no connection by being made. */
    public function warm(): void
    {
        $services = [
            'auth', 'blade.compiler', 'cache', 'cache.store', 'config', 'cookie', 'db', 'encrypter', 'events', 'files', 'hash', 'log',
            'redirect', 'redis', 'router', 'session', 'session.store', 'translator', 'url', 'validator', 'view',
            ControllerDispatcher::class, ResponseFactory::class, StartSession::class,
        ];
        foreach ($services as $service) {
            try {
                if ($this->app->bound($service)) {
                    $this->app->make($service);
                }
            } catch (Throwable $error) {
                // Without a key there is no encrypter; the request says so better than the boot could.
                error_log("not ready at boot: $service: {$error->getMessage()}");
            }
        }
        $this->instances = Closure::bind(static fn (Container $app): array => $app->instances, null, Container::class);
        $this->keepRoutes();
        $this->keepMiddleware();
        $more = [
            fn () => $this->app->make('view.engine.resolver')->resolve('blade'),
            fn () => $this->app->make('db')->connection(),
            // Looking for what is not there compiles the routes.
            fn () => $this->app->make('router')->getRoutes()->match(Request::create('/' . bin2hex(random_bytes(8)))),
        ];
        foreach ($more as $make) {
            try {
                $make();
            } catch (Throwable) {
                // Whoever needs it is told.
            }
        }
    }

    /**
     * Cached routes are made anew at each use: for the request's path, and for each link to a name. Here each is made
     * once, as it is where routes are not cached, and again when a request has changed it.
     */
    private function keepRoutes(): void
    {
        $router = $this->app->make('router');
        $cached = $router->getRoutes();
        if ($cached::class !== CompiledRouteCollection::class) {
            return;
        }
        [$this->routes, $this->routesThen, $this->routesUsed] = [new ArrayObject(), new ArrayObject(), new ArrayObject()];
        $derived = self::DERIVED;
        $kept = new class($cached, $this->routes, $this->routesThen, $this->routesUsed, $derived) extends CompiledRouteCollection {
            // What is of PHP's own classes is not put back: see Worker::take().
            public function __construct(
                CompiledRouteCollection $cached,
                private ArrayObject $made,
                private ArrayObject $then,
                private ArrayObject $used,
                private array $derived,
            ) {
                parent::__construct($cached->compiled, $cached->attributes);
                $this->routes = $cached->routes;
            }

            public function getByName($name)
            {
                if (!isset($this->attributes[$name])) {
                    return $this->routes->getByName($name);
                }
                $this->used[$name] = true;
                if (!isset($this->made[$name])) {
                    $route = $this->newRoute($this->attributes[$name]);
                    $this->then[$name] = array_diff_key((array) $route, $this->derived);
                    $this->made[$name] = $route;
                }

                return $this->made[$name];
            }
        };
        put($router, 'routes', $kept->setRouter($router)->setContainer($this->app));
        // Whoever makes links hears it.
        $this->app->instance('routes', $kept);
    }

    /** Routes that the request has changed are forgotten, to be made anew. */
    private function leaveRoutes(): void
    {
        foreach ($this->routesUsed as $name => $used) {
            if (array_diff_key((array) $this->routes[$name], self::DERIVED) !== $this->routesThen[$name]) {
                unset($this->routes[$name]);
            }
        }
        $this->routesUsed->exchangeArray([]);
    }

    /**
     * Middleware is made twice per request, to handle it and to terminate. Where both and the making are the framework's
     * own code, and all that it holds are services that stay, it is made once. Nobody can tell: what a request writes
     * to its properties is put back as for any service, and where a service is replaced it is made as ever.
     */
    private function keepMiddleware(): void
    {
        $router = $this->app->make('router');
        $names = [look($this->kernel, 'middleware') ?? [], $router->getMiddleware(), $router->getMiddlewareGroups()];
        $classes = [];
        array_walk_recursive($names, static function (mixed $name) use (&$classes): void {
            is_string($name) && $classes[strtok($name, ':')] = true;
        });
        $services = array_filter(($this->instances)($this->app), 'is_object');
        $kept = $needed = [];
        foreach ($classes as $class => $named) {
            try {
                if ($this->isFrameworks($class)) {
                    $middleware = $this->app->make($class);
                    $needs = $this->needs($middleware, $services);
                    if ($needs !== null) {
                        $kept[$class] = $middleware;
                        $needed += array_flip($needs);
                    }
                }
            } catch (Throwable) {
                // The request that needs it says why it cannot be made.
            }
        }
        foreach ($kept as $class => $middleware) {
            $this->app->instance($class, $middleware);
        }
        foreach (array_keys($needed) as $service) {
            $this->app->rebinding($service, static function (Container $app) use ($kept): void {
                array_map($app->forgetInstance(...), array_keys($kept));
            });
        }
    }

    /** Whether a class is middleware that runs the framework's code alone, and is made by nobody else's. */
    private function isFrameworks(string $class): bool
    {
        if (!class_exists($class) || !method_exists($class, 'handle') || $this->app->bound($class)) {
            return false;
        }
        foreach (['__construct', '__destruct', 'handle', 'terminate'] as $method) {
            if (method_exists($class, $method) && !str_starts_with((new ReflectionMethod($class, $method))->class, 'Illuminate\\')) {
                return false;
            }
        }
        foreach (['', 'global'] as $which) {
            foreach (['BeforeResolving', 'Resolving', 'AfterResolving'] as $when) {
                $callbacks = look($this->app, lcfirst("$which{$when}Callbacks")) ?? [];
                foreach ($callbacks as $type => $of) {
                    if ($of && ($which || is_a($class, $type, true))) {
                        return false;
                    }
                }
            }
        }

        return empty($this->app->contextual[$class]);
    }

    /** @return ?string[] The services that an object holds; null when it holds anything else. */
    private function needs(object $object, array $services): ?array
    {
        $needs = [];
        $values = (array) $object;
        array_walk_recursive($values, static function (mixed $value) use (&$needs, $services): void {
            if (is_object($value)) {
                $needs[] = $value instanceof Request ? false : array_search($value, $services, true);
            }
        });

        return in_array(false, $needs, true) ? null : $needs;
    }

    /** From here on, this is what requests begin with. */
    public function hold(): void
    {
        // Those that the boot has asked for may be changed already.
        foreach ([$this->routes, $this->routesThen ?? null, $this->routesUsed ?? null] as $routes) {
            $routes?->exchangeArray([]);
        }
        $this->locale = $this->app->getLocale();
        $this->database = $this->app->make('config')->get('database', []);
        $this->connections = $this->app->resolved('db') ? $this->app->make('db')->getConnections() : [];
        $this->lines = $this->app->resolved('translator') ? look($this->app->make('translator'), 'loaded') : [];
        $facades = Closure::bind(static fn (): array => Facade::$resolvedInstance, null, Facade::class)();
        $this->putFacades = Closure::bind(static function () use ($facades): void {
            Facade::$resolvedInstance = $facades;
        }, null, Facade::class);
        $instances = look($this->app, 'instances');
        foreach ([$this->app, ...array_values($instances), ...array_values($this->connections)] as $instance) {
            is_object($instance) && $this->takeWhole($instance);
        }
    }

    public function serve(): void
    {
        $this->app->instance('regie.served', ++$this->served);
        try {
            $request = Request::capture();
            $response = $this->kernel->handle($request);
            $response->send();
            $this->kernel->terminate($request, $response);
        } finally {
            unset($request, $response);
            $this->putBack();
        }
    }

    /** As long as the server has requests. */
    public function loop(): void
    {
        $serve = function (): void {
            $this->serve();
        };
        while (frankenphp_handle_request($serve)) {
            if ($this->served % 50 === 0) {
                if (method_exists(Str::class, 'flushCache')) {
                    Str::flushCache();
                }
                // PHP's own collector waits for ten thousand suspects; a worker tidies up a little earlier.
                gc_collect_cycles();
            }
        }
        $connections = $this->app->resolved('db') ? $this->app->make('db')->getConnections() : [];
        foreach ($connections as $connection) {
            $connection->disconnect();
        }
    }

    private function take(object $object): void
    {
        $id = spl_object_id($object);
        if (isset($this->held[$id]) || $object instanceof Closure || $object instanceof Route || $object instanceof Request) {
            return;
        }
        for ($level = new ReflectionClass($object); $level; $level = $level->getParentClass()) {
            if ($level->isInternal()) {
                return;
            }
        }
        $this->held[$id] = new Held($object, $this->kept($object));
    }

    /** The object, and those that it holds: a session's handler, a manager's drivers. */
    private function takeWhole(object $object): void
    {
        $this->take($object);
        foreach ((array) $object as $value) {
            if (is_object($value)) {
                $this->take($value);
            } elseif (is_array($value) && count($value) <= self::LONGEST) {
                foreach ($value as $inner) {
                    if (is_object($inner)) {
                        $this->take($inner);
                    }
                }
            }
        }
    }

    /** @return string[] */
    private function kept(object $object): array
    {
        foreach (self::KEPT as $class => $names) {
            if ($object instanceof $class) {
                return $names;
            }
        }

        return [];
    }

    private function putBack(): void
    {
        $app = $this->app;
        $services = ($this->instances)($app);
        if (isset($services['router']) && ($route = $services['router']->current())) {
            $this->leave($route);
        }
        $this->routes && $this->leaveRoutes();
        if ($app->getLocale() !== $this->locale) {
            // Whoever follows the locale, such as the dates, hears it.
            $app->setLocale($this->locale);
        }
        Carbon::hasTestNow() && Carbon::setTestNow();
        class_exists(Once::class, false) && Once::flush();
        if (isset($services['log']) && method_exists($services['log'], 'getChannels')) {
            foreach ($services['log']->getChannels() as $channel) {
                method_exists($logger = $channel->getLogger(), 'reset') && $logger->reset();
            }
        }

        $links = $this->settle($services, $services['config']->get('database', []) === $this->database);
        $this->keepPaths($services['view'] ?? null);
        foreach ($this->held as $held) {
            $held->putBack();
        }
        $this->keepLines();
        $this->keepLinks($links);

        $store = ($this->instances)($app)['session.store'] ?? null;
        // A session that no middleware starts is nobody's.
        $store instanceof Store && $store->setId(null);
        ($this->putFacades)();
        Container::setInstance($app);
        Facade::setFacadeApplication($app);
    }

    /** The route stays; its controller and the parts of the path were the request's. */
    private function leave(Route $route): void
    {
        $closures = array_filter((array) $route->computedMiddleware, fn ($middleware): bool => $middleware instanceof Closure);
        // A closure may be the controller's.
        $closures ? $route->flushController() : $route->controller = null;
        put($route, 'parameters', null);
        put($route, 'originalParameters', null);
    }

    /** Ends what is open on connections. Answers with those that the request has opened. */
    private function settle(array $services, bool $sameConfiguration): array
    {
        $links = [];
        $connections = isset($services['db']) ? $services['db']->getConnections() : [];
        foreach ($connections as $name => $connection) {
            try {
                $connection->transactionLevel() > 0 && $connection->rollBack(0);
                if (!$sameConfiguration) {
                    $connection->disconnect();
                } elseif (($this->connections[$name] ?? null) !== $connection) {
                    $links[$name] = [$connection->getRawPdo(), $connection->getRawReadPdo()];
                }
            } catch (Throwable) {
                $connection->disconnect();
            }
        }
        if (isset($services['redis'])) {
            $redis = $services['redis'];
            foreach ($redis->connections() ?? [] as $name => $connection) {
                if (!$sameConfiguration || !$this->isSettled((string) $name, $connection->client())) {
                    $redis->purge($name);
                }
            }
        }

        return $links;
    }

    /** Whether a connection to Redis is outside of a transaction and on its own database. */
    private function isSettled(string $name, mixed $client): bool
    {
        if (!$client instanceof \Redis) {
            return true;
        }
        $own = $this->database['redis'][$name] ?? [];
        $path = ltrim((string) parse_url($own['url'] ?? '', PHP_URL_PATH), '/');
        $number = $path === '' ? $own['database'] ?? 0 : $path;

        return $client->getMode() === \Redis::ATOMIC && $client->getDbNum() === (int) $number;
    }

    /** A connection that the request has made may know its callbacks: a new one takes its link over. */
    private function keepLinks(array $links): void
    {
        $db = ($this->instances)($this->app)['db'] ?? null;
        if (!$db || (!$links && look($db, 'connections') === $this->connections)) {
            return;
        }
        put($db, 'connections', $this->connections);
        foreach ($links as $name => [$write, $read]) {
            try {
                $connection = $db->connection($name);
                if (!isset($this->connections[$name])) {
                    $this->takeWhole($connection);
                    $this->connections[$name] = $connection;
                }
                $write instanceof PDO && $connection->setPdo($write);
                $read instanceof PDO && $connection->setReadPdo($read);
            } catch (Throwable) {
                // It is opened anew by whoever needs it.
            }
        }
    }

    /** Where views were found is forgotten only when they were looked for elsewhere. */
    private function keepPaths(?object $views): void
    {
        $finder = $views instanceof ViewFactory ? $views->getFinder() : null;
        $held = $finder ? $this->held[spl_object_id($finder)] ?? null : null;
        if ($held && $finder instanceof FileViewFinder && !$held->sameBut('views')) {
            $finder->flush();
        }
    }

    /** Translations that the request has read, if they are what the files say and not what it has added. */
    private function keepLines(): void
    {
        $translator = ($this->instances)($this->app)['translator'] ?? null;
        if (!$translator instanceof Translator) {
            return;
        }
        $read = look($translator, 'loaded');
        if ($read === $this->lines) {
            return;
        }
        $loader = $translator->getLoader();
        foreach ($read as $namespace => $groups) {
            foreach ($groups as $group => $locales) {
                foreach ($locales as $locale => $lines) {
                    if (!isset($this->lines[$namespace][$group][$locale]) && $lines === $loader->load($locale, $group, $namespace)) {
                        $this->lines[$namespace][$group][$locale] = $lines;
                    }
                }
            }
        }
        $translator->setLoaded($this->lines);
    }
}

/** A property's value, whatever its visibility. */
function look(object $object, string $property): mixed
{
    static $look = [];
    $look[$object::class] ??= Closure::bind(
        static fn (object $object, string $property): mixed => $object->$property ?? null,
        null,
        $object::class,
    );

    return $look[$object::class]($object, $property);
}

function put(object $object, string $property, mixed $value): void
{
    static $put = [];
    $put[$object::class] ??= Closure::bind(static function (object $object, string $property, mixed $value): void {
        $object->$property = $value;
    }, null, $object::class);
    $put[$object::class]($object, $property, $value);
}

$base = rtrim(getenv('REGIE_APP_BASE') ?: getcwd(), '/');
if (!function_exists('frankenphp_handle_request')) {
    echo "This is a worker script: it is started by the server.\n";
    exit(1);
}
if (!is_file("$base/bootstrap/app.php")) {
    error_log("$base/bootstrap/app.php is missing: this is no Laravel application");
    exit(1);
}
ignore_user_abort(true);

require "$base/vendor/autoload.php";

/** @var Application $app */
$app = require "$base/bootstrap/app.php";
$kernel = $app->make(Kernel::class);

// As the kernel boots it within its first request, with a request of no importance for providers that look at one.
$steps = (fn (): array => $this->bootstrappers())->call($kernel);
$at = array_search(RegisterProviders::class, $steps, true);
array_splice($steps, $at === false ? count($steps) : $at, 0, [SetRequestForConsole::class]);
$app->bootstrapWith($steps);

$worker = new Worker($app, $kernel);
$worker->warm();
$worker->hold();
chdir("$base/public");
unset($base, $steps, $at, $app, $kernel);
$worker->loop();
