<?php

/*
 * In place of Composer's autoloader: the framework comes from Debian's packages
 * (php-laravel-framework), the application's own classes from app/.
 */

if (!stream_resolve_include_path('Illuminate/autoload.php')) {
    $message = "The Laravel framework is missing: apt-get install php-laravel-framework\n";
    PHP_SAPI === 'cli' ? fwrite(STDERR, $message) : print $message;
    exit(10);
}

require_once 'Illuminate/autoload.php';

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        $file = dirname(__DIR__) . '/app/' . str_replace('\\', '/', substr($class, 4)) . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
}, true, true);
