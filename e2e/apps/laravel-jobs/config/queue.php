<?php
return [
    'default' => 'database',
    'connections' => [
        'sync' => ['driver' => 'sync'],
        'database' => ['driver' => 'database', 'table' => 'jobs', 'queue' => 'default', 'retry_after' => 90],
        // Nobody listens there: whoever asks the server is noticed.
        'redis' => ['driver' => 'redis', 'connection' => 'default', 'queue' => 'default', 'retry_after' => 45],
        'cloud' => ['driver' => 'sqs', 'queue' => 'default'],
    ],
    'failed' => ['driver' => 'database-uuids', 'database' => 'sqlite', 'table' => 'failed_jobs'],
    'batching' => ['database' => 'sqlite', 'table' => 'job_batches'],
];
