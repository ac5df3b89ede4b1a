<?php

/*
 * Messenger's receivers on connections that reach no server: they give what we were sent, and note what they are told.
 */

namespace Regie\Jobs\Symfony;

use Fiber;
use LogicException;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\Connection as DoctrineConnection;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\DoctrineReceiver;
use Symfony\Component\Messenger\Bridge\Doctrine\Transport\DoctrineTransport;
use Symfony\Component\Messenger\Bridge\Redis\Transport\Connection as RedisConnection;
use Symfony\Component\Messenger\Bridge\Redis\Transport\RedisReceiver;
use Symfony\Component\Messenger\Bridge\Redis\Transport\RedisTransport;
use Symfony\Component\Messenger\Envelope;
use Symfony\Component\Messenger\Transport\Receiver\ReceiverInterface;

/** What has become of a message. */
enum Fate
{
    case Open;
    case Acknowledged;
    case Rejected;
}

/** The part of a connection that a receiver uses. */
interface Held
{
    public function offer(string $id, string $payload): void;

    public function fate(): Fate;
}

trait Noting
{
    private ?array $offered = null;
    private Fate $fate = Fate::Open;

    /** Unlike the class above, it has nothing to connect to. */
    public function __construct()
    {
    }

    public function __destruct()
    {
    }

    public function fate(): Fate
    {
        return $this->fate;
    }

    public function offer(string $id, string $payload): void
    {
        $this->offered = $this->message($id, $payload);
        $this->fate = Fate::Open;
    }

    public function get(mixed ...$unused): ?array
    {
        [$message, $this->offered] = [$this->offered, null];

        return $message;
    }
}

/** Made only where the bridge is installed. */
function held_connection(object $transport): Held
{
    if ($transport instanceof RedisTransport) {
        return new class extends RedisConnection implements Held {
            use Noting;

            private function message(string $id, string $payload): array
            {
                // phpredis writes strings with PHP's serializer, and the runner may have left that to us.
                $plain = str_starts_with($payload, 's:') ? unserialize($payload, ['allowed_classes' => false]) : $payload;

                return ['id' => $id, 'data' => ['message' => is_string($plain) ? $plain : $payload]];
            }

            public function ack(string $id): void
            {
                $this->fate = Fate::Acknowledged;
            }

            public function reject(string $id): void
            {
                $this->fate = Fate::Rejected;
            }

            public function keepalive(string $id, ?int $seconds = null): void
            {
            }
        };
    }
    if ($transport instanceof DoctrineTransport) {
        return new class extends DoctrineConnection implements Held {
            use Noting;

            private function message(string $id, string $payload): array
            {
                $row = regie_json_decode($payload);
                $headers = $row['headers'] ?? [];

                return [
                    'id' => $id,
                    'body' => $row['body'] ?? $payload,
                    'headers' => is_string($headers) ? regie_json_decode($headers) : $headers,
                ];
            }

            public function ack(string $id): bool
            {
                $this->fate = Fate::Acknowledged;

                return true;
            }

            public function reject(string $id): bool
            {
                $this->fate = Fate::Rejected;

                return true;
            }

            public function keepalive(string $id, ?int $seconds = null): void
            {
            }
        };
    }

    throw new LogicException($transport::class . ' is no transport that is driven from outside');
}

/** What the worker asks for messages: it waits for one by leaving the fiber. */
final class HeldReceiver implements ReceiverInterface
{
    public readonly Held $connection;
    private readonly ReceiverInterface $receiver;
    private bool $offered = false;

    /** Nothing more will come: the worker is not kept waiting. */
    public bool $closed = false;

    /** The worker has been told that there is nothing more, so that handlers of batches go to work. */
    private bool $flushed = true;

    public function __construct(object $transport)
    {
        $this->connection = held_connection($transport);
        $serializer = peek($transport, 'serializer');
        $this->receiver = $transport instanceof RedisTransport
            ? new RedisReceiver($this->connection, $serializer)
            : new DoctrineReceiver($this->connection, $serializer);
    }

    public function offer(string $id, string $payload): void
    {
        $this->connection->offer($id, $payload);
        $this->offered = true;
        $this->flushed = false;
    }

    /** The message, for those who do not have it handled. */
    public function decode(): ?Envelope
    {
        $this->offered = false;
        foreach ($this->receiver->get() as $envelope) {
            return $envelope;
        }

        return null;
    }

    public function get(): iterable
    {
        while (!$this->offered) {
            if ($this->closed || !$this->flushed && $this->connection->fate() === Fate::Open) {
                $this->flushed = true;

                return [];
            }
            Fiber::suspend();
        }
        $this->offered = false;

        return $this->receiver->get();
    }

    public function ack(Envelope $envelope): void
    {
        $this->receiver->ack($envelope);
    }

    public function reject(Envelope $envelope): void
    {
        $this->receiver->reject($envelope);
    }
}
