//! What is particular to worker mode: state that stays, state that must not, and how the loop ends.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::{Ask, Connection};
use crate::pool::{Carrier, MODES, Mode, Pool, wait_until};

const ONE: [&str; 2] = ["--workers", "1"];

/// A pool of one worker in worker mode, and a connection to it.
fn one(script: &str, flags: &[&str]) -> (Pool, Connection) {
    let pool = Pool::start(Mode::Worker, script, &[&ONE, flags].concat());
    let connection = Connection::open_as_gateway(&pool.socket());
    (pool, connection)
}

#[test]
fn what_the_boot_made_survives() {
    let (pool, mut connection) = one("counter.php", &[]);
    let answers: Vec<String> = (0..3).map(|_| connection.ask(&pool.get("/")).text()).collect();
    let id = answers[0].trim_matches(['[', ']']).split(',').next().unwrap().to_owned();
    assert_eq!(answers, [format!("[{id},1,1]"), format!("[{id},2,2]"), format!("[{id},3,3]")]);
}

#[test]
fn a_stream_opened_before_the_loop_survives() {
    let (pool, mut connection) = one("streams-kept.php", &[]);
    for word in ["word1", "word2", "word3"] {
        let answer = connection.ask(&pool.get("/").post("text/plain", word.as_bytes()));
        assert_eq!(answer.text(), format!("{word} open {word}"));
    }
}

#[test]
fn putenv_lasts_as_long_as_the_script() {
    let (pool, mut connection) = one("putenv.php", &[]);
    assert_eq!(connection.ask(&pool.get("/?i=1")).text(), "[false,true,null,null]");
    assert_eq!(connection.ask(&pool.get("/?i=2")).text(), "[\"1\",true,null,null]");
    let classic = Pool::start(Mode::Classic, "putenv.php", &ONE);
    let mut connection = Connection::open_as_gateway(&classic.socket());
    for i in 0..2 {
        assert_eq!(connection.ask(&classic.get(&format!("/?i={i}"))).text(), "[false,true,null,null]");
    }
}

#[test]
fn what_nobody_else_puts_back_is_put_back() {
    let expected = "{\"ini\":\"7\",\"other\":\"\",\"cwd\":\"own\",\"umask\":\"kept\",\"locale\":\"kept\",\
                    \"zone\":\"UTC\",\"error\":\"boot\",\"exception\":null,\"last\":null}";
    let (pool, mut connection) = one("resets.php", &["--ini", "date.timezone=UTC"]);
    for round in 0..3 {
        assert_eq!(connection.ask(&pool.get("/")).text(), expected, "round {round}");
    }
}

#[test]
fn each_reset_can_be_left_out() {
    let cases = [
        ("ini", "\"ini\":\"7\"", "\"cwd\":\"\\/\""),
        ("cwd", "\"cwd\":\"own\"", "\"umask\":\"changed\""),
        ("umask", "\"umask\":\"kept\"", "\"locale\":\"changed\""),
        ("locale", "\"locale\":\"kept\"", "\"zone\":\"Asia\\/Tokyo\""),
        ("timezone", "\"zone\":\"UTC\"", "\"ini\":\"3\""),
        ("handlers", "\"error\":\"boot\"", "\"ini\":\"3\""),
        ("none", "\"ini\":\"3\"", "\"error\":null"),
    ];
    for (reset, kept, changed) in cases {
        let (pool, mut connection) = one("resets.php", &["--ini", "date.timezone=UTC", "--reset", reset]);
        connection.ask(&pool.get("/"));
        let second = connection.ask(&pool.get("/")).text();
        assert!(second.contains(kept) && second.contains(changed), "--reset {reset}: {second}");
    }
}

#[test]
fn sessions_belong_to_their_visitor() {
    for mode in MODES {
        let pool = Pool::start(mode, "session-leak.php", &ONE);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        for uri in ["/?set=alice", "/?set=bob&exit"] {
            connection.ask(&pool.get(uri));
            assert_eq!(connection.ask(&pool.get("/")).text(), "clean none ", "{mode:?} after {uri}");
        }
        let pool = Pool::start(mode, "session.php", &ONE);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        for (count, uri) in [(1, "/"), (2, "/?exit"), (3, "/")] {
            let answer =
                connection.ask(&pool.get(uri).with("HTTP_COOKIE", "PHPSESSID=abcdefabcdefabcdefabcdefab"));
            assert_eq!(answer.text(), format!("abcdefabcdefabcdefabcdefab {count}"), "{mode:?}");
        }
        let other = connection.ask(&pool.get("/"));
        assert!(other.text().ends_with(" 1") && other.header("Set-Cookie").is_some(), "{mode:?}: {other:?}");
    }
}

#[test]
fn a_save_handler_of_the_boot_stays_and_one_of_a_request_goes() {
    let (pool, mut connection) = one("session-handler.php", &[]);
    for (uri, expected) in
        [("/?id=a", "1 boot"), ("/?id=a", "2 boot"), ("/?id=b&own", "1 own"), ("/?id=b&own", "2 own")]
    {
        assert_eq!(connection.ask(&pool.get(uri)).text(), expected, "{uri}");
    }
}

#[test]
fn an_upload_is_gone_after_its_request() {
    let (pool, mut connection) = one("upload.php", &[]);
    let body =
        "--e\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nhello\r\n--e--\r\n";
    let answer = connection.ask(&pool.get("/").post("multipart/form-data; boundary=e", body.as_bytes()));
    let path = answer.header("X-Path").expect("the file was taken").to_owned();
    assert!(path.starts_with(pool.folder.path().to_str().unwrap()), "{path}");
    connection.ask(&pool.get("/"));
    assert!(!std::path::Path::new(&path).exists());
}

#[test]
fn exit_in_the_loop_keeps_the_connection_and_boots_the_script_anew() {
    let (pool, mut connection) = one("die.php", &[]);
    let workers = pool.workers();
    for i in 0..5 {
        let answer = connection.ask(&pool.get(&format!("/?i={i}")));
        assert_eq!((answer.text(), answer.goodbye), (format!("died {i} shutdown"), false));
    }
    assert_eq!(pool.workers(), workers, "the process is the same");
}

#[test]
fn a_script_that_ends_its_loop_is_begun_anew() {
    let (pool, mut connection) = one("three-rounds.php", &[]);
    for i in 0..10 {
        let answer = connection.ask(&pool.get(&format!("/?i={i}")));
        assert_eq!((answer.status, answer.text()), (200, format!("round {} {i}", i % 3 + 1)));
        if answer.goodbye {
            connection = Connection::open_as_gateway(&pool.socket());
        }
    }
}

#[test]
fn a_memory_limit_costs_the_request_and_renews_the_process() {
    let (pool, mut connection) = one("memory-limit.php", &[]);
    let before = connection.ask(&pool.get("/")).text();
    let answer = connection.ask(&pool.get("/?much"));
    assert_eq!((answer.status, answer.goodbye), (500, true));
    pool.wait_for_log("Allowed memory size of 8388608 bytes exhausted");
    let after = pool.ask(&pool.get("/")).text();
    assert!(after.starts_with("fine ") && after != before, "{before} {after}");
    let classic = Pool::start(Mode::Classic, "memory-limit.php", &ONE);
    let mut connection = Connection::open_as_gateway(&classic.socket());
    assert_eq!(connection.ask(&classic.get("/?much")).status, 500);
    assert!(connection.ask(&classic.get("/")).text().starts_with("fine "));
}

#[test]
fn outside_worker_mode_the_loop_says_so() {
    let pool = Pool::start(Mode::Classic, "non-worker.php", &ONE);
    let expected = "RuntimeException: frankenphp_handle_request() called while not in worker mode";
    assert_eq!(pool.ask(&pool.get("/")).text(), expected);
}

/// Requests of two users in turn on warm connections; each looks for anything of the other.
#[test]
fn two_users_in_turn_never_see_each_other() {
    const REQUESTS: usize = 10_000;
    let pool = Pool::start(Mode::Worker, "two-users.php", &["--workers", "2"]);
    std::thread::scope(|scope| {
        for lane in 0..2 {
            let pool = &pool;
            scope.spawn(move || {
                let mut connection = Connection::open_as_gateway(&pool.socket());
                for number in 0..REQUESTS / 2 {
                    let user = if (number + lane) % 2 == 0 { "alice" } else { "bob" };
                    let base = pool.get(&format!("/?user={user}"));
                    let ask = match number % 5 {
                        0 => {
                            base.post("application/x-www-form-urlencoded", format!("user={user}").as_bytes())
                        }
                        1 => base.with("HTTP_COOKIE", &format!("user={user}")),
                        2 => base.with("HTTP_X_USER", user),
                        3 if number % 50 == 3 => pool.get(&format!("/?user={user}&session")),
                        _ => base,
                    };
                    let answer = connection.ask(&ask);
                    assert_eq!(answer.text(), format!("clean {user}"), "request {number}");
                    assert_eq!(answer.header("X-For"), Some(user));
                }
            });
        }
    });
}

#[test]
fn opcache_is_one_for_all_workers_under_every_name_that_it_knows() {
    for (sapi, mode) in [("fpm-fcgi", Mode::Classic), ("fpm-fcgi", Mode::Worker), ("cli", Mode::Worker)] {
        let pool = Pool::start(mode, "opcache.php", &["--sapi-name", sapi]);
        let mut connections: Vec<Connection> =
            (0..4).map(|_| Connection::open_as_gateway(&pool.socket())).collect();
        connections[0].ask(&pool.get("/?warm"));
        let pids: HashSet<String> = connections
            .iter_mut()
            .map(|connection| {
                let text = connection.ask(&pool.get("/")).text();
                assert!(text.starts_with("[true,true,false,"), "{sapi} {mode:?}: {text}");
                text
            })
            .collect();
        assert_eq!(pids.len(), 4, "four workers have answered");
    }
}

#[test]
fn opcache_reset_starts_a_new_generation_and_drops_no_request() {
    for mode in [Mode::Worker, Mode::Rewind] {
        resets_opcache(mode);
    }
}

fn resets_opcache(mode: Mode) {
    let pool = Pool::start(mode, "opcache.php", &["--workers", "2"]);
    let master = pool.pid();
    let before = pool.workers();
    let mut connection = Connection::open_as_gateway(&pool.socket());
    let answer = connection.ask(&pool.get("/?reset"));
    assert!(answer.text().starts_with("true [true,"), "{answer:?}");
    pool.wait_for_log("starting a new generation of the pool");
    wait_until(
        "new workers",
        || {
            // Asked all the while: the old ones answer until the new ones do.
            let text = pool.ask(&pool.get("/")).text();
            assert!(text.starts_with("[true,"), "{text}");
            let now = pool.workers();
            now.len() == 2 && now.iter().all(|pid| !before.contains(pid))
        },
        || pool.log(),
    );
    assert_eq!(pool.pid(), master, "the master is still the same process");
}

/// What opcache believes to hold it holds: a worker script's lock stays between its requests, or a restart elsewhere would
/// empty the memory that it uses. In classic mode who rests holds nothing.
#[test]
fn a_worker_holds_opcache_s_lock_as_long_as_opcache_believes_so() {
    for carrier in [Carrier::FastCgi, Carrier::Lane] {
        for (mode, holds) in [(Mode::Worker, true), (Mode::Classic, false)] {
            let pool = Pool::start_on((mode, carrier), "opcache.php", &["--workers", "1"]);
            for _ in 0..3 {
                assert!(pool.ask(&pool.get("/")).text().starts_with("[true,"));
            }
            let worker = pool.workers()[0];
            let is_seen = || {
                let locks = std::fs::read_to_string("/proc/locks").unwrap();
                let ours = locks.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>());
                ours.filter(|words| words.get(3) == Some(&worker.to_string().as_str()))
                    .any(|words| words[2] == "READ" && words.ends_with(&["1", "1"]))
            };
            // A look that others' locks come and go in can pass over one that is held all the time.
            let is_held = || (0..20).any(|_| is_seen());
            wait_until(&format!("{mode:?} over {carrier:?}"), || is_held() == holds, || pool.log());
            if holds {
                // Also when it has come to rest after its answer.
                (0..50).for_each(|_| {
                    assert!(is_held(), "{carrier:?}");
                    std::thread::sleep(std::time::Duration::from_millis(2));
                });
            }
        }
    }
}

/// A restart finds its moment though some worker always has a request.
#[test]
fn opcache_is_restarted_in_classic_mode_while_nobody_has_a_rest() {
    let pool = Pool::start_on((Mode::Classic, Carrier::Lane), "opcache.php", &["--workers", "2"]);
    assert!(pool.ask(&pool.get("/?reset")).text().starts_with("true [true,"));
    let restarted = AtomicBool::new(false);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                wait_until(
                    "a restart",
                    || {
                        let text = pool.ask(&pool.get("/")).text();
                        assert!(text.starts_with('['), "{text}");
                        answered.fetch_add(1, Ordering::Relaxed);
                        restarted.fetch_or(text.ends_with(",1]"), Ordering::Relaxed)
                    },
                    || format!("{} requests were answered: {}", answered.load(Ordering::Relaxed), pool.log()),
                );
            });
        }
    });
    pool.wait_for_workers(2);
}

/// The engine would restart a full opcache as soon as nobody uses it, which in a pool of worker scripts is never.
#[test]
fn a_full_opcache_starts_a_new_generation_and_drops_no_request() {
    for mode in [Mode::Worker, Mode::Rewind] {
        fills_opcache(mode);
    }
}

fn fills_opcache(mode: Mode) {
    let inis = ["opcache.max_accelerated_files=200", "opcache.file_update_protection=0"];
    let flags = ["--workers", "1", "--ini", inis[0], "--ini", inis[1]];
    let folder = tempfile::tempdir().unwrap();
    let temp = [("TMPDIR", folder.path().to_str().unwrap())];
    let pool = Pool::launch(mode, "opcache-fill.php", &flags, &temp);
    pool.wait_for_notice("READY=1");
    let before = pool.workers();
    let mut connection = Connection::open_as_gateway(&pool.socket());
    assert!(connection.ask(&pool.get("/?scripts=400")).text().starts_with("fine "));
    // A worker looks now and then.
    wait_until(
        "new workers",
        || {
            assert!(pool.ask_kept(&mut connection, "/").starts_with("fine "));
            let now = pool.workers();
            now.len() == 1 && now != before
        },
        || pool.log(),
    );
    assert!(pool.log().contains("opcache is full: raise opcache.memory_consumption"), "{}", pool.log());
    assert!(pool.log().contains("starting a new generation of the pool"), "{}", pool.log());
}

#[test]
fn opcache_is_told_of_while_all_workers_are_busy() {
    for mode in MODES {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("status.sock");
        let listen = format!("unix:{}", socket.display());
        let pool = Pool::start(mode, "flush.php", &["--workers", "1", "--status-listen", &listen]);
        let gate = pool.folder.path().join("gate");
        let mut busy = Connection::open_as_gateway(&pool.socket());
        busy.send(&pool.get(&format!("/?i=1&gate={}", gate.display())).to_bytes(true)).unwrap();
        busy.next().unwrap();
        let look = |what: &str| {
            let ask = Ask::default().with("REGIE_INSPECT", what).with("REQUEST_METHOD", "GET");
            let answer = Connection::open(&socket).ask(&ask);
            assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
            answer.text()
        };
        let pool_told = look("pool");
        assert!(pool_told.contains("\"active processes\":1,"), "{pool_told}");
        assert_eq!(pool_told.contains("\"pages put back\":"), mode == Mode::Rewind, "{pool_told}");
        for _ in 0..3 {
            let told = look("opcache");
            assert!(told.starts_with("{\"opcache_enabled\":true,"), "{told}");
            assert!(told.contains("\"cache_full\":false") && !told.contains("flush.php"), "{told}");
            assert!(look("scripts").contains("e2e/php/flush.php"), "{mode:?}");
        }
        std::fs::write(gate, "").unwrap();
    }
}

#[test]
fn preloading_works_before_the_fork() {
    for mode in MODES {
        let preload = format!("opcache.preload={}", crate::pool::php("preload.php").display());
        let pool = Pool::start(mode, "preload-check.php", &["--ini", &preload]);
        assert_eq!(pool.ask(&pool.get("/")).text(), "preloaded", "{mode:?}");
    }
}

#[test]
fn paranoid_mode_names_what_is_left_behind() {
    let (pool, mut connection) = one("counter.php", &["--paranoid"]);
    connection.ask(&pool.get("/first"));
    connection.ask(&pool.get("/second"));
    pool.wait_for_log("GET /second left behind: ");
    assert!(pool.log().contains("Loaded::$times int(1) -> int(2)"), "{}", pool.log());
}
