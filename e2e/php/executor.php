<?php
// Runs the same behaviour in every mode: once, from the checkpoint on, or in the loop of a worker script.
function behave(callable $request): void
{
    if (function_exists('regie_checkpoint')) {
        regie_checkpoint();
    }
    if (empty($_SERVER['FRANKENPHP_WORKER'])) {
        $request();
        return;
    }
    while (frankenphp_handle_request($request)) {
    }
}
