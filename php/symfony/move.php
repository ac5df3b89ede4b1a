<?php

/*
 * What moving in asks of a Symfony application, from the command line:
 *
 *   php move.php FOLDER describe          which transports there are, and where
 *   php move.php FOLDER sessions SINCE    copy sessions; SINCE is a unix second, 0 for all
 *
 * From where to where sessions go stands in REGIE_MOVE_FROM and REGIE_MOVE_TO, as addresses hold passwords.
 *
 * How it tells what it does: shared/told.php. Symfony 5.4 and later.
 */

namespace Regie\Move\Symfony;

use Throwable;

use function Regie\Jobs\give_up;
use function Regie\Jobs\pretend_command;
use function Regie\Jobs\Symfony\command;
use function Regie\Jobs\Symfony\console;
use function Regie\Jobs\Symfony\describe;
use function Regie\Move\say;

require_once __DIR__ . '/../shared/loop.php';
require_once __DIR__ . '/../shared/told.php';

[, $base, $action] = $argv + [1 => '.', 2 => ''];
$base = rtrim($base, '/');
is_file("$base/vendor/autoload.php") || give_up("$base/vendor/autoload.php is missing: this is no Symfony application");
$since = (int) ($argv[3] ?? 0);
pretend_command(['bin/console', 'messenger:consume']);

require_once "$base/vendor/autoload.php";
require_once __DIR__ . '/console.php';
require_once __DIR__ . '/describe.php';
require_once __DIR__ . '/sessions.php';

try {
    $console = console($base);
    say(['result' => match ($action) {
        'describe' => ($consume = command($console, 'messenger:consume')) ? describe($consume)
            : ['framework' => 'symfony', 'transports' => new \stdClass()],
        'sessions' => move_sessions($console->getKernel(), $since),
        default => give_up("$action is nothing that this script does"),
    }]);
} catch (Throwable $e) {
    say(['error' => $e->getMessage(), 'class' => $e::class]);
    exit(1);
}
