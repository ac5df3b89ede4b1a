<?php

namespace Regie\Jobs\Symfony;

use Closure;
use ReflectionFunction;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\HttpKernel\Kernel;
use Throwable;

/** What the application's configuration says about its transports, with everything needed to reach their servers. */
function describe(Command $command): array
{
    $transports = [];
    foreach (peek($command, 'receiverNames') ?? [] as $name) {
        try {
            $transports[$name] = transport(peek($command, 'receiverLocator')->get($name));
        } catch (Throwable $e) {
            // A server that is down is met here where a transport is not lazy.
            $transports[$name] = ['driver' => 'unknown', 'error' => $e->getMessage()];
        }
    }
    $failed = command($command->getApplication(), 'messenger:failed:show');

    return fingerprint($command) + [
        'framework' => 'symfony',
        'version' => Kernel::VERSION,
        'env' => $_SERVER['APP_ENV'],
        'transports' => (object) $transports,
        'failure_transport' => $failed ? peek($failed, 'globalFailureReceiverName', 'globalReceiverName') : null,
        'buses' => array_values(peek($command, 'busIds') ?? []),
        'timezone' => date_default_timezone_get(),
    ];
}

/**
 * Changes when transports come or go, or lead elsewhere. What a transport says of itself is left out: it may depend on
 * whether its server is there.
 */
function fingerprint(Command $command): array
{
    $addresses = array_filter($_ENV + $_SERVER, static fn ($value): bool => is_string($value) && str_contains($value, '://'));
    ksort($addresses);

    return ['fingerprint' => md5(json_encode([peek($command, 'receiverNames'), $addresses], JSON_PARTIAL_OUTPUT_ON_ERROR))];
}

function transport(object $transport): array
{
    $connection = peek($transport, 'connection');

    return match ($transport::class) {
        'Symfony\Component\Messenger\Bridge\Redis\Transport\RedisTransport' => ['driver' => 'redis'] + stream($connection),
        'Symfony\Component\Messenger\Bridge\Doctrine\Transport\DoctrineTransport' => ['driver' => 'doctrine'] + table($connection),
        'Symfony\Component\Messenger\Transport\Sync\SyncTransport' => ['driver' => 'sync'],
        default => ['driver' => strtolower(preg_replace('/Transport$/', '', (string) strrchr('\\' . $transport::class, '\\'))),
            'class' => $transport::class],
    };
}

function stream(object $connection): array
{
    $stream = peek($connection, 'stream');

    return [
        'stream' => $stream,
        'delayed' => peek($connection, 'queue') ?? "{$stream}__queue",
        'group' => peek($connection, 'group'),
        'consumer' => peek($connection, 'consumer'),
        'auto_setup' => peek($connection, 'autoSetup'),
        'delete_after_ack' => peek($connection, 'deleteAfterAck'),
        'delete_after_reject' => peek($connection, 'deleteAfterReject'),
        'stream_max_entries' => peek($connection, 'maxEntries'),
        'redeliver_timeout' => (int) (peek($connection, 'redeliverTimeout') / 1000),
        'claim_interval' => (int) (peek($connection, 'claimInterval') * 1000),
        'server' => server($connection),
    ];
}

/** Where a connection leads; from the client when it is connected, else from what it is to be made with. */
function server(object $connection): ?array
{
    $client = peek($connection, 'redis', 'connection');
    if (is_object($client) && !$client instanceof Closure && ($lazy = peek($client, 'initializer'))) {
        $client = peek($client, 'ready') ? peek($client, 'redis') : $lazy;
    }
    if ($client instanceof Closure) {
        $given = (new ReflectionFunction($client))->getStaticVariables();
        $given += is_array($given['params'] ?? null) ? $given['params'] : [];
        $host = $given['host'] ?? '127.0.0.1';
        $cluster = is_array($host) || isset($given['hosts']);
        $parts = [
            $cluster ? null : $host, $given['port'] ?? 6379, $given['auth'] ?? null,
            $given['dbIndex'] ?? $given['dbindex'] ?? 0, $given['serializer'] ?? 1,
        ];
    } elseif ($client instanceof \Redis) {
        $cluster = false;
        $parts = [$client->getHost(), $client->getPort(), $client->getAuth(), $client->getDBNum(),
            $client->getOption(\Redis::OPT_SERIALIZER)];
    } else {
        return null;
    }
    [$host, $port, $auth, $database, $serializer] = $parts;
    $auth = is_array($auth) ? array_values($auth) : ($auth === null || $auth === false || $auth === '' ? [] : [$auth]);
    $unix = is_string($host) && str_starts_with($host, '/');

    return [
        'scheme' => $unix ? 'unix' : (is_string($host) && str_starts_with($host, 'tls://') ? 'tls' : 'tcp'),
        'host' => $unix ? null : preg_replace('#^tls://#', '', (string) $host),
        'port' => $unix ? null : (int) $port,
        'path' => $unix ? $host : null,
        'username' => count($auth) > 1 ? $auth[0] : null,
        'password' => $auth ? (string) end($auth) : null,
        'database' => (int) $database,
        // 1 = PHP's, on the value of each field: `s:LENGTH:"{…}";`
        'serializer' => (int) $serializer,
        'cluster' => $cluster,
    ];
}

function table(object $connection): array
{
    $configuration = $connection->getConfiguration();
    $driver = peek($connection, 'driverConnection');
    $told = ['driver', 'host', 'port', 'user', 'password', 'dbname', 'path', 'memory', 'unix_socket', 'charset', 'url'];

    return [
        'table_name' => $configuration['table_name'],
        'queue_name' => $configuration['queue_name'],
        'redeliver_timeout' => $configuration['redeliver_timeout'],
        'auto_setup' => $configuration['auto_setup'],
        'class' => $connection::class,
        'database' => array_intersect_key($driver->getParams(), array_flip($told)),
    ];
}
