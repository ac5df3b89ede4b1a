//! What a person types, and how each command ends.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use regie_e2e::site::{Background, regie, write_config};
use regie_e2e::wait::timed;
use regie_e2e::{App, Site, eventually};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

/// `<?php echo 'hi';` in a folder of its own.
fn hello() -> App {
    let app = App::empty();
    app.write("index.php", "<?php echo 'hi';");
    app
}

#[test]
fn up_says_what_it_serves_and_ctrl_c_stops_it() {
    let app = hello();
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert_eq!(site.get("/").text(), "hi");
    let printed = site.printed();
    for part in ["development", "PHP files", "PHP 8.", "classic mode", "http://127.0.0.1:"] {
        assert!(printed.contains(part), "{part} in:\n{printed}");
    }
    assert_eq!(site.stop().code(), Some(0));
}

/// Signals that come so soon after the first are one with it.
const ONE_BREATH: Duration = Duration::from_millis(200);

#[test]
fn a_second_signal_does_not_wait_unless_it_came_with_the_first() {
    let app = hello();
    let config = "[php.web]\nworkers = 1\n[program.deaf]\nstop_timeout = \"600s\"\n\
                  command = \"trap '' TERM; echo deaf; while :; do sleep 1; done\"\n";
    // Where the machine stands still between the two, they do not come in one breath.
    let site = (0..10).find_map(|_| {
        let site = Site::up(app.path(), config);
        eventually("the program has set its trap", || site.printed().contains("| deaf").then_some(()));
        let (between, ()) = timed(|| (0..2).for_each(|_| kill(site.pid(), Signal::SIGTERM).unwrap()));
        eventually("it drains", || site.printed().contains("stopping all").then_some(()));
        let printed = site.printed();
        assert!(!printed.contains("again") || between > ONE_BREATH / 4, "{between:?}: {printed}");
        (!printed.contains("again")).then_some(site)
    });
    let mut site = site.expect("two signals come in one breath, one time of ten");
    eventually("a later signal ends it at once", || {
        kill(site.pid(), Signal::SIGTERM).ok()?;
        site.has_ended()
    });
    eventually("it has said so", || site.printed().contains("again: stopping at once").then_some(()));
}

#[test]
fn every_fault_of_the_configuration_is_reported_at_once() {
    let app = hello();
    app.write(
        "regie.toml",
        "[php.web]\nworker = 4\nmode = \"clasic\"\n[gatway]\nlisten = [\"127.0.0.1:0\"]\n",
    );
    for command in [&["up"][..], &["check"], &["run", "true"]] {
        let output = regie(app.path()).args(command).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(code(&output), Some(64), "{command:?}: {said}");
        for part in [
            "regie.toml:2:1: unknown key \"worker\" in [php.web]; did you mean \"workers\"?",
            "regie.toml:3:8: ",
            "did you mean \"classic\"?",
            "regie.toml:4:",
            "did you mean \"gateway\"?",
        ] {
            assert!(said.contains(part), "{part} in:\n{said}");
        }
    }
}

#[test]
fn bad_usage_is_64_and_nothing_running_is_69() {
    let app = hello();
    for (words, expected, part) in [
        (&["dance"][..], 64, "dance"),
        (&["scale"], 64, "NAME=N"),
        (&["status"], 69, "regie up"),
        (&["down"], 69, "regie up"),
        (&["logs"], 69, "regie up"),
        (&["restart", "all"], 69, "regie up"),
        (&["version"], 0, ""),
        (&["--help"], 0, ""),
    ] {
        let output = regie(app.path()).args(words).output().unwrap();
        assert_eq!(code(&output), Some(expected), "{words:?}");
        assert!(text(&output.stderr).contains(part), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn the_background_is_driven_from_another_terminal() {
    let app = hello();
    write_config(
        app.path(),
        "[php.web]\nworkers = 2\n[program.clock]\ncommand = \"while :; do echo tick; sleep 0.2; done\"\n",
    );
    let _down_at_the_end = Background(app.path());
    let up = regie(app.path()).args(["up", "-d"]).output().unwrap();
    assert_eq!(code(&up), Some(0), "{}{}", text(&up.stdout), text(&up.stderr));
    assert!(text(&up.stdout).contains("ready"), "{}", text(&up.stdout));

    let run = |words: &[&str]| regie(app.path()).args(words).output().unwrap();
    let rows = || -> Vec<(String, String)> {
        let overview: serde_json::Value = serde_json::from_slice(&run(&["status", "--json"]).stdout).unwrap();
        let rows = overview["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["name"].as_str().unwrap().into(), row["state"].as_str().unwrap().into()))
            .collect()
    };
    let all_run = |names: &[&str]| {
        eventually("all programs run", || {
            let rows = rows();
            let expected: Vec<_> =
                names.iter().map(|name| ((*name).to_owned(), "RUNNING".to_owned())).collect();
            (rows == expected).then_some(())
        });
    };
    all_run(&["gateway", "php:web", "program:clock"]);

    let second = run(&["up"]);
    assert_eq!(code(&second), Some(75), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("pid"), "{}", text(&second.stderr));

    let logs = eventually("the clock has ticked", || {
        let logs = text(&run(&["logs", "--tail", "20", "program:clock"]).stdout);
        logs.contains("tick").then_some(logs)
    });
    assert!(logs.lines().all(|line| line.starts_with("program:clock")), "{logs}");
    assert_eq!(text(&run(&["logs", "--grep", "no such line"]).stdout), "");
    assert!(follows(app.path()), "logs -f goes on while there are lines");

    assert_eq!(code(&run(&["stop", "program:clock"])), Some(0));
    assert!(rows().contains(&("program:clock".into(), "STOPPED".into())));
    assert_eq!(code(&run(&["start", "program:*"])), Some(0));
    assert_eq!(code(&run(&["scale", "program:clock=2"])), Some(0));
    all_run(&["gateway", "php:web", "program:clock_00", "program:clock_01"]);
    assert_eq!(code(&run(&["scale", "php:web=3"])), Some(0));
    eventually("the pool has three workers", || {
        text(&run(&["logs", "php:web"]).stdout).contains(" 3 workers,").then_some(())
    });
    assert_eq!(code(&run(&["restart", "php:*"])), Some(0));
    assert_eq!(code(&run(&["reload"])), Some(0));
    let wrong = run(&["restart", "php:wbe"]);
    assert_eq!(code(&wrong), Some(64), "{}", text(&wrong.stderr));

    let down = run(&["down"]);
    assert_eq!(code(&down), Some(0), "{}", text(&down.stderr));
    assert_eq!(code(&run(&["status"])), Some(69));
}

/// Whether `regie logs -f` shows lines that were not there when it began.
fn follows(folder: &Path) -> bool {
    let mut follower = regie(folder)
        .args(["logs", "-f", "--tail", "0", "program:clock"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("regie can be started");
    let lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let ticks = lines.map_while(Result::ok).filter(|line| line.ends_with("tick")).take(3).count();
    let pid = Pid::from_raw(i32::try_from(follower.id()).expect("a pid is a small number"));
    kill(pid, Signal::SIGTERM).unwrap();
    follower.wait().unwrap();
    ticks == 3
}

#[test]
fn a_taken_port_is_passed_over_in_development_and_named_in_production() {
    let app = hello();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = held.local_addr().unwrap();
    let listen = format!("[gateway]\nlisten = [\"{taken}\"]\n[php.web]\nworkers = 1\n");
    let site = Site::up(app.path(), &listen);
    assert_ne!(site.address().port(), taken.port());
    assert_eq!(site.get("/").text(), "hi");
    drop(site);

    app.write("regie.toml", format!("[app]\nenv = \"production\"\n{listen}"));
    app.give_away();
    let output = regie(app.path()).arg("up").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), Some(69), "{said}");
    assert!(said.contains(&taken.to_string()) && said.contains("taken"), "{said}");
    assert!(said.contains(&std::process::id().to_string()), "the holder's pid in: {said}");
}

#[test]
fn production_refuses_what_endangers_it() {
    let app = App::named("laravel-ready");
    app.write("database/database.sqlite", "");
    app.write(".env", app.read(".env").replace("APP_DEBUG=false", "APP_DEBUG=true"));
    app.give_away();
    let output = regie(app.path()).arg("up").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(code(&output), Some(64), "{said}");
    assert!(said.contains("debug mode is on in production") && said.contains("APP_DEBUG=false"), "{said}");
    let check = regie(app.path()).args(["check", "--json"]).output().unwrap();
    assert_eq!(code(&check), Some(1));
    let findings: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
    assert!(
        findings.as_array().unwrap().iter().any(|finding| finding["fix"] == "APP_DEBUG=false"),
        "{findings}"
    );
}

#[test]
fn a_broken_configuration_changes_nothing_at_reload() {
    let app = hello();
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    let before = site.status("php:web").unwrap()["pid"].clone();
    let good = app.read("regie.toml");
    app.write("regie.toml", "[php.web]\nworkrs = 3\n");
    let reload = site.regie(&["reload"]);
    assert_eq!(code(&reload), Some(64));
    assert!(text(&reload.stderr).contains("did you mean \"workers\"?"), "{}", text(&reload.stderr));
    assert_eq!(site.status("php:web").unwrap()["pid"], before);
    assert_eq!(site.get("/").text(), "hi");
    app.write("regie.toml", good.replace("workers = 2", "workers = 3"));
    assert_eq!(code(&site.regie(&["reload"])), Some(0));
    assert_ne!(site.status("php:web").unwrap()["pid"], before);
    assert_eq!(site.get("/").text(), "hi");
}

#[test]
fn a_command_runs_as_the_application_does() {
    let app = App::empty();
    app.write("public/index.php", "<?php echo ini_get('memory_limit'), ' ', getenv('REDIS_HOST');");
    app.write("show.php", "<?php echo ini_get('memory_limit'), ' ', getcwd(), ' ', PHP_SAPI;");
    app.write("tool", "#!/usr/bin/env php\n<?php echo 'tool ', ini_get('memory_limit');");
    app.write("regie.toml", "[php]\nini = { memory_limit = \"77M\" }\n");
    let run = |words: &[&str]| regie(app.path()).args(words).output().unwrap();
    let here = app.path().canonicalize().unwrap();
    let shown = format!("77M {} cli", here.display());
    assert_eq!(text(&run(&["run", "php", "show.php"]).stdout), shown);
    assert_eq!(text(&run(&["php", "show.php"]).stdout), shown);
    assert!(text(&run(&["php", "-v"]).stdout).starts_with("PHP 8"));
    assert_eq!(code(&run(&["php", "-r", "exit(7);"])), Some(7), "the command's own exit code");
    let info = text(&run(&["php", "info"]).stdout);
    let limit = info.lines().find(|line| line.starts_with("memory_limit ")).unwrap_or_default();
    assert!(limit.contains("77M") && limit.contains("regie.toml:2"), "{info}");
    assert!(text(&run(&["php", "versions"]).stdout).contains("serves this application"));
    let tool = run(&["run", "sh", "-c", "chmod +x tool && ./tool"]);
    assert_eq!(text(&tool.stdout), "tool 77M", "{}", text(&tool.stderr));
    let missing = run(&["run", "no-such-command"]);
    assert_eq!(code(&missing), Some(69), "{}", text(&missing.stderr));
}

#[test]
fn check_shows_every_value_with_its_origin() {
    let app = hello();
    app.write("regie.toml", "[php.web]\nworkers = 3\n");
    let output = regie(app.path()).args(["check", "--show", "--json"]).output().unwrap();
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let find = |section: &str, key: &str| {
        let mut rows = rows.as_array().unwrap().iter();
        rows.find(|row| row["section"] == section && row["key"] == key).cloned().unwrap()
    };
    assert_eq!(find("php.web", "workers")["value"], "3");
    assert_eq!(find("php.web", "workers")["origin"], "regie.toml:2");
    assert_eq!(find("gateway", "body_limit")["origin"], "default");
}

#[test]
fn init_writes_what_was_found_and_changes_nothing() {
    let app = hello();
    let init = regie(app.path()).arg("init").output().unwrap();
    assert_eq!(code(&init), Some(0), "{}", text(&init.stderr));
    let again = regie(app.path()).arg("init").output().unwrap();
    assert_eq!(code(&again), Some(64));
    let check = regie(app.path()).arg("check").output().unwrap();
    assert_ne!(code(&check), Some(64), "{}", text(&check.stderr));
}
