<?php

declare(strict_types=1);

/*
 * The tour in worker mode: loaded once, then one turn of the loop per request. The pages are
 * the same files that classic mode serves.
 */

namespace Tour;

require_once __DIR__ . '/app/tour.php';

$handler = static function (): void {
    Served::$count++;
    $path = parse_url($_SERVER['REQUEST_URI'] ?? '/', PHP_URL_PATH);
    $name = $path === '/' ? 'index' : basename((string) $path, '.php');
    if ((isset(PAGES[$name]) || in_array($name, ENDPOINTS, true)) && in_array($path, ['/', "/$name.php"], true)) {
        require __DIR__ . "/public/$name.php";
    } else {
        http_response_code(404);
        header('Content-Type: text/plain');
        echo "Not found.\n";
    }
};

$left = (int) (getenv('MAX_REQUESTS') ?: 1000);
while ($left-- > 0 && frankenphp_handle_request($handler)) {
    gc_collect_cycles();
}
