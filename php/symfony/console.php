<?php

namespace Regie\Jobs\Symfony;

use ReflectionClass;
use Symfony\Bundle\FrameworkBundle\Console\Application;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\Console\Command\LazyCommand;
use Symfony\Component\Console\Exception\CommandNotFoundException;
use Symfony\Component\Dotenv\Dotenv;

use function Regie\Jobs\give_up;

/** The application that bin/console would run, with its kernel booted. */
function console(string $base): Application
{
    if (class_exists(Dotenv::class) && (is_file("$base/.env") || is_file("$base/.env.local.php"))) {
        (new Dotenv())->bootEnv("$base/.env");
    }
    $_SERVER['APP_ENV'] ??= $_ENV['APP_ENV'] ?? 'dev';
    $_SERVER['APP_DEBUG'] ??= $_ENV['APP_DEBUG'] ?? (int) ('prod' !== $_SERVER['APP_ENV']);
    $application = from_console($base) ?? from_kernel();
    $application->setAutoExit(false);
    $application->getKernel()->boot();

    return $application;
}

/**
 * What bin/console gives to symfony/runtime: a closure that makes the application. It can be had without being run,
 * since the runtime stands back when the autoloader is there before it.
 */
function from_console(string $base): ?Application
{
    $script = "$base/bin/console";
    if (!is_file($script) || !str_contains(file_get_contents($script), 'autoload_runtime.php')) {
        return null;
    }
    // The script's first line is for the shell.
    ob_start();
    try {
        $made = require $script;
    } finally {
        ob_end_clean();
    }
    $made = is_callable($made) ? $made($_SERVER + $_ENV) : $made;
    if (is_callable($made) && !is_object($made)) {
        return null;
    }

    return $made instanceof Application ? $made : null;
}

function from_kernel(): Application
{
    $class = $_SERVER['KERNEL_CLASS'] ?? $_ENV['KERNEL_CLASS'] ?? 'App\Kernel';
    class_exists($class) || give_up("there is neither a bin/console that uses symfony/runtime nor a class $class");

    return new Application(new $class($_SERVER['APP_ENV'], (bool) $_SERVER['APP_DEBUG']));
}

/** A command of the application; Messenger's hold all parts of its worker, which are private to the container. */
function command(Application $application, string $name): ?Command
{
    try {
        $command = $application->find($name);
    } catch (CommandNotFoundException) {
        return null;
    }

    return $command instanceof LazyCommand ? $command->getCommand() : $command;
}

/** The value of a property that is not for us, by the first of its names that there is. */
function peek(object $object, string ...$names): mixed
{
    for ($class = new ReflectionClass($object); $class; $class = $class->getParentClass()) {
        foreach ($names as $name) {
            if ($class->hasProperty($name)) {
                $property = $class->getProperty($name);
                $property->setAccessible(true);

                return $property->isInitialized($object) ? $property->getValue($object) : null;
            }
        }
    }

    return null;
}
