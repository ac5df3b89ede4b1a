<?php

/*
 * Symfony's messages. The kernel is booted once, as bin/console boots it; each message was taken from its transport
 * already. Messenger's own Worker runs all the time, with the receiver that the transport has, over a connection that
 * is not one: what it would fetch is what we were sent, and what it would acknowledge or reject becomes the answer. So
 * decoding, stamps, buses, middleware, events, retries, failure transports and the reset of services are Messenger's.
 *
 *   message ──▶ the worker's fiber goes on: get() ─ handle ─ ack or reject ─ events ─ reset ─ get() ──▶ answer
 *
 * A message that is tried again was sent anew by Messenger (it does so itself, with its own connection), as was one
 * that has failed to the failure transport; the answer says so.
 *
 * Kinds of messages (shared/loop.php has their form):
 *   describe   which transports there are, and where
 *   run        handle the message
 *   died       the worker that handled it is gone (reason: killed, timeout): retry or failure transport, as Messenger has it
 *   fail       to the failure transport without handling it (reason, message)
 *   signals    whether messenger:stop-workers was called
 *
 * A header may bring `memory` (megabytes), as messenger:consume has it as an option.
 *
 * Symfony 5.4 and later.
 */

namespace Regie\Jobs\Symfony;

use function Regie\Jobs\base_path;
use function Regie\Jobs\give_up;
use function Regie\Jobs\pretend_command;
use function Regie\Jobs\serve;

require_once __DIR__ . '/../shared/loop.php';

$base = base_path();
is_file("$base/vendor/autoload.php") || give_up("$base/vendor/autoload.php is missing: this is no Symfony application");
pretend_command(['bin/console', 'messenger:consume']);

require_once "$base/vendor/autoload.php";
require_once __DIR__ . '/console.php';

$consume = command(console($base), 'messenger:consume');
if ($consume === null) {
    // Messenger is not installed, or not configured: the application names a transport and has none.
    serve(static fn (): array => ['framework' => 'symfony', 'transports' => new \stdClass()]);

    return;
}

require_once __DIR__ . '/describe.php';
require_once __DIR__ . '/held.php';
require_once __DIR__ . '/runner.php';

$runner = new Runner($consume);
serve($runner);
$runner->leave();
