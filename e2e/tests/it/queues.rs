//! Laravel's jobs under `regie up`, from dispatch to done, while workers and the runner are killed.

use std::collections::BTreeMap;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_e2e::app::App;
use regie_e2e::site::Site;
use regie_e2e::wait::{eventually, within};

use crate::queue_app::LONG;

pub(crate) const JOB: &str = r"<?php

namespace App\Jobs;

use Illuminate\Bus\Queueable;
use Illuminate\Contracts\Queue\ShouldQueue;
use Illuminate\Foundation\Bus\Dispatchable;
use Illuminate\Queue\InteractsWithQueue;

class Note implements ShouldQueue
{
    use Dispatchable, InteractsWithQueue, Queueable;

    public $tries = 1;

    public function __construct(public int $number, public string $file, public int $us)
    {
    }

    public function handle(): void
    {
        usleep($this->us);
        file_put_contents($this->file, $this->number . ' ' . getmypid() . PHP_EOL, FILE_APPEND);
    }
}
";

const PUSH: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
[, $from, $to, $file, $us] = $argv;
for ($i = (int) $from; $i < (int) $to; $i++) {
    dispatch(new App\Jobs\Note($i, $file, (int) $us));
}
";

fn laravel() -> App {
    let app = App::named("laravel-ready");
    let env = app.read(".env").replace("QUEUE_CONNECTION=sync", "QUEUE_CONNECTION=redis");
    app.write(".env", format!("{env}\nREDIS_HOST=redis\n"));
    app.write("app/Jobs/Note.php", JOB);
    app.write("push.php", PUSH);
    app.write("database/database.sqlite", "");
    app
}

fn push(site: &Site, app: &App, from: usize, to: usize, us: u32) {
    let file = app.path().join("done.txt");
    let words = [from.to_string(), to.to_string(), file.display().to_string(), us.to_string()];
    let arguments: Vec<&str> =
        ["php", "push.php"].into_iter().chain(words.iter().map(String::as_str)).collect();
    let pushed = site.regie(&arguments);
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
}

/// How often each job has run to its end.
fn done(app: &App) -> BTreeMap<usize, usize> {
    let mut runs = BTreeMap::new();
    for line in app.read("done.txt").lines() {
        let number = line.split(' ').next().and_then(|number| number.parse().ok()).expect("a number");
        *runs.entry(number).or_default() += 1;
    }
    runs
}

fn stats(site: &Site) -> serde_json::Value {
    let output = site.regie(&["queue", "stats", "--json"]);
    let stats: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    stats["groups"][0]["queues"][0].clone()
}

fn pid_of(site: &Site, name: &str) -> Option<i32> {
    site.status(name)?["pid"].as_i64().and_then(|pid| pid.try_into().ok())
}

/// The workers of a pool, as it tells them itself: its master has other children, too.
fn workers(site: &Site) -> Vec<i32> {
    let row = site.status("workers:default").unwrap_or_default();
    let workers = row["workers"].as_array().cloned().unwrap_or_default();
    workers.iter().filter_map(|worker| worker["pid"].as_i64()?.try_into().ok()).collect()
}

#[test]
fn jobs_run_once_though_the_runner_is_killed_and_none_fails_that_never_ran() {
    const JOBS: usize = 1_500;
    let app = laravel();
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n[workers.default]\nmin = 2\nmax = 2\n");
    push(&site, &app, 0, JOBS, 1_500);
    for round in 1..=3 {
        within(LONG, "some are done", || (done(&app).len() >= JOBS * round / 5).then_some(()));
        let before = eventually("the runner runs", || pid_of(&site, "jobs"));
        kill(Pid::from_raw(before), Signal::SIGKILL).expect("it runs");
        eventually("another runner", || pid_of(&site, "jobs").filter(|pid| *pid != before));
    }
    within(LONG, "all are done", || (done(&app).len() == JOBS).then_some(()));
    let runs = done(&app);
    let doubles: Vec<_> = runs.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!(doubles.len(), 0, "no worker died, so nothing runs twice: {doubles:?}");
    let left = eventually("nothing is left", || Some(stats(&site)).filter(|now| now["reserved"] == 0));
    assert_eq!((&left["waiting"], &left["totals"]["failed"]), (&0.into(), &0.into()), "{left}");
}

#[test]
fn the_death_of_a_worker_is_noticed_at_once() {
    let app = laravel();
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n[workers.default]\nmin = 2\nmax = 2\n");
    push(&site, &app, 0, 1, 1);
    eventually("the first job is done", || (done(&app).len() == 1).then_some(()));
    push(&site, &app, 1, 3, 600_000_000);
    eventually("two jobs run", || (stats(&site)["running"] == 2).then_some(()));
    let killed = workers(&site);
    assert_eq!(killed.len(), 2);
    for pid in killed {
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    }
    // One try each: Laravel's own code has failed them, long before a lease of 90 s would have ended.
    // What is counted and what the store holds are seen one after the other.
    let is_over = |now: &serde_json::Value| now["totals"]["failed"] == 2 && now["reserved"] == 0;
    let end = eventually("both have failed", || Some(stats(&site)).filter(is_over));
    assert_eq!(end["totals"]["died"], 2, "{end}");
    let failed = site.regie(&["queue", "runs", "--failed"]);
    assert!(String::from_utf8_lossy(&failed.stdout).contains(r"App\Jobs\Note"));
    push(&site, &app, 10, 20, 1);
    eventually("others run on new workers", || (done(&app).len() == 11).then_some(()));
}

/// Puts as many messages into the stream as the framework would, and the database transport's table the same.
const SEND: &str = r#"<?php
require 'vendor/autoload.php';
[, $count] = $argv;
$json = trim(shell_exec("php messages.php stream 'new Say(\"x\")'"));
$at = parse_url(getenv('MESSENGER_TRANSPORT_DSN'));
$redis = new Redis();
$redis->connect($at['host'], $at['port']);
isset($at['pass']) && $redis->auth(urldecode($at['pass']));
$redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
$read = json_decode($json, true);
$database = (new App\Registry())->getConnection();
$now = date('Y-m-d H:i:s');
for ($i = 0; $i < (int) $count; $i++) {
    $redis->xadd('orders', '*', ['message' => $json]);
    $database->insert('messenger_messages', ['body' => $read['body'], 'headers' => json_encode($read['headers']),
        'queue_name' => 'async', 'created_at' => $now, 'available_at' => $now]);
}
"#;

#[test]
fn messenger_s_streams_and_tables_are_consumed() {
    const MESSAGES: usize = 60;
    let app = App::named("symfony-jobs");
    let kernel = app.read("src/Kernel.php");
    let lazy = "redis://:word@127.0.0.1:1/orders/shop?lazy=1&dbindex=2";
    assert!(kernel.contains(lazy), "the application has changed");
    let kernel = kernel.replace(lazy, "%env(MESSENGER_TRANSPORT_DSN)%");
    app.write("src/Kernel.php", kernel.replace("sys_get_temp_dir()", "dirname(__DIR__) . '/storage'"));
    app.write(".env", "APP_ENV=test\nAPP_SECRET=x\nMESSENGER_TRANSPORT_DSN=redis://redis:6379/orders\n");
    app.write("send.php", SEND);
    app.write("storage/notes", "");
    let site =
        Site::up(app.path(), "[workers.default]\nqueues = [\"stream\", \"async\"]\nmin = 2\nmax = 2\n");
    for words in [vec!["php", "messages.php", "setup"], vec!["php", "send.php", "60"]] {
        let run = site.regie(&[&["run"], words.as_slice()].concat());
        assert!(run.status.success(), "{words:?}: {}", String::from_utf8_lossy(&run.stderr));
    }
    let said = || app.read("storage/notes").lines().filter(|line| line.starts_with("said x")).count();
    within(LONG, "every message is handled", || (said() >= 2 * MESSAGES).then_some(()));
    let queues = within(LONG, "nothing is leased", || {
        let output = site.regie(&["queue", "stats", "--json"]);
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        let queues = stats["groups"][0]["queues"].as_array()?.clone();
        queues
            .iter()
            .all(|queue| queue["reserved"] == 0 && queue["totals"]["done"] == MESSAGES)
            .then_some(queues)
    });
    assert_eq!(queues.len(), 2);
    assert_eq!(said(), 2 * MESSAGES, "each is handled once");
}
