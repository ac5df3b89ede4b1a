//! The frameworks' own workers beside ours, after them and before them: whoever fetches it, each job runs once.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_e2e::database::DATABASE;
use regie_e2e::{App, MariaDb, Site, eventually, within};

use crate::queue_app::{
    HANDLER, LONG, Ledger, Own, SEND, laravel, laravel_with_table, pause, pid_of, push, run, stats,
};

const TWO_WORKERS: &str = "[app]\nenv = \"development\"\n[workers.default]\nmin = 2\nmax = 2\n";

/// Waits until each of these jobs is done, and sees that none ran twice and none failed.
fn each_once(app: &App, numbers: std::ops::Range<usize>, who: &str) {
    within(LONG, who, || {
        let done = Ledger::read(app).times("done");
        numbers.clone().all(|number| done.contains_key(&number)).then_some(())
    });
    let ledger = Ledger::read(app);
    for what in ["begun", "done"] {
        let doubles: Vec<_> = ledger.times(what).into_iter().filter(|(_, times)| *times > 1).collect();
        assert_eq!(doubles, [], "{what} more than once; {who}");
    }
    let failed: Vec<_> = ledger.times("failed").into_keys().filter(|job| numbers.contains(job)).collect();
    assert_eq!(failed, [0; 0], "{who}");
}

fn laravel_changes_hands(app: &App, connection: &str) {
    let site = Site::up(app.path(), TWO_WORKERS);
    let queue_work = ["artisan", "queue:work", connection, "--sleep=1", "--tries=1"];

    // Beside: first the framework's worker alone, then both.
    pause(&site, "pause", "default");
    let own = Own::start(app, &queue_work);
    push(app, 0..5, 1_000, "");
    each_once(app, 0..5, "queue:work works while Régie is paused");
    let theirs = Ledger::read(app).pids("done", 0..5);
    assert_eq!(theirs.len(), 1);
    pause(&site, "resume", "default");
    let mut next = 5;
    within(LONG, "both have worked", || {
        push(app, next..next + 50, 3_000, "");
        next += 50;
        each_once(app, 0..next, "both work");
        (Ledger::read(app).pids("done", 5..next).iter().filter(|pid| !theirs.contains(pid)).count() > 0)
            .then_some(())
    });
    own.stop();

    // Régie leaves under load, and the framework's worker does the rest: nothing was failed or counted as an attempt.
    let from = next;
    push(app, from..from + 150, 3_000, "");
    eventually("some are done", || {
        (!Ledger::read(app).pids("done", from..from + 150).is_empty()).then_some(())
    });
    run(app, &["stop", "jobs", "workers:default"]);
    let own = Own::start(app, &queue_work);
    each_once(app, 0..from + 150, "queue:work does the rest");

    // The framework's worker is killed with a job in hand. Régie finds it when the lease has run out; one try was all.
    let lost = from + 150;
    push(app, lost..lost + 1, 600_000_000, "");
    let pid = eventually("it has begun", || Ledger::read(app).pids("begun", lost..lost + 1).pop());
    push(app, lost + 1..lost + 101, 1_000, "");
    kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it runs");
    drop(own);
    run(app, &["start", "workers:default", "jobs"]);
    each_once(app, lost + 1..lost + 101, "Régie takes over");
    within(LONG, "what was lost has failed", || Ledger::read(app).times("failed").get(&lost).copied());
    // What is counted and what the store holds are seen one after the other.
    let is_over = |now: &serde_json::Value| now["reserved"] == 0 && now["totals"]["failed"] == 1;
    let left = eventually("nothing is left", || Some(stats(&site)).filter(is_over));
    assert_eq!(left["waiting"], 0, "{left}");
    assert_eq!(Ledger::read(app).times("begun").get(&lost), Some(&1), "it never ran again");
}

#[test]
fn queue_work_on_redis() {
    laravel_changes_hands(&laravel(), "redis");
}

#[test]
fn queue_work_on_a_table() {
    let database = MariaDb::start();
    laravel_changes_hands(&laravel_with_table(&database), "database");
}

/// What Laravel 12's `queue:pause` and `queue:resume` write.
const KEY: &str = r"<?php
require 'vendor/autoload.php';
$app = require 'bootstrap/app.php';
$app->make(Illuminate\Contracts\Console\Kernel::class)->bootstrap();
$argv[1] === 'pause' ? cache()->forever($argv[2], true) : cache()->forget($argv[2]);
";

#[test]
fn what_laravel_says_to_its_workers_is_obeyed() {
    let app = laravel();
    let env = app.read(".env");
    let kept: Vec<&str> = env.lines().filter(|line| !line.starts_with("CACHE_DRIVER=")).collect();
    app.write(".env", kept.join("\n") + "\nCACHE_DRIVER=file\n");
    app.write("key.php", KEY);
    let site = Site::up(app.path(), TWO_WORKERS);
    let is_paused = |expected: bool| {
        eventually("it is paused, or goes on", || (stats(&site)["paused"] == expected).then_some(()));
    };
    let mut next = 0;
    let mut while_paused = |stop: &[&str], go_on: &[&str]| {
        run(&app, stop);
        is_paused(true);
        push(&app, next..next + 5, 1, "");
        eventually("they wait", || (stats(&site)["waiting"] == 5).then_some(()));
        assert!(Ledger::read(&app).pids("begun", next..next + 5).is_empty(), "{stop:?}");
        run(&app, go_on);
        is_paused(false);
        each_once(&app, 0..next + 5, "it goes on");
        next += 5;
    };
    while_paused(&["artisan", "down"], &["artisan", "up"]);
    for key in ["illuminate:queue:paused:redis:default", "illuminate:queues:paused"] {
        while_paused(&["php", "key.php", "pause", key], &["php", "key.php", "resume", key]);
    }
    while_paused(&["queue", "pause", "redis:default"], &["queue", "resume", "default"]);

    let before = eventually("the workers", || pid_of(&site, "workers:default"));
    run(&app, &["artisan", "queue:restart"]);
    eventually("other workers", || pid_of(&site, "workers:default").filter(|pid| *pid != before));
    push(&app, 100..105, 1, "");
    each_once(&app, 100..105, "new workers work");

    // The operator's pause outlives the runner.
    pause(&site, "pause", "default");
    let before = eventually("the runner", || pid_of(&site, "jobs"));
    kill(before, Signal::SIGKILL).expect("it runs");
    eventually("another runner", || pid_of(&site, "jobs").filter(|pid| *pid != before));
    is_paused(true);
    push(&app, 105..110, 1, "");
    eventually("they wait", || (stats(&site)["waiting"] == 5).then_some(()));
    pause(&site, "resume", "default");
    each_once(&app, 100..110, "it goes on");
}

fn symfony(database: &MariaDb) -> App {
    let app = App::named("symfony-jobs");
    let replace = |text: String, from: &str, to: &str| {
        assert!(text.contains(from), "the application has changed: {from}");
        text.replace(from, to)
    };
    let kernel = app.read("src/Kernel.php");
    let kernel = replace(
        kernel,
        "redis://:word@127.0.0.1:1/orders/shop?lazy=1&dbindex=2",
        "%env(MESSENGER_TRANSPORT_DSN)%",
    );
    let kernel = replace(kernel, "sys_get_temp_dir()", "dirname(__DIR__) . '/storage'");
    let kernel =
        replace(kernel, "BatchHandler::class, Soil", "BatchHandler::class, CountedHandler::class, Soil");
    let alias = "$services->set('logger', Notes::class);\n        \
                 $services->alias('senders', 'messenger.receiver_locator')->public();";
    let kernel = replace(kernel, "$services->set('logger', Notes::class);", alias);
    let account = format!(
        "['driver' => 'pdo_mysql', 'unix_socket' => '{}', 'user' => 'root', 'dbname' => '{DATABASE}']",
        database.socket().display()
    );
    let sqlite = "['driver' => 'pdo_sqlite', 'path' => Kernel::storage() . '/messages.sqlite']";
    app.write("src/Kernel.php", replace(kernel, sqlite, &account));
    app.write("src/messages.php", app.read("src/messages.php") + HANDLER);
    app.write(".env", "APP_ENV=test\nAPP_SECRET=x\nMESSENGER_TRANSPORT_DSN=redis://redis:6379/orders\n");
    app.write("send.php", SEND);
    app.write("storage/notes", "");
    app
}

fn send(app: &App, transport: &str, numbers: std::ops::Range<usize>) {
    let (from, to) = (numbers.start.to_string(), numbers.end.to_string());
    run(app, &["php", "send.php", transport, &from, &to]);
}

fn messenger_changes_hands(app: &App, transport: &str) {
    let config = format!("[workers.default]\nqueues = [\"{transport}\"]\nmin = 2\nmax = 2\n");
    let site = Site::up(app.path(), &config);
    if transport == "async" {
        run(app, &["console", "messenger:setup-transports", transport]);
    }
    let consume = ["console", "messenger:consume", transport, "--sleep=0.2"];

    send(app, transport, 0..50);
    each_once(app, 0..50, "Régie works alone");
    pause(&site, "pause", transport);
    let own = Own::start(app, &consume);
    send(app, transport, 50..60);
    each_once(app, 50..60, "messenger:consume works while Régie is paused");
    let theirs = Ledger::read(app).pids("done", 50..60);
    assert_eq!(theirs.len(), 1);
    pause(&site, "resume", transport);
    let mut next = 60;
    within(LONG, "both have worked", || {
        send(app, transport, next..next + 50);
        next += 50;
        each_once(app, 0..next, "both work");
        (Ledger::read(app).pids("done", 60..next).iter().filter(|pid| !theirs.contains(pid)).count() > 0)
            .then_some(())
    });
    own.stop();

    let from = next;
    send(app, transport, from..from + 150);
    eventually("some are done", || {
        (!Ledger::read(app).pids("done", from..from + 150).is_empty()).then_some(())
    });
    run(app, &["stop", "jobs", "workers:default"]);
    let own = Own::start(app, &consume);
    each_once(app, 0..from + 150, "messenger:consume does the rest");
    send(app, transport, from + 150..from + 250);
    eventually("it goes on", || {
        (!Ledger::read(app).pids("done", from + 150..from + 250).is_empty()).then_some(())
    });
    own.stop();
    run(app, &["start", "workers:default", "jobs"]);
    each_once(app, 0..from + 250, "Régie takes over");

    // What the application says to its workers reaches ours: a new generation takes their place.
    let before = eventually("the workers", || pid_of(&site, "workers:default"));
    run(app, &["console", "messenger:stop-workers"]);
    eventually("other workers", || pid_of(&site, "workers:default").filter(|pid| *pid != before));
    send(app, transport, from + 250..from + 260);
    each_once(app, 0..from + 260, "they work");
}

#[test]
fn messenger_consume_on_a_stream() {
    let database = MariaDb::start();
    messenger_changes_hands(&symfony(&database), "stream");
}

#[test]
fn messenger_consume_on_a_table() {
    let database = MariaDb::start();
    messenger_changes_hands(&symfony(&database), "async");
}

/// A connection of a kind that Régie does not know, and a package that has Horizon's class, command and configuration.
const PROVIDER: &str = r#"<?php

namespace App\Providers;

use Illuminate\Queue\Connectors\RedisConnector;
use Illuminate\Support\Facades\Artisan;
use Illuminate\Support\ServiceProvider;

class OthersProvider extends ServiceProvider
{
    public function boot()
    {
        $this->app['queue']->addConnector('mine', fn () => new RedisConnector($this->app['redis']));
        if (class_exists('Laravel\Horizon\Horizon')) {
            Artisan::command('horizon', function () {
                $this->call('queue:work', ['connection' => 'redis', '--queue' => 'watched', '--sleep' => 1]);
            });
        }
    }
}
"#;

/// Adds what `PROVIDER` brings, and Horizon's stand-in where `supervisors` says what it works on.
fn with_others(supervisors: Option<&str>) -> App {
    let app = laravel();
    app.write("app/Providers/OthersProvider.php", PROVIDER);
    let config = app.read("config/app.php");
    assert!(config.contains("'providers' => ["), "the application has changed");
    let config = config.replacen(
        "'providers' => [",
        "'providers' => [\n        App\\Providers\\OthersProvider::class,",
        1,
    );
    app.write("config/app.php", config);
    let queue = app.read("config/queue.php");
    let mine = "'connections' => [\n        'mine' => ['driver' => 'mine', 'connection' => 'default', \
                'queue' => 'mail', 'retry_after' => 90],";
    app.write("config/queue.php", queue.replacen("'connections' => [", mine, 1));
    if let Some(supervisors) = supervisors {
        app.write("config/horizon.php", format!("<?php return ['environments' => ['*' => {supervisors}]];"));
        let autoload = app.read("vendor/autoload.php");
        app.write(
            "vendor/autoload.php",
            autoload.replacen("<?php", "<?php\nrequire __DIR__ . '/horizon.php';", 1),
        );
        app.write("vendor/horizon.php", "<?php\nnamespace Laravel\\Horizon;\nclass Horizon\n{\n}\n");
    }
    app.write("push.php", app.read("push.php").replace(
        "dispatch(new App\\Jobs\\Count($i, (int) $us, $fault));",
        "dispatch((new App\\Jobs\\Count($i, (int) $us))->onConnection(getenv('ON') ?: 'redis')->onQueue(getenv('QUEUE') ?: null));",
    ));
    app
}

fn push_on(app: &App, connection: &str, queue: &str, numbers: std::ops::Range<usize>) {
    let (from, to) = (numbers.start.to_string(), numbers.end.to_string());
    let pushed = regie_e2e::site::regie(app.path())
        .args(["php", "push.php", &from, &to, "1"])
        .envs([("ON", connection), ("QUEUE", queue)])
        .output()
        .expect("regie can be started");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
}

#[test]
fn what_is_not_driven_runs_on_the_framework_s_own_worker() {
    let app = with_others(None);
    let config = "[app]\nenv = \"development\"\n[workers.default]\nqueues = [\"redis\", \"mine:mail\"]\nmin = 1\nmax = 2\n";
    let site = Site::up(app.path(), config);
    let own = eventually("it is a program", || pid_of(&site, "workers:mine.mail"));
    push_on(&app, "mine", "mail", 0..5);
    push_on(&app, "redis", "default", 5..10);
    each_once(&app, 0..10, "both queues are worked on");
    assert_eq!(Ledger::read(&app).pids("done", 0..5), [own.as_raw()]);
    assert!(!Ledger::read(&app).pids("done", 5..10).contains(&own.as_raw()));
    let told = run(&app, &["queue", "stats"]);
    assert!(told.contains("mine:mail runs on the framework's own worker"), "{told}");
    kill(own, Signal::SIGKILL).expect("it runs");
    eventually("another one", || pid_of(&site, "workers:mine.mail").filter(|pid| *pid != own));
    push_on(&app, "mine", "mail", 10..12);
    each_once(&app, 0..12, "it goes on");
    // In the foreground, beside the others.
    run(&app, &["stop", "workers:mine.mail"]);
    push_on(&app, "mine", "mail", 12..14);
    run(&app, &["queue", "work", "--queue", "mine:mail", "--once"]);
    assert_eq!(Ledger::read(&app).times("done").len(), 13);
    run(&app, &["queue", "work", "--queue", "mine:mail", "--stop-when-empty"]);
    each_once(&app, 0..14, "all are done in the foreground");
}

/// Each supervisor is a group; a changed configuration is followed at a reload.
#[test]
fn horizon_is_replaced() {
    let supervisor = |queue: &str| {
        format!(
            "['one' => ['connection' => 'redis', 'queue' => {queue}, 'balance' => 'auto', 'minProcesses' => 1, \
             'maxProcesses' => 2, 'tries' => 1, 'timeout' => 30]]"
        )
    };
    let app = with_others(Some(&supervisor("['watched', 'mail']")));
    let site = Site::up(app.path(), "[app]\nenv = \"development\"\n[workers]\nhorizon = \"replace\"\n");
    push_on(&app, "redis", "watched", 0..5);
    push_on(&app, "redis", "mail", 5..10);
    each_once(&app, 0..10, "both queues are worked on");
    let group = || {
        let output = site.regie(&["queue", "stats", "--json"]);
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        stats["groups"].as_array()?.iter().find(|group| group["name"] == "one").cloned()
    };
    let queues = |group: &serde_json::Value| -> Vec<String> {
        let queues = group["queues"].as_array().cloned().unwrap_or_default();
        queues.iter().filter_map(|queue| queue["queue"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(queues(&within(LONG, "the group", group)), ["redis:watched", "redis:mail"]);
    assert!(pid_of(&site, "workers:one").is_some() && pid_of(&site, "workers:default").is_none());
    assert!(site.status("workers:horizon").is_none(), "Horizon does not run");

    app.write(
        "config/horizon.php",
        format!("<?php return ['environments' => ['*' => {}]];", supervisor("['watched', 'late']")),
    );
    run(&app, &["reload"]);
    push_on(&app, "redis", "late", 10..15);
    each_once(&app, 0..15, "the new queue is worked on");
    within(LONG, "the group has the new queue", || {
        (queues(&group()?) == ["redis:watched", "redis:late"]).then_some(())
    });
}

/// Another connection in `.env`, and a reload: the runner follows.
#[test]
fn another_connection_is_followed_at_a_reload() {
    let app = laravel();
    let table = "'connections' => [\n        'database' => ['driver' => 'database', 'table' => 'jobs', \
                 'queue' => 'default', 'retry_after' => 90],";
    app.write("config/queue.php", app.read("config/queue.php").replacen("'connections' => [", table, 1));
    app.write("table.php", crate::queue_app::TABLE);
    run(&app, &["php", "table.php"]);
    let with = |connection: &str| {
        let env = app.read(".env");
        let kept: Vec<&str> = env.lines().filter(|line| !line.starts_with("QUEUE_CONNECTION=")).collect();
        app.write(".env", format!("{}\nQUEUE_CONNECTION={connection}\n", kept.join("\n")));
    };
    with("database");
    let site = Site::up(app.path(), TWO_WORKERS);
    push(&app, 0..5, 1, "");
    each_once(&app, 0..5, "the table is worked on");
    let mut next = 5;
    for connection in ["redis", "database", "redis"] {
        with(connection);
        run(&app, &["reload"]);
        push(&app, next..next + 5, 1, "");
        next += 5;
        each_once(&app, 0..next, "the other connection is worked on");
        let queue = format!("{connection}:default");
        within(LONG, "it is told", || (stats(&site)["queue"] == queue).then_some(()));
    }
}

#[test]
fn horizon_keeps_its_queues() {
    let app = with_others(Some("['one' => ['connection' => 'redis', 'queue' => ['watched']]]"));
    let config = "[app]\nenv = \"development\"\n[workers.default]\nqueues = [\"redis\", \"redis:watched\"]\nmin = 1\nmax = 1\n";
    let site = Site::up(app.path(), config);
    let horizon = eventually("Horizon runs", || pid_of(&site, "workers:horizon"));
    push_on(&app, "redis", "watched", 0..5);
    push_on(&app, "redis", "default", 5..10);
    each_once(&app, 0..10, "both work");
    assert_eq!(Ledger::read(&app).pids("done", 0..5), [horizon.as_raw()]);
    assert!(!Ledger::read(&app).pids("done", 5..10).contains(&horizon.as_raw()));
    assert!(site.printed().contains("redis:watched stands in [workers.default] and in config/horizon.php"));
}
