<?php // Jobs, one for each behaviour.

namespace App\Jobs;

use Illuminate\Bus\Batchable;
use Illuminate\Bus\Queueable;
use Illuminate\Cache\RateLimiting\Limit;
use Illuminate\Contracts\Queue\ShouldBeEncrypted;
use Illuminate\Contracts\Queue\ShouldBeUnique;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;
use Illuminate\Queue\Middleware\RateLimited;
use Illuminate\Queue\Middleware\WithoutOverlapping;
use Illuminate\Support\Facades\RateLimiter;
use RuntimeException;
use Throwable;

use function App\note;

abstract class Job implements ShouldQueue
{
    use Batchable;
    use Dispatchable;
    use InteractsWithQueue;
    use Queueable;

    public function __construct(public string $say = '')
    {
    }
}

class Fine extends Job
{
    public function handle(): void
    {
        note("fine $this->say");
    }
}

class Printing extends Job
{
    public function handle(): void
    {
        echo 'printed ', $this->say;
        ob_start();
        echo str_repeat('x', (int) $this->say);
    }
}

class Throwing extends Job
{
    public function handle(): void
    {
        note("attempt {$this->attempts()}");
        throw new RuntimeException("thrown $this->say");
    }

    public function failed(Throwable $e): void
    {
        note('failed: ' . $e->getMessage());
    }
}

class ThreeTries extends Throwing
{
    public int $tries = 3;

    public function backoff(): array
    {
        return [5, 60];
    }
}

class FewExceptions extends Throwing
{
    public int $tries = 10;
    public int $maxExceptions = 2;
}

class UntilThen extends Throwing
{
    public function retryUntil(): \DateTimeInterface
    {
        return now()->addSeconds((int) $this->say);
    }
}

class FailsOnTimeout extends Throwing
{
    public int $tries = 5;
    public int $timeout = 30;
    public bool $failOnTimeout = true;
}

class FailingTwice extends Job
{
    public function handle(): void
    {
        throw new RuntimeException('the job');
    }

    public function failed(Throwable $e): void
    {
        throw new RuntimeException('the hook');
    }
}

class Releasing extends Job
{
    public int $tries = 3;

    public function handle(): void
    {
        $this->release(17);
    }
}

class GivingUp extends Job
{
    public function handle(): void
    {
        $this->fail(new RuntimeException('gave up'));
    }
}

class Exiting extends Job
{
    public function handle(): void
    {
        exit(3);
    }
}

class Crashing extends Job
{
    public function handle(): void
    {
        posix_kill(getmypid(), SIGSEGV);
    }
}

class Swallowing extends Job
{
    public function handle(): void
    {
        str_repeat('x', 1 << 30);
    }
}

class Growing extends Job
{
    public static array $kept = [];

    public function handle(): void
    {
        self::$kept[] = str_repeat('x', 150 << 20);
    }
}

class Sleeping extends Job
{
    public int $timeout = 1;

    public function handle(): void
    {
        sleep(60);
    }
}

class Unique extends Fine implements ShouldBeUnique
{
}

class Alone extends Fine
{
    public int $tries = 5;

    public function middleware(): array
    {
        return [(new WithoutOverlapping('alone'))->releaseAfter(33)];
    }
}

class Limited extends Fine
{
    public int $tries = 5;

    public function middleware(): array
    {
        RateLimiter::for('few', fn () => Limit::perHour(1));

        return [new RateLimited('few')];
    }
}

class Nothing extends Job
{
    public function handle(): void
    {
    }
}

class Secret extends Fine implements ShouldBeEncrypted
{
}

/** What a job leaves behind and the next one must not meet. */
class Soiling extends Job
{
    public function handle(): void
    {
        app()->scoped('scoped-thing', fn () => new \ArrayObject(['made']));
        app('scoped-thing')['soiled'] = true;
        \Illuminate\Support\Facades\Log::withContext(['left' => 'behind']);
        ini_set('precision', '3');
        date_default_timezone_set('Asia/Tokyo');
    }
}

class Looking extends Job
{
    public function handle(): void
    {
        $scoped = app()->bound('scoped-thing') && isset(app('scoped-thing')['soiled']) ? 'soiled' : 'clean';
        $context = \Closure::bind(fn () => $this->context, app('log')->driver(), \Illuminate\Log\Logger::class)();
        $facades = \Closure::bind(fn () => static::$resolvedInstance, null, \Illuminate\Support\Facades\Facade::class)();
        note("$scoped " . ini_get('precision') . ' ' . date_default_timezone_get() . json_encode([$context, $facades]));
        note(json_encode([
            app()->runningInConsole(), PHP_SAPI, defined('STDIN'), $_SERVER['argv'], isset($_SERVER['REQUEST_METHOD']),
        ]));
    }
}

/** The application has its own class for what takes jobs apart. */
class Rebinding extends Job
{
    public function handle(): void
    {
        app()->bind(\Illuminate\Queue\CallQueuedHandler::class, fn ($app) => new OwnHandler(
            $app->make(\Illuminate\Contracts\Bus\Dispatcher::class),
            $app,
        ));
    }
}

class OwnHandler extends \Illuminate\Queue\CallQueuedHandler
{
    public function call(\Illuminate\Contracts\Queue\Job $job, array $data)
    {
        note('own handler');

        return parent::call($job, $data);
    }
}

/** Of the plain kind, named by Class@method: nobody deletes it but itself. */
class Plain
{
    public function leave($job, $data): void
    {
        note('left ' . json_encode($data));
    }

    public function finish($job, $data): void
    {
        note('finished ' . json_encode($data));
        $job->delete();
    }
}
