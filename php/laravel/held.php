<?php

/*
 * Laravel's job objects and queues, with their hands off the server: what they would do there is noted.
 *
 * The queue extends the very class that the connection has (Horizon puts its own there), so that whatever that class
 * does besides, such as Horizon's events, is done.
 */

namespace Regie\Jobs\Laravel;

use DateInterval;
use DateTimeInterface;
use Illuminate\Queue\DatabaseQueue;
use Illuminate\Queue\Jobs\DatabaseJob;
use Illuminate\Queue\Jobs\RedisJob;
use Illuminate\Queue\Queue;
use Illuminate\Queue\RedisQueue;
use LogicException;
use ReflectionClass;

/** Notes what is to become of the job. */
trait HeldJob
{
    /** Seconds after which it comes back; null when it does not. */
    public ?int $releaseAfter = null;

    /** It has left the reserved jobs: what is done later finds it no more, as it would on the server. */
    public bool $settled = false;

    public Handlers $handlers;

    protected function resolve($class)
    {
        return $this->handlers->make($class);
    }

    public function delete()
    {
        $this->settled = true;
        parent::delete();
    }

    public function release($delay = 0)
    {
        if (!$this->settled) {
            $this->settled = true;
            $moment = $delay instanceof DateInterval || $delay instanceof DateTimeInterface;
            $this->releaseAfter = max(0, $moment ? $this->secondsUntil($delay) : (int) $delay);
        }

        return parent::release($delay);
    }
}

final class HeldRedisJob extends RedisJob
{
    use HeldJob;

    /** What the payload of the job that is made next says; it is decoded by then. */
    public static ?array $next = null;

    /** Laravel decodes the payload each time that it is asked for something; once is enough. */
    public function payload()
    {
        return $this->decoded ?? self::$next ?? parent::payload();
    }
}

final class HeldDatabaseJob extends DatabaseJob
{
    use HeldJob;

    private ?array $decoded = null;

    public function payload()
    {
        return $this->decoded ??= parent::payload();
    }
}

/** Swallows what a Redis queue says to its server while it deletes or releases. */
final class NoServer
{
    public function __call(string $command, array $arguments): int
    {
        return 1;
    }
}

trait HeldRedisQueue
{
    private ?NoServer $noServer = null;

    public function getConnection()
    {
        return $this->noServer ?? parent::getConnection();
    }

    public function deleteReserved($queue, $job)
    {
        $this->noServer = new NoServer();
        try {
            return parent::deleteReserved($queue, $job);
        } finally {
            $this->noServer = null;
        }
    }

    public function deleteAndRelease($queue, $job, $delay)
    {
        $this->noServer = new NoServer();
        try {
            return parent::deleteAndRelease($queue, $job, $delay);
        } finally {
            $this->noServer = null;
        }
    }

    /** What Horizon does when a job is taken from the queue. */
    public function tellReserved(string $queue, string $reserved): void
    {
        if (is_a($this, 'Laravel\Horizon\RedisQueue')) {
            $this->event($this->getQueue($queue), new \Laravel\Horizon\Events\JobReserved($reserved));
        }
    }
}

trait HeldDatabaseQueue
{
    public function deleteReserved($queue, $id)
    {
    }

    public function deleteAndRelease($queue, $job, $delay)
    {
    }

    public function tellReserved(string $queue, string $reserved): void
    {
    }
}

/** A copy of the connection's queue that does not touch the reserved jobs. */
function hold(Queue $queue): Queue
{
    $class = $queue::class;
    $trait = match (true) {
        $queue instanceof RedisQueue => 'HeldRedisQueue',
        $queue instanceof DatabaseQueue => 'HeldDatabaseQueue',
        default => throw new LogicException("$class is no queue that is driven from outside"),
    };
    $name = 'Held' . str_replace('\\', '_', $class);
    if (!class_exists(__NAMESPACE__ . "\\$name", false)) {
        // PHP has no other way to extend a class whose name is known at run time.
        eval('namespace ' . __NAMESPACE__ . "; final class $name extends \\$class { use $trait; }");
    }
    $held = (new ReflectionClass(__NAMESPACE__ . "\\$name"))->newInstanceWithoutConstructor();
    for ($level = new ReflectionClass($queue); $level; $level = $level->getParentClass()) {
        foreach ($level->getProperties() as $property) {
            $property->setAccessible(true);
            if (!$property->isStatic() && $property->isInitialized($queue)) {
                $property->setValue($held, $property->getValue($queue));
            }
        }
    }

    return $held;
}
