<?php

namespace App\Runtime;

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpKernel\HttpKernelInterface;
use Symfony\Component\HttpKernel\TerminableInterface;
use Symfony\Component\Runtime\RunnerInterface;

/**
 * One turn of frankenphp_handle_request() per request, as Symfony 7.4's own runner does it:
 * what the server said at boot is merged into each request's $_SERVER, terminate runs after
 * the response has left, and the loop ends after a number of requests.
 */
class WorkerRunner implements RunnerInterface
{
    public function __construct(private HttpKernelInterface $kernel, private int $loopMax)
    {
    }

    public function run(): int
    {
        ignore_user_abort(true);

        $server = array_filter($_SERVER, static fn (string $key) => !str_starts_with($key, 'HTTP_'), ARRAY_FILTER_USE_KEY);
        $server['APP_RUNTIME_MODE'] = 'web=1&worker=1';

        $handler = function () use ($server, &$request, &$response): void {
            $_SERVER += $server;

            $request = Request::createFromGlobals();
            $response = $this->kernel->handle($request);
            $response->send();
        };

        $loops = 0;
        do {
            $going = \frankenphp_handle_request($handler);

            if ($this->kernel instanceof TerminableInterface && $request && $response) {
                $this->kernel->terminate($request, $response);
            }
            $request = $response = null;

            gc_collect_cycles();
        } while ($going && ($this->loopMax <= 0 || ++$loops < $this->loopMax));

        return 0;
    }
}
