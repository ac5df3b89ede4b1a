//! Scheduled tasks: entries of regie.toml and Laravel's own schedule, as a person and as the clock start them.

use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use regie_e2e::site::{regie, write_config};
use regie_e2e::wait::within;
use regie_e2e::{App, Redis, Site, eventually};

use crate::queue_app::LONG;

/// Tasks of each kind, in the place where Laravel 8 has them.
const KERNEL: &str = r#"<?php

namespace App\Console;

use Illuminate\Console\Scheduling\Schedule;
use Illuminate\Foundation\Console\Kernel as ConsoleKernel;

class Kernel extends ConsoleKernel
{
    protected function schedule(Schedule $schedule)
    {
        $schedule->command('env')->hourly()->timezone('Europe/Paris');
        $schedule->exec('echo to nobody; exit 3')->daily()->name('fails');
        $schedule->call(function () { echo "called\n"; })->everyMinute()->name('minutely');
        $schedule->call(function () { throw new \RuntimeException('boo'); })->daily()->name('throws');
        $schedule->call(function () { exit(4); })->daily()->name('exits');
        $schedule->call(function () {})->everyMinute()->name('never')->when(false);
    }

    protected function commands()
    {
        require base_path('routes/console.php');
    }
}
"#;

fn laravel() -> App {
    let app = App::named("laravel-ready");
    app.write("app/Console/Kernel.php", KERNEL);
    app
}

/// stdout of a `regie` command and its exit code.
fn ask(app: &App, words: &[&str]) -> (String, Option<i32>) {
    let output = regie(app.path()).args(words).output().expect("regie can be started");
    (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
}

fn json(app: &App, words: &[&str]) -> serde_json::Value {
    let (text, _) = ask(app, words);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{words:?} said {text}"))
}

#[test]
fn the_application_s_tasks_are_listed_and_run_by_name() {
    let app = laravel();
    let list = json(&app, &["schedule", "list", "--json"]);
    let row = |name: &str| {
        let found = list.as_array().unwrap().iter().find(|row| row["name"] == name);
        found.unwrap_or_else(|| panic!("{name} is not in {list}")).clone()
    };
    assert_eq!(row("env")["timezone"], "Europe/Paris");
    assert!(row("env")["next"].as_str().is_some_and(|next| next.ends_with(":00:00Z")), "{list}");
    assert_eq!(row("minutely")["expression"], "* * * * *");

    for (name, code, outcome, output, why) in [
        ("env", 0, "done", "Current application environment", ""),
        ("minutely", 0, "done", "called\n", ""),
        ("fails", 1, "failed", "", "exit code 3"),
        ("throws", 1, "failed", "", "RuntimeException: boo"),
        ("exits", 1, "failed", "", "PHP ended in the middle"),
    ] {
        let (said, ended) = ask(&app, &["schedule", "run", name]);
        assert_eq!(ended, Some(code), "{name} said {said}");
        assert!(said.contains(output), "{name} said {said}");
        let last = &json(&app, &["schedule", "history", name, "--json"])[0];
        assert_eq!(last["outcome"], outcome, "{last}");
        assert!(last["why"].as_str().unwrap_or_default().contains(why), "{last}");
        assert!(last["output"].as_str().unwrap_or_default().contains(output), "{last}");
    }
    let unknown = regie(app.path()).args(["schedule", "run", "minutly"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("did you mean \"minutely\"?"));
}

#[test]
fn what_is_due_runs_while_the_application_is_up() {
    let app = laravel();
    let config = r#"
        [schedule.tick]
        cron = "* * * * * *"
        command = "php -r 'echo getenv(\"WHOSE\"), PHP_SAPI;'"
        environment = { WHOSE = "mine " }
        [schedule.slow]
        cron = "* * * * * *"
        command = ["sleep", "600"]
        timeout = "2s"
        [schedule.yearly]
        cron = "0 0 1 1 *"
        command = "echo made up for"
        missed = "run"
    "#;
    // It was up before, long ago.
    let settled = r#"{"yearly":"2020-06-01T00:00:00Z"}"#;
    app.write(".regie/schedule/settled.json", settled);
    let site = Site::up(app.path(), config);
    let run = |name: &str, outcome: &str| {
        let runs = json(&app, &["schedule", "history", name, "--json", "-n", "1000"]);
        runs.as_array().unwrap().iter().find(|run| run["outcome"] == outcome).cloned()
    };
    let tick = eventually("a tick", || run("tick", "done"));
    assert_eq!(tick["output"], "mine cli");
    let late = eventually("what was missed", || run("yearly", "done"));
    assert_eq!(late["output"], "made up for\n");
    let skipped = eventually("an overlap", || run("slow", "skipped"));
    assert_eq!(skipped["why"], "a run before it has not ended");
    let cut = eventually("the limit", || run("slow", "failed"));
    assert_eq!(cut["why"], "it took longer than its limit");
    // In development the framework is asked each minute, and decides.
    let own = within(LONG, "Laravel's own task", || run("minutely", "done"));
    assert_eq!(own["output"], "called\n");
    let own = within(LONG, "a task whose condition says no", || run("never", "skipped"));
    assert_eq!(own["why"], "its own conditions said no");
    assert!(run("fails", "failed").is_none() || is_midnight(), "what is not due is not run");
    assert!(site.stop().success());
}

#[test]
fn one_of_two_machines_runs_the_tasks_and_the_other_follows_when_it_has_died() {
    let folder = App::empty();
    let shared = Redis::start("", "");
    let lines = folder.path().join("lines");
    let machine = |name: &str| {
        let app = App::named("plain");
        app.write(".env", "APP_NAME=shop\n");
        let config = format!(
            "[store]\nurl = \"redis://127.0.0.1:{}\"\n[schedule.tick]\ncron = \"* * * * * *\"\ncommand = \"echo {name} >> {}\"\n",
            shared.port,
            lines.display()
        );
        let site = Site::up(app.path(), &config);
        (app, site)
    };
    let ran = || std::fs::read_to_string(&lines).unwrap_or_default();
    let count = |name: &str| ran().lines().filter(|line| *line == name).count();
    let (first_app, mut first) = machine("first");
    eventually("the first one runs tasks", || (count("first") >= 2).then_some(()));
    let (_second_app, second) = machine("second");
    eventually("the second one is there", || second.status("schedule")?["pid"].as_i64());
    let before = count("first");
    eventually("the first one goes on", || (count("first") >= before + 2).then_some(()));
    assert_eq!(count("second"), 0, "one leads");

    // The whole machine is gone, and nobody gives the lead back: it ends with its term, which is made short here.
    let leader = first.status("schedule").and_then(|row| row["pid"].as_i64()).expect("it runs");
    for pid in [Pid::from_raw(leader.try_into().expect("a pid is a small number")), first.pid()] {
        kill(pid, Signal::SIGKILL).expect("it runs");
    }
    eventually("it has ended", || first.has_ended());
    eventually("so have its tasks", || works_in(first_app.path()).is_empty().then_some(()));
    let keys = shared.says(&["keys", "regie:*:schedule:leader"]);
    assert!(!keys.is_empty(), "the lead is held");
    shared.says(&["pexpire", &keys, "1"]);
    eventually("the second one leads", || (count("second") >= 3).then_some(()));
    let ran = ran();
    let order: Vec<&str> = ran.lines().collect();
    let turn = order.iter().position(|line| *line == "second").unwrap_or_default();
    assert!(order[turn..].iter().all(|line| *line == "second"), "never both: {order:?}");
}

/// The processes that have `folder` as their own.
fn works_in(folder: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").expect("Linux has it").flatten().map(|entry| entry.path());
    // One that ends meanwhile has no folder any more.
    processes
        .filter(|process| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder))
        .collect()
}

/// The one minute of the day in which the daily tasks are due.
fn is_midnight() -> bool {
    let clock = std::process::Command::new("date").args(["-u", "+%H%M"]).output().unwrap();
    clock.stdout.starts_with(b"0000") || clock.stdout.starts_with(b"0001")
}

#[test]
fn expressions_are_explained() {
    let app = App::empty();
    let words = [
        "schedule",
        "test",
        "30 2 * * *",
        "--timezone",
        "Europe/Paris",
        "--from",
        "2026-03-28 12:00",
        "-n",
        "2",
    ];
    let (said, code) = ask(&app, &words);
    assert_eq!(said, "Sun 2026-03-29 03:00:00 +02:00\nMon 2026-03-30 02:30:00 +02:00\n");
    assert_eq!(code, Some(0));
    let wrong = regie(app.path()).args(["schedule", "test", "61 * * * *"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("\"61\" is no minute: 0 to 59"));
}

#[test]
fn a_plain_folder_without_entries_has_no_scheduler() {
    let app = App::named("plain");
    write_config(app.path(), "");
    let site = Site::up(app.path(), "");
    assert!(site.status("schedule").is_none());
    let (said, _) = ask(&app, &["schedule", "list"]);
    assert_eq!(said, "nothing is scheduled\n");
}
