//! HTTP/1.1 on the wire.

use std::time::Duration;

use crate::client::{Connection, get, post};
use crate::fixture::{before, gateway, wait_for};
use crate::worker::{After, FakePool};

fn echo() -> FakePool {
    FakePool::start(2, |request| {
        let body = String::from_utf8_lossy(&request.body()).into_owned();
        let text = format!("{} {} [{body}]", request.param("REQUEST_METHOD"), request.param("REQUEST_URI"));
        request.say(format!("Content-Type: text/plain\r\n\r\n{text}"));
        After::Stay
    })
}

#[test]
fn connections_are_kept_and_requests_pipelined() {
    let pool = echo();
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    for path in ["/a", "/b?c=d"] {
        let answer = connection.ask(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((answer.status, answer.text()), (200, format!("GET {path} []").as_str()));
    }
    connection
        .send("GET /1 HTTP/1.1\r\nHost: h\r\n\r\nPOST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi");
    connection.send("GET /3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for expected in ["GET /1 []", "POST /2 [hi]", "GET /3 []"] {
        assert_eq!(connection.response(false).unwrap().text(), expected);
    }
    assert_eq!(connection.response(false), None);
}

#[test]
fn bodies_come_whole_in_chunks_and_after_a_word() {
    let pool = echo();
    let running = before(&pool, |_| {});
    assert_eq!(post(running.address, "/", b"hello").text(), "POST / [hello]");
    let mut connection = Connection::open(running.address);
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\n");
    connection.send("de\r\n0\r\nTrailer: x\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(connection.response(false).unwrap().text(), "POST / [abcde]");
    assert_eq!(connection.response(false).unwrap().text(), "GET /next []");
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.response(false).unwrap().status, 100);
    connection.send("ok");
    assert_eq!(connection.response(false).unwrap().text(), "POST / [ok]");
}

#[test]
fn http_1_0_is_answered_without_chunks() {
    let pool = FakePool::start(1, |request| {
        request.say("X: y\r\n\r\n");
        for piece in ["one ", "two"] {
            request.say(piece);
        }
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    let answer = connection.send("GET / HTTP/1.0\r\n\r\n").rest();
    assert!(answer.ends_with("\r\n\r\none two") && answer.contains("connection: close"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

/// Whatever could be read in two ways is refused, the connection closed, and nothing behind it served.
#[test]
fn smuggling_shapes_end_the_connection() {
    let pool = echo();
    let running = before(&pool, |_| {});
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for (fields, body, status) in [
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", "0\r\n\r\n", 400),
        ("Content-Length: 4\r\nContent-Length: 5\r\n", "abcd", 400),
        ("Content-Length: 4, 4\r\n", "abcd", 400),
        ("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked, identity\r\n", "0\r\n\r\n", 501),
        ("X: a\r\n Content-Length: 4\r\n", "abcd", 400),
        ("Content-Length : 4\r\n", "abcd", 400),
        ("X: a\nContent-Length: 4\r\n", "abcd", 400),
        ("Transfer-Encoding: chunked\r\n", "4\nabcd\n0\n\n", 400),
        ("Transfer-Encoding: chunked\r\n", "4\r\nabcdX0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", "0x4\r\nabcd\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", "-1\r\n\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", "", 400),
    ] {
        let mut connection = Connection::open(running.address);
        connection.send(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}{smuggled}"));
        assert_eq!(
            connection.response(false).map(|answer| answer.status),
            Some(status),
            "{fields:?} {body:?}"
        );
        assert_eq!(connection.rest(), "", "{fields:?} {body:?}");
    }
    assert_eq!(get(running.address, "/", "").status, 200);
}

#[test]
fn sizes_have_limits() {
    let pool = echo();
    let running = before(&pool, |settings| {
        settings.limits.body = 1_000;
        settings.limits.head = 4_096;
    });
    let address = running.address;
    assert_eq!(post(address, "/", &[b'x'; 1_000]).status, 200);
    assert_eq!(post(address, "/", &[b'x'; 1_001]).status, 413);
    let mut connection = Connection::open(address);
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    connection.send([b'x'; 1_001]);
    assert_eq!(connection.response(false).unwrap().status, 413);
    let mut connection = Connection::open(address);
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(connection.response(false).unwrap().status, 413);
    let long = "a".repeat(5_000);
    assert_eq!(get(address, &format!("/{long}"), "").status, 431);
    assert_eq!(get(address, "/", &format!("X: {long}\r\n")).status, 431);
    assert_eq!(get(address, "/", &"a: b\r\n".repeat(101)).status, 431);
}

#[test]
fn each_phase_has_its_time() {
    const SHORT: Duration = Duration::from_millis(600);
    const LONG: Duration = Duration::from_secs(600);
    let pool = echo();
    // One at a time: the test itself may stand still for longer than a short one.
    let with = |idle, head, body| {
        before(&pool, move |settings| {
            let limits = &mut settings.limits;
            (limits.keep_alive, limits.head_timeout, limits.body_timeout) = (idle, head, body);
        })
    };
    let running = with(SHORT, LONG, LONG);
    assert_eq!(Connection::open(running.address).rest(), "", "an idle connection is closed");
    let running = with(LONG, SHORT, LONG);
    let mut connection = Connection::open(running.address);
    connection.send("GET / HT");
    assert_eq!(connection.response(false).unwrap().status, 408);
    let running = with(LONG, LONG, SHORT);
    let mut connection = Connection::open(running.address);
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
    assert_eq!(connection.response(false).unwrap().status, 408);
    assert_eq!(connection.rest(), "");
}

#[test]
fn odd_requests() {
    let running = gateway(&[("a.txt", "A")], |_| {});
    for (request, status) in [
        ("GET http://other/a.txt HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        ("\r\n\r\nGET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        ("GET /%2e%2e/etc/passwd HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a.txt%00 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /../a.txt HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /a.txt HTTP/1.1\r\n\r\n", 400),
        ("GET /a.txt HTTP/3.0\r\nHost: h\r\n\r\n", 505),
        ("CONNECT a:1 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("DELETE /a.txt HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    ] {
        let answer = Connection::open(running.address).send(request).response(false);
        assert_eq!(answer.map(|answer| answer.status), Some(status), "{request:?}");
    }
}

#[test]
fn ids_and_lines_of_the_log() {
    let pool = echo();
    let running = before(&pool, |settings| settings.access_log = Some(regie_gateway::LogFormat::Json));
    let given = get(running.address, "/a?token=hidden", "X-Request-Id: my-id-12345\r\n");
    assert_eq!(given.header("x-request-id"), Some("my-id-12345"));
    let made = get(running.address, "/b", "X-Request-Id: bad id\r\n");
    assert!(made.header("x-request-id").is_some_and(|id| id.len() > 8 && !id.contains(' ')));
    let log = running.access_log(2);
    let first = log.lines().next().unwrap();
    for part in ["\"id\":\"my-id-12345\"", "\"uri\":\"/a?token=***\"", "\"status\":200", "\"bytes\":22"] {
        assert!(first.contains(part), "{part} in {first}");
    }
    assert!(!log.contains("hidden"), "{log}");
}

#[test]
fn a_client_that_leaves_is_noticed() {
    let (left, seen) = std::sync::mpsc::channel();
    let pool = FakePool::start(1, move |request| {
        if request.param("REQUEST_URI") == "/slow" {
            request.wait_for_close();
            left.send(()).unwrap();
            return After::Die;
        }
        request.say("X: y\r\n\r\nfine");
        After::Stay
    });
    let running = before(&pool, |settings| settings.access_log = Some(regie_gateway::LogFormat::Combined));
    let slow_post = "POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi";
    for (round, request) in ["GET /slow HTTP/1.1\r\nHost: h\r\n\r\n", slow_post].into_iter().enumerate() {
        let mut connection = Connection::open(running.address);
        connection.send(request);
        wait_for("the worker to be busy", || {
            (running.stats().pool.served == 2 * round as u64 + 1).then_some(())
        });
        drop(connection);
        seen.recv_timeout(crate::client::PATIENCE).unwrap();
        assert_eq!(get(running.address, "/", "").text(), "fine", "the worker is free for the next");
    }
    assert_eq!(running.access_log(4).matches("\" 499 0 ").count(), 2);
}

#[test]
fn early_hints_go_before_the_answer() {
    let pool = FakePool::start(1, |request| {
        request.say("Status: 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n");
        request.say("Content-Type: text/plain\r\n\r\nbody");
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let hints = connection.response(false).unwrap();
    assert_eq!((hints.status, hints.header("link")), (103, Some("</style.css>; rel=preload")));
    let answer = connection.response(false).unwrap();
    assert_eq!((answer.status, answer.text(), answer.header("link")), (200, "body", None));
}

#[test]
fn a_unix_socket_is_listened_to_as_well() {
    use std::io::{Read, Write};
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "A").unwrap();
    let path = dir.path().join("http.sock");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let listener = regie_gateway::Listener::from_fd(socket.into()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let settings = regie_gateway::Settings::new(dir.path());
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = regie_gateway::Gateway::new(settings, regie_gateway::Logs::none());
            regie_gateway::serve(gateway.into(), vec![listener], async { drop(stopped.await) }).await.unwrap()
        })
    });
    let mut stream = std::os::unix::net::UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\nA"), "{answer}");
    drop(stop);
    thread.join().unwrap();
}
