//! One row per behaviour: a PHP file, a request, what must come back. Each is asked alone and then 50 times in parallel
//! over four workers, in every mode; rewind mode must answer as classic mode does. `{i}` stands for the number of the request, so that an answer that
//! belongs to another request is noticed.

use crate::client::{Answer, Ask};
use crate::pool::{Carrier, Mode, Pool, WAYS};

const PARALLEL: usize = 50;
const CONNECTIONS: usize = 4;

/// What must come back.
enum Want {
    /// Exactly this body.
    Body(&'static str),
    /// A body with this in it.
    Part(&'static str),
    /// Per mode: classic, worker, rewind.
    Each(&'static str, &'static str, &'static str),
}

struct Case {
    file: &'static str,
    uri: &'static str,
    shape: fn(Ask) -> Ask,
    status: u16,
    headers: &'static [(&'static str, &'static str)],
    want: Want,
    flags: &'static [&'static str],
}

const CASE: Case = Case {
    file: "",
    uri: "/?i={i}",
    shape: |ask| ask,
    status: 200,
    headers: &[],
    want: Want::Body(""),
    flags: &[],
};

const FORM: &str = "application/x-www-form-urlencoded";

fn upload(ask: Ask) -> Ask {
    let body = "--edge\r\nContent-Disposition: form-data; name=\"field\"\r\n\r\nvalue\r\n--edge\r\nContent-Disposition: \
                form-data; name=\"file\"; filename=\"a b.txt\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--edge--\r\n";
    ask.post("multipart/form-data; boundary=edge", body.as_bytes())
}

fn large(ask: Ask) -> Ask {
    ask.post("application/octet-stream", &vec![b'x'; 1_048_576])
}

const CASES: &[Case] = &[
    Case {
        file: "hello.php",
        want: Want::Body("Hello {i}"),
        headers: &[("Content-type", "text/html; charset=UTF-8")],
        ..CASE
    },
    Case { file: "hello.php", want: Want::Body(""), shape: |ask| ask.with("REQUEST_METHOD", "HEAD"), ..CASE },
    Case {
        file: "echo-body.php",
        shape: |ask| ask.post("text/plain", b"some body"),
        want: Want::Body("some body|9"),
        ..CASE
    },
    Case { file: "echo-body.php", want: Want::Body("|0"), ..CASE },
    Case { file: "cwd.php", want: Want::Body("[true,true,true,true,true,true]"), ..CASE },
    Case {
        file: "unchanged.php",
        want: Want::Body("nothing, written with the same, a reference alone"),
        ..CASE
    },
    Case { file: "json.php", want: Want::Body("200 texts, as json_decode"), ..CASE },
    Case {
        file: "large-body.php",
        shape: large,
        want: Want::Body("1048576 b561f87202d04959e37588ee05cf5b10"),
        ..CASE
    },
    Case {
        file: "headers.php",
        status: 201,
        headers: &[("Foo", "bar"), ("Foo2", "bar2"), ("I", "{i}"), ("Many", "1")],
        want: Want::Body("made {i}"),
        ..CASE
    },
    Case { file: "status-line.php", status: 433, want: Want::Body("unusual"), ..CASE },
    Case { file: "short-status-line.php", want: Want::Body("fine"), ..CASE },
    Case { file: "only-headers.php", status: 204, headers: &[("X-Only", "yes")], ..CASE },
    Case {
        file: "server-variables.php",
        want: Want::Body(
            "REQUEST_METHOD=GET\nREQUEST_URI=/?i={i}\nQUERY_STRING=i={i}\nSERVER_PROTOCOL=HTTP/1.1\n\
             SERVER_NAME=example.org\nHTTP_HOST=example.org\nREMOTE_ADDR=192.0.2.7\ntime=now float\nworker=false\n",
        ),
        ..CASE
    },
    Case {
        file: "auth.php",
        shape: |ask| ask.with("HTTP_AUTHORIZATION", "Basic YWxpY2U6c2VjcmV0").with("REMOTE_USER", "alice"),
        want: Want::Body(r#"["alice","secret","alice","Basic YWxpY2U6c2VjcmV0"]"#),
        ..CASE
    },
    Case { file: "auth.php", want: Want::Body("[null,null,null,null]"), ..CASE },
    Case {
        file: "superglobals.php",
        shape: |ask| ask.post(FORM, b"a=1&b[]=2").with("HTTP_COOKIE", "c=3"),
        want: Want::Body(r#"{"get":{"i":"{i}"},"post":{"a":"1","b":["2"]},"cookie":{"c":"3"},"files":[]}"#),
        ..CASE
    },
    Case {
        file: "superglobals.php",
        want: Want::Body(r#"{"get":{"i":"{i}"},"post":[],"cookie":[],"files":[]}"#),
        ..CASE
    },
    Case {
        file: "request-superglobal.php",
        uri: "/?look&i={i}",
        want: Want::Body(r#"{"look":"","i":"{i}"}"#),
        ..CASE
    },
    Case { file: "request-superglobal.php", want: Want::Body("not looked"), ..CASE },
    Case {
        file: "cookies.php",
        shape: |ask| ask.with("HTTP_COOKIE", "a.b=1; ; =x; bare; q=%20; a.b=2; c=1=2"),
        want: Want::Body(r#"{"a_b":"1","bare":"","q":" ","c":"1=2"}"#),
        ..CASE
    },
    Case { file: "putenv.php", want: Want::Part("true,null,null]"), ..CASE },
    Case {
        file: "env.php",
        flags: &["--env", "FROM_POOL=pool"],
        want: Want::Each(
            r#"["pool","pool","pool","parent","parent",false]"#,
            r#"["pool",null,"pool","parent","parent",false]"#,
            r#"["pool","pool","pool","parent","parent",false]"#,
        ),
        ..CASE
    },
    Case {
        file: "getopt.php",
        flags: &["--env", "FROM_POOL=pool"],
        want: Want::Body("request clean clean"),
        ..CASE
    },
    Case { file: "die.php", want: Want::Body("died {i} shutdown"), ..CASE },
    Case { file: "dd.php", status: 500, want: Want::Body("from the destructor"), ..CASE },
    Case { file: "exception.php", want: Want::Part("before {i} <br />"), ..CASE },
    Case { file: "early-hints.php", headers: &[("I", "{i}")], want: Want::Body("final 200 1"), ..CASE },
    Case {
        file: "upload.php",
        shape: upload,
        want: Want::Body(r#"["value","a b.txt",5,"5d41402abc4b2a76b9719d911017c592",true]"#),
        ..CASE
    },
    Case { file: "upload.php", want: Want::Body("[null,null,null,null,null]"), ..CASE },
    Case { file: "fiber.php", want: Want::Body("Fiber asks {i}"), ..CASE },
    Case {
        file: "constants.php",
        want: Want::Each(
            r#"["fpm-fcgi",false,false,false]"#,
            r#"["fpm-fcgi",true,true,true]"#,
            r#"["fpm-fcgi",false,false,false]"#,
        ),
        ..CASE
    },
    Case {
        file: "constants.php",
        flags: &["--sapi-name", "cli"],
        want: Want::Body(r#"["cli",true,true,true]"#),
        ..CASE
    },
    Case {
        file: "request-headers.php",
        shape: |ask| ask.with("HTTP_X_SOME_HEADER", "value").with("CONTENT_TYPE", "text/plain"),
        want: Want::Each(
            r#"{"before":3,"host":"example.org","i":"value","type":"text\/plain","same":true,"response":"yes"}"#,
            r#"{"before":0,"host":"example.org","i":"value","type":"text\/plain","same":true,"response":"yes"}"#,
            r#"{"before":0,"host":"example.org","i":"value","type":"text\/plain","same":true,"response":"yes"}"#,
        ),
        ..CASE
    },
    Case {
        file: "output-buffers.php",
        flags: &["--ini", "output_buffering=0"],
        want: Want::Body("0 SHOUT {i}"),
        ..CASE
    },
    Case {
        file: "output-buffers.php",
        flags: &["--ini", "output_buffering=4096"],
        want: Want::Body("1 SHOUT {i}"),
        ..CASE
    },
    Case { file: "signals.php", want: Want::Body("heard all {i}"), ..CASE },
    Case { file: "logs.php", want: Want::Body("logged"), ..CASE },
    Case {
        file: "ini.php",
        shape: |ask| ask.with("PHP_VALUE", "user_agent=value\npost_max_size=1M"),
        want: Want::Body(r#"["64M","value","value","script","1M"]"#),
        flags: &["--ini", "memory_limit=64M"],
        ..CASE
    },
    Case {
        file: "ini.php",
        shape: |ask| ask.with("PHP_ADMIN_VALUE", "user_agent=admin"),
        want: Want::Body(r#"["64M","admin",false,"admin","8M"]"#),
        flags: &["--ini", "memory_limit=64M"],
        ..CASE
    },
];

#[test]
fn every_behaviour_in_every_mode_over_both_carriers_alone_and_in_parallel() {
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for half in [0, 1] {
            let failures = &failures;
            scope.spawn(move || {
                for case in CASES.iter().skip(half).step_by(2) {
                    for way in WAYS {
                        if std::panic::catch_unwind(|| check(case, way)).is_err() {
                            failures.lock().unwrap().push(format!("{} {way:?}", case.file));
                        }
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "these failed, see above: {failures:#?}");
}

fn check(case: &Case, way: (Mode, Carrier)) {
    let mode = way.0;
    let pool = Pool::launch_on(way, case.file, case.flags, &[("FROM_PARENT", "parent")]);
    pool.wait_for_notice("READY=1");
    verify(case, mode, 0, &pool.ask(&request(case, &pool, 0)));
    std::thread::scope(|scope| {
        for lane in 0..CONNECTIONS {
            let pool = &pool;
            scope.spawn(move || {
                let mut peer = pool.peer();
                for i in (lane..PARALLEL).step_by(CONNECTIONS) {
                    let answer = peer.ask(&request(case, pool, i));
                    verify(case, mode, i, &answer);
                    // A worker that ends with its request says so; the next one is behind a new connection.
                    if answer.goodbye {
                        peer = pool.peer();
                    }
                }
            });
        }
    });
}

fn request(case: &Case, pool: &Pool, i: usize) -> Ask {
    (case.shape)(pool.get(&case.uri.replace("{i}", &i.to_string())))
}

fn verify(case: &Case, mode: Mode, i: usize, answer: &Answer) {
    let fill = |text: &str| text.replace("{i}", &i.to_string());
    let what = format!("{} {} in {mode:?} mode, request {i}: {answer:?}", case.file, case.uri);
    assert_eq!(answer.status, case.status, "{what}");
    for (name, value) in case.headers {
        assert_eq!(answer.header(name), Some(fill(value).as_str()), "{what}");
    }
    match case.want {
        Want::Body(body) => assert_eq!(answer.text(), fill(body), "{what}"),
        Want::Part(part) => assert!(answer.text().contains(&fill(part)), "{what}"),
        Want::Each(classic, worker, rewind) => {
            let body = match mode {
                Mode::Classic => classic,
                Mode::Worker => worker,
                Mode::Rewind => rewind,
            };
            assert_eq!(answer.text(), fill(body), "{what}");
        }
    }
}
