<?php
// Runs the same behaviour in every mode: once, or in the loop of a worker script.
function behave(callable $request): void
{
    if (empty($_SERVER['FRANKENPHP_WORKER'])) {
        $request();
        return;
    }
    while (frankenphp_handle_request($request)) {
    }
}
