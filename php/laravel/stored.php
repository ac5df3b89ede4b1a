<?php

/*
 * Sessions and cached values from one driver to another, through the application's own drivers: keys, prefixes,
 * serialization and compression are theirs. What is there already and younger stays, so the copy may be made while both
 * sides are in use, and be made again. The source keeps its own, which ends with its lifetime: the way back is open.
 */

namespace Regie\Move\Laravel;

use Generator;
use Illuminate\Cache\DatabaseStore;
use Illuminate\Cache\FileStore;
use Illuminate\Cache\RedisStore;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Redis\Connections\Connection;
use Illuminate\Session\CacheBasedSessionHandler;
use Illuminate\Session\DatabaseSessionHandler;
use Illuminate\Session\FileSessionHandler;
use ReflectionProperty;
use RuntimeException;
use SessionHandlerInterface;

use function Regie\Move\progress;

/** A moment that is no moment: as far away as a value that is kept for ever. */
const FOR_EVER = 5 * 365 * 86400;

/** Rows and keys are read so many at a time. */
const PAGE = 500;

/** A page of keys that match: the next cursor, then of each key its name, kind, value and milliseconds to live. */
const SCAN = <<<'LUA'
local page = redis.call('scan', ARGV[1], 'match', ARGV[2], 'count', 500)
local out = {page[1]}
for _, key in ipairs(page[2]) do
  local kind = redis.call('type', key).ok
  local value = ''
  if kind == 'string' then value = redis.call('get', key) end
  out[#out + 1] = {key, kind, value, redis.call('pttl', key)}
end
return out
LUA;

/** Writes unless what is there lives longer, which is to say: was used later. */
const YOUNGEST = <<<'LUA'
local left = redis.call('pttl', KEYS[1])
if left == -1 or left >= tonumber(ARGV[2]) then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
LUA;

/** Writes unless something is there. */
const ABSENT = <<<'LUA'
if redis.call('exists', KEYS[1]) == 1 then return 0 end
if tonumber(ARGV[2]) < 0 then redis.call('set', KEYS[1], ARGV[1])
else redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2]) end
return 1
LUA;

function move_sessions(Application $app, string $from, string $to, int $since): array
{
    [$source, $target] = [session_handler($app, $from), session_handler($app, $to)];
    $lifetime = 60 * (int) $app->make('config')->get('session.lifetime');
    $done = ['copied' => 0, 'younger' => 0, 'ended' => 0, 'unchanged' => 0];
    $seen = 0;
    foreach (sessions_of($app, $source, $from, $lifetime) as [$id, $data, $active]) {
        progress(++$seen, 0);
        $left = $active + $lifetime - time();
        $done[match (true) {
            $left <= 0 => 'ended',
            $active < $since => 'unchanged',
            keep_session($app, $target, $id, $data, $active, $left) => 'copied',
            default => 'younger',
        }]++;
    }

    return $done;
}

function session_handler(Application $app, string $driver): SessionHandlerInterface
{
    if (in_array($driver, ['cookie', 'array', 'null'], true)) {
        $where = $driver === 'cookie' ? 'in the visitors\' browsers' : 'nowhere';
        throw new RuntimeException("sessions of the driver \"$driver\" lie $where, so there is nothing that could be moved");
    }
    $handler = $app->make('session')->driver($driver)->getHandler();
    $redis = $handler instanceof CacheBasedSessionHandler && $handler->getCache()->getStore() instanceof RedisStore;
    if (!$redis && !$handler instanceof FileSessionHandler && !$handler instanceof DatabaseSessionHandler) {
        throw new RuntimeException("sessions of the driver \"$driver\" cannot be listed; file, database and redis can");
    }

    return $handler;
}

/** Every session: id, data, and the second when it was last used. */
function sessions_of(Application $app, SessionHandlerInterface $handler, string $driver, int $lifetime): Generator
{
    $is_id = static fn (string $id): bool => strlen($id) === 40 && ctype_alnum($id);
    if ($handler instanceof FileSessionHandler) {
        $folder = $app->make('config')->get('session.files');
        foreach (is_dir($folder) ? new \FilesystemIterator($folder) : [] as $file) {
            // A session that ends meanwhile is not there any more.
            if ($is_id($file->getFilename()) && ($data = @file_get_contents($file->getPathname())) !== false) {
                yield [$file->getFilename(), $data, (int) @filemtime($file->getPathname())];
            }
        }

        return;
    }
    if ($handler instanceof DatabaseSessionHandler) {
        $last = '';
        do {
            $rows = session_table($app)->where('id', '>', $last)->orderBy('id')->limit(PAGE)->get();
            foreach ($rows as $row) {
                $last = $row->id;
                yield [$row->id, base64_decode($row->payload), (int) $row->last_activity];
            }
        } while (count($rows) === PAGE);

        return;
    }
    $store = $handler->getCache()->getStore();
    foreach (keys($store->connection(), $store->getPrefix()) as [$id, $kind, $value, $left]) {
        if ($kind === 'string' && $left > 0 && $is_id($id)) {
            $data = @unserialize($value, ['allowed_classes' => false]);
            if (is_string($data)) {
                yield [$id, $data, time() + intdiv($left, 1000) - $lifetime];
            }
        }
    }
}

function session_table(Application $app): mixed
{
    $config = $app->make('config')->get('session');

    return $app->make('db')->connection($config['connection'] ?? null)->table($config['table']);
}

/** Whether it was written: not where a younger one is. */
function keep_session(Application $app, SessionHandlerInterface $handler, string $id, string $data, int $active, int $left): bool
{
    if ($handler instanceof FileSessionHandler) {
        $path = $app->make('config')->get('session.files') . '/' . $id;
        clearstatcache(true, $path);
        if (is_file($path) && filemtime($path) >= $active) {
            return false;
        }
        $handler->write($id, $data);

        return touch($path, $active);
    }
    if ($handler instanceof DatabaseSessionHandler) {
        $row = ['payload' => base64_encode($data), 'last_activity' => $active];

        return session_table($app)->where('id', $id)->where('last_activity', '<', $active)->update($row) > 0
            || session_table($app)->insertOrIgnore(['id' => $id] + $row) > 0;
    }
    $store = $handler->getCache()->getStore();

    return (bool) evaluate($store->connection(), YOUNGEST, [$store->getPrefix() . $id], [serialize($data), $left * 1000]);
}

/** Fails with what keeps values from being moved. */
function look_at_caches(Application $app, string $from, string $to): array
{
    if (cache_store($app, $from) instanceof FileStore) {
        throw new RuntimeException('a file store keeps a hash of each key and not the key, so its values cannot be moved');
    }
    foreach ([$from, $to] as $name) {
        cache_store($app, $name)->get('regie-probe');
    }

    return [];
}

function move_cache(Application $app, string $from, string $to): array
{
    look_at_caches($app, $from, $to);
    [$source, $target] = [cache_store($app, $from), cache_store($app, $to)];
    $done = ['copied' => 0, 'there' => 0, 'locks' => 0, 'ended' => 0, 'tagged' => 0, 'unreadable' => 0];
    $seen = 0;
    foreach (cached_in($app, $source, $from) as [$key, $kind, $value, $left]) {
        progress(++$seen, 0);
        $what = match (true) {
            $left !== null && $left <= 0 => 'ended',
            // Which keys belong to a tag is written elsewhere: without it a cleared tag would not find them.
            $kind === 'tagged' => 'tagged',
            $kind === 'lock' => keep_lock($app, $target, $to, $key, $value, $left) ? 'locks' : 'there',
            is_readable_value($value) => keep_value($target, $key, $value, $left) ? 'copied' : 'there',
            default => 'unreadable',
        };
        $done[$what]++;
    }

    return $done;
}

function cache_store(Application $app, string $name): object
{
    $store = $app->make('cache')->store($name)->getStore();
    if (!$store instanceof RedisStore && !$store instanceof DatabaseStore && !$store instanceof FileStore) {
        throw new RuntimeException("the cache store \"$name\" cannot be listed; those with the drivers database and redis can");
    }

    return $store;
}

/** Every value: key without prefix, kind, value as PHP serializes it, and seconds to live; none for ever. */
function cached_in(Application $app, object $store, string $name): Generator
{
    if ($store instanceof DatabaseStore) {
        return yield from cached_in_table($app, $store, $name);
    }
    $tagged = static fn (string $key): bool => preg_match('/^[0-9a-f]{40}:|^tag:/', $key) === 1;
    foreach (keys($store->connection(), $store->getPrefix()) as [$key, $kind, $value, $left]) {
        $seconds = $left < 0 ? null : intdiv($left + 999, 1000);
        if ($kind !== 'string' || $tagged($key)) {
            yield [$key, 'tagged', '', $seconds];
        } elseif (is_numeric($value)) {
            yield [$key, 'value', serialize($value), $seconds];
        } else {
            yield [$key, is_readable_value($value) ? 'value' : 'lock', $value, $seconds];
        }
    }
}

function cached_in_table(Application $app, DatabaseStore $store, string $name): Generator
{
    $prefix = $store->getPrefix();
    $bare = static fn (string $key): ?string => str_starts_with($key, $prefix) ? substr($key, strlen($prefix)) : null;
    $config = $app->make('config')->get("cache.stores.$name");
    foreach ([$config['table'] ?? 'cache', lock_table($config)] as $at => $table) {
        $last = '';
        // The table of locks came with Laravel 8.
        $there = $store->getConnection()->getSchemaBuilder()->hasTable($table);
        while ($there) {
            $rows = $store->getConnection()->table($table)->where('key', '>', $last)->orderBy('key')->limit(PAGE)->get();
            foreach ($rows as $row) {
                $last = $row->key;
                $left = $row->expiration - time();
                if (($key = $bare($row->key)) !== null) {
                    $value = $at === 0 ? plain($row->value) : $row->owner;
                    yield [$key, $at === 0 ? 'value' : 'lock', $value, $left > FOR_EVER ? null : $left];
                }
            }
            $there = count($rows) === PAGE;
        }
    }
}

function lock_table(array $config): string
{
    return $config['lock_table'] ?? 'cache_locks';
}

/** What a table of PostgreSQL holds of a value with zero bytes is in base 64. */
function plain(string $value): string
{
    return strpbrk($value, ':;') === false ? (string) base64_decode($value) : $value;
}

function is_readable_value(string $value): bool
{
    // Objects are not made: their classes are the application's business.
    return $value === 'b:0;' || @unserialize($value, ['allowed_classes' => false]) !== false;
}

/** Whether it was written: not where something is. */
function keep_value(object $store, string $key, string $value, ?int $left): bool
{
    if ($store instanceof RedisStore) {
        // Numbers lie there as they are, so that they can be counted up.
        $made = @unserialize($value, ['allowed_classes' => false]);
        $written = is_numeric($made) && !is_infinite((float) $made) && !is_nan((float) $made) ? (string) $made : $value;
        $milliseconds = $left === null ? -1 : $left * 1000;

        return (bool) evaluate($store->connection(), ABSENT, [$store->getPrefix() . $key], [$written, $milliseconds]);
    }
    if ($store instanceof DatabaseStore) {
        $pgsql = $store->getConnection()->getDriverName() === 'pgsql' && str_contains($value, "\0");
        $row = ['key' => $store->getPrefix() . $key, 'value' => $pgsql ? base64_encode($value) : $value,
            'expiration' => time() + ($left ?? 315360000)];
        $table = $store->getConnection()->table(peek($store, 'table'));
        (clone $table)->where('key', $row['key'])->where('expiration', '<=', time())->delete();

        return $table->insertOrIgnore($row) > 0;
    }
    if ($store->get($key) !== null) {
        return false;
    }
    $made = unserialize($value);

    return $left === null ? $store->forever($key, $made) : $store->put($key, $made, $left);
}

/** Locks hold what is unique or must not overlap: a job that waits keeps its own on the way. */
function keep_lock(Application $app, object $store, string $name, string $key, string $owner, ?int $left): bool
{
    if ($store instanceof RedisStore) {
        $connection = method_exists($store, 'lockConnection') ? $store->lockConnection() : $store->connection();
        $milliseconds = $left === null ? -1 : $left * 1000;

        return (bool) evaluate($connection, ABSENT, [$store->getPrefix() . $key], [$owner, $milliseconds], false);
    }
    if ($store instanceof DatabaseStore) {
        $config = $app->make('config')->get("cache.stores.$name");
        $row = ['key' => $store->getPrefix() . $key, 'owner' => $owner, 'expiration' => time() + ($left ?? 86400)];
        $table = $store->getConnection()->table(lock_table($config));
        (clone $table)->where('key', $row['key'])->where('expiration', '<=', time())->delete();

        return $table->insertOrIgnore($row) > 0;
    }

    return false;
}

/** Every key of a Redis that begins with `$prefix`: its name without it, kind, value and milliseconds to live. */
function keys(Connection $connection, string $prefix): Generator
{
    if (str_contains($connection::class, 'Cluster')) {
        throw new RuntimeException('the keys of a Redis Cluster cannot be listed from one node');
    }
    $whole = client_prefix($connection) . $prefix;
    $pattern = addcslashes($whole, '*?[]\\^-') . '*';
    $cursor = '0';
    do {
        $page = evaluate($connection, SCAN, [], [$cursor, $pattern]);
        $cursor = (string) array_shift($page);
        foreach ($page as [$key, $kind, $value, $left]) {
            yield [substr($key, strlen($whole)), $kind, unpacked($connection, $value), (int) $left];
        }
    } while ($cursor !== '0');
}

/** What the client puts before each key. */
function client_prefix(Connection $connection): string
{
    $client = $connection->client();
    if ($client instanceof \Redis) {
        return (string) $client->getOption(\Redis::OPT_PREFIX);
    }
    $prefix = $client->getOptions()->prefix;

    return is_object($prefix) ? $prefix->getPrefix() : (string) $prefix;
}

/** Runs a script. The first argument is a value that the client packs as it packs what it writes itself. */
function evaluate(Connection $connection, string $script, array $keys, array $arguments, bool $packs = true): mixed
{
    $client = $connection->client();
    if ($packs && $keys && $client instanceof \Redis && method_exists($client, '_pack')) {
        $arguments[0] = $client->_pack($arguments[0]);
    }

    return $connection->eval($script, count($keys), ...$keys, ...$arguments);
}

function unpacked(Connection $connection, string $value): string
{
    $client = $connection->client();

    return $value !== '' && $client instanceof \Redis && method_exists($client, '_unpack')
        ? (string) $client->_unpack($value) : $value;
}

function peek(object $object, string $name): mixed
{
    $property = new ReflectionProperty($object, $name);
    $property->setAccessible(true);

    return $property->getValue($object);
}
