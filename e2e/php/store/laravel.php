<?php

// Laravel's own cache, lock, rate limiter, session and queue on the store, in the application's folder.

use App\Jobs\Greet;
use Illuminate\Contracts\Console\Kernel;
use Illuminate\Support\Facades\Cache;
use Illuminate\Support\Facades\Queue;
use Illuminate\Support\Facades\RateLimiter;
use Illuminate\Support\Facades\Redis;

require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Kernel::class)->bootstrap();

$out = ['client' => get_class(Redis::connection()->client())];

Cache::put('user', ['name' => 'Ada'], 60);
Cache::forever('kept', 'yes');
$out['cache'] = [Cache::get('user')['name'], Cache::get('none', 'default'), Cache::increment('n', 2), Cache::add('kept', 'no')];
$out['remember'] = [Cache::remember('r', 60, fn () => 'made'), Cache::remember('r', 60, fn () => 'again')];
Cache::tags(['people', 'staff'])->put('ada', 1, 60);
$out['tags'] = [Cache::tags(['people', 'staff'])->get('ada')];
Cache::tags('people')->flush();
$out['tags'][] = Cache::tags(['people', 'staff'])->get('ada');

$lock = Cache::lock('invoice', 10);
$out['lock'] = [$lock->get(), Cache::lock('invoice', 10)->get(), $lock->release(), Cache::lock('invoice', 10)->get()];

$tries = [];
for ($i = 0; $i < 4; $i++) {
    $tries[] = RateLimiter::attempt('mail', 3, fn () => true);
}
$out['limit'] = $tries;
$out['funnel'] = Redis::funnel('key')->limit(1)->then(fn () => 'in', fn () => 'out');
$out['throttle'] = Redis::throttle('key')->allow(1)->every(60)->then(fn () => 'in', fn () => 'out');

$session = app('session')->driver('redis');
$session->start();
$session->put('name', 'Grace');
$session->save();
$reader = app('session')->driver('redis')->getHandler()->read($session->getId());
$out['session'] = unserialize($reader)['name'];

// Nobody else takes from this queue.
Queue::push(new Greet('first'), '', 'own');
Queue::later(3600, new Greet('tomorrow'), '', 'own');
$out['queued'] = Queue::size('own');

echo json_encode($out);
