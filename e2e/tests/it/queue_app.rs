//! Applications with queues whose jobs and messages write down what becomes of them, and what a test asks about it.

use std::collections::BTreeMap;
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_e2e::database::DATABASE;
use regie_e2e::site::regie;
use regie_e2e::{App, MariaDb, Site, eventually};

/// Where each of them adds its lines: what, number, pid.
const LEDGER: &str = "ledger.txt";

const JOB: &str = r#"<?php

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;

class Count implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable;

    public $tries = 1;
    public $timeout = 300;

    public function __construct(public int $number, public int $us, public string $fault = '')
    {
        if ($fault === 'sleep') {
            $this->timeout = 3;
        }
        if ($fault === 'poison') {
            $this->tries = 100;
        }
    }

    public function handle(): void
    {
        $this->note('begun');
        usleep($this->us);
        match ($this->fault) {
            '' => null,
            'exit' => exit(3),
            'crash', 'poison' => posix_kill(getmypid(), 11),
            'leak' => $this->leak(),
            'sleep' => sleep(600),
            'print' => print(str_repeat('x', 5 << 20)),
            'gate' => $this->wait(),
            'say' => error_log("job {$this->number} speaks"),
            'throw', 'throw twice' => throw new \RuntimeException('thrown'),
        };
        $this->note('done');
    }

    public function failed(): void
    {
        $this->note('failed');
        if ($this->fault === 'throw twice') {
            throw new \RuntimeException('thrown again');
        }
    }

    private function leak(): void
    {
        // Of itself, PHP's command line has no limit.
        ini_set('memory_limit', '64M');
        for ($all = ''; ; $all .= str_repeat('x', 1 << 20)) {
        }
    }

    private function wait(): void
    {
        while (!file_exists(base_path('gate'))) {
            usleep(10000);
            clearstatcache();
        }
    }

    private function note(string $what): void
    {
        file_put_contents(base_path('ledger.txt'), "$what {$this->number} " . getmypid() . "\n", FILE_APPEND);
    }
}
"#;

const PUSH: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
[, $from, $to, $us, $fault] = $argv + [4 => ''];
for ($i = (int) $from; $i < (int) $to; $i++) {
    dispatch(new App\Jobs\Count($i, (int) $us, $fault));
}
";

pub(crate) const TABLE: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$app['db']->connection()->getSchemaBuilder()->create('jobs', function ($table) {
    $table->bigIncrements('id');
    $table->string('queue')->index();
    $table->longText('payload');
    $table->unsignedTinyInteger('attempts');
    foreach (['reserved_at' => true, 'available_at' => false, 'created_at' => false] as $name => $nullable) {
        $table->unsignedInteger($name)->nullable($nullable);
    }
});
";

/// Sends numbered messages to a transport, as the framework does.
pub(crate) const SEND: &str = r"<?php
require 'vendor/autoload.php';
[, $transport, $from, $to] = $argv;
$kernel = new App\Kernel('test', false);
$kernel->boot();
$senders = $kernel->getContainer()->get('senders');
for ($i = (int) $from; $i < (int) $to; $i++) {
    $message = new Symfony\Component\Messenger\Envelope(new App\Counted($i));
    for ($tries = 0; ; $tries++) {
        try {
            $senders->get($transport)->send($message);
            break;
        } catch (Throwable $e) {
            // A deadlock has written nothing.
            if ($tries === 20 || !str_contains($e->getMessage(), 'Deadlock')) {
                throw $e;
            }
        }
    }
}
";

/// A message that writes down that it was handled.
pub(crate) const HANDLER: &str = r#"
class Counted
{
    public function __construct(public int $number)
    {
    }
}
class CountedHandler implements MessageHandlerInterface
{
    public function __invoke(Counted $message): void
    {
        foreach (['begun', 'done'] as $what) {
            file_put_contents(dirname(__DIR__) . '/ledger.txt', "$what {$message->number} " . getmypid() . "\n", FILE_APPEND);
            usleep(2000);
        }
    }
}
"#;

/// For hundreds of jobs on a machine that is busy with other tests.
pub(crate) const LONG: Duration = Duration::from_secs(600);

/// A Laravel application whose jobs lie in Redis. A lease lasts long enough that nobody loses one for being slow.
pub(crate) fn laravel() -> App {
    let app = App::named("laravel-ready");
    let env = app.read(".env").replace("QUEUE_CONNECTION=sync", "QUEUE_CONNECTION=redis");
    app.write(".env", format!("{env}\nREDIS_HOST=redis\n"));
    let config = app.read("config/queue.php");
    app.write("config/queue.php", config.replace("'retry_after' => 90", "'retry_after' => 20"));
    app.write("app/Jobs/Count.php", JOB);
    app.write("push.php", PUSH);
    app.write("database/database.sqlite", "");
    app
}

/// One whose jobs lie in a table of `database`.
pub(crate) fn laravel_with_table(database: &MariaDb) -> App {
    let app = laravel();
    let queue = "'connections' => [\n        'database' => ['driver' => 'database', 'table' => 'jobs', \
                 'queue' => 'default', 'retry_after' => 20],";
    let config = app.read("config/queue.php").replacen("'connections' => [", queue, 1);
    app.write("config/queue.php", config);
    let socket = database.socket().display().to_string();
    let mysql = format!("'mysql' => [\n            'unix_socket' => '{socket}',");
    app.write("config/database.php", app.read("config/database.php").replace("'mysql' => [", &mysql));
    let env = app.read(".env").replace("QUEUE_CONNECTION=redis", "QUEUE_CONNECTION=database");
    let kept: Vec<&str> = env.lines().filter(|line| !line.starts_with("DB_")).collect();
    let account = format!("DB_CONNECTION=mysql\nDB_DATABASE={DATABASE}\nDB_USERNAME=root\nDB_PASSWORD=\n");
    app.write(".env", format!("{}\n{account}", kept.join("\n")));
    app.write("table.php", TABLE);
    run(&app, &["php", "table.php"]);
    app
}

/// A `regie` command in the application's folder.
fn command(app: &App, words: &[&str]) -> std::process::Command {
    let mut command = regie(app.path());
    command.args(words);
    // The Symfony application of the tests reads no `.env` itself.
    if app.path().join("bin/console").exists() {
        command.env("APP_ENV", "test").env("APP_DEBUG", "1");
    }
    command
}

/// One that has to succeed.
pub(crate) fn run(app: &App, words: &[&str]) -> String {
    let output = command(app, words).output().expect("regie can be started");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Dispatches jobs with these numbers.
pub(crate) fn push(app: &App, numbers: std::ops::Range<usize>, us: u32, fault: &str) {
    let words = [numbers.start.to_string(), numbers.end.to_string(), us.to_string(), fault.to_owned()];
    let words: Vec<&str> = ["php", "push.php"].into_iter().chain(words.iter().map(String::as_str)).collect();
    run(app, &words);
}

/// What was written down.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    lines: Vec<(String, usize, i32)>,
}

impl Ledger {
    pub(crate) fn read(app: &App) -> Self {
        let line = |line: &str| {
            let mut words = line.split(' ');
            let what = words.next()?.to_owned();
            Some((what, words.next()?.parse().ok()?, words.next()?.parse().ok()?))
        };
        Self { lines: app.read(LEDGER).lines().filter_map(line).collect() }
    }

    /// How often `what` was written, by number.
    pub(crate) fn times(&self, what: &str) -> BTreeMap<usize, usize> {
        let mut times = BTreeMap::new();
        for (_, number, _) in self.lines.iter().filter(|(found, _, _)| found == what) {
            *times.entry(*number).or_default() += 1;
        }
        times
    }

    /// The processes that wrote `what` about one of these numbers.
    pub(crate) fn pids(&self, what: &str, numbers: std::ops::Range<usize>) -> Vec<i32> {
        let mut pids: Vec<i32> = self
            .lines
            .iter()
            .filter(|(found, number, _)| found == what && numbers.contains(number))
            .map(|(_, _, pid)| *pid)
            .collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

/// Pauses a queue, or goes on with it. Right after the start the runner may still ask the application what it has.
pub(crate) fn pause(site: &Site, word: &str, queue: &str) {
    eventually("the runner answers", || site.regie(&["queue", word, queue]).status.success().then_some(()));
}

/// The main process of a program.
pub(crate) fn pid_of(site: &Site, name: &str) -> Option<Pid> {
    let pid = site.status(name)?["pid"].as_i64()?;
    Some(Pid::from_raw(pid.try_into().ok()?))
}

/// The first queue's numbers.
pub(crate) fn stats(site: &Site) -> serde_json::Value {
    let output = site.regie(&["queue", "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    stats["groups"][0]["queues"][0].clone()
}

/// The framework's own worker, in the background until it is dropped.
pub(crate) struct Own(Child);

impl Own {
    pub(crate) fn start(app: &App, words: &[&str]) -> Self {
        let child = command(app, words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("regie can be started");
        Self(child)
    }

    /// Asks it to stop after the job in hand, and waits.
    pub(crate) fn stop(mut self) {
        self.end(Signal::SIGTERM);
    }

    fn end(&mut self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().expect("a pid is a small number"));
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = kill(pid, signal);
        }
        let _ = self.0.wait();
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}
