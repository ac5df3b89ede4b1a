//! How a pool starts, is told things, and stops.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::client::Connection;
use crate::pool::{MODES, Mode, Pool, WAYS, php, wait_until};

#[test]
fn a_request_in_hand_is_finished_when_the_pool_stops() {
    for mode in MODES {
        let mut pool = Pool::start(mode, "flush.php", &["--workers", "1", "--ini", "output_buffering=0"]);
        let gate = pool.folder.path().join("gate");
        let mut connection = Connection::open_as_gateway(&pool.socket());
        connection.send(&pool.get(&format!("/?i=7&gate={}", gate.display())).to_bytes(true)).unwrap();
        // The first part has been flushed: it is here while the script still waits.
        let first = connection.next().unwrap();
        pool.signal(if mode == Mode::Classic { Signal::SIGTERM } else { Signal::SIGQUIT });
        pool.wait_for_log("requests in hand are finished");
        std::fs::write(&gate, "").unwrap();
        let crate::client::Got::Stdout(first) = first else { panic!("{first:?}") };
        assert!(first.ends_with(b"He"), "{first:?}");
        assert_eq!(connection.next().unwrap(), crate::client::Got::Stdout(b"llo 7".to_vec()));
        assert!(matches!(connection.next().unwrap(), crate::client::Got::End(_)));
        assert_eq!(connection.next().unwrap(), crate::client::Got::Goodbye);
        drop(connection);
        assert_eq!(pool.wait_for_end(), Some(0), "{mode:?}");
    }
}

#[test]
fn an_idle_connection_is_told_goodbye_and_a_crossing_request_is_served() {
    for mode in MODES {
        let mut pool = Pool::start(mode, "hello.php", &["--workers", "1"]);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        assert_eq!(connection.ask(&pool.get("/?i=1")).text(), "Hello 1");
        pool.signal(Signal::SIGTERM);
        assert_eq!(connection.next().unwrap(), crate::client::Got::Goodbye);
        assert_eq!(connection.ask(&pool.get("/?i=2")).text(), "Hello 2", "{mode:?}");
        drop(connection);
        assert_eq!(pool.wait_for_end(), Some(0));
    }
}

#[test]
fn a_stop_that_takes_too_long_is_cut() {
    let mut pool = Pool::start(Mode::Classic, "faults.php", &["--stop-timeout", "200ms"]);
    let mut connection = Connection::open_as_gateway(&pool.socket());
    connection.send(&pool.get("/?do=loop").to_bytes(true)).unwrap();
    pool.signal(Signal::SIGTERM);
    pool.wait_for_log("is killed: it did not leave within --stop-timeout");
    assert_eq!(pool.wait_for_end(), Some(0));
}

#[test]
fn a_worker_leaves_after_its_requests_and_nothing_is_lost() {
    for mode in MODES {
        let pool = Pool::start(mode, "hello.php", &["--workers", "2", "--max-requests", "5"]);
        let before = pool.workers();
        let mut goodbyes = 0;
        let mut connection = Connection::open_as_gateway(&pool.socket());
        for i in 0..40 {
            let answer = connection.ask(&pool.get(&format!("/?i={i}")));
            assert_eq!(answer.text(), format!("Hello {i}"));
            if answer.goodbye {
                goodbyes += 1;
                connection = Connection::open_as_gateway(&pool.socket());
            }
        }
        assert_eq!(goodbyes, 8, "{mode:?}");
        assert!(pool.workers().iter().all(|pid| !before.contains(pid)));
    }
}

#[test]
fn a_worker_that_has_grown_leaves() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1", "--max-memory", "1mb"]);
    let before = pool.workers();
    let answer = pool.ask(&pool.get("/?i=1"));
    assert!(answer.goodbye, "{answer:?}");
    wait_until("the replacement", || !pool.workers().is_empty() && pool.workers() != before, || pool.log());
}

#[test]
fn all_workers_are_replaced_one_after_the_other() {
    for mode in MODES {
        let pool = Pool::start(mode, "hello.php", &["--workers", "4"]);
        let before = pool.workers();
        pool.signal(Signal::SIGUSR2);
        wait_until(
            "the replacement",
            || {
                assert_eq!(pool.ask(&pool.get("/?i=1")).text(), "Hello 1");
                pool.log().contains("all workers have been replaced")
            },
            || pool.log(),
        );
        let after = pool.wait_for_workers(4);
        assert!(after.iter().all(|pid| !before.contains(pid)));
    }
}

#[test]
fn the_number_of_workers_follows_the_load() {
    for way in WAYS {
        let flags = ["--workers", "1-3", "--idle-timeout", "300ms", "--status-path", "/status"];
        let pool = Pool::start_on(way, "flush.php", &flags);
        assert_eq!(pool.workers().len(), 1, "{way:?}");
        let gate = pool.folder.path().join("gate");
        std::thread::scope(|scope| {
            let slow: Vec<_> = (0..3)
                .map(|i| {
                    let ask = pool.get(&format!("/?i={i}&gate={}", gate.display()));
                    let pool = &pool;
                    scope.spawn(move || pool.ask(&ask).text())
                })
                .collect();
            wait_until("three workers", || pool.workers().len() == 3, || pool.log());
            pool.wait_for_notice("STATUS=serving with 3 workers of at most 3");
            std::fs::write(&gate, "").unwrap();
            for (i, answer) in slow.into_iter().enumerate() {
                assert_eq!(answer.join().unwrap(), format!("Hello {i}"), "{way:?}");
            }
        });
        wait_until("one worker", || pool.workers().len() == 1, || pool.log());
        assert!(pool.log().contains("that is the most that --workers allows"), "{}", pool.log());
        assert_eq!(pool.ask(&pool.get("/?i=9")).text(), "Hello 9");
        let mut status = pool.get("/status");
        status.params.retain(|(name, _)| name != "SCRIPT_NAME");
        let status = pool.ask(&status.with("SCRIPT_NAME", "/status")).text();
        assert!(status.contains("process manager:      dynamic\n"), "{status}");
        assert!(!pool.log().contains("was ended"), "{}", pool.log());
    }
}

#[test]
fn the_log_is_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("pool.log");
    let pool = Pool::start(Mode::Classic, "logs.php", &["--workers", "1", "--log", log.to_str().unwrap()]);
    let rotated = folder.path().join("pool.log.1");
    std::fs::rename(&log, &rotated).unwrap();
    pool.signal(Signal::SIGUSR1);
    wait_until("the new log", || log.exists(), String::new);
    let text = || std::fs::read_to_string(&log).unwrap();
    // The worker is told by the master, a moment after that has opened its own.
    wait_until(
        "the lines of the worker",
        || {
            pool.ask(&pool.get("/?i=5"));
            let text = text();
            let parts =
                ["from error_log 5", "WARNING: [pool web_00 pid ", "from frankenphp_log order=7 who=5"];
            parts.iter().all(|part| text.contains(part))
        },
        text,
    );
}

#[test]
fn workers_notice_the_death_of_their_master() {
    for mode in MODES {
        let mut pool = Pool::start(mode, "hello.php", &["--workers", "2"]);
        let workers = pool.workers();
        let mut connection = Connection::open_as_gateway(&pool.socket());
        pool.child.kill().unwrap();
        pool.child.wait().unwrap();
        assert_eq!(connection.next().unwrap(), crate::client::Got::Goodbye);
        drop(connection);
        let gone = |pid: &i32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
        wait_until("their end", || workers.iter().all(gone), || format!("{mode:?} {workers:?}"));
    }
}

#[test]
fn the_end_of_the_lifeline_stops_the_pool() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("handed.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let (lifeline, held) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let mut command = Command::new("sh");
    // The shell puts the two where LISTEN_FDS wants them; standard input brings one, standard output the other.
    command
        .args(["-c", "exec \"$0\" \"$@\" 3<&0 4<&1 0</dev/null 1>/dev/null", env!("CARGO_BIN_EXE_regie-php")])
        .args(["--listen-fd", "php.web", "--workers", "1"])
        .env("LISTEN_FDS", "2")
        .env("LISTEN_FDNAMES", "php.web:lifeline")
        .stdin(std::os::fd::OwnedFd::from(listener))
        .stdout(lifeline)
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let ask = crate::client::Ask::get(&php("hello.php"), "/?i=1");
    assert_eq!(Connection::open_as_gateway(&socket).ask(&ask).text(), "Hello 1");
    drop(held);
    let mut code = None;
    wait_until(
        "the end of the pool",
        || {
            code = child.try_wait().unwrap().and_then(|status| status.code());
            code.is_some()
        },
        String::new,
    );
    assert_eq!(code, Some(0));
}

#[test]
fn the_status_is_shown_also_when_all_workers_are_busy() {
    let folder = tempfile::tempdir().unwrap();
    let status = folder.path().join("status.sock");
    let listen = format!("unix:{}", status.display());
    let flags =
        ["--workers", "1", "--status-path", "/status", "--ping-path", "/ping", "--status-listen", &listen];
    let pool = Pool::start(Mode::Classic, "faults.php", &flags);
    let ping = pool.get("/ping");
    assert_eq!(pool.ask(&ping).text(), "pong");
    let mut busy = Connection::open_as_gateway(&pool.socket());
    busy.send(&pool.get("/?do=sleep").to_bytes(true)).unwrap();
    let text = || Connection::open(&status).ask(&pool.get("/status?full")).text();
    wait_until("the busy worker in the status", || text().contains("state:                Running"), text);
    let shown = text();
    for part in
        ["pool:                 web\n", "active processes:     1\n", "request uri:          /?do=sleep\n"]
    {
        assert!(shown.contains(part), "{shown}");
    }
    let json = Connection::open(&status).ask(&pool.get("/status?json"));
    assert_eq!(json.header("Content-Type"), Some("application/json"));
    assert!(json.text().contains("\"active processes\":1"), "{json:?}");
    let curl = Command::new("curl")
        .args(["-s", "-m", "120", "--unix-socket", status.to_str().unwrap(), "http://x/status?openmetrics"])
        .output()
        .expect("curl is installed (apt-get install curl)");
    assert!(
        String::from_utf8_lossy(&curl.stdout).contains("phpfpm_active_processes{pool=\"web\"} 1\n"),
        "{curl:?}"
    );
}

#[test]
fn bad_usage_is_64_and_a_taken_place_is_69() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let place = format!("unix:{}", pool.socket().display());
    for (arguments, code, part) in [
        (vec!["--workers", "many", "--listen", "/x"], 64, "a number from 1 to 1024"),
        (vec!["--listen", "/x", "--user", "nobody-of-that-name"], 64, "there is no such user"),
        (vec!["--listen", "/x", "--mode", "worker", "--script", "/missing.php"], 64, "there is no such file"),
        (vec!["--listen-fd", "absent"], 64, "LISTEN_FDNAMES does not name it"),
        (vec!["--listen", &place], 69, "another process listens there"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_regie-php")).args(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{arguments:?}: {output:?}");
    }
}

#[test]
fn workers_run_as_the_user_and_secrets_leave_the_title() {
    if !nix::unistd::Uid::effective().is_root() {
        let output = Command::new("id").output().unwrap();
        panic!("this test changes user and needs root (a container will do): {output:?}");
    }
    let pool = Pool::start(Mode::Classic, "hello.php", &["--user", "www-data", "--env", "TOKEN=hunter2"]);
    let pid = pool.workers()[0];
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.lines().any(|line| line.starts_with("Uid:\t33\t33\t33")), "{status}");
    for pid in [pid, pool.pid()] {
        let title = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
        let title = String::from_utf8_lossy(&title).into_owned();
        assert!(title.starts_with("regie-php: ") && !title.contains("hunter2"), "{title}");
    }
}

#[test]
fn workers_run_in_the_group_that_is_named() {
    assert!(nix::unistd::Uid::effective().is_root(), "this test changes the group and needs root");
    let gid = |name| nix::unistd::Group::from_name(name).unwrap().expect("Debian has it").gid;
    for (flags, expected) in [
        (&["--user", "www-data"][..], gid("www-data")),
        (&["--user", "www-data", "--group", "games"], gid("games")),
    ] {
        let pool = Pool::start(Mode::Classic, "hello.php", flags);
        let status = std::fs::read_to_string(format!("/proc/{}/status", pool.workers()[0])).unwrap();
        let row = format!("Gid:\t{expected}\t{expected}\t{expected}");
        assert!(status.lines().any(|line| line.starts_with(&row)), "{flags:?}: {status}");
    }
}

#[test]
fn the_socket_belongs_to_whom_the_options_name() {
    assert!(nix::unistd::Uid::effective().is_root(), "this test changes owners and needs root");
    let uid = |name| nix::unistd::User::from_name(name).unwrap().expect("Debian has it").uid.as_raw();
    let gid = |name| nix::unistd::Group::from_name(name).unwrap().expect("Debian has it").gid.as_raw();
    let (owner, group) = ("--listen-owner", "--listen-group");
    for (flags, expected) in [
        (&[][..], (0, 0, 0o600)),
        (&["--user", "www-data"], (uid("www-data"), gid("www-data"), 0o600)),
        (&["--user", "www-data", owner, "games", group, "users"], (uid("games"), gid("users"), 0o600)),
        (&["--listen-mode", "660", group, "www-data"], (0, gid("www-data"), 0o660)),
    ] {
        let pool = Pool::start(Mode::Classic, "hello.php", flags);
        let socket = std::fs::metadata(pool.socket()).unwrap();
        assert_eq!((socket.uid(), socket.gid(), socket.mode() & 0o777), expected, "{flags:?}");
    }
}

#[test]
fn it_listens_on_tcp_as_well() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_regie-php"))
        .args(["--listen", "127.0.0.1:0", "--workers", "2"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = None;
    let mut find = || {
        port = listening_port(child.id());
        port.is_some()
    };
    wait_until("the listener", &mut find, String::new);
    let ask = crate::client::Ask::get(&php("hello.php"), "/?i=1").to_bytes(false);
    let mut stream = TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
    stream.write_all(&ask).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    child.wait().unwrap();
    assert!(text.contains("Hello 1"), "{text}");
}

/// The TCP port that a process listens on.
fn listening_port(pid: u32) -> Option<u16> {
    const LISTENING: &str = "0A";
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten().find_map(|entry| {
        let target = std::fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned();
        let row = table
            .lines()
            .map(|row| row.split_whitespace().collect::<Vec<_>>())
            .find(|row| row.get(3) == Some(&LISTENING) && row.get(9).is_some_and(|other| *other == inode))?;
        u16::from_str_radix(row[1].rsplit(':').next()?, 16).ok()
    })
}

#[test]
fn master_and_workers_have_one_thread_each() {
    for mode in MODES {
        let pool = Pool::start(mode, "hello.php", &["--workers", "2"]);
        assert_eq!(pool.ask(&pool.get("/?i=1")).text(), "Hello 1");
        for pid in pool.workers().into_iter().chain([pool.pid()]) {
            let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().count();
            assert_eq!(threads, 1, "{mode:?}: {pid}");
        }
    }
}

/// Workers are asked to leave in their first moments, before they have set up anything.
#[test]
fn a_stop_right_after_the_start_ends() {
    for round in 0..20 {
        let mut pool = Pool::launch(Mode::Classic, "hello.php", &["--workers", "8"], &[]);
        pool.wait_for_log("8 workers");
        pool.signal(Signal::SIGTERM);
        assert_eq!(pool.wait_for_end(), Some(0), "round {round}: {}", pool.log());
        assert!(!pool.log().contains("was ended"), "{}", pool.log());
    }
}
