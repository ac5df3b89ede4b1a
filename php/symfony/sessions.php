<?php

/*
 * Sessions from one of Symfony's handlers to another: files, a table, a Redis. What is there already and younger stays,
 * so the copy may be made while both sides are in use, and be made again. The source keeps its own, which ends with its
 * lifetime: the way back is open. Data are copied as they are: every handler gets the same text from PHP.
 */

namespace Regie\Move\Symfony;

use FilesystemIterator;
use Generator;
use PDO;
use RuntimeException;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\NativeFileSessionHandler;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\PdoSessionHandler;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\RedisSessionHandler;
use Symfony\Component\HttpFoundation\Session\Storage\Handler\SessionHandlerFactory;
use Symfony\Component\HttpKernel\KernelInterface;

use function Regie\Jobs\Symfony\peek;
use function Regie\Move\progress;

/** Rows and keys are read so many at a time. */
const PAGE = 500;

/** A page of keys that match: the next cursor, then of each key its name, value and milliseconds to live. */
const SCAN = <<<'LUA'
local page = redis.call('scan', ARGV[1], 'match', ARGV[2], 'count', 500)
local out = {page[1]}
for _, key in ipairs(page[2]) do
  if redis.call('type', key).ok == 'string' then
    out[#out + 1] = {key, redis.call('get', key), redis.call('pttl', key)}
  end
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

/** A place where sessions lie. */
interface Place
{
    /** Every session: id, data, and the second when it was last used. */
    public function sessions(): Generator;

    /** Whether it was written: not where a younger one is. */
    public function keep(string $id, string $data, int $active, int $left): bool;
}

function move_sessions(KernelInterface $kernel, int $since): array
{
    $container = $kernel->getContainer();
    $options = $container->hasParameter('session.storage.options') ? $container->getParameter('session.storage.options') : [];
    $lifetime = (int) ($options['gc_maxlifetime'] ?? ini_get('session.gc_maxlifetime'));
    $source = place($kernel, (string) getenv('REGIE_MOVE_FROM'), $lifetime);
    $target = place($kernel, (string) getenv('REGIE_MOVE_TO'), $lifetime);
    $done = ['copied' => 0, 'younger' => 0, 'ended' => 0, 'unchanged' => 0];
    $seen = 0;
    foreach ($source->sessions() as [$id, $data, $active]) {
        progress(++$seen, 0);
        $left = $active + $lifetime - time();
        $done[match (true) {
            $left <= 0 => 'ended',
            $active < $since => 'unchanged',
            $target->keep($id, $data, $active, $left) => 'copied',
            default => 'younger',
        }]++;
    }

    return $done;
}

/** `file` is where the framework keeps sessions of itself; everything else is an address, as `handler_id` takes one. */
function place(KernelInterface $kernel, string $address, int $lifetime): Place
{
    $container = $kernel->getContainer();
    if ($address === 'file' || str_starts_with($address, 'file://')) {
        $folder = substr($address, 7);
        if ($folder === '' && $container->hasParameter('session.save_path')) {
            $folder = (string) $container->getParameter('session.save_path');
        }

        return new Files(in_project($kernel, $folder) ?: (session_save_path() ?: sys_get_temp_dir()));
    }
    if (!str_contains($address, '://')) {
        throw new RuntimeException("sessions of \"$address\" cannot be moved: name \"file\", or the address that framework.session.handler_id has (redis://…, mysql://…, pgsql://…, sqlite://…)");
    }
    $handler = SessionHandlerFactory::createHandler(in_project($kernel, $address));

    return match (true) {
        $handler instanceof RedisSessionHandler => new Keys($handler, $lifetime),
        $handler instanceof PdoSessionHandler => new Table($handler),
        default => throw new RuntimeException('sessions that ' . $handler::class . ' keeps cannot be listed'),
    };
}

/** A text with the container's parameters in it. */
function in_project(KernelInterface $kernel, string $text): string
{
    return str_replace(
        ['%kernel.project_dir%', '%kernel.cache_dir%', '%kernel.environment%'],
        [$kernel->getProjectDir(), $kernel->getCacheDir(), $kernel->getEnvironment()],
        $text
    );
}

/** PHP's own files, which NativeFileSessionHandler uses too. */
final class Files implements Place
{
    public function __construct(private readonly string $folder)
    {
        if (str_contains($folder, ';')) {
            throw new RuntimeException("sessions in folders of folders ($folder) cannot be moved");
        }
    }

    public function sessions(): Generator
    {
        foreach (is_dir($this->folder) ? new FilesystemIterator($this->folder) : [] as $file) {
            $name = $file->getFilename();
            // A session that ends meanwhile is not there any more.
            if (str_starts_with($name, 'sess_') && ($data = @file_get_contents($file->getPathname()))) {
                yield [substr($name, 5), $data, (int) @filemtime($file->getPathname())];
            }
        }
    }

    public function keep(string $id, string $data, int $active, int $left): bool
    {
        is_dir($this->folder) || mkdir($this->folder, 0777, true);
        $path = "$this->folder/sess_$id";
        clearstatcache(true, $path);
        if (is_file($path) && filemtime($path) >= $active) {
            return false;
        }
        // Whole or not at all: a visitor may come at this moment.
        $fresh = tempnam($this->folder, '.regie');

        return file_put_contents($fresh, $data) !== false && touch($fresh, $active) && rename($fresh, $path);
    }
}

final class Table implements Place
{
    private readonly PDO $database;
    private readonly string $table;

    /** @var array{string, string, string, string} Id, data, end and last use. */
    private readonly array $columns;

    public function __construct(PdoSessionHandler $handler)
    {
        // A first use makes the table, as a first visitor would have to find it.
        $handler->open('', '');
        $this->database = peek($handler, 'pdo');
        $this->database->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
        $this->table = peek($handler, 'table');
        $this->columns = array_map(fn (string $name): string => peek($handler, $name), ['idCol', 'dataCol', 'lifetimeCol', 'timeCol']);
        try {
            $this->database->query("SELECT 1 FROM $this->table LIMIT 1")->closeCursor();
        } catch (\PDOException) {
            $handler->createTable();
        }
    }

    public function sessions(): Generator
    {
        [$id, $data, , $time] = $this->columns;
        $last = '';
        do {
            $page = $this->database->prepare("SELECT $id, $data, $time FROM $this->table WHERE $id > ? ORDER BY $id LIMIT " . PAGE);
            $page->execute([$last]);
            $rows = $page->fetchAll(PDO::FETCH_NUM);
            foreach ($rows as [$last, $text, $active]) {
                yield [$last, is_resource($text) ? stream_get_contents($text) : $text, (int) $active];
            }
        } while (count($rows) === PAGE);
    }

    public function keep(string $id, string $data, int $active, int $left): bool
    {
        [$idCol, $dataCol, $endCol, $timeCol] = $this->columns;
        $run = function (string $sql) use ($id, $data, $active, $left): int {
            $statement = $this->database->prepare($sql);
            $statement->bindValue(':id', $id);
            $statement->bindValue(':data', $data, PDO::PARAM_LOB);
            $statement->bindValue(':end', time() + $left, PDO::PARAM_INT);
            $statement->bindValue(':active', $active, PDO::PARAM_INT);
            str_contains($sql, ':before') && $statement->bindValue(':before', $active, PDO::PARAM_INT);
            $statement->execute();

            return $statement->rowCount();
        };
        $younger = $run("UPDATE $this->table SET $dataCol = :data, $endCol = :end, $timeCol = :active WHERE $idCol = :id AND $timeCol < :before");
        if ($younger > 0) {
            return true;
        }
        try {
            return $run("INSERT INTO $this->table ($idCol, $dataCol, $endCol, $timeCol) VALUES (:id, :data, :end, :active)") > 0;
        } catch (\PDOException $e) {
            // It is there, and used no earlier.
            if (str_starts_with((string) $e->getCode(), '23')) {
                return false;
            }
            throw $e;
        }
    }
}

final class Keys implements Place
{
    private readonly object $redis;
    private readonly string $prefix;
    private readonly int $lifetime;

    public function __construct(RedisSessionHandler $handler, int $lifetime)
    {
        $this->redis = peek($handler, 'redis');
        if (str_contains($this->redis::class, 'Cluster')) {
            throw new RuntimeException('the keys of a Redis Cluster cannot be listed from one node');
        }
        $this->prefix = peek($handler, 'prefix');
        $ttl = peek($handler, 'ttl');
        $this->lifetime = is_numeric($ttl) ? (int) $ttl : $lifetime;
    }

    public function sessions(): Generator
    {
        $pattern = addcslashes($this->prefix, '*?[]\\^-') . '*';
        $cursor = '0';
        do {
            $page = $this->evaluate(SCAN, [], [$cursor, $pattern]);
            $cursor = (string) array_shift($page);
            foreach ($page as [$key, $data, $left]) {
                if ($left > 0) {
                    yield [substr($key, strlen($this->prefix)), $data, time() + intdiv((int) $left, 1000) - $this->lifetime];
                }
            }
        } while ($cursor !== '0');
    }

    public function keep(string $id, string $data, int $active, int $left): bool
    {
        return (bool) $this->evaluate(YOUNGEST, [$this->prefix . $id], [$data, $left * 1000]);
    }

    private function evaluate(string $script, array $keys, array $arguments): mixed
    {
        return $this->redis instanceof \Predis\ClientInterface
            ? $this->redis->eval($script, count($keys), ...$keys, ...$arguments)
            : $this->redis->eval($script, [...$keys, ...$arguments], count($keys));
    }
}
