<?php
return [
    'default' => 'sqlite',
    'connections' => [
        'sqlite' => ['driver' => 'sqlite', 'database' => storage_path('jobs.sqlite'), 'prefix' => ''],
    ],
    'redis' => [
        'client' => 'phpredis',
        'options' => ['prefix' => 'jobs_'],
        'default' => ['host' => '127.0.0.1', 'password' => 'secret', 'port' => 1, 'database' => 3],
        'cache' => ['url' => 'tls://user:pass@redis.example:6380/1'],
        'socket' => ['host' => '/run/redis.sock', 'port' => 0, 'prefix' => 'own_'],
    ],
];
