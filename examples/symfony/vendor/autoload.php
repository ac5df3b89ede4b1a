<?php

/*
 * In place of Composer's autoloader: the framework comes from Debian's packages
 * (php-symfony-framework-bundle and friends), the application's own classes from src/.
 */

foreach ([
    'Bundle/FrameworkBundle' => 'php-symfony-framework-bundle',
    'Bundle/TwigBundle' => 'php-symfony-twig-bundle',
    'Component/Console' => 'php-symfony-console',
    'Component/Messenger' => 'php-symfony-messenger',
    'Component/Messenger/Bridge/Redis' => 'php-symfony-redis-messenger',
    'Component/Dotenv' => 'php-symfony-dotenv',
    'Component/Runtime' => 'php-symfony-runtime',
    'Component/Yaml' => 'php-symfony-yaml',
] as $part => $package) {
    if (!stream_resolve_include_path("Symfony/$part/autoload.php")) {
        $message = "Symfony's $part is missing: apt-get install $package\n";
        PHP_SAPI === 'cli' ? fwrite(STDERR, $message) : print $message;
        exit(10);
    }
    require_once "Symfony/$part/autoload.php";
}

spl_autoload_register(static function (string $class): void {
    if (str_starts_with($class, 'App\\')) {
        $file = dirname(__DIR__) . '/src/' . str_replace('\\', '/', substr($class, 4)) . '.php';
        if (is_file($file)) {
            require $file;
        }
    }
}, true, true);

return new stdClass();
