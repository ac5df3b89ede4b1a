<?php

namespace App\Controller;

use Symfony\Component\HttpFoundation\BinaryFileResponse;
use Symfony\Component\HttpFoundation\JsonResponse;
use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\HttpFoundation\ResponseHeaderBag;
use Symfony\Component\HttpFoundation\StreamedResponse;
use Symfony\Component\HttpKernel\KernelInterface;

/** Answers that show how the application is served. */
class ProbeController
{
    private int $served = 0;

    public function __construct(private KernelInterface $kernel)
    {
    }

    public function json(Request $request): Response
    {
        return new JsonResponse([
            'pid' => getmypid(),
            'path' => $request->getPathInfo(),
            'query' => $request->query->all(),
            'url' => $request->getUri(),
            'secure' => $request->isSecure(),
            'ip' => $request->getClientIp(),
            'env' => $this->kernel->getEnvironment(),
            'served' => ++$this->served,
        ]);
    }

    /** Where it thinks its services are. No passwords. */
    public function addresses(): Response
    {
        $place = static function (string $name): ?string {
            preg_match('~^([a-z]+)://(?:[^@/]*@)?([^/?]*)~', (string) ($_SERVER[$name] ?? ''), $part);

            return ($part[2] ?? '') !== '' ? $part[2] : $part[1] ?? null;
        };

        return new JsonResponse(['redis' => $place('REDIS_URL'), 'database' => $place('DATABASE_URL')]);
    }

    public function stream(): Response
    {
        return new StreamedResponse(function (): void {
            for ($piece = 1; $piece <= 3; $piece++) {
                echo "piece $piece\n";
                if (ob_get_level() > 0) {
                    ob_flush();
                }
                flush();
                usleep(100_000);
            }
        }, 200, ['Content-Type' => 'text/plain', 'X-Accel-Buffering' => 'no']);
    }

    public function download(): Response
    {
        // The server offers X-Sendfile-Type itself where it can take the file over.
        BinaryFileResponse::trustXSendfileTypeHeader();

        return (new BinaryFileResponse($this->kernel->getProjectDir() . '/README.md'))
            ->setContentDisposition(ResponseHeaderBag::DISPOSITION_ATTACHMENT, 'readme.txt');
    }

    public function boom(): Response
    {
        throw new \RuntimeException('Boom, on purpose.');
    }
}
