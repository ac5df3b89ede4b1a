<?php

/*
 * What a boot does that is right once per request and wrong once for all: it looks at the request, or at data that changes.
 * In rewind mode it does so before the checkpoint, and every visitor would get what it has found. Where rewind mode was
 * chosen unasked, such an application is served in classic mode; else the log says so (regie_doubt() in functions.c).
 *
 * Not noticed: files with data that are read while the application boots, and the time.
 */

namespace Regie\Rewind;

use Illuminate\Cache\Events\CacheHit;
use Illuminate\Cache\Events\CacheMissed;
use Illuminate\Cache\Events\KeyWritten;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Foundation\Bootstrap\SetRequestForConsole;
use Illuminate\Http\Request;

require __DIR__ . '/../shared/superglobals.php';

/** Laravel's request of the boot: whoever looks into it is noticed. */
final class WatchedRequest extends Request
{
    private const PARTS = ['attributes', 'request', 'query', 'server', 'files', 'cookies', 'headers'];

    private array $parts = [];

    /** Who was the first, as file and line. */
    public ?string $asked = null;

    public static function of(Request $request): self
    {
        $watched = self::createFrom($request);
        foreach (self::PARTS as $part) {
            $watched->parts[$part] = $watched->$part;
            // From here on every access to it comes by __get().
            unset($watched->$part);
        }
        $watched->asked = null;

        return $watched;
    }

    public function __get($key)
    {
        if (!isset($this->parts[$key])) {
            return parent::__get($key);
        }
        $this->asked ??= self::whoAsks();

        return $this->parts[$key];
    }

    private static function whoAsks(): string
    {
        foreach (debug_backtrace(DEBUG_BACKTRACE_IGNORE_ARGS, 30) as $frame) {
            $file = $frame['file'] ?? '';
            if ($file !== '' && $file !== __FILE__ && !preg_match('{/(?:Illuminate|Symfony|laravel/framework|symfony)/}', $file)) {
                return "$file:{$frame['line']}";
            }
        }

        return 'the framework';
    }
}

/** Watches Laravel while its providers are registered and booted. */
final class Doubts
{
    private ?WatchedRequest $request = null;

    private ?string $cached = null;

    private const EVENTS = [CacheHit::class, CacheMissed::class, KeyWritten::class];

    public function __construct(private string $base)
    {
    }

    /** As one of the kernel's bootstrappers, behind the one that makes a request. */
    public function bootstrap(Application $app): void
    {
        $app->instance('request', $this->request = WatchedRequest::of($app->make('request')));
        foreach (self::EVENTS as $event) {
            $app->make('events')->listen($event, function (object $event): void {
                $this->cached ??= $event->key;
            });
        }
    }

    /** After the boot: what it has done, if there is anything, and the application as it would be without having been watched. */
    public function found(Application $app): ?string
    {
        $config = $app->configurationIsCached() ? [] : ["$this->base/config/*.php"];
        $reads = reads_superglobals("$this->base/bootstrap/*.php", "$this->base/app/Providers/*.php", ...$config);
        (function (array $events): void {
            foreach ($events as $event) {
                if (isset($this->listeners[$event])) {
                    // Ours was the first.
                    array_shift($this->listeners[$event]);
                    $this->listeners[$event] = $this->listeners[$event] ?: null;
                }
            }
            isset($this->listeners) && $this->listeners = array_filter($this->listeners);
        })->call($app->make('events'), self::EVENTS);
        $asked = $this->request?->asked;
        (new SetRequestForConsole())->bootstrap($app);

        return match (true) {
            $reads !== null => "$reads looks at the request while the application boots",
            $asked !== null => "the request is looked at while the application boots, by $asked",
            $this->cached !== null => "the cache is asked for '$this->cached' while the application boots",
            default => $this->connected($app),
        };
    }

    private function connected(Application $app): ?string
    {
        $databases = $app->resolved('db') ? $app->make('db')->getConnections() : [];
        foreach ($databases as $name => $connection) {
            if ($connection->getRawPdo() instanceof \PDO || $connection->getRawReadPdo() instanceof \PDO) {
                return "the database '$name' is asked while the application boots";
            }
        }
        foreach ($app->resolved('redis') ? $app->make('redis')->connections() ?? [] : [] as $name => $connection) {
            return "the Redis connection '$name' is used while the application boots";
        }

        return null;
    }
}
