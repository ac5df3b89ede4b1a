<?php

// The application's connections for the tests of `regie move`: a table and a Redis, and a list of failed jobs.
return [
    'default' => env('QUEUE_CONNECTION', 'sync'),
    'connections' => [
        'sync' => ['driver' => 'sync'],
        'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],
        'other' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'mail', 'retry_after' => 90],
        'redis' => ['driver' => 'redis', 'connection' => 'default', 'queue' => 'default', 'retry_after' => 90],
        'sqs' => ['driver' => 'sqs', 'queue' => 'default'],
    ],
    'failed' => ['driver' => 'database-uuids', 'database' => 'sqlite', 'table' => 'failed_jobs'],
];
