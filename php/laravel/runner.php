<?php

namespace Regie\Jobs\Laravel;

use Closure;
use Illuminate\Contracts\Cache\Repository;
use Illuminate\Contracts\Events\Dispatcher;
use Illuminate\Contracts\Foundation\Application;
use Illuminate\Queue\DatabaseQueue;
use Illuminate\Queue\Events\JobExceptionOccurred;
use Illuminate\Queue\Events\JobFailed;
use Illuminate\Queue\Events\JobTimedOut;
use Illuminate\Queue\Events\Looping;
use Illuminate\Queue\Events\WorkerStopping;
use Illuminate\Queue\Jobs\Job;
use Illuminate\Queue\MaxAttemptsExceededException;
use Illuminate\Queue\Queue;
use Illuminate\Queue\Worker;
use Illuminate\Queue\WorkerOptions;
use Illuminate\Support\Str;
use RuntimeException;
use Throwable;
use UnexpectedValueException;

use function Regie\Jobs\exception;

/** Does with one job what Laravel's queue:work does with each. */
final class Runner
{
    private readonly Worker $worker;
    private readonly Dispatcher $events;

    private readonly Scope $resetScope;
    private readonly Handlers $handlers;

    /** Parts of the worker that its loop uses and others cannot call. */
    private readonly Closure $runJob;
    private readonly Closure $mustQuit;

    private readonly WorkerOptions $defaults;

    /** The last queue:restart before this worker was booted. */
    private readonly mixed $restart;

    /** @var array<string, Queue> Of each connection, the queue that does not touch its server. */
    private array $queues = [];

    /** What went wrong in the job in hand, and whether its failure has been recorded. */
    private ?Throwable $thrown = null;
    private bool $recorded = false;

    public function __construct(private readonly Application $app)
    {
        $worker = $this->worker = $app->make('queue.worker');
        $worker->setCache($app->make(Repository::class));
        method_exists($worker, 'setName') && $worker->setName('default');
        $inside = static fn (Closure $closure): Closure => Closure::bind($closure, $worker, Worker::class);
        $reset = $inside(fn () => $this->resetScope ?? null)();
        $this->resetScope = new Scope($app, $reset instanceof Closure ? $reset : static fn () => null);
        $this->handlers = new Handlers($app);
        $this->runJob = $inside(function ($job, $connection, $options) {
            $this->runJob($job, $connection, $options);
        });
        $this->mustQuit = $inside(fn () => $this->shouldQuit || ($this->lostConnection ?? false));
        $this->defaults = new WorkerOptions();
        $this->restart = restart($app);
        $this->events = $app->make('events');
        $this->listen();
    }

    /** @param array<string, mixed> $header */
    public function __invoke(array $header, string $payload): array
    {
        return match ($header['kind'] ?? null) {
            'run' => $this->run($header, $payload),
            'died' => $this->settle($header, $payload, $this->die(...)),
            'fail' => $this->settle($header, $payload, $this->fail(...)),
            'describe' => describe($this->app),
            'signals' => signals($this->app, $header['queues'] ?? [], $this->restart),
            default => throw new UnexpectedValueException('no such kind of message: ' . ($header['kind'] ?? '')),
        };
    }

    /** The worker ends, in good order. */
    public function leave(): void
    {
        $this->events->dispatch(new WorkerStopping(0));
    }

    /** Failures are recorded as queue:work records them, by a listener. */
    private function listen(): void
    {
        $events = $this->events;
        $events->listen(JobExceptionOccurred::class, function (JobExceptionOccurred $event): void {
            $this->thrown = $event->exception;
        });
        $events->listen(JobFailed::class, function (JobFailed $event): void {
            $this->thrown = $event->exception;
            $this->record($event->connectionName, $event->job->getQueue(), $event->job->getRawBody(), $event->exception);
        });
    }

    private function record(string $connection, string $queue, string $payload, Throwable $thrown): void
    {
        $this->app->make('queue.failer')->log($connection, $queue, $payload, $thrown);
        $this->recorded = true;
    }

    private function run(array $header, string $payload): array
    {
        $connection = $header['connection'];
        $queue = $header['queue'];
        ($this->resetScope)();
        $this->events->until(new Looping($connection, $queue));

        return $this->settle($header, $payload, function (Job $job, WorkerOptions $options) use ($connection): void {
            ($this->runJob)($job, $connection, $options);
        });
    }

    /** Builds the job, has `$act` do its part, and tells what has become of it. */
    private function settle(array $header, string $payload, callable $act): array
    {
        $this->thrown = null;
        $this->recorded = false;
        $decoded = regie_json_decode($payload);
        if (!is_array($decoded) || !is_string($decoded['job'] ?? null)) {
            return $this->refuse($header, $payload, $decoded);
        }
        $options = $this->options($header);
        $job = $this->job($header, $payload, $decoded);
        try {
            $act($job, $options, $header);
        } catch (Throwable $e) {
            $this->thrown ??= $e;
            $this->app->make(\Illuminate\Contracts\Debug\ExceptionHandler::class)->report($e);
        }
        $outcome = $this->verdict($job, $header) + ['class' => $job->resolveName()];
        if (isset($decoded['tags']) && $decoded['tags']) {
            $outcome['tags'] = $decoded['tags'];
        }
        if ($this->thrown) {
            $outcome['exception'] = exception($this->thrown);
        }
        $this->thrown = null;
        if ($this->worker->memoryExceeded($options->memory)) {
            $outcome['memory'] = memory_get_usage(true);
            $outcome['stop'] = 'memory';
        } elseif (($this->mustQuit)()) {
            $outcome['stop'] = 'restart';
        }

        return $outcome;
    }

    /** What the server would have been told first; later words would not have found the job there any more. */
    private function verdict(Job $job, array $header): array
    {
        if ($job->releaseAfter !== null) {
            return ['do' => 'release', 'delay' => $job->releaseAfter];
        }
        if ($job->hasFailed()) {
            // Where the failure could not be written down (no database), the job is not given away.
            return $this->recorded ? ['do' => 'failed'] : ['do' => 'release', 'delay' => self::UNRECORDED_DELAY];
        }
        if ($job->isDeleted()) {
            return ['do' => 'ack'];
        }

        // A job of the plain kind (`Class@method`) that neither deleted nor released itself: Laravel finds it again
        // when its reservation has run out.
        return ['do' => 'release', 'delay' => $this->retryAfter($header['connection'])];
    }

    private const UNRECORDED_DELAY = 10;

    private function retryAfter(string $connection): int
    {
        return (int) ($this->app->make('config')->get("queue.connections.$connection.retry_after") ?? 60);
    }

    /** The worker that ran the job is gone. What queue:work does in its alarm, or when it meets the job again. */
    private function die(Job $job, WorkerOptions $options, array $header): void
    {
        $timeout = ($header['reason'] ?? '') === 'timeout';
        ($this->resetScope)();
        $worker = $this->worker;
        $decide = Closure::bind(function () use ($job, $options, $timeout): int {
            $connection = $job->getConnectionName();
            $thrown = $timeout && method_exists($this, 'timeoutExceededException')
                ? $this->timeoutExceededException($job)
                : $this->maxAttemptsExceededException($job);
            $this->markJobAsFailedIfWillExceedMaxAttempts($connection, $job, (int) $options->maxTries, $thrown);
            if ($timeout) {
                $this->markJobAsFailedIfWillExceedMaxExceptions($connection, $job, $thrown);
                $this->markJobAsFailedIfItShouldFailOnTimeout($connection, $job, $thrown);
            }

            return $this->calculateBackoff($job, $options);
        }, $worker, Worker::class);
        $backoff = $decide();
        if (!$job->hasFailed()) {
            $job->release($backoff);
        }
        if ($timeout && class_exists(JobTimedOut::class)) {
            $this->events->dispatch(new JobTimedOut($job->getConnectionName(), $job));
        }
    }

    private function fail(Job $job, WorkerOptions $options, array $header): void
    {
        ($this->resetScope)();
        $message = $header['message'] ?? 'The job was given up: ' . ($header['reason'] ?? 'no reason was given');
        $job->fail(
            ($header['reason'] ?? '') === 'attempts'
                ? new MaxAttemptsExceededException($message)
                : new RuntimeException($message),
        );
    }

    /** A payload that is none of Laravel's cannot be run by anybody: it goes to the failed jobs. */
    private function refuse(array $header, string $payload, mixed $decoded): array
    {
        if (!is_string($decoded['uuid'] ?? null)) {
            // Laravel keeps failed jobs by their id; one without gets an envelope that has it.
            $payload = json_encode([
                'uuid' => (string) Str::uuid(),
                'displayName' => 'unreadable payload',
                'data' => ['payload' => $payload],
            ], JSON_INVALID_UTF8_SUBSTITUTE);
        }
        $thrown = new UnexpectedValueException('The payload of this job is not one of Laravel\'s.');
        $outcome = ['do' => 'release', 'delay' => self::UNRECORDED_DELAY];
        try {
            $this->record($header['connection'], $header['queue'], $payload, $thrown);
            $outcome = ['do' => 'failed'];
        } catch (Throwable $e) {
            $this->app->make(\Illuminate\Contracts\Debug\ExceptionHandler::class)->report($e);
        }

        return $outcome + ['class' => '', 'exception' => exception($thrown)];
    }

    private function options(array $header): WorkerOptions
    {
        if (!isset($header['tries']) && !isset($header['backoff']) && !isset($header['timeout'])
            && !isset($header['memory'])) {
            return $this->defaults;
        }
        $options = clone $this->defaults;
        $options->maxTries = $header['tries'] ?? $options->maxTries;
        $options->backoff = $header['backoff'] ?? $options->backoff;
        $options->timeout = $header['timeout'] ?? $options->timeout;
        $options->memory = $header['memory'] ?? $options->memory;

        return $options;
    }

    private function job(array $header, string $payload, array $decoded): Job
    {
        $connection = $header['connection'];
        $queue = $this->queues[$connection] ??= hold($this->app->make('queue')->connection($connection));
        if ($queue instanceof DatabaseQueue) {
            $row = (object) [
                'id' => $header['id'],
                'queue' => $header['queue'],
                'payload' => $payload,
                'attempts' => (int) $header['attempts'],
            ];

            $job = new HeldDatabaseJob($this->app, $queue, $row, $connection, $header['queue']);
            $job->handlers = $this->handlers;

            return $job;
        }
        $reserved = $payload;
        if (is_a($queue, 'Laravel\Horizon\RedisQueue')) {
            $reserved = json_encode(['attempts' => (int) $header['attempts']] + $decoded);
            $queue->tellReserved($header['queue'], $reserved);
        }

        HeldRedisJob::$next = $decoded;
        $job = new HeldRedisJob($this->app, $queue, $payload, $reserved, $connection, $header['queue']);
        HeldRedisJob::$next = null;
        $job->handlers = $this->handlers;

        return $job;
    }
}
