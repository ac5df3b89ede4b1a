<?php

/*
 * What the job scripts of all frameworks share: the loop over messages, their form, and what is told of a run.
 *
 * A message is one line of JSON, a line feed, and the payload as it lies in the queue:
 *
 *     {"kind":"run","connection":"redis","queue":"default","id":"…","attempts":1}
 *     {"uuid":"…","displayName":"App\\Jobs\\Mail",…}
 *
 * The answer is one JSON object: what is to be done with the job, and what there is to tell about it.
 *
 *     {"do":"ack","class":"App\\Jobs\\Mail"}
 *     {"do":"release","delay":10,"class":"App\\Jobs\\Mail","exception":{"class":…,"message":…},"output":"…"}
 *
 * A worker begins anew after REGIE_MAX_JOBS jobs, and when it is older than REGIE_MAX_TIME seconds, each of them a tenth
 * more or less, so that the workers of a group do not do so all at once.
 *
 * Nothing is told of a job that went well and printed nothing but its class, so that a short job has a short answer.
 */

namespace Regie\Jobs;

use Throwable;

/** Bytes of what a job prints that are told; the rest is dropped, however much it is. */
const OUTPUT_MAX = 64 * 1024;

/** Bytes of a trace that are told. */
const TRACE_MAX = 16 * 1024;

/** Bytes of an exception's message that are told. */
const MESSAGE_MAX = 8 * 1024;

/** Characters that end a text which was cut. */
const CUT = "\n[…]";

/** What a job prints, up to a limit. */
final class Output
{
    public string $text = '';

    public function __invoke(string $bytes): string
    {
        if ($bytes !== '' && strlen($this->text) <= OUTPUT_MAX) {
            $this->text .= substr($bytes, 0, OUTPUT_MAX + 1 - strlen($this->text));
        }

        return '';
    }
}

/**
 * Hands each message to `$handle`, which gets its header and payload and gives the outcome, until the worker shall
 * leave. An outcome with `stop` is the last: the script ends, and is booted anew in a clean state.
 *
 * @param callable(array<string, mixed>, string): array<string, mixed> $handle
 */
function serve(callable $handle): void
{
    $stop = false;
    $jobs = (int) around((int) limit('REGIE_MAX_JOBS'));
    $end = ($time = around(limit('REGIE_MAX_TIME'))) > 0 ? hrtime(true) + (int) ($time * 1e9) : 0;
    $output = new Output();
    $callback = static function (string $message) use ($handle, $output, &$stop, &$jobs, $end): string {
        $line = strpos($message, "\n");
        $header = regie_json_decode($line === false ? $message : substr($message, 0, $line));
        if (!is_array($header)) {
            throw new \UnexpectedValueException('a message begins with a line of JSON');
        }
        $level = ob_get_level();
        ob_start($output, 4096);
        try {
            $outcome = $handle($header, $line === false ? '' : substr($message, $line + 1));
        } finally {
            // Buffers that the job has left open are closed with ours; one that it closed is gone already.
            while (ob_get_level() > $level) {
                ob_end_flush();
            }
        }
        if ($output->text !== '') {
            $outcome['output'] = cut($output->text, OUTPUT_MAX);
            $output->text = '';
        }
        if ($jobs > 0 && $header['kind'] === 'run' && --$jobs === 0) {
            $outcome['stop'] ??= 'jobs';
        }
        if ($end && hrtime(true) >= $end) {
            $outcome['stop'] ??= 'time';
        }
        $stop = isset($outcome['stop']);

        return encode($outcome);
    };
    while (frankenphp_handle_request($callback) && !$stop);
}

/** A limit of the environment; 0 for none. */
function limit(string $name): float
{
    return max(0.0, (float) (getenv($name) ?: 0));
}

/** A tenth more or less, by chance. */
function around(float|int $number): float
{
    return is_int($number) && $number < 10 ? $number : $number * mt_rand(900, 1100) / 1000;
}

/** @param array<string, mixed> $outcome */
function encode(array $outcome): string
{
    return json_encode(
        $outcome,
        JSON_UNESCAPED_UNICODE | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE | JSON_PARTIAL_OUTPUT_ON_ERROR,
    );
}

/** @return array{class: string, message: string, file: string, line: int, trace: string} */
function exception(Throwable $thrown): array
{
    return [
        'class' => $thrown::class,
        'message' => cut($thrown->getMessage(), MESSAGE_MAX),
        'file' => $thrown->getFile(),
        'line' => $thrown->getLine(),
        // Without arguments, which may be secrets and are as long as they like.
        'trace' => cut($thrown->getTraceAsString(), TRACE_MAX),
    ];
}

/** At most `$max` bytes, ending in a mark where something was cut. */
function cut(string $text, int $max): string
{
    return strlen($text) <= $max ? $text : substr($text, 0, $max - strlen(CUT)) . CUT;
}

/** The application's folder: where the pool was started. */
function base_path(): string
{
    return rtrim($_SERVER['APP_BASE_PATH'] ?? $_ENV['APP_BASE_PATH'] ?? getcwd(), '/');
}

/**
 * Makes the world look as it does to a command that was typed, which is what frameworks and packages ask.
 *
 * @param list<string> $words
 */
function pretend_command(array $words): void
{
    $_SERVER['argv'] = $GLOBALS['argv'] = $words;
    $_SERVER['argc'] = $GLOBALS['argc'] = count($words);
    $_SERVER['SCRIPT_NAME'] = $_SERVER['SCRIPT_FILENAME'] = $_SERVER['PHP_SELF'] = $words[0];
}

/** What the script says when it cannot be what it is for. */
function give_up(string $why): never
{
    fwrite(STDERR, $why . "\n");
    exit(1);
}
