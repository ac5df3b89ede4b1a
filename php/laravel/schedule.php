<?php

declare(strict_types=1);

/*
 * A Laravel application's own schedule, for Régie's scheduler.
 *
 *   php schedule.php ROOT describe            the scheduled tasks, one JSON object a line
 *   php schedule.php ROOT run EVENTS          what `artisan schedule:run` does
 *   php schedule.php ROOT one EVENTS NAME     one task now, whether it is due or not
 *
 * EVENTS is a file to which each run is added as a line of JSON when it has ended. The framework's own command decides
 * what is due and runs it; this file only listens to its events. A task whose output goes nowhere writes to a
 * temporary file instead, so that it can be shown.
 */

namespace Regie\Schedule;

use Illuminate\Console\Events\ScheduledTaskFailed;
use Illuminate\Console\Events\ScheduledTaskFinished;
use Illuminate\Console\Events\ScheduledTaskSkipped;
use Illuminate\Console\Events\ScheduledTaskStarting;
use Illuminate\Console\Scheduling\CallbackEvent;
use Illuminate\Console\Scheduling\Event;
use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Contracts\Console\Kernel;
use Symfony\Component\Console\Input\ArgvInput;
use Symfony\Component\Console\Output\ConsoleOutput;
use Throwable;

/** Past this, only the end of a task's output is kept. */
const OUTPUT_MAX = 65536;

/** The names of the schedule's tasks, each once. */
final class Names
{
    /** @var array<int, string> by the object's id */
    private $names = [];

    public function __construct(Schedule $schedule)
    {
        $taken = [];
        foreach ($schedule->events() as $event) {
            $name = self::plain($event);
            $count = $taken[$name] = ($taken[$name] ?? 0) + 1;
            $this->names[spl_object_id($event)] = $count === 1 ? $name : "$name ($count)";
        }
    }

    public function of(Event $event): string
    {
        return $this->names[spl_object_id($event)] ?? self::plain($event);
    }

    private static function plain(Event $event): string
    {
        if (is_string($event->description) && $event->description !== '') {
            return $event->description;
        }
        if ($event instanceof CallbackEvent || !is_string($event->command)) {
            return $event->getSummaryForDisplay();
        }
        // "'/usr/bin/php8.2' 'artisan' report:send --all" is known to people as "report:send --all".
        return preg_replace("/^\S+\s+'?(?:\S*\/)?artisan'?\s+/", '', $event->command);
    }
}

/** Writes down what becomes of each task. */
final class Recorder
{
    private $names;
    private $file;
    /** @var array<int, array{float, ?string, Event}> started at, file with the output, the task */
    private $running = [];

    public function __construct(Names $names, string $file)
    {
        $this->names = $names;
        $this->file = $file;
    }

    public function starting(Event $event): void
    {
        $output = null;
        if ($event instanceof CallbackEvent) {
            ob_start();
        } elseif (!$event->runInBackground && in_array($event->output, [null, $event->getDefaultOutput()], true)) {
            $output = tempnam(sys_get_temp_dir(), 'schedule');
            $event->output = $output;
        }
        $this->running[spl_object_id($event)] = [microtime(true), $output, $event];
    }

    public function finished(Event $event): void
    {
        if ($event->runInBackground) {
            $this->ended($event, ['outcome' => 'detached']);
        } elseif ($event->exitCode === null && $event->withoutOverlapping) {
            $this->ended($event, ['outcome' => 'skipped', 'why' => 'a run before it has not ended']);
        } elseif ($event->exitCode) {
            $this->ended($event, ['outcome' => 'failed', 'why' => "exit code {$event->exitCode}"]);
        } else {
            $this->ended($event, ['outcome' => 'done']);
        }
    }

    public function failed(Event $event, ?Throwable $fault): void
    {
        $why = $fault === null ? 'it failed' : get_class($fault) . ': ' . $fault->getMessage();
        $this->ended($event, ['outcome' => 'failed', 'why' => $why]);
    }

    public function skipped(Event $event): void
    {
        $this->write($event, microtime(true), ['outcome' => 'skipped', 'why' => 'its own conditions said no'], '');
    }

    /** What was still running when PHP ended: a fatal error, or `exit` in a task. */
    public function abandoned(): void
    {
        $fault = error_get_last();
        $why = $fault === null ? 'PHP ended in the middle' : $fault['message'];
        foreach ($this->running as [, , $event]) {
            $this->ended($event, ['outcome' => 'failed', 'why' => $why]);
        }
    }

    private function ended(Event $event, array $outcome): void
    {
        $id = spl_object_id($event);
        if (!isset($this->running[$id])) {
            return; // Newer Laravels say "finished" and "failed" of one run.
        }
        [$started, $file] = $this->running[$id];
        unset($this->running[$id]);
        $output = '';
        if ($event instanceof CallbackEvent) {
            $output = (string) ob_get_clean();
            echo $output;
        } elseif ($file !== null) {
            $size = (int) @filesize($file);
            $output = (string) @file_get_contents($file, false, null, max(0, $size - OUTPUT_MAX));
            @unlink($file);
            $event->output = $event->getDefaultOutput();
        }
        $this->write($event, $started, $outcome, $output);
    }

    private function write(Event $event, float $started, array $outcome, string $output): void
    {
        $run = [
            'task' => $this->names->of($event),
            'started_ms' => (int) ($started * 1000),
            'took_ms' => (int) round((microtime(true) - $started) * 1000),
        ] + $outcome;
        if ($output !== '') {
            $run['output'] = substr($output, -OUTPUT_MAX);
        }
        $line = json_encode($run, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
        file_put_contents($this->file, "$line\n", FILE_APPEND | LOCK_EX);
    }
}

/** One line for each task. */
function describe(Schedule $schedule, Names $names): void
{
    foreach ($schedule->events() as $event) {
        $zone = $event->timezone ?: date_default_timezone_get();
        echo json_encode([
            'name' => $names->of($event),
            'expression' => $event->expression,
            'timezone' => is_string($zone) ? $zone : $zone->getName(),
            'repeat_seconds' => $event->repeatSeconds ?? null,
            'without_overlapping' => (bool) $event->withoutOverlapping,
            'on_one_server' => (bool) $event->onOneServer,
            'in_background' => (bool) $event->runInBackground,
        ], JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
    }
}

function main(array $argv): int
{
    [, $root, $verb] = $argv;
    chdir($root);
    // The application's own command line begins with its artisan file, and so does what it says of itself.
    $_SERVER['argv'] = $GLOBALS['argv'] = ['artisan', 'schedule:run'];
    define('LARAVEL_START', microtime(true));
    require "$root/vendor/autoload.php";
    $app = require "$root/bootstrap/app.php";
    $kernel = $app->make(Kernel::class);
    $kernel->bootstrap();
    // Newer Laravels fill the schedule when the console application starts.
    $kernel->all();
    $schedule = $app->make(Schedule::class);
    $names = new Names($schedule);
    if ($verb === 'describe') {
        describe($schedule, $names);
        return 0;
    }
    $recorder = new Recorder($names, $argv[3]);
    register_shutdown_function([$recorder, 'abandoned']);
    if ($verb === 'one') {
        return one($app, $schedule, $names, $recorder, $argv[4]);
    }
    $events = $app->make('events');
    $events->listen(ScheduledTaskStarting::class, function ($e) use ($recorder) { $recorder->starting($e->task); });
    $events->listen(ScheduledTaskFinished::class, function ($e) use ($recorder) { $recorder->finished($e->task); });
    $events->listen(ScheduledTaskSkipped::class, function ($e) use ($recorder) { $recorder->skipped($e->task); });
    $events->listen(ScheduledTaskFailed::class, function ($e) use ($recorder) {
        $recorder->failed($e->task, $e->exception ?? null);
    });
    $input = new ArgvInput(['artisan', 'schedule:run']);
    $status = $kernel->handle($input, new ConsoleOutput());
    $kernel->terminate($input, $status);
    return $status;
}

function one($app, Schedule $schedule, Names $names, Recorder $recorder, string $name): int
{
    foreach ($schedule->events() as $event) {
        if ($names->of($event) !== $name) {
            continue;
        }
        $recorder->starting($event);
        try {
            $event->run($app);
            $recorder->finished($event);
        } catch (Throwable $fault) {
            $recorder->failed($event, $fault);
            $app->make(\Illuminate\Contracts\Debug\ExceptionHandler::class)->report($fault);
        }
        return 0;
    }
    fwrite(STDERR, "there is no scheduled task \"$name\"\n");
    return 64;
}

exit(main($argv));
