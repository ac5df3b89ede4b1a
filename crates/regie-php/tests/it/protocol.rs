//! FastCGI as it should not be, and parts of it that only some servers use.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use regie_fastcgi::{BeginRequest, Kind, Role, record};

use crate::client::{Ask, Connection, Got};
use crate::pool::{MODES, Mode, Pool, php, wait_until};

#[test]
fn garbage_hurts_only_its_connection() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let begin = BeginRequest { role: Role::Responder, keep_connection: true }.to_record(1);
    let cut = pool.get("/?i=1").to_bytes(true);
    let mut bad_pair = begin.to_vec();
    record::put_stream(&mut bad_pair, Kind::Params, 1, &[0xff, 0xff, 0xff, 0xff]);
    let samples: Vec<Vec<u8>> = vec![
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![0; 64],
        vec![0xff; 64],
        vec![1, 1, 0, 1, 0xff, 0xff, 0, 0],
        vec![1, 1, 0, 0, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0],
        cut[..cut.len() / 2].to_vec(),
        bad_pair,
        Vec::new(),
    ];
    let workers = pool.workers();
    for sample in samples {
        let mut stream = UnixStream::connect(pool.socket()).unwrap();
        let _ = stream.write_all(&sample);
        drop(stream);
        assert_eq!(pool.ask(&pool.get("/?i=1")).text(), "Hello 1", "after {sample:?}");
    }
    assert_eq!(pool.workers(), workers, "no worker has died of it");
}

#[test]
fn random_bytes_hurt_only_their_connection() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let (seed, mut state) = (0x5eed_u64, 0x5eed_u64);
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let good = pool.get("/?i=1").with("HTTP_LONG", &"x".repeat(300)).to_bytes(false);
    let workers = pool.workers();
    for round in 0..300 {
        let mut bytes = good.clone();
        for _ in 0..1 + random() % 6 {
            let at = usize::try_from(random()).unwrap() % bytes.len();
            bytes[at] = random().to_le_bytes()[0];
        }
        let mut stream = UnixStream::connect(pool.socket()).unwrap();
        let _ = stream.write_all(&bytes);
        drop(stream);
        if round % 20 == 0 {
            assert_eq!(pool.ask(&pool.get("/?i=1")).text(), "Hello 1", "seed {seed}, round {round}");
        }
    }
    assert_eq!(pool.workers(), workers, "no worker has died of it, seed {seed}");
}

#[test]
fn other_roles_and_second_requests_are_refused() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let mut connection = Connection::open(&pool.socket());
    connection.send(&BeginRequest { role: Role::Filter, keep_connection: true }.to_record(1)).unwrap();
    assert_eq!(connection.next().unwrap(), Got::End(vec![0, 0, 0, 0, 3, 0, 0, 0]));
    let begin = BeginRequest { role: Role::Responder, keep_connection: true };
    connection.send(&begin.to_record(1)).unwrap();
    connection.send(&begin.to_record(2)).unwrap();
    assert_eq!(connection.next().unwrap(), Got::End(vec![0, 0, 0, 0, 1, 0, 0, 0]));
    connection.send(&record::Header::new(Kind::Other(77), 0, 0).to_bytes()).unwrap();
    assert_eq!(connection.next().unwrap(), Got::Other(Kind::UnknownType.byte()));
    // The first is still whole.
    connection.send(&pool.get("/?i=3").to_bytes(true)[16..]).unwrap();
    assert_eq!(connection.answer().unwrap().text(), "Hello 3");
}

#[test]
fn a_request_that_is_aborted_before_it_is_whole_is_over() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let mut connection = Connection::open(&pool.socket());
    connection.send(&BeginRequest { role: Role::Responder, keep_connection: true }.to_record(1)).unwrap();
    connection.send(&record::Header::new(Kind::AbortRequest, 1, 0).to_bytes()).unwrap();
    assert!(matches!(connection.next().unwrap(), Got::End(_)));
    assert_eq!(connection.ask(&pool.get("/?i=4")).text(), "Hello 4");
}

#[test]
fn scripts_are_found_and_refused() {
    let pool = Pool::start(Mode::Classic, "path-info.php", &["--workers", "1"]);
    let mut connection = Connection::open_as_gateway(&pool.socket());
    let script = pool.script.display().to_string();
    let mut ask = |file: &str, name: &str| {
        let answer = connection
            .ask(&Ask::get(&pool.script, "/").with("SCRIPT_FILENAME", file).with("SCRIPT_NAME", name));
        (answer.status, answer.text())
    };
    let found = r#"["path-info.php","/path-info.php",null,"/path-info.php"]"#;
    assert_eq!(ask(&script, "/path-info.php"), (200, found.to_owned()));
    let split = r#"["path-info.php","/path-info.php","/a/b","/path-info.php/a/b"]"#;
    assert_eq!(ask(&format!("{script}/a/b"), "/path-info.php/a/b"), (200, split.to_owned()));
    assert_eq!(
        ask(&format!("proxy:fcgi://127.0.0.1:9000{script}"), "/path-info.php"),
        (200, found.to_owned())
    );
    for missing in
        ["/nowhere.php".to_owned(), String::new(), format!("{script}x"), php("").display().to_string()]
    {
        assert_eq!(ask(&missing, "/"), (404, "File not found.\n".to_owned()), "{missing}");
    }
    let text = php("request-superglobal-look.inc").display().to_string();
    assert_eq!(ask(&text, "/"), (403, "Access denied.\n".to_owned()));
    assert_eq!(
        ask(&format!("{text}/x.php"), "/").0,
        403,
        "an upload is never run by what is written behind it"
    );
}

#[test]
fn too_many_parameters_are_refused_and_the_connection_goes_on() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1"]);
    let mut connection = Connection::open_as_gateway(&pool.socket());
    let long = pool.get("/").with("HTTP_LONG", &"x".repeat(300 * 1024));
    assert_eq!(connection.ask(&long).status, 431);
    let much = (0..1100).fold(pool.get("/"), |ask, n| ask.with(&format!("HTTP_X{n}"), "1"));
    assert_eq!(connection.ask(&much).status, 431);
    let fits = pool.get("/?i=5").with("HTTP_LONG", &"x".repeat(100 * 1024));
    assert_eq!(connection.ask(&fits).text(), "Hello 5");
}

#[test]
fn settings_of_a_request_are_forgotten_after_it() {
    for mode in MODES {
        let pool = Pool::start(mode, "ini.php", &["--workers", "1", "--ini", "memory_limit=64M"]);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        let plain = r#"["64M","","","script","8M"]"#;
        assert_eq!(connection.ask(&pool.get("/")).text(), plain, "{mode:?}");
        let admin =
            pool.get("/").with("PHP_ADMIN_VALUE", "user_agent=admin\nmemory_limit=80M\npost_max_size=2M");
        assert_eq!(connection.ask(&admin).text(), r#"["80M","admin",false,"admin","2M"]"#, "{mode:?}");
        assert_eq!(connection.ask(&pool.get("/")).text(), plain, "{mode:?}, after it");
    }
}

#[test]
fn folders_have_settings_of_their_own() {
    let pool = Pool::start(Mode::Classic, "ini.php", &["--workers", "1", "--ini", "memory_limit=64M"]);
    let root = pool.folder.path().join("site");
    let below = root.join("shop");
    std::fs::create_dir_all(&below).unwrap();
    for folder in [&root, &below] {
        for file in ["ini.php", "executor.php"] {
            std::fs::copy(php(file), folder.join(file)).unwrap();
        }
    }
    std::fs::write(root.join(".user.ini"), "user_agent=root\npost_max_size=3M\n").unwrap();
    std::fs::write(below.join(".user.ini"), "user_agent=shop\n").unwrap();
    let mut connection = Connection::open_as_gateway(&pool.socket());
    for (folder, expected) in [
        (&root, r#"["64M","root","root","script","3M"]"#),
        (&below, r#"["64M","shop","shop","script","3M"]"#),
        (&root, r#"["64M","root","root","script","3M"]"#),
    ] {
        let ask = Ask::get(&folder.join("ini.php"), "/").with("DOCUMENT_ROOT", root.to_str().unwrap());
        assert_eq!(connection.ask(&ask).text(), expected, "{}", folder.display());
    }
    assert_eq!(
        connection.ask(&pool.get("/")).text(),
        r#"["64M","","","script","8M"]"#,
        "and elsewhere nothing"
    );
}

#[test]
fn a_body_that_nobody_reads_does_not_spoil_the_connection() {
    for mode in MODES {
        let pool = Pool::start(mode, "hello.php", &["--workers", "1"]);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        for i in 0..3 {
            let body = vec![b'x'; 300_000 * i];
            let ask = pool.get(&format!("/?i={i}")).with("CONTENT_TYPE", "text/plain");
            assert_eq!(
                connection.ask(&ask.post("text/plain", &body)).text(),
                format!("Hello {i}"),
                "{mode:?}"
            );
        }
    }
}

#[test]
fn a_peer_that_stops_in_mid_request_is_given_up() {
    let pool = Pool::start(Mode::Classic, "hello.php", &["--workers", "1", "--io-timeout", "2s"]);
    let mut stalled = Connection::open(&pool.socket());
    let bytes = pool.get("/?i=1").to_bytes(true);
    stalled.send(&bytes[..40]).unwrap();
    // The only worker is with the other; it comes free when the other's time is up.
    assert_eq!(pool.ask(&pool.get("/?i=2")).text(), "Hello 2");
    assert!(stalled.next().is_err(), "the stalled connection was closed");
}

#[test]
fn large_responses_arrive_whole_and_a_slow_reader_holds_php_back() {
    for mode in MODES {
        let pool = Pool::start(mode, "large-response.php", &["--workers", "1"]);
        let mut connection = Connection::open_as_gateway(&pool.socket());
        for (i, letter) in [(0, b'a'), (1, b'b')] {
            let body = connection.ask(&pool.get(&format!("/?i={i}"))).body;
            assert_eq!(body.len(), 3_000_000 + 200_000 + 70_000 + 65_528 + 1, "{mode:?}");
            assert!(body[..body.len() - 1].iter().all(|byte| *byte == letter));
        }
    }
}

#[test]
fn early_hints_reach_only_who_understands_them() {
    let pool = Pool::start(Mode::Worker, "early-hints.php", &["--workers", "1"]);
    let known = pool.ask(&pool.get("/?i=1"));
    assert_eq!(known.informational, ["103 Link=</style.css>; rel=preload; as=style"]);
    assert_eq!(known.text(), "final 200 1");
    let stranger = Connection::open(&pool.socket()).ask(&pool.get("/?i=2"));
    assert_eq!((stranger.informational.len(), stranger.text().as_str()), (0, "final 200 3"));
    assert!(stranger.header("Link").is_none());
}

#[test]
fn a_response_that_is_finished_early_is_over_for_the_client() {
    for mode in MODES {
        for alias in ["", "&fastcgi"] {
            let pool = Pool::start(mode, "finish-request.php", &["--workers", "1"]);
            let result = pool.folder.path().join("result");
            let ask = pool.get(&format!("/?to={}{alias}", result.display())).post("text/plain", b"body");
            // To a peer of ours the stream ends at once, the request when the worker is free again.
            let mut connection = Connection::open_as_gateway(&pool.socket());
            connection.send(&ask.to_bytes(true)).unwrap();
            let Got::Stdout(first) = connection.next().unwrap() else { panic!("no response") };
            assert!(first.ends_with(b"seen"), "{mode:?}");
            assert_eq!(connection.next().unwrap(), Got::StdoutEnd);
            assert!(matches!(connection.next().unwrap(), Got::End(_)));
            assert_eq!(std::fs::read_to_string(&result).unwrap(), "[true,false,0,4]", "{mode:?}");
            drop(connection);
            // A stranger gets the end now, and no further request on this connection.
            std::fs::remove_file(&result).unwrap();
            let mut stranger = Connection::open(&pool.socket());
            assert_eq!(stranger.ask(&ask).text(), "seen");
            assert!(stranger.next().is_err());
            wait_until("the end of the script", || result.exists(), || pool.log());
        }
    }
}
