<?php

namespace Regie\Jobs\Symfony;

use Closure;
use Fiber;
use Psr\Container\ContainerInterface;
use RuntimeException;
use Symfony\Component\Console\Command\Command;
use Symfony\Component\EventDispatcher\EventDispatcherInterface;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Event\WorkerMessageFailedEvent;
use Symfony\Component\Messenger\Event\WorkerMessageReceivedEvent;
use Symfony\Component\Messenger\Event\WorkerRunningEvent;
use Symfony\Component\Messenger\EventListener\StopWorkerOnRestartSignalListener;
use Symfony\Component\Messenger\Exception\HandlerFailedException;
use Symfony\Component\Messenger\Exception\UnrecoverableMessageHandlingException;
use Symfony\Component\Messenger\Stamp\ReceivedStamp;
use Symfony\Component\Messenger\Worker;
use Throwable;
use UnexpectedValueException;

use function Regie\Jobs\exception;

/** Messenger's worker on one transport, waiting in a fiber for its next message. */
final class Consumer
{
    public readonly HeldReceiver $receiver;
    public readonly Worker $worker;
    public readonly Fiber $fiber;

    public function __construct(object $transport, Closure $worker)
    {
        $this->receiver = new HeldReceiver($transport);
        $this->worker = $worker($this->receiver);
        // Whoever finds nothing asks again at once: to wait is the receiver's part.
        $this->fiber = new Fiber(fn () => $this->worker->run(['sleep' => 0]));
    }

    /** Has the worker handle the message that was offered. */
    public function go(): void
    {
        $this->fiber->isStarted() ? $this->fiber->resume() : $this->fiber->start();
    }
}

/** Does with one message what messenger:consume does with each. */
final class Runner
{
    /** Seconds after which a message comes back whose failure could not be sent anywhere. */
    private const UNSENT_DELAY = 10;

    /** Nanoseconds between two looks whether workers are to stop. Each asks a cache, a fifth of a short message's time. */
    private const LOOK_EVERY = 100_000_000;

    private readonly EventDispatcherInterface $events;
    private readonly float $booted;
    private readonly ContainerInterface $receivers;

    /** @var array<string, Consumer> */
    private array $consumers = [];

    /** Of the message in hand. */
    private string $class = '';
    private ?Throwable $thrown = null;
    private bool $retried = false;

    public function __construct(private readonly Command $command)
    {
        $this->booted = microtime(true);
        $this->events = peek($command, 'eventDispatcher');
        $this->receivers = peek($command, 'receiverLocator');
        if ($resetter = peek($command, 'resetServicesListener')) {
            $this->events->addSubscriber($resetter);
        }
        $this->events->addListener(WorkerMessageReceivedEvent::class, function (WorkerMessageReceivedEvent $event): void {
            $this->class = $event->getEnvelope()->getMessage()::class;
        }, 1 << 20);
        // After those that send it to a retry or to the failure transport.
        $this->events->addListener(WorkerMessageFailedEvent::class, function (WorkerMessageFailedEvent $event): void {
            $this->thrown = $event->getThrowable();
            $this->retried = $event->willRetry();
        }, -(1 << 20));
        $this->lookSeldom();
    }

    /** Messenger looks after every message whether messenger:stop-workers was called. */
    private function lookSeldom(): void
    {
        foreach ($this->events->getListeners(WorkerRunningEvent::class) as $listener) {
            if (!is_array($listener) || !$listener[0] instanceof StopWorkerOnRestartSignalListener) {
                continue;
            }
            $priority = $this->events->getListenerPriority(WorkerRunningEvent::class, $listener) ?? 0;
            $this->events->removeListener(WorkerRunningEvent::class, $listener);
            $next = 0;
            $this->events->addListener(WorkerRunningEvent::class, static function (WorkerRunningEvent $event) use ($listener, &$next): void {
                if (hrtime(true) >= $next) {
                    $listener($event);
                    $next = hrtime(true) + self::LOOK_EVERY;
                }
            }, $priority);
        }
    }

    /** @param array<string, mixed> $header */
    public function __invoke(array $header, string $payload): array
    {
        return match ($header['kind'] ?? null) {
            'run' => $this->settle($header, $payload, static function (Consumer $consumer): void {
                $consumer->go();
            }),
            'died' => $this->settle($header, $payload, fn (Consumer $consumer) => $this->fail($consumer, $header, new RuntimeException(
                $header['message'] ?? 'The worker that handled the message has died.',
            ))),
            'fail' => $this->settle($header, $payload, fn (Consumer $consumer) => $this->fail($consumer, $header, new UnrecoverableMessageHandlingException(
                $header['message'] ?? 'The message was given up: ' . ($header['reason'] ?? 'no reason was given'),
            ))),
            'describe' => describe($this->command),
            'signals' => $this->signals(),
            default => throw new UnexpectedValueException('no such kind of message: ' . ($header['kind'] ?? '')),
        };
    }

    /** When messenger:stop-workers was called last, and whether that was after this worker's boot. */
    private function signals(): array
    {
        $stop = command($this->command->getApplication(), 'messenger:stop-workers');
        $pool = $stop ? peek($stop, 'restartSignalCachePool') : null;
        $item = $pool?->getItem(StopWorkerOnRestartSignalListener::RESTART_REQUESTED_TIMESTAMP_KEY);
        $said = $item?->isHit() ? (float) $item->get() : null;

        return [
            'restart' => $said === null ? null : (string) $said,
            'old' => $said !== null && $said > $this->booted,
            'paused' => [],
            'down' => false,
        ] + fingerprint($this->command);
    }

    /** The worker ends, in good order: it says goodbye to its listeners. */
    public function leave(): void
    {
        foreach ($this->consumers as $consumer) {
            $consumer->receiver->closed = true;
            $consumer->worker->stop();
            if ($consumer->fiber->isSuspended()) {
                $consumer->fiber->resume();
            }
        }
    }

    private function settle(array $header, string $payload, callable $act): array
    {
        $this->class = '';
        $this->thrown = null;
        $this->retried = false;
        $name = $header['connection'];
        $consumer = null;
        $unsent = null;
        try {
            $consumer = $this->consumers[$name] ??= $this->consumer($name);
            $consumer->receiver->offer((string) $header['id'], $payload);
            $act($consumer);
        } catch (Throwable $e) {
            // Messenger's worker ends by this, too: the message cannot be decoded, or what failed could not be sent on.
            $unsent = $e;
            $this->thrown ??= $e;
            unset($this->consumers[$name]);
        }
        $fate = $consumer?->receiver->connection->fate() ?? Fate::Open;
        $outcome = match (true) {
            $fate === Fate::Acknowledged => ['do' => 'ack'],
            $fate === Fate::Rejected && $this->retried => ['do' => 'ack', 'retried' => true],
            $fate === Fate::Rejected => ['do' => 'failed'],
            default => ['do' => 'release', 'delay' => self::UNSENT_DELAY],
        };
        $outcome['class'] = $this->class;
        if ($this->thrown) {
            $outcome['exception'] = exception($this->cause($this->thrown));
        }
        $this->thrown = null;
        $limit = $header['memory'] ?? 0;
        if ($limit && memory_get_usage(true) >= $limit * 1048576) {
            $outcome['memory'] = memory_get_usage(true);
            $outcome['stop'] = 'memory';
        } elseif ($unsent || $consumer?->fiber->isTerminated()) {
            $outcome['stop'] = 'restart';
        }

        return $outcome;
    }

    /** What the handler threw, where Messenger has put it into an exception of its own. */
    private function cause(Throwable $thrown): Throwable
    {
        return $thrown instanceof HandlerFailedException && $thrown->getPrevious() ? $thrown->getPrevious() : $thrown;
    }

    /** What the worker does with a message whose handler has thrown. */
    private function fail(Consumer $consumer, array $header, Throwable $thrown): void
    {
        $envelope = $consumer->receiver->decode();
        if (!$envelope) {
            return;
        }
        $this->class = $envelope->getMessage()::class;
        $event = new WorkerMessageFailedEvent(
            $envelope->with(new ReceivedStamp($header['connection'])),
            $header['connection'],
            $thrown,
        );
        $this->events->dispatch($event);
        $consumer->receiver->reject($event->getEnvelope());
    }

    private function consumer(string $name): Consumer
    {
        $command = $this->command;
        $limiters = peek($command, 'rateLimiterLocator');
        $limiters = $limiters?->has($name) ? [$name => $limiters->get($name)] : null;

        return new Consumer($this->receivers->get($name), fn (HeldReceiver $receiver): Worker => new Worker(
            [$name => $receiver],
            peek($command, 'routableBus'),
            $this->events,
            peek($command, 'logger'),
            ...($limiters ? ['rateLimiters' => $limiters] : []),
        ));
    }
}
