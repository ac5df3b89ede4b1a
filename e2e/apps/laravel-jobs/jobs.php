<?php
/*
 * For the tests: `php jobs.php setup` makes the tables; `php jobs.php 'Code;'` runs code in the application, which may
 * dispatch, and prints the payloads of the jobs that wait then, a line each, taking them out of the table.
 */
require __DIR__ . '/vendor/autoload.php';
$app = require __DIR__ . '/bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$code = $argv[1];
if ($code === 'setup') {
    touch(storage_path('jobs.sqlite'));
    $schema = $app['db']->connection()->getSchemaBuilder();
    $schema->create('jobs', function ($table) {
        $table->bigIncrements('id');
        $table->string('queue');
        $table->longText('payload');
        $table->unsignedTinyInteger('attempts');
        foreach (['reserved_at' => true, 'available_at' => false, 'created_at' => false] as $name => $nullable) {
            $table->unsignedInteger($name)->nullable($nullable);
        }
    });
    $schema->create('failed_jobs', function ($table) {
        $table->bigIncrements('id');
        foreach (['uuid', 'connection', 'queue', 'payload', 'exception'] as $name) {
            $table->text($name);
        }
        $table->timestamp('failed_at')->useCurrent();
    });
    $schema->create('job_batches', function ($table) {
        $table->string('id')->primary();
        $table->string('name');
        foreach (['total_jobs', 'pending_jobs', 'failed_jobs'] as $name) {
            $table->integer($name);
        }
        $table->text('failed_job_ids');
        $table->text('options')->nullable();
        foreach (['cancelled_at', 'created_at', 'finished_at'] as $name) {
            $table->integer($name)->nullable();
        }
    });
    exit;
}
eval('namespace App\Jobs; ' . $code);
foreach ($app['db']->table('jobs')->orderBy('id')->get() as $row) {
    echo $row->payload, "\n";
    $app['db']->table('jobs')->delete($row->id);
}
