//! Starting, ending, stopping.

use regie_supervisor::{Reply, Request, Signal, State};

use crate::world::{World, lives, names, until};

#[test]
fn dependencies_start_first_and_stop_last() {
    let mut world = World::start("ordered");
    world.until_log("second", "second runs");
    let order: Vec<String> = world.logs(&[]).into_iter().map(|line| line.text).collect();
    let at = |text: &str| order.iter().position(|line| line.contains(text)).unwrap();
    assert!(at("first serves") < at("second runs"), "{order:?}");
    let rows = world.rows();
    let (second, first) = (&rows[0], &rows[1]);
    assert!(first.uptime_ms.unwrap() >= second.uptime_ms.unwrap());
    assert!(first.memory.unwrap() > 0 && first.generation == 1 && first.restarts == 0);
    let ended = world.shut_down();
    assert_eq!(ended, "Ok(Outcome { fatal: None, cut: [], left: [] })");
    let log = world.log();
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text} in {log}"));
    assert!(at("second       * stopped") < at("first        * stopped"), "{log}");
    assert!(!world.run_dir().join("control.sock").exists() && !world.run_dir().join("state.json").exists());
}

#[test]
fn failing_starts_end_in_fatal_and_only_a_command_tries_again() {
    let world = World::start("crashing");
    let boot = world.until_state("boot", State::Fatal);
    assert_eq!(boot.exit.as_deref(), Some("exit 7"));
    assert_eq!(boot.description, "ended before it was ready (exit 7)");
    let tries = |world: &World| world.logs(&["boot"]).iter().filter(|line| line.text == "trying").count();
    assert_eq!(tries(&world), 3, "once, and two retries");
    let absent = world.until_state("absent", State::Fatal);
    assert_eq!(absent.description, "command not found: no-such-command-anywhere is in no folder of PATH");
    world.until_state("once", State::Exited);
    match world.ask(&Request::Start { names: names(&["boot"]), wait: true }) {
        Reply::Done { results } => assert!(!results[0].ok, "{results:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(tries(&world), 6);
}

#[test]
fn what_dies_is_started_again() {
    let world = World::start("crashing");
    let mut pid = world.until_state("serve", State::Running).pid.unwrap();
    for round in 1..=3 {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap()), Signal::SIGSEGV)
            .unwrap();
        let row = world
            .until_row("serve", "running anew", |row| row.state == State::Running && row.pid != Some(pid));
        assert_eq!((row.restarts, row.exit.as_deref(), row.generation), (round, Some("SIGSEGV"), 1));
        pid = row.pid.unwrap();
    }
}

#[test]
fn fatal_can_end_the_supervisor() {
    let mut world = World::start("fatal");
    let outcome = world.ended();
    assert!(outcome.contains(r#"fatal: Some(("boot", "ended before it was ready (exit 7)"))"#), "{outcome}");
}

#[test]
fn the_deaf_are_killed_after_their_time() {
    let world = World::start("stubborn");
    world.until_log("deaf", "deaf");
    let pid = i32::try_from(world.row("deaf").pid.unwrap()).unwrap();
    assert_eq!(world.done(&Request::Stop { names: names(&["deaf"]), wait: true }), ["stopped"]);
    assert!(!lives(pid));
    let row = world.row("deaf");
    assert_eq!((row.state, row.exit.as_deref()), (State::Stopped, Some("SIGKILL")));
    assert!(world.logs(&["deaf"]).iter().any(|line| line.text == "did not stop within 200ms: killed"));
}

#[test]
fn a_stop_takes_the_whole_tree() {
    let world = World::start("tree");
    let pid_in = |name: &str| -> Option<i32> {
        let text = std::fs::read_to_string(world.path(name)).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    };
    until("the tree has grown", || ["in-group", "outside", "deaf"].iter().all(|name| pid_in(name).is_some()));
    let pids: Vec<i32> = ["in-group", "outside", "deaf"].iter().filter_map(|name| pid_in(name)).collect();
    assert!(pids.iter().all(|pid| lives(*pid)));
    world.done(&Request::Stop { names: names(&["tree"]), wait: true });
    assert_eq!(pids.iter().filter(|pid| lives(**pid)).count(), 0, "{pids:?}");
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut world = World::start("slow-stop");
    world.until_log("slow", "set");
    world.signal(Signal::SIGTERM);
    until("it is told", || world.log().contains("told"));
    world.signal(Signal::SIGINT);
    assert_eq!(world.ended(), r#"Ok(Outcome { fatal: None, cut: ["slow"], left: [] })"#);
}

/// The tests may have been started by `nice` themselves, and a program's value is added to that.
fn own_nice() -> i32 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap();
    fields.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[test]
fn a_child_finds_what_it_was_promised() {
    let world = World::start("environment");
    world.until_log("shown", "SigIgn");
    let lines: Vec<String> = world.logs(&["shown"]).into_iter().map(|line| line.text).collect();
    let folder = world.dir.path().canonicalize().unwrap();
    for expected in [
        "fds 3 http0:php-web:lifeline",
        "own pid",
        "A is b c",
        &format!("in {}", folder.display()),
        "umask 0027",
        &format!("nice {}", own_nice() + 3),
        "instance shown 1",
        "SigBlk:\t0000000000000000",
    ] {
        assert!(lines.iter().any(|line| line == expected), "no \"{expected}\" in {lines:#?}");
    }
    // The numbers from 32 on are the C library's own, and stay as they came.
    let ignored = lines.iter().find_map(|line| line.strip_prefix("SigIgn:\t")).unwrap();
    assert_eq!(u64::from_str_radix(ignored, 16).unwrap() & 0x7fff_ffff, 0, "{ignored}");
    let open = lines.iter().find(|line| line.starts_with("open ")).unwrap();
    assert!(open.starts_with("open 0 1 2 3 4 5"), "{open}");
    assert!(open.split(' ').count() <= 8, "nothing else is inherited: {open}");
}

#[test]
fn another_user_takes_root() {
    let world = World::start("user");
    if nix::unistd::geteuid().is_root() {
        world.until_log("other", "I am nobody at ");
        use std::os::unix::fs::MetadataExt;
        let socket = std::fs::metadata(world.run_dir().join("control.sock")).unwrap();
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        assert_eq!((socket.uid(), socket.mode() & 0o777), (nobody.uid.as_raw(), 0o600));
    } else {
        let row = world.until_state("other", State::Fatal);
        assert!(row.description.starts_with("cannot become user nobody: "), "{row:?}");
    }
}

#[test]
fn as_process_1_it_reaps_what_others_leave() {
    let dir = tempfile::tempdir().unwrap();
    let inner = crate::world::command("init", dir.path());
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    unshare.arg(inner.get_program()).args(inner.get_args());
    unshare.envs(inner.get_envs().filter_map(|(k, v)| Some((k, v?)))).stdout(std::process::Stdio::null());
    let mut child = unshare.spawn().expect("unshare (package util-linux)");
    let run_dir = dir.path().join("run");
    let connect = || regie_supervisor::Client::connect(&run_dir);
    until("the supervisor answers", || connect().is_ok());
    let lines = || {
        let mut client = connect().unwrap();
        client
            .send(&Request::Logs { names: vec![], tail: None, follow: false, since_ms: None, grep: None })
            .unwrap();
        std::iter::from_fn(|| match client.next_reply().unwrap() {
            Reply::Line(line) => Some(line.text),
            _ => None,
        })
        .collect::<Vec<_>>()
    };
    until("orphans were made", || lines().iter().any(|line| line == "made"));
    assert!(matches!(connect().unwrap().ask(&Request::Ping {}), Ok(Reply::Pong { pid: 1, .. })));
    let zombies = || {
        // Its own view of /proc: of the namespace's processes only.
        let init =
            std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        let init = init.split_whitespace().next().unwrap_or("none").to_owned();
        let children =
            std::fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
        children.split_whitespace().filter(|pid| !lives(pid.parse().unwrap())).count()
    };
    until("all are reaped", || zombies() == 0);
    let mut client = connect().unwrap();
    client.ask(&Request::Shutdown { fast: false }).unwrap();
    client.wait_closed().unwrap();
    assert!(child.wait().unwrap().success());
}
