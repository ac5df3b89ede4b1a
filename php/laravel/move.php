<?php

/*
 * What moving in asks of a Laravel application, from the command line:
 *
 *   php move.php FOLDER describe                     which queue connections there are, and where
 *   php move.php FOLDER dispatch CONNECTION COUNT    how long dispatching takes, in microseconds
 *   php move.php FOLDER sessions FROM TO SINCE       copy sessions between drivers; SINCE is a unix second, 0 for all
 *   php move.php FOLDER look FROM TO                 whether both cache stores are there, and can be moved between
 *   php move.php FOLDER cache FROM TO                copy cached values and locks between stores
 *   php move.php FOLDER batches COUNT               the last batches, as the application keeps them
 *   php move.php FOLDER probe SECONDS                does the configured Redis, queue and cache work, with a job that runs
 *
 * How it tells what it does: shared/told.php. Laravel 8 and later.
 */

namespace Regie\Move\Laravel;

use Throwable;

use function Regie\Jobs\give_up;
use function Regie\Jobs\pretend_command;
use function Regie\Move\say;

require_once __DIR__ . '/../shared/loop.php';
require_once __DIR__ . '/../shared/told.php';

$words = $argv;
[, $base, $action] = $words + [1 => '.', 2 => ''];
$base = rtrim($base, '/');
foreach (['vendor/autoload.php', 'bootstrap/app.php'] as $needed) {
    is_file("$base/$needed") || give_up("$base/$needed is missing: this is no Laravel application");
}
pretend_command(['artisan', 'queue:work']);
defined('LARAVEL_START') || define('LARAVEL_START', microtime(true));

require "$base/vendor/autoload.php";
require_once __DIR__ . '/describe.php';
require_once __DIR__ . '/stored.php';
require_once __DIR__ . '/probe.php';
require_once __DIR__ . '/batches.php';

try {
    /** @var \Illuminate\Foundation\Application $app */
    $app = require "$base/bootstrap/app.php";
    $app->make(\Illuminate\Contracts\Console\Kernel::class)->bootstrap();
    say(['result' => match ($action) {
        'describe' => \Regie\Jobs\Laravel\describe($app),
        'dispatch' => dispatch_times($app, $words[3], (int) $words[4]),
        'sessions' => move_sessions($app, $words[3], $words[4], (int) $words[5]),
        'look' => look_at_caches($app, $words[3], $words[4]),
        'cache' => move_cache($app, $words[3], $words[4]),
        'batches' => batches($app, (int) $words[3]),
        'probe' => probe($app, (float) $words[3]),
        default => give_up("$action is nothing that this script does"),
    }]);
} catch (Throwable $e) {
    say(['error' => $e->getMessage(), 'class' => $e::class]);
    exit(1);
}
