<?php

/* Symfony's own runtime, with the checkpoint between the kernel and its request. See boot.php. */

namespace Regie\Rewind;

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpKernel\HttpKernelInterface;
use Symfony\Component\HttpKernel\KernelInterface;
use Symfony\Component\HttpKernel\TerminableInterface;
use Symfony\Component\Runtime\RunnerInterface;
use Symfony\Component\Runtime\SymfonyRuntime;

final class Runtime extends SymfonyRuntime
{
    public function getRunner(?object $application): RunnerInterface
    {
        if ($application instanceof HttpKernelInterface) {
            $application instanceof KernelInterface && $application->boot();
            self::prime($application);
            unset($_SERVER['APP_RUNTIME'], $_ENV['APP_RUNTIME']);
            regie_checkpoint();
        }

        return parent::getRunner($application);
    }

    private static function prime(HttpKernelInterface $kernel): void
    {
        $paths = getenv('REGIE_PRIME') === false ? '/' : getenv('REGIE_PRIME');
        $paths = array_filter(array_map('trim', explode(',', $paths)));
        if (!$paths) {
            return;
        }
        regie_prime(static function () use ($kernel, $paths): void {
            foreach ($paths as $path) {
                $request = Request::create($path);
                $response = $kernel->handle($request);
                ob_start();
                $response->sendContent();
                ob_end_clean();
                $kernel instanceof TerminableInterface && $kernel->terminate($request, $response);
            }
        });
    }
}
