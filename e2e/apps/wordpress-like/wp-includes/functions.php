<?php

/** Which server WordPress thinks it runs behind: this decides whether permalinks need index.php in them. */
function server_kind(): string
{
    $software = $_SERVER['SERVER_SOFTWARE'] ?? '';

    return match (true) {
        str_contains($software, 'Apache') || str_contains($software, 'LiteSpeed') => 'apache',
        str_contains($software, 'nginx') => 'nginx',
        default => 'other',
    };
}

function site_url(string $path = '/'): string
{
    return (($_SERVER['HTTPS'] ?? '') === 'on' ? 'https' : 'http') . '://' . $_SERVER['HTTP_HOST'] . $path;
}

/** Asks the site itself to run due events. Like WordPress, it does not wait for the answer. */
function spawn_cron(): void
{
    $file = ABSPATH . 'wp-content/cron.json';
    $cron = json_decode((string) @file_get_contents($file), true) ?: ['spawned' => 0, 'ran' => 0];
    if (($_SERVER['REQUEST_URI'] ?? '') === '/wp-cron.php' || !isset($_GET['due'])) {
        return;
    }
    $cron['spawned']++;
    file_put_contents($file, json_encode($cron), LOCK_EX);

    $request = curl_init(site_url('/wp-cron.php?doing_wp_cron=' . microtime(true)));
    curl_setopt_array($request, [
        CURLOPT_POST => true,
        CURLOPT_POSTFIELDS => '',
        CURLOPT_TIMEOUT_MS => 10,
        CURLOPT_NOSIGNAL => true,
        CURLOPT_RETURNTRANSFER => true,
    ]);
    curl_exec($request);
    curl_close($request);
}

/** The site health's loopback test: a request to the site itself that waits for the answer. */
function can_perform_loopback(float $timeout = 10): array
{
    $request = curl_init(site_url('/wp-cron.php?loopback=1'));
    curl_setopt_array($request, [
        CURLOPT_TIMEOUT_MS => (int) ($timeout * 1000),
        CURLOPT_NOSIGNAL => true,
        CURLOPT_RETURNTRANSFER => true,
    ]);
    $start = microtime(true);
    $body = curl_exec($request);
    $result = [
        'status' => curl_getinfo($request, CURLINFO_RESPONSE_CODE),
        'seconds' => round(microtime(true) - $start, 3),
        'error' => curl_error($request),
        'body' => is_string($body) ? trim($body) : null,
    ];
    curl_close($request);

    return $result;
}
