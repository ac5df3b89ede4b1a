<?php

use App\Controller\GuestBookController as GuestBook;
use App\Controller\ProbeController as Probe;
use Symfony\Component\Routing\Loader\Configurator\RoutingConfigurator;

return static function (RoutingConfigurator $routes): void {
    $routes->add('home', '/')->controller([GuestBook::class, 'home']);
    $routes->add('notes', '/notes')->controller([GuestBook::class, 'notes'])->methods(['GET']);
    $routes->add('write', '/notes')->controller([GuestBook::class, 'write'])->methods(['POST']);
    $routes->add('me', '/me')->controller([GuestBook::class, 'me']);

    $routes->add('json', '/json')->controller([Probe::class, 'json']);
    $routes->add('addresses', '/addresses')->controller([Probe::class, 'addresses']);
    $routes->add('stream', '/stream')->controller([Probe::class, 'stream']);
    $routes->add('download', '/download')->controller([Probe::class, 'download']);
    $routes->add('boom', '/boom')->controller([Probe::class, 'boom']);
};
