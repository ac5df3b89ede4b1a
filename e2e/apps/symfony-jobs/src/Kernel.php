<?php

namespace App;

use Doctrine\DBAL\Connection;
use Doctrine\DBAL\DriverManager;
use Doctrine\Persistence\ConnectionRegistry;
use Psr\Log\AbstractLogger;
use Symfony\Bundle\FrameworkBundle\FrameworkBundle;
use Symfony\Bundle\FrameworkBundle\Kernel\MicroKernelTrait;
use Symfony\Component\DependencyInjection\Loader\Configurator\ContainerConfigurator;
use Symfony\Component\HttpKernel\Kernel as BaseKernel;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\DoctrineTransportFactory;

use function Symfony\Component\DependencyInjection\Loader\Configurator\service;

/** Made for the tests of the job script. All that it writes goes to the folder that STORAGE names. */
class Kernel extends BaseKernel
{
    use MicroKernelTrait;

    public function registerBundles(): iterable
    {
        return [new FrameworkBundle()];
    }

    public function getProjectDir(): string
    {
        return dirname(__DIR__);
    }

    public function getCacheDir(): string
    {
        return self::storage() . '/cache';
    }

    public function getLogDir(): string
    {
        return self::storage();
    }

    public static function storage(): string
    {
        return getenv('STORAGE') ?: sys_get_temp_dir();
    }

    protected function configureRoutes(): void
    {
    }

    protected function configureContainer(ContainerConfigurator $container): void
    {
        $container->extension('framework', [
            'secret' => 'x', 'test' => false, 'http_method_override' => false,
            'messenger' => [
                'reset_on_message' => true,
                'failure_transport' => 'failed',
                'transports' => [
                    'async' => [
                        'dsn' => 'doctrine://default?queue_name=async&auto_setup=0',
                        'retry_strategy' => ['max_retries' => 2, 'delay' => 5000, 'multiplier' => 2],
                    ],
                    'json' => [
                        'dsn' => 'doctrine://default?queue_name=json&auto_setup=0',
                        'serializer' => 'messenger.transport.symfony_serializer',
                    ],
                    'stream' => ['dsn' => 'redis://:word@127.0.0.1:1/orders/shop?lazy=1&dbindex=2'],
                    'failed' => 'doctrine://default?queue_name=failed&auto_setup=0',
                    'now' => 'sync://',
                ],
                'routing' => ['App\Broken' => 'now'],
            ],
        ]);
        $services = $container->services()->defaults()->autowire()->autoconfigure();
        foreach ([Handlers::class, BatchHandler::class, Soil::class] as $class) {
            $services->set($class);
        }
        $services->set(Soil::class)->public()->tag('kernel.reset', ['method' => 'reset']);
        $services->set('logger', Notes::class);
        $services->set(Registry::class);
        $services->set(DoctrineTransportFactory::class)->args([service(Registry::class)])->tag('messenger.transport_factory');
    }
}

/** What DoctrineBundle would give. */
class Registry implements ConnectionRegistry
{
    private ?Connection $connection = null;

    public function getDefaultConnectionName()
    {
        return 'default';
    }

    public function getConnection($name = null)
    {
        return $this->connection ??= DriverManager::getConnection(['driver' => 'pdo_sqlite', 'path' => Kernel::storage() . '/messages.sqlite']);
    }

    public function getConnections()
    {
        return [$this->getConnection()];
    }

    public function getConnectionNames()
    {
        return ['default' => 'default'];
    }
}

class Notes extends AbstractLogger
{
    public function log($level, $message, array $context = []): void
    {
    }
}

/** Adds a line to the file that tells the tests what has happened. */
function note(string $what): void
{
    file_put_contents(Kernel::storage() . '/notes', $what . "\n", FILE_APPEND);
}
