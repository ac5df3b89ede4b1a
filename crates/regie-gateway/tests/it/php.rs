//! What PHP is told and what becomes of its answers.

use std::io::Read;

use regie_pool::PoolSettings;

use crate::client::{Connection, get};
use crate::fixture::{before, wait_for};
use crate::worker::{After, FakePool};

fn show(names: &'static [&'static str]) -> FakePool {
    FakePool::start(1, move |request| {
        let shown: Vec<String> = names.iter().map(|name| format!("{name}={}", request.param(name))).collect();
        request.say(format!("Content-Type: text/plain\r\n\r\n{}", shown.join("\n")));
        After::Stay
    })
}

#[test]
fn a_header_with_an_underscore_overwrites_nothing() {
    let pool = show(&["HTTP_X_USER", "HTTP_PROXY", "HTTP_X_SENDFILE_TYPE"]);
    let running = before(&pool, |_| {});
    let fields = "X-User: real\r\nX_User: forged\r\nProxy: evil\r\nX-Sendfile-Type: X-Accel-Redirect\r\n";
    let answer = get(running.address, "/", fields);
    assert_eq!(answer.text(), "HTTP_X_USER=real\nHTTP_PROXY=\nHTTP_X_SENDFILE_TYPE=X-Sendfile");
}

#[test]
fn a_trusted_proxy_tells_who_asks() {
    let pool = show(&["REMOTE_ADDR", "HTTPS", "SERVER_PORT"]);
    let fields = "X-Forwarded-For: 6.6.6.6, 192.0.2.9\r\nX-Forwarded-Proto: https\r\n";
    let trusting = before(&pool, |settings| settings.trusted_proxies.0.push("127.0.0.1".parse().unwrap()));
    assert_eq!(get(trusting.address, "/", fields).text(), "REMOTE_ADDR=192.0.2.9\nHTTPS=on\nSERVER_PORT=443");
    drop(trusting);
    let pool = show(&["REMOTE_ADDR", "HTTPS"]);
    let strict = before(&pool, |_| {});
    assert_eq!(get(strict.address, "/", fields).text(), "REMOTE_ADDR=127.0.0.1\nHTTPS=");
}

#[test]
fn in_worker_mode_every_script_is_the_workers() {
    let pool = show(&["SCRIPT_FILENAME", "SCRIPT_NAME", "REQUEST_URI"]);
    let running = before(&pool, |settings| settings.worker_script = Some("/srv/worker.php".into()));
    for path in ["/", "/users/1", "/other.php", "/index.php"] {
        let expected = format!("SCRIPT_FILENAME=/srv/worker.php\nSCRIPT_NAME=/index.php\nREQUEST_URI={path}");
        assert_eq!(get(running.address, path, "").text(), expected);
    }
    assert_eq!(get(running.address, "/style.css", "").text(), "body{}");
}

fn says(text: &'static str) -> FakePool {
    FakePool::start(1, move |request| {
        request.say(format!("Content-Type: text/plain\r\n\r\n{text}"));
        After::Stay
    })
}

#[test]
fn other_scripts_go_to_the_pool_beside_the_worker() {
    let (worker, beside) = (says("worker"), says("beside"));
    let running = before(&worker, |settings| {
        settings.worker_script = Some(settings.root.join("worker.php"));
        settings.side_pool = Some(PoolSettings::new(beside.address.parse().unwrap()));
        std::fs::write(settings.root.join("worker.php"), "").unwrap();
    });
    for (path, expected) in
        [("/", "worker"), ("/other.php?a=1", "beside"), ("/worker.php", "worker"), ("/missing.php", "worker")]
    {
        assert_eq!(get(running.address, path, "").text(), expected, "{path}");
    }
}

#[test]
fn answers_stream_and_flushes_arrive() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let pool = FakePool::start(1, move |request| {
        request.say("Content-Type: text/html\r\n\r\nHe");
        gone.lock().unwrap().recv().unwrap();
        request.say("llo");
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    connection.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").until("\r\n\r\n2\r\nHe\r\n");
    go.send(()).unwrap();
    connection.until("3\r\nllo\r\n0\r\n\r\n");
    for coding in CODINGS {
        let request = format!("GET / HTTP/1.1\r\nHost: h\r\nAccept-Encoding: {coding}\r\n\r\n");
        connection.send(&request).until("\r\n\r\n");
        let length = usize::from_str_radix(connection.until("\r\n").trim_end(), 16).unwrap();
        while connection.read.len() < length {
            assert!(connection.fill(), "the answer broke off");
        }
        let flushed = unpack(coding, &connection.read[..length]);
        assert_eq!(flushed, "He", "{coding}: what was flushed can be unpacked before the rest has come");
        go.send(()).unwrap();
        while !connection.read.ends_with(b"\r\n0\r\n\r\n") {
            assert!(connection.fill(), "the answer broke off");
        }
        connection.read.clear();
    }
}

const CODINGS: [&str; 3] = ["zstd", "br", "gzip"];

/// Unpacks what has come so far, whether or not it is complete.
fn unpack(coding: &str, body: &[u8]) -> String {
    let mut reader: Box<dyn Read + '_> = match coding {
        "br" => Box::new(brotli::Decompressor::new(body, 4_096)),
        "zstd" => Box::new(zstd::stream::read::Decoder::new(body).unwrap()),
        _ => Box::new(flate2::read::GzDecoder::new(body)),
    };
    let (mut text, mut piece) = (Vec::new(), [0; 4_096]);
    while let Ok(read @ 1..) = reader.read(&mut piece) {
        text.extend_from_slice(&piece[..read]);
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn uploads_can_be_streamed() {
    let pool = FakePool::start(1, |request| {
        request.say("X: y\r\n\r\n");
        while let Some(piece) = request.read() {
            request.say(piece);
        }
        After::Stay
    });
    let running = before(&pool, |settings| settings.buffer_requests = false);
    let mut connection = Connection::open(running.address);
    connection.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nfirst");
    connection.until("5\r\nfirst\r\n");
    connection.send("other").until("5\r\nother\r\n0\r\n\r\n");
    assert_eq!(connection.response(false), None, "when the head was sent, the body had not come whole");
}

#[test]
fn text_is_compressed_and_the_rest_is_not() {
    let pool = FakePool::start(1, |request| {
        let head = match request.param("REQUEST_URI") {
            "/image" => "Content-Type: image/png",
            "/done" => "Content-Type: text/html\r\nContent-Encoding: br",
            "/tagged" => "Content-Type: text/html\r\nETag: \"a\"\r\nContent-Length: 5000",
            "/kept" => "Status: 304 Not Modified\r\nETag: \"a\"",
            "/kept/image" => "Status: 304 Not Modified\r\nContent-Type: image/png\r\nETag: \"a\"",
            "/events" => "Content-Type: text/event-stream",
            _ => "Content-Type: application/json",
        };
        let length = match (request.param("REQUEST_METHOD"), request.param("REQUEST_URI")) {
            ("HEAD", _) | (_, "/kept" | "/kept/image") => 0,
            (_, "/small") => 20,
            _ => 5_000,
        };
        request.say(format!("{head}\r\n\r\n{}", "x".repeat(length)));
        After::Stay
    });
    let running = before(&pool, |_| {});
    let ask = |path, accept| get(running.address, path, &format!("Accept-Encoding: {accept}\r\n"));
    let vary = Some("Accept-Encoding");
    for coding in CODINGS {
        let answer = ask("/", coding);
        assert_eq!((answer.header("content-encoding"), answer.header("vary")), (Some(coding), vary));
        assert_eq!(unpack(coding, &answer.body), "x".repeat(5_000));
        let tagged = ask("/tagged", coding);
        assert_eq!(
            (tagged.header("content-encoding"), tagged.header("etag")),
            (Some(coding), Some("W/\"a\""))
        );
        assert!(tagged.body.len() < 200);
    }
    for (path, accept, coding, vary) in [
        ("/", "gzip, deflate, br, zstd", Some("zstd"), vary),
        ("/", "gzip, deflate, br", Some("br"), vary),
        ("/", "gzip, zstd;q=0.5", Some("gzip"), vary),
        ("/", "identity", None, vary),
        ("/tagged", "identity", None, vary),
        ("/image", "gzip", None, None),
        ("/done", "gzip", Some("br"), None),
        ("/small", "gzip", None, None),
        ("/events", "gzip", None, None),
    ] {
        let answer = ask(path, accept);
        let seen = (answer.header("content-encoding"), answer.header("vary"));
        assert_eq!(seen, (coding, vary), "{path} {accept}");
    }
    assert_eq!(ask("/tagged", "identity").header("etag"), Some("\"a\""), "the plain form keeps its tag");
    for (path, kept, etag, varies) in [
        ("/kept", "W/\"a\"", "W/\"a\"", vary),
        ("/kept", "\"a\"", "\"a\"", vary),
        ("/kept/image", "\"a\"", "\"a\"", None),
    ] {
        let answer =
            get(running.address, path, &format!("Accept-Encoding: gzip\r\nIf-None-Match: {kept}\r\n"));
        let seen = (answer.status, answer.header("etag"), answer.header("vary"));
        assert_eq!(seen, (304, Some(etag), varies), "{path} {kept}");
    }
    // As GET would answer, as far as that is known without a body.
    for (path, coding, length) in [("/tagged", Some("zstd"), None), ("/", None, None), ("/image", None, None)]
    {
        let request = format!("HEAD {path} HTTP/1.1\r\nHost: h\r\nAccept-Encoding: zstd\r\n\r\n");
        let answer = Connection::open(running.address).ask(&request);
        let seen = (answer.status, answer.header("content-encoding"), answer.header("content-length"));
        assert_eq!(seen, (200, coding, length), "{path}");
    }
    drop(running);
    let plain = before(&pool, |settings| settings.compression.clear());
    let answer = get(plain.address, "/", "Accept-Encoding: gzip\r\n");
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), (None, None));
}

#[test]
fn files_are_left_to_the_gateway() {
    let pool = FakePool::start(1, |request| {
        let header = request.param("QUERY_STRING").to_owned();
        request.say(format!("X-Extra: kept\r\nContent-Type: application/pdf\r\n{header}\r\n\r\nignored"));
        After::Stay
    });
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("a.pdf"), "0123456789").unwrap();
    let folder = files.path().to_owned();
    let running = before(&pool, |settings| {
        settings.accel.push(("/protected/".into(), folder.clone()));
        settings.sendfile_roots.push(folder.clone());
    });
    let ask = |header: &str, fields: &str| get(running.address, &format!("/x?{header}"), fields);
    let path = files.path().join("a.pdf");
    for header in ["X-Accel-Redirect:/protected/a.pdf".to_owned(), format!("X-Sendfile:{}", path.display())] {
        let answer = ask(&header, "");
        assert_eq!((answer.status, answer.text()), (200, "0123456789"), "{header}");
        assert_eq!(
            (answer.header("x-extra"), answer.header("content-type")),
            (Some("kept"), Some("application/pdf"))
        );
        assert!(answer.header("x-sendfile").is_none() && answer.header("x-accel-redirect").is_none());
        let part = ask(&header, "Range: bytes=2-4\r\n");
        assert_eq!(
            (part.status, part.text(), part.header("content-range")),
            (206, "234", Some("bytes 2-4/10"))
        );
        let etag = answer.header("etag").unwrap();
        assert_eq!(ask(&header, &format!("If-None-Match: {etag}\r\n")).status, 304);
    }
    for header in
        ["X-Sendfile:/etc/passwd", "X-Accel-Redirect:/protected/../../etc/passwd", "X-Sendfile:a.pdf"]
    {
        assert_eq!(ask(header, "").status, 404, "{header}");
    }
    assert_eq!(ask("X-Accel-Redirect:/style.css", "").text(), "body{}");
}

#[test]
fn hop_by_hop_headers_of_php_are_dropped() {
    let pool = FakePool::start(1, |request| {
        request.say("Connection: close\r\nKeep-Alive: 5\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\nx");
        After::Stay
    });
    let running = before(&pool, |_| {});
    let mut connection = Connection::open(running.address);
    for _ in 0..2 {
        let answer = connection.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!((answer.text(), answer.header("a"), answer.header("connection")), ("x", Some("b"), None));
    }
    let head = connection.ask("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(connection.ask("GET / HTTP/1.1\r\nHost: h\r\n\r\n").text(), "x", "HEAD leaves no body behind");
}

#[test]
fn hosts_that_are_not_ours() {
    let pool = show(&["SERVER_NAME"]);
    let running = before(&pool, |settings| {
        settings.hosts = vec!["shop.example".into(), "*.sub.example".into()];
    });
    let ask = |host: &str, path: &str| {
        Connection::open(running.address).ask(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
    };
    for (host, status) in [
        ("shop.example", 200),
        ("SHOP.example:8000", 200),
        ("shop.example.", 200),
        ("a.sub.example", 200),
        ("sub.example", 421),
        ("evil.example", 421),
        ("evilsub.example", 421),
    ] {
        assert_eq!(ask(host, "/"), status, "{host}");
    }
    assert_eq!(ask("10.0.0.1", "/healthz"), 421, "the gateway tells about itself elsewhere");
}

/// What PHP does after its answer is complete for the client is not cut short.
#[test]
fn php_is_heard_out() {
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel::<bool>();
    let gone = std::sync::Mutex::new(gone);
    let pool = FakePool::start(1, move |request| {
        request.say(format!("{}\r\n\r\n", request.param("QUERY_STRING")));
        request.say("12345");
        gone.lock().unwrap().recv().unwrap();
        tell.send(request.say("more")).unwrap();
        After::Stay
    });
    let running = before(&pool, |_| {});
    for (method, header, body) in [
        ("GET", "Content-Length:5", "12345"),
        ("GET", "Status:204", ""),
        ("HEAD", "A:b", ""),
        ("GET", "X-Accel-Redirect:/style.css", "body{}"),
    ] {
        let mut connection = Connection::open(running.address);
        let answer = connection.ask(&format!("{method} /?{header} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!(answer.text(), body, "{header}");
        go.send(()).unwrap();
        assert!(told.recv().unwrap(), "{header}: somebody still listens");
    }
    wait_for("the worker to be free", || (running.stats().pool.idle == 1).then_some(()));
    assert_eq!(
        pool.accepted.load(std::sync::atomic::Ordering::SeqCst),
        1,
        "its connection was kept all the time"
    );
}
