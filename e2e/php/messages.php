<?php // Messages: the callback gets a string and returns one. What goes wrong is asked for by its first word.
$booted = hrtime(true);
$count = 0;
$callback = function (?string $message = null) use (&$count, $booted) {
    if ($message === null) {
        echo 'a request';
        return;
    }
    $count++;
    [$word, $rest] = explode(' ', $message, 2) + [1 => ''];
    switch ($word) {
        case 'length':
            return strlen($message) . ' ' . md5($message);
        case 'count':
            return "$count $booted " . getmypid();
        case 'nothing':
            return null;
        case 'print':
            echo "printed $rest";
            header('X-Ignored: yes');
            return 'fine';
        case 'buffer':
            ob_start();
            echo "buffered $rest";
            return ob_get_clean();
        case 'throw':
            throw new DomainException("thrown $rest");
        case 'exit':
            exit((int) $rest);
        case 'fatal':
            trigger_error('given up', E_USER_ERROR);
        case 'oom':
            return str_repeat('x', 1 << 30);
        case 'kill':
            posix_kill(getmypid(), SIGKILL);
        case 'sleep':
            sleep(60);
            return 'slept';
        case 'stuck':
            // Goes on after the limit, in a way that no engine check ends.
            register_shutdown_function(function () {
                for ($until = microtime(true) + 60; microtime(true) < $until;) {
                    sleep(60);
                }
            });
            sleep(60);
        case 'large':
            return str_repeat('0123456789abcdef', (int) $rest);
        case 'world':
            return json_encode([
                PHP_SAPI, defined('STDIN') && is_resource(STDERR), $_GET, $_POST, $_COOKIE, $_SERVER['REQUEST_METHOD'] ?? null,
                $_SERVER['argc'] ?? null, ini_get('max_execution_time'), ini_get('html_errors'),
                isset($_SERVER['REGIE_MESSAGE']), isset($_SERVER['HTTP_HOST']), headers_list(), ob_get_level(),
            ]);
        case 'soil':
            ini_set('precision', '3');
            date_default_timezone_set('Asia/Tokyo');
            return 'soiled';
        case 'clean':
            return ini_get('precision') . ' ' . date_default_timezone_get();
    }
    return "what is $word?";
};
while (frankenphp_handle_request($callback)) {
}
