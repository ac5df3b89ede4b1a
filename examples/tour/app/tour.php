<?php

declare(strict_types=1);

/*
 * What the pages of the tour share: facts about the request and the server, and the frame
 * of the page. Pages define nothing themselves, so that a worker may include them again and
 * again; all functions live here.
 */

namespace Tour;

/** The pages in the order of the menu: file name => title and one line about it. */
const PAGES = [
    'index' => ['On air', 'What is running here, and who answers.'],
    'request' => ['Request', 'What PHP was told about this request and the server.'],
    'upload' => ['Upload', 'A file on its way in, and what PHP received.'],
    'stream' => ['Stream', 'An answer that arrives while it is being made.'],
    'session' => ['Session', 'A counter that is yours alone.'],
    'store' => ['Store', 'A counter and a cache that all processes share.'],
    'job' => ['Job', 'Work that is done after the answer.'],
    'slow' => ['Slow page', 'One page waits, the others do not.'],
    'crash' => ['Crash', 'A process dies, and nobody else notices.'],
];

/** Scripts that answer data rather than a page. */
const ENDPOINTS = ['pulse', 'chunks', 'wait', 'crash-now'];

/** Requests that this process has answered in its worker loop; 0 in classic mode. */
final class Served
{
    public static int $count = 0;
}

function e(mixed $value): string
{
    return htmlspecialchars((string) $value, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

function mode(): string
{
    return Served::$count > 0 ? 'worker' : 'classic';
}

function bytes(int|float $count): string
{
    foreach (['B', 'KB', 'MB', 'GB'] as $unit) {
        if ($count < 1000 || $unit === 'GB') {
            return ($unit === 'B' || $count >= 100 ? (string) round($count) : number_format($count, 1)) . " $unit";
        }
        $count /= 1000;
    }
}

/** An ini value such as `8M` in bytes. */
function iniBytes(string $name): int
{
    $value = trim((string) ini_get($name));
    $factor = match (strtolower(substr($value, -1))) {
        'g' => 1 << 30,
        'm' => 1 << 20,
        'k' => 1 << 10,
        default => 1,
    };

    return (int) $value * $factor;
}

/** The store: Régie gives host, port and password as environment. */
function store(): \Redis
{
    $redis = new \Redis();
    $redis->connect((string) getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), 1.0);
    if ((string) getenv('REDIS_PASSWORD') !== '') {
        $redis->auth((string) getenv('REDIS_PASSWORD'));
    }

    return $redis;
}

/** What the page of the store shows; a sentence instead when there is nothing to show. */
function storeFacts(): array|string
{
    if (!class_exists(\Redis::class)) {
        return 'The PHP extension redis is not loaded: apt install php-redis, then regie restart.';
    }
    try {
        $redis = store();
        $visits = $redis->incr('tour:visits');
        $made = $redis->get('tour:cached');
        $fresh = $made === false;
        if ($fresh) {
            usleep(300_000);
            $made = date('H:i:s');
            $redis->setEx('tour:cached', 10, $made);
        }
        $heard = $redis->publish('tour:news', "visit $visits");
        $info = $redis->info();
    } catch (\RedisException $fault) {
        return 'No Redis answers: ' . $fault->getMessage();
    }

    return [
        'visits' => $visits,
        'cached' => $made,
        'fresh' => $fresh,
        'left' => $redis->ttl('tour:cached'),
        'heard' => $heard,
        'server' => isset($info['regie_version']) ? "Régie {$info['regie_version']}" : "Redis {$info['redis_version']}",
        'memory' => $info['used_memory_human'],
        'clients' => $info['connected_clients'],
    ];
}

function elapsedMs(): float
{
    return (microtime(true) - (float) ($_SERVER['REQUEST_TIME_FLOAT'] ?? microtime(true))) * 1000;
}

/** @return array{on: bool, text: string, detail: string} */
function opcache(): array
{
    $status = function_exists('opcache_get_status') ? @opcache_get_status(false) : false;
    if (!$status || empty($status['opcache_enabled'])) {
        return ['on' => false, 'text' => 'off', 'detail' => 'each request compiles its files again'];
    }
    $used = $status['memory_usage']['used_memory'];
    $total = $used + $status['memory_usage']['free_memory'] + $status['memory_usage']['wasted_memory'];

    return [
        'on' => true,
        'text' => $status['opcache_statistics']['num_cached_scripts'] . ' files ready',
        'detail' => bytes($used) . ' of ' . bytes($total) . ', shared by all workers',
    ];
}

/**
 * The CGI variables of the request, grouped. The environment is left out, and what lets
 * someone in is not shown.
 *
 * @return array<string, array<string, string>>
 */
function requestVariables(): array
{
    $groups = ['Request' => [], 'Headers' => [], 'Script' => [], 'Connection' => []];
    $known = [
        'Request' => ['REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'SERVER_PROTOCOL', 'REQUEST_SCHEME', 'HTTPS',
            'CONTENT_TYPE', 'CONTENT_LENGTH', 'REQUEST_TIME_FLOAT'],
        'Script' => ['SCRIPT_NAME', 'SCRIPT_FILENAME', 'DOCUMENT_ROOT', 'PATH_INFO', 'PHP_SELF', 'GATEWAY_INTERFACE'],
        'Connection' => ['SERVER_SOFTWARE', 'SERVER_NAME', 'SERVER_ADDR', 'SERVER_PORT', 'REMOTE_ADDR', 'REMOTE_PORT'],
    ];
    foreach ($known as $group => $names) {
        foreach ($names as $name) {
            if (isset($_SERVER[$name]) && $_SERVER[$name] !== '') {
                $groups[$group][$name] = (string) $_SERVER[$name];
            }
        }
    }
    foreach ($_SERVER as $name => $value) {
        if (str_starts_with((string) $name, 'HTTP_')) {
            $header = str_replace(' ', '-', ucwords(strtolower(str_replace('_', ' ', substr($name, 5)))));
            $secret = in_array($header, ['Cookie', 'Authorization', 'Proxy-Authorization'], true);
            $groups['Headers'][$header] = $secret ? 'present, not shown' : (string) $value;
        }
    }
    ksort($groups['Headers']);

    return array_filter($groups);
}

/** Whether the request was made by the tour's own pages, or by hand with curl. */
function sameOrigin(): bool
{
    return in_array($_SERVER['HTTP_SEC_FETCH_SITE'] ?? 'none', ['same-origin', 'none'], true);
}

function json(mixed $data, int $status = 200): void
{
    http_response_code($status);
    header('Content-Type: application/json');
    header('Cache-Control: no-store');
    echo json_encode($data, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE);
}

/** Each echo goes out at once from here on. */
function unbuffer(): void
{
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    ob_implicit_flush();
}

/** @param callable(): void $body prints the page's content */
function page(string $name, callable $body): void
{
    [$title, $lead] = PAGES[$name];
    header('Content-Type: text/html; charset=utf-8');
    header('Cache-Control: no-store');
    header("Content-Security-Policy: default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    header('Referrer-Policy: same-origin');
    header('X-Content-Type-Options: nosniff');
    require __DIR__ . '/frame.php';
}

/** The strip that keeps asking another URL and draws each answer. */
function strip(string $caption): void
{
    ?>
<section class="strip" data-strip aria-label="Live: other requests">
  <header>
    <h2><span class="lamp" aria-hidden="true"></span><?= e($caption) ?></h2>
    <p class="strip-sum" data-strip-sum>Needs JavaScript: it asks <code>/pulse.php</code> ten times a second.</p>
  </header>
  <div class="bars" data-strip-bars aria-hidden="true"></div>
</section>
<?php
}
