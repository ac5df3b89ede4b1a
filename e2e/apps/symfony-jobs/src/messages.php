<?php // Messages and their handlers, one for each behaviour.

namespace App;

use RuntimeException;
use Symfony\Component\Messenger\Exception\UnrecoverableMessageHandlingException;
use Symfony\Component\Messenger\Handler\Acknowledger;
use Symfony\Component\Messenger\Handler\BatchHandlerInterface;
use Symfony\Component\Messenger\Handler\BatchHandlerTrait;
use Symfony\Component\Messenger\Handler\MessageHandlerInterface;
use Symfony\Component\Messenger\Handler\MessageSubscriberInterface;

class Say
{
    public function __construct(public string $what = '')
    {
    }
}
class Nothing
{
}
class Broken extends Say
{
}
class Hopeless extends Say
{
}
class Exiting extends Say
{
}
class Printing extends Say
{
}
class Gathered extends Say
{
}
class Unhandled extends Say
{
}

/** Keeps what a message leaves behind until the services are reset. */
class Soil
{
    public string $left = 'clean';

    public function reset(): void
    {
        $this->left = 'clean';
    }
}

class Handlers implements MessageSubscriberInterface
{
    public function __construct(private Soil $soil)
    {
    }

    public static function getHandledMessages(): iterable
    {
        yield Say::class => ['method' => 'say'];
        yield Nothing::class => ['method' => 'nothing'];
        yield Broken::class => ['method' => 'fail'];
        yield Hopeless::class => ['method' => 'giveUp'];
        yield Exiting::class => ['method' => 'leave'];
        yield Printing::class => ['method' => 'print'];
    }

    public function say(Say $message): void
    {
        if ($message::class !== Say::class) {
            return;
        }
        note("said $message->what {$this->soil->left}");
        $this->soil->left = 'soiled';
    }

    public function nothing(Nothing $message): void
    {
    }

    public function fail(Broken $message): void
    {
        note("tried $message->what");
        throw new RuntimeException("broken $message->what");
    }

    public function giveUp(Hopeless $message): void
    {
        throw new UnrecoverableMessageHandlingException('hopeless');
    }

    public function leave(Exiting $message): void
    {
        exit(5);
    }

    public function print(Printing $message): void
    {
        echo 'printed ', $message->what;
    }
}

class BatchHandler implements BatchHandlerInterface, MessageHandlerInterface
{
    use BatchHandlerTrait;

    public function __invoke(Gathered $message, ?Acknowledger $ack = null): mixed
    {
        return $this->handle($message, $ack);
    }

    private function shouldFlush(): bool
    {
        return count($this->jobs) >= 5;
    }

    private function process(array $jobs): void
    {
        note('batch of ' . count($jobs));
        foreach ($jobs as [$message, $ack]) {
            $ack->ack($message);
        }
    }
}
