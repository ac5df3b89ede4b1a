<?php

namespace Regie\Jobs\Laravel;

use Closure;
use Illuminate\Bus\Dispatcher;
use Illuminate\Container\Container;
use Illuminate\Contracts\Bus\Dispatcher as BusDispatcher;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Log\Logger;
use Illuminate\Log\LogManager;
use Illuminate\Queue\CallQueuedHandler;
use Illuminate\Support\Facades\Facade;
use PhpToken;
use ReflectionFunction;
use ReflectionMethod;
use ReflectionNamedType;

/**
 * What Laravel's worker puts back before each job: the log's context, the times of queries, scoped instances, facades.
 *
 * Laravel does it with a closure that asks the container for everything it may have to put back, which takes as long as
 * half a short job. Where every name that this closure uses is known, the same is done here without asking for what is
 * not there; where one is not, the closure itself is called.
 */
final class Scope
{
    /** Every word of the closure in Laravel 8 to 13. */
    private const KNOWN = [
        'method_exists', 'driver', 'withoutContext', 'flushSharedContext', 'getConnections', 'resetTotalQueryDuration',
        'allowQueryDurationHandlersToRunAgain', 'forgetScopedInstances', 'Facade', 'clearResolvedInstances',
    ];

    /** Variables and keys of it. */
    private const KNOWN_VALUES = ['$app', '$connection', '$this', "'log'", "'db'", "'withoutContext'", "'getConnections'"];

    /** @var array<string, int> The words that are in it; null when it has others, too. */
    private readonly ?array $words;

    /** Reads a singleton that is there already. */
    private readonly Closure $instance;

    /** Whether a log manager has something to forget. */
    private readonly Closure $hasContext;

    public function __construct(private readonly Application $app, private readonly Closure $reset)
    {
        $this->words = self::words($reset);
        $this->instance = Closure::bind(fn (string $name) => $this->instances[$name] ?? null, $app, Container::class);
        $context = Closure::bind(static fn (Logger $logger): bool => (bool) $logger->context, null, Logger::class);
        $this->hasContext = Closure::bind(static function (LogManager $log) use ($context): bool {
            foreach ($log->channels as $channel) {
                if (!$channel instanceof Logger || $context($channel)) {
                    return true;
                }
            }

            return isset($log->sharedContext) && $log->sharedContext;
        }, null, LogManager::class);
    }

    public function __invoke(): void
    {
        $log = $this->words === null ? null : ($this->instance)('log');
        if ($this->words === null || $log && ($log::class !== LogManager::class || ($this->hasContext)($log))) {
            ($this->reset)();

            return;
        }
        if (isset($this->words['resetTotalQueryDuration']) && $db = ($this->instance)('db')) {
            foreach (method_exists($db, 'getConnections') ? $db->getConnections() : [] as $connection) {
                $connection->resetTotalQueryDuration();
                $connection->allowQueryDurationHandlersToRunAgain();
            }
        }
        isset($this->words['forgetScopedInstances']) && $this->app->forgetScopedInstances();
        isset($this->words['clearResolvedInstances']) && Facade::clearResolvedInstances();
    }

    /** @return array<string, int>|null */
    private static function words(Closure $closure): ?array
    {
        $function = new ReflectionFunction($closure);
        $lines = is_file((string) $function->getFileName()) ? file($function->getFileName()) : [];
        $source = implode(array_slice($lines, $function->getStartLine() - 1, $function->getEndLine() - $function->getStartLine() + 1));
        $words = [];
        foreach (class_exists(PhpToken::class) ? PhpToken::tokenize("<?php $source") : [] as $token) {
            if ($token->is(T_STRING)) {
                $words[$token->text] = 1;
            } elseif ($token->is([T_VARIABLE, T_CONSTANT_ENCAPSED_STRING])) {
                // `$resetScope` is what it is assigned to.
                if (!in_array($token->text, self::KNOWN_VALUES, true) && $token->text !== '$resetScope') {
                    return null;
                }
            } elseif ($token->is([T_NAME_QUALIFIED, T_NAME_FULLY_QUALIFIED, T_NEW, T_EVAL, T_INCLUDE, T_REQUIRE])) {
                return null;
            }
        }
        $paired = isset($words['resetTotalQueryDuration']) === isset($words['allowQueryDurationHandlersToRunAgain']);

        return $words && $paired && !array_diff(array_keys($words), self::KNOWN) ? $words : null;
    }
}

/**
 * Makes what Laravel's payloads name as their job, `CallQueuedHandler`, as the container would, without reflection each
 * time. Where the application has its own ideas about that class, the container is asked.
 */
final class Handlers
{
    /** Whether the container would do nothing but call the constructor. */
    private readonly ?Closure $isPlain;
    private readonly Closure $bus;

    public function __construct(private readonly Container $container)
    {
        $properties = [
            'bindings', 'instances', 'aliases', 'extenders', 'contextual', 'globalBeforeResolvingCallbacks',
            'globalResolvingCallbacks', 'globalAfterResolvingCallbacks', 'beforeResolvingCallbacks', 'resolvingCallbacks',
            'afterResolvingCallbacks',
        ];
        $known = !array_filter($properties, fn (string $name): bool => !property_exists(Container::class, $name));
        $this->isPlain = !$known || !self::isKnown() ? null : Closure::bind(
            fn (): bool => !isset($this->bindings[CallQueuedHandler::class])
                && !isset($this->instances[CallQueuedHandler::class])
                && !isset($this->aliases[CallQueuedHandler::class])
                && !isset($this->extenders[CallQueuedHandler::class])
                && !isset($this->contextual[CallQueuedHandler::class])
                && !isset($this->beforeResolvingCallbacks[CallQueuedHandler::class])
                && !isset($this->resolvingCallbacks[CallQueuedHandler::class])
                && !isset($this->afterResolvingCallbacks[CallQueuedHandler::class])
                && !$this->globalBeforeResolvingCallbacks
                && !$this->globalResolvingCallbacks
                && !$this->globalAfterResolvingCallbacks,
            $container,
            Container::class,
        );
        $this->bus = Closure::bind(
            fn () => ($this->aliases[BusDispatcher::class] ?? null) === Dispatcher::class
                ? $this->instances[Dispatcher::class] ?? null
                : null,
            $container,
            Container::class,
        );
    }

    public function make(string $class): object
    {
        if ($class !== CallQueuedHandler::class || !$this->isPlain || !($this->isPlain)()) {
            return $this->container->make($class);
        }
        $bus = ($this->bus)() ?? $this->container->make(BusDispatcher::class);

        return new CallQueuedHandler($bus, $this->container);
    }

    private static function isKnown(): bool
    {
        $types = array_map(
            fn ($parameter) => $parameter->getType() instanceof ReflectionNamedType ? $parameter->getType()->getName() : '',
            (new ReflectionMethod(CallQueuedHandler::class, '__construct'))->getParameters(),
        );

        return $types === [BusDispatcher::class, \Illuminate\Contracts\Container\Container::class];
    }
}
