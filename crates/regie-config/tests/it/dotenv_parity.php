<?php
// Reads cases from standard input and answers with what the real parsers make of each.

use Dotenv\Loader\Loader;
use Dotenv\Parser\Parser;
use Dotenv\Repository\Adapter\ArrayAdapter;
use Dotenv\Repository\RepositoryBuilder;
use Symfony\Component\Dotenv\Dotenv;

error_reporting(E_ALL & ~E_DEPRECATED);
set_error_handler(fn () => true);

foreach (['php-vlucas-phpdotenv' => 'Dotenv/autoload.php', 'php-symfony-dotenv' => 'Symfony/Component/Dotenv/autoload.php'] as $package => $file) {
    if (!stream_resolve_include_path($file)) {
        fwrite(STDERR, "apt install $package");
        exit(1);
    }
    require_once $file;
}

function phpdotenv(string $text, array $environment): array
{
    $adapter = ArrayAdapter::create()->get();
    foreach ($environment as $name => $value) {
        $adapter->write($name, $value);
    }
    $repository = RepositoryBuilder::createWithNoAdapters()->addAdapter($adapter)->immutable()->make();
    $set = (new Loader())->load($repository, (new Parser())->parse($text));
    return array_filter($set, fn ($value) => null !== $value);
}

function symfony(string $text, array $environment): array
{
    $_ENV = $_SERVER = $environment;
    return (new Dotenv())->parse($text);
}

function boot(string $folder, array $environment): array
{
    $_ENV = $_SERVER = $environment;
    (new Dotenv())->bootEnv("$folder/.env");
    $set = $_ENV;
    unset($set['SYMFONY_DOTENV_VARS'], $set['APP_DEBUG']);
    return $set;
}

$answers = [];
foreach (json_decode(stream_get_contents(STDIN), true, 512, JSON_THROW_ON_ERROR) as [$reader, $input, $environment]) {
    try {
        $answers[] = ['values' => (object) $reader($input, $environment)];
    } catch (Throwable $fault) {
        $answers[] = ['fault' => $fault->getMessage()];
    }
}
echo json_encode($answers, JSON_THROW_ON_ERROR | JSON_INVALID_UTF8_SUBSTITUTE);
