<?php

/*
 * Laravel's jobs. The application is booted once, as artisan boots it; each message is a job that was taken from its
 * queue already. Laravel's own job object is built around the payload and handed to Laravel's own Worker, so that
 * attempts, backoff, time limits, events, middleware, batches, chains and failed() are Laravel's. Only what would touch
 * the queue's server, to delete the job or to put it back, becomes the answer, and whoever sent the message does it.
 *
 * Kinds of messages (shared/loop.php has their form):
 *   describe   which queue connections there are, and where
 *   run        run the job
 *   died       the worker that ran it is gone (reason: killed, timeout): let Laravel decide whether the job has failed
 *   fail       fail it without running it (reason, message)
 *   signals    what was said to all workers: queue:restart, queue:pause of these `queues`, down
 *
 * A header may bring `tries`, `backoff` (seconds, or several joined by commas), `timeout` and `memory` (megabytes), as
 * queue:work has them as options; the job's own win, as there.
 *
 * Laravel 8 and later.
 */

namespace Regie\Jobs\Laravel;

use function Regie\Jobs\base_path;
use function Regie\Jobs\give_up;
use function Regie\Jobs\pretend_command;
use function Regie\Jobs\serve;

require_once __DIR__ . '/../shared/loop.php';

$base = base_path();
foreach (['vendor/autoload.php', 'bootstrap/app.php'] as $needed) {
    is_file("$base/$needed") || give_up("$base/$needed is missing: this is no Laravel application");
}
pretend_command(['artisan', 'queue:work']);
$_ENV['APP_RUNNING_IN_CONSOLE'] ??= 'true';
$_SERVER['APP_RUNNING_IN_CONSOLE'] ??= 'true';
defined('LARAVEL_START') || define('LARAVEL_START', microtime(true));

require "$base/vendor/autoload.php";
require_once __DIR__ . '/describe.php';
require_once __DIR__ . '/held.php';
require_once __DIR__ . '/scope.php';
require_once __DIR__ . '/runner.php';
require_once __DIR__ . '/signals.php';

/** @var \Illuminate\Foundation\Application $app */
$app = require "$base/bootstrap/app.php";
$app->make(\Illuminate\Contracts\Console\Kernel::class)->bootstrap();

$runner = new Runner($app);
serve($runner);
$runner->leave();
