<?php

// What the tests of `regie move` do with the application, in its folder: php work.php WHAT [ARGUMENTS]

use Illuminate\Contracts\Console\Kernel;
use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\DB;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\Redis;
use Illuminate\Support\Facades\Schema;
use Illuminate\Support\Str;

require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Kernel::class)->bootstrap();

[, $what, $a, $b, $c] = $argv + [2 => null, 3 => null, 4 => null];

function note(int $number): App\Jobs\Note
{
    return new App\Jobs\Note($number, base_path('done.txt'), 0);
}

/** A failed job as the framework's worker writes it down. */
function fail(int $number): void
{
    $job = json_decode(DB::table('jobs')->where('queue', 'fails')->value('payload'), true);
    app('queue.failer')->log('database', 'default', json_encode($job), new RuntimeException("no $number"));
    DB::table('jobs')->where('queue', 'fails')->delete();
}

echo json_encode(match ($what) {
    'tables' => [
        Schema::create('jobs', function ($table) {
            $table->bigIncrements('id');
            $table->string('queue')->index();
            $table->longText('payload');
            $table->unsignedTinyInteger('attempts');
            $table->unsignedInteger('reserved_at')->nullable();
            $table->unsignedInteger('available_at');
            $table->unsignedInteger('created_at');
        }),
        Schema::create('failed_jobs', function ($table) {
            $table->id();
            $table->string('uuid')->unique();
            $table->text('connection');
            $table->text('queue');
            $table->longText('payload');
            $table->longText('exception');
            $table->timestamp('failed_at')->useCurrent();
        }),
        Schema::create('sessions', function ($table) {
            $table->string('id')->primary();
            $table->foreignId('user_id')->nullable();
            $table->string('ip_address', 45)->nullable();
            $table->text('user_agent')->nullable();
            $table->text('payload');
            $table->integer('last_activity');
        }),
        Schema::create('cache', function ($table) {
            $table->string('key')->primary();
            $table->mediumText('value');
            $table->integer('expiration');
        }),
        Schema::create('cache_locks', function ($table) {
            $table->string('key')->primary();
            $table->string('owner');
            $table->integer('expiration');
        }),
    ],
    // CONNECTION FROM TO: every tenth is delayed
    'push' => DB::transaction(fn () => array_map(fn (int $i) => $i % 10 === 9
        ? Queue::connection($a)->later(3600, note($i))
        : Queue::connection($a)->push(note($i)), range((int) $b, (int) $c - 1))),
    // Every job of the queue `mail`: how many, how many different, and how many rows are left of any queue.
    'mail' => (function () {
        $payloads = array_merge(Redis::lrange('queues:mail', 0, -1), Redis::zrange('queues:mail:delayed', 0, -1));
        $ids = array_map(fn (string $payload) => json_decode($payload, true)['uuid'], $payloads);

        return [count($ids), count(array_unique($ids)), DB::table('jobs')->count()];
    })(),
    'fail' => [Queue::connection('database')->pushOn('fails', note((int) $a)), fail((int) $a)],
    'failed' => DB::table('failed_jobs')->orderBy('id')->get(['connection', 'queue', 'payload']),
    'sizes' => ['database' => Queue::connection('database')->size(), 'redis' => Queue::connection('redis')->size()],
    'default' => config('queue.default'),
    // DRIVER COUNT: sessions of so many visitors
    'visit' => array_map(function (int $i) use ($a) {
        $id = str_pad("visitor$i", 40, 'x');
        app('session')->driver($a)->getHandler()->write($id, serialize(['number' => $i]));

        return $id;
    }, range(1, (int) $b)),
    'sessions' => array_map(function (int $i) use ($a) {
        $handler = clone app('session')->driver($a)->getHandler();

        return @unserialize($handler->read(str_pad("visitor$i", 40, 'x')))['number'] ?? null;
    }, range(1, (int) $b)),
    'fill' => [
        Cache::store($a)->put('user', ['name' => 'Ada'], 600), Cache::store($a)->forever('kept', "za\u{df}"),
        Cache::store($a)->put('count', 41, 600), Cache::store($a)->put('half', 0.5, 600), Cache::store($a)->put('no', false, 600),
        Cache::store($a)->lock('unique', 600, 'owner-of-the-lock')->get(),
    ],
    'cached' => [
        Cache::store($a)->get('user'), Cache::store($a)->get('kept'), (int) Cache::store($a)->increment('count'),
        (float) Cache::store($a)->get('half'), Cache::store($a)->get('no'),
        Cache::store($a)->lock('unique', 600)->get(), Cache::store($a)->restoreLock('unique', 'owner-of-the-lock')->release(),
    ],
}), "\n";
