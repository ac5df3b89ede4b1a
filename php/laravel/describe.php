<?php

namespace Regie\Jobs\Laravel;

use Illuminate\Contracts\Foundation\Application;
use Illuminate\Support\ConfigurationUrlParser;
use Illuminate\Support\Str;

/** What the application's configuration says about its queues, with everything needed to reach their servers. */
function describe(Application $app): array
{
    $config = $app->make('config');
    $connections = [];
    foreach ($config->get('queue.connections', []) as $name => $connection) {
        $connections[$name] = match ($connection['driver'] ?? null) {
            'redis' => redis($app, $connection),
            'database' => database($app, $connection),
            default => ['driver' => $connection['driver'] ?? 'null', 'queue' => $connection['queue'] ?? null],
        };
    }
    $store = $config->get('cache.default') ?? $config->get('cache.store');
    $cache = $config->get("cache.stores.$store", []);

    $told = [
        'framework' => 'laravel',
        'version' => $app->version(),
        'env' => $app->environment(),
        'default' => $config->get('queue.default'),
        'connections' => (object) $connections,
        'failed' => failed($app),
        'horizon' => horizon($app),
        'cache' => [
            'store' => $store,
            'driver' => $cache['driver'] ?? null,
            // Redis prefixes each key with the connection's own prefix as well.
            'prefix' => $config->get('cache.prefix'),
            'server' => ($cache['driver'] ?? null) === 'redis' ? server($app, $cache['connection'] ?? 'default') : null,
        ],
        'timezone' => $config->get('app.timezone'),
        'down_file' => $app->storagePath() . '/framework/down',
    ];

    return $told + ['fingerprint' => md5(json_encode($told, JSON_PARTIAL_OUTPUT_ON_ERROR))];
}

function redis(Application $app, array $connection): array
{
    return [
        'driver' => 'redis',
        'queue' => $connection['queue'] ?? 'default',
        'retry_after' => array_key_exists('retry_after', $connection) ? $connection['retry_after'] : 60,
        'block_for' => $connection['block_for'] ?? null,
        'after_commit' => $connection['after_commit'] ?? false,
        'migration_batch_size' => $connection['migration_batch_size'] ?? -1,
        'server' => server($app, $connection['connection'] ?? 'default'),
    ];
}

/** Where a Redis connection leads, as the client that the application has chosen would go there. */
function server(Application $app, string $name): ?array
{
    $all = $app->make('config')->get('database.redis', []);
    $cluster = isset($all['clusters'][$name]);
    $nodes = $cluster ? array_values($all['clusters'][$name]) : [$all[$name] ?? null];
    if (!is_array($nodes[0] ?? null)) {
        return null;
    }
    $parser = new ConfigurationUrlParser();
    $shared = array_merge($all['options'] ?? [], $all['clusters']['options'] ?? []);
    $parsed = array_map(static function (array $node) use ($parser, $shared): array {
        $driver = $node['driver'] ?? null;
        $node = $parser->parseConfiguration($node);
        $scheme = strtolower($driver ?? $node['driver'] ?? $node['scheme'] ?? '');
        $host = (string) ($node['host'] ?? '127.0.0.1');
        if (preg_match('#^(tcp|tls|rediss?|unix)://(.*)$#', $host, $parts)) {
            [, $scheme, $host] = $parts;
        }
        $path = $node['path'] ?? (str_starts_with($host, '/') ? $host : null);
        $options = array_merge($shared, $node['options'] ?? []);

        return [
            'scheme' => match (true) {
                $path !== null => 'unix',
                in_array($scheme, ['tls', 'rediss'], true) => 'tls',
                default => 'tcp',
            },
            'host' => $path === null ? $host : null,
            'port' => $path === null ? (int) ($node['port'] ?? 6379) : null,
            'path' => $path,
            'username' => $node['username'] ?? null,
            'password' => ($node['password'] ?? '') === '' ? null : (string) $node['password'],
            'database' => (int) ($node['database'] ?? 0),
            'prefix' => (string) ($node['prefix'] ?? $options['prefix'] ?? ''),
            'serializer' => $node['serializer'] ?? $options['serializer'] ?? null,
            'compression' => $node['compression'] ?? $options['compression'] ?? null,
        ];
    }, array_values(array_filter($nodes, is_array(...))));

    return $parsed[0] + ['client' => $all['client'] ?? 'phpredis', 'cluster' => $cluster]
        + ($cluster ? ['nodes' => $parsed] : []);
}

function database(Application $app, array $connection): array
{
    return [
        'driver' => 'database',
        'table' => $connection['table'] ?? 'jobs',
        'queue' => $connection['queue'] ?? 'default',
        'retry_after' => $connection['retry_after'] ?? 60,
        'after_commit' => $connection['after_commit'] ?? false,
        'database' => connection($app, $connection['connection'] ?? null),
    ];
}

/** The values of a database connection. */
function connection(Application $app, ?string $name): ?array
{
    $config = $app->make('config');
    $name ??= $config->get('database.default');
    $found = $config->get("database.connections.$name");
    if (!is_array($found)) {
        return null;
    }
    $found = (new ConfigurationUrlParser())->parseConfiguration($found);
    $told = ['driver', 'host', 'port', 'database', 'username', 'password', 'unix_socket', 'prefix', 'charset',
        'search_path', 'schema', 'sslmode'];

    return ['name' => $name] + array_intersect_key($found, array_flip($told));
}

function failed(Application $app): array
{
    $failed = $app->make('config')->get('queue.failed', []);
    $driver = $failed['driver'] ?? (isset($failed['table']) ? 'database' : 'null');
    if (in_array($driver, ['database', 'database-uuids'], true)) {
        return ['driver' => $driver, 'table' => $failed['table'] ?? 'failed_jobs',
            'database' => connection($app, $failed['database'] ?? null)];
    }

    return ['driver' => $driver] + array_intersect_key($failed, ['path' => 1]);
}

/** Whether Horizon is installed, and the supervisors that its configuration, if there is any, has for this environment. */
function horizon(Application $app): array
{
    $installed = class_exists('Laravel\Horizon\Horizon');
    $config = $app->make('config');
    if (!$installed && !$config->has('horizon.environments')) {
        return ['installed' => false];
    }
    $defaults = $config->get('horizon.defaults', []);
    $supervisors = [];
    foreach ($config->get('horizon.environments', []) as $environment => $given) {
        if (Str::is($environment, $config->get('horizon.env') ?? $app->environment())) {
            $supervisors = array_replace_recursive($defaults, $given);
            break;
        }
    }
    $told = ['connection', 'queue', 'balance', 'minProcesses', 'maxProcesses', 'processes', 'tries', 'timeout', 'memory',
        'backoff', 'maxTime', 'maxJobs', 'nice', 'force'];

    return [
        'installed' => $installed,
        'prefix' => $config->get('horizon.prefix'),
        'supervisors' => (object) array_map(
            static fn (array $given): array => array_intersect_key($given, array_flip($told)),
            $supervisors,
        ),
    ];
}
