<?php // The calls that Laravel Octane's worker script makes, in its order: refuses to run elsewhere, boots at the first request,
// answers 500 by itself when the application throws, ends after MAX_REQUESTS, and then terminates.
if (empty($_SERVER['FRANKENPHP_WORKER']) || !function_exists('frankenphp_handle_request')) {
    echo 'FrankenPHP must be in worker mode to use this script.';
    exit(1);
}
ignore_user_abort(true);

final class Worker
{
    public int $handled = 0;

    public function handle(array $server, array $query): void
    {
        $this->handled++;
        if (isset($query['throw'])) {
            throw new RuntimeException('on purpose');
        }
        header('X-Worker: ' . $this->handled);
        echo json_encode([$query['i'] ?? null, file_get_contents('php://input'), $server['REQUEST_METHOD'], ignore_user_abort()]);
    }

    public function terminate(): void
    {
        error_log("terminated after $this->handled");
    }
}

$worker = null;
$count = 0;
$most = (int) ($_ENV['MAX_REQUESTS'] ?? $_SERVER['MAX_REQUESTS'] ?? 1000);
$seconds = $_ENV['REQUEST_MAX_EXECUTION_TIME'] ?? $_SERVER['REQUEST_MAX_EXECUTION_TIME'] ?? null;
if (PHP_OS_FAMILY === 'Linux' && $seconds !== null) {
    set_time_limit((int) $seconds);
}
try {
    $handle = static function () use (&$worker) {
        try {
            $worker ??= new Worker();
            $worker->handle($_SERVER, $_GET);
        } catch (Throwable $fault) {
            http_response_code(500);
            header('Status: 500 Internal Server Error');
            echo 'Internal Server Error';
            error_log('reported: ' . $fault->getMessage());
        }
    };
    while ($count < $most && frankenphp_handle_request($handle)) {
        $count++;
    }
} finally {
    $worker?->terminate();
    gc_collect_cycles();
}
