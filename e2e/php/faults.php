<?php // Everything that can go wrong in a request, on demand.
require_once __DIR__ . '/executor.php';
behave(function () {
    switch ($_GET['do'] ?? '') {
        case 'kill':
            posix_kill(getmypid(), SIGKILL);
        case 'segv':
            posix_kill(getmypid(), SIGSEGV);
        case 'sleep':
            sleep(60);
            break;
        case 'loop':
            for (;;) {
            }
        case 'sent':
            echo str_repeat('x', 100_000);
            flush();
            sleep(60);
            break;
        case 'stuck':
            // Goes on after the fatal error of the time limit, in a way that no engine check ends.
            register_shutdown_function(function () {
                for ($until = microtime(true) + 60; microtime(true) < $until;) {
                    sleep(60);
                }
            });
            sleep(60);
            break;
        case 'exit':
            exit(3);
        case 'recurse':
            $deeper = function () use (&$deeper) {
                return array_map($deeper, [1]);
            };
            $deeper();
        default:
            echo 'fine ', getmypid();
    }
});
