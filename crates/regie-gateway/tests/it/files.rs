//! The document root.

use std::os::unix::fs::symlink;

use regie_core::Rules;
use regie_core::rules::{
    Access, AccessRule, Condition, From, HeaderAction, HeaderRule, Pattern, Query, Redirect, Rewrite,
    Rewriting, Scope, Template, Test, Then,
};
use regie_gateway::TrustedProxies;

use crate::client::{Connection, get};
use crate::fixture::{gateway, wait_for};

#[test]
fn files_with_types_and_validators() {
    let running = gateway(
        &[("a.css", "body{}"), ("docs/index.html", "<p>"), ("big.bin", &"x".repeat(700_000))],
        |_| {},
    );
    let answer = get(running.address, "/a.css", "");
    assert_eq!((answer.status, answer.text()), (200, "body{}"));
    assert_eq!(answer.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(answer.header("accept-ranges"), Some("bytes"));
    let (etag, modified) = (answer.header("etag").unwrap(), answer.header("last-modified").unwrap());
    for fields in [format!("If-None-Match: {etag}\r\n"), format!("If-Modified-Since: {modified}\r\n")] {
        let again = get(running.address, "/a.css", &fields);
        assert_eq!(
            (again.status, again.header("etag"), again.header("content-length")),
            (304, Some(etag), None)
        );
    }
    assert_eq!(get(running.address, "/a.css", "If-Match: \"x\"\r\n").status, 412);
    let moved = get(running.address, "/docs?a=b", "");
    assert_eq!((moved.status, moved.header("location")), (301, Some("/docs/?a=b")));
    assert_eq!(get(running.address, "/docs/", "").text(), "<p>");
    assert_eq!(get(running.address, "/big.bin", "").body.len(), 700_000);
    let part = get(running.address, "/big.bin", "Range: bytes=699990-\r\n");
    assert_eq!((part.status, part.body.len()), (206, 10));
    assert_eq!(part.header("content-range"), Some("bytes 699990-699999/700000"));
    let outside = get(running.address, "/big.bin", "Range: bytes=700000-\r\n");
    assert_eq!((outside.status, outside.header("content-range")), (416, Some("bytes */700000")));
}

#[test]
fn head_tells_what_get_would() {
    let running = gateway(&[("a.txt", "hello"), ("big.bin", &"x".repeat(300_000))], |_| {});
    let mut connection = Connection::open(running.address);
    for (path, length) in [("/a.txt", "5"), ("/big.bin", "300000")] {
        let head = connection.ask(&format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((head.status, head.header("content-length")), (200, Some(length)));
    }
    assert_eq!(connection.ask("GET /a.txt HTTP/1.1\r\nHost: h\r\n\r\n").text(), "hello");
}

#[test]
fn compressed_forms_lie_beside_the_file() {
    let running = gateway(
        &[("a.js", "plain"), ("a.js.br", "brotli"), ("a.js.gz", "gzip"), ("b.js", "b"), ("c.png.gz", "z")],
        |_| {},
    );
    for (path, accept, body, coding) in [
        ("/a.js", "gzip, br", "brotli", Some("br")),
        ("/a.js", "gzip", "gzip", Some("gzip")),
        ("/a.js", "br;q=0, gzip;q=0.1", "gzip", Some("gzip")),
        ("/a.js", "zstd", "plain", None),
        ("/b.js", "gzip, br", "b", None),
    ] {
        let answer = get(running.address, path, &format!("Accept-Encoding: {accept}\r\n"));
        assert_eq!((answer.text(), answer.header("content-encoding")), (body, coding), "{path} {accept}");
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=utf-8"));
        assert_eq!(answer.header("vary").is_some(), path == "/a.js");
    }
    let tags: Vec<_> = ["gzip", "br", "identity"]
        .map(|accept| get(running.address, "/a.js", &format!("Accept-Encoding: {accept}\r\n")))
        .iter()
        .map(|answer| answer.header("etag").unwrap().to_owned())
        .collect();
    assert!(tags[0] != tags[1] && tags[1] != tags[2], "{tags:?}");
}

#[test]
fn what_is_never_served() {
    let secret = "secret";
    let names = [
        ".env",
        ".git/config",
        "regie.toml",
        "composer.json",
        "package.json",
        "vendor/a.js",
        "node_modules/a.js",
        "dump.sql",
        "index.php.bak",
        "a.php~",
        "shell.PHP",
        "uploads/x.php",
        "x.phtml",
    ];
    let files: Vec<(&str, &str)> = names.iter().map(|name| (*name, secret)).collect();
    let running = gateway(&files, |_| {});
    for name in names {
        let answer = get(running.address, &format!("/{name}"), "");
        assert_eq!(answer.status, 404, "{name}");
        assert!(!answer.text().contains(secret), "{name}");
    }
    for path in ["/%2e%65nv", "/./.env", "//.env", "/x/../.env", "/.well-known/../.env", "/uploads/x.php/y"] {
        assert!(matches!(get(running.address, path, "").status, 400 | 404), "{path}");
    }
}

#[test]
fn links_lead_only_where_they_may() {
    let app = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("passwd"), "secret").unwrap();
    for folder in ["public", "storage/app/public"] {
        std::fs::create_dir_all(app.path().join(folder)).unwrap();
    }
    std::fs::write(app.path().join("storage/app/public/a.txt"), "stored").unwrap();
    std::fs::write(app.path().join(".env"), "secret").unwrap();
    symlink(app.path().join("storage/app/public"), app.path().join("public/storage")).unwrap();
    symlink(outside.path(), app.path().join("public/out")).unwrap();
    symlink("../.env", app.path().join("public/env.txt")).unwrap();
    let running = gateway(&[], |settings| {
        settings.root = app.path().join("public");
        settings.app_root = Some(app.path().into());
    });
    assert_eq!(get(running.address, "/storage/a.txt", "").text(), "stored");
    assert_eq!(get(running.address, "/out/passwd", "").status, 404);
    assert_eq!(get(running.address, "/env.txt", "").status, 404);
}

#[test]
fn a_switched_release_is_seen() {
    let base = tempfile::tempdir().unwrap();
    for release in ["1", "2"] {
        let public = base.path().join("releases").join(release).join("public");
        std::fs::create_dir_all(&public).unwrap();
        std::fs::write(public.join("v.txt"), release).unwrap();
    }
    let current = base.path().join("current");
    symlink("releases/1", &current).unwrap();
    let running = gateway(&[], |settings| {
        settings.root = current.join("public");
        settings.app_root = Some(current.clone());
    });
    assert_eq!(get(running.address, "/v.txt", "").text(), "1");
    let next = base.path().join("next");
    symlink("releases/2", &next).unwrap();
    std::fs::rename(&next, &current).unwrap();
    wait_for("the new release", || (get(running.address, "/v.txt", "").text() == "2").then_some(()));
    std::fs::remove_dir_all(base.path().join("releases/1")).unwrap();
    assert_eq!(get(running.address, "/v.txt", "").text(), "2");
}

#[test]
fn a_changed_file_is_seen() {
    let running = gateway(&[("a.txt", "one")], |_| {});
    assert_eq!(get(running.address, "/a.txt", "").text(), "one");
    std::fs::write(running.root.path().join("a.txt"), "three").unwrap();
    wait_for("the new content", || (get(running.address, "/a.txt", "").text() == "three").then_some(()));
}

#[test]
fn what_is_denied_does_not_exist() {
    let files = [("private/a.txt", "secret"), ("a.css", "secret"), ("b.txt", "B")];
    let running =
        gateway(&files, |settings| settings.deny = regie_core::Patterns::new(["private/**", "*.css"]));
    for path in ["/private/a.txt", "/private/", "/a.css", "/%61.css", "/x/../a.css"] {
        assert_eq!(get(running.address, path, "").status, 404, "{path}");
    }
    assert_eq!(get(running.address, "/b.txt", "").text(), "B");
}

/// `RewriteRule expression to`
fn rewrite(expression: &str, to: &str, conditions: Vec<Condition>, then: Then) -> Rewrite {
    Rewrite {
        pattern: Pattern::new(expression, false).unwrap(),
        negated: false,
        conditions,
        to: Some(Template::parse(to, true).unwrap().relative_to("")),
        to_query: None,
        query: Query::Keep,
        variables: Vec::new(),
        then,
        is_chained: false,
    }
}

#[test]
fn rules_of_the_site_come_before_its_files() {
    let files = [
        ("a.css", "body{}"),
        ("old.txt", "old"),
        ("new.txt", "new"),
        ("secret.inc", "secret"),
        ("shown.txt", "shown"),
        ("closed/a.txt", "a"),
    ];
    let running = gateway(&files, |settings| {
        let to_https = "https://%{HTTP_HOST}%{REQUEST_URI}";
        let plain = Condition { test: Test::Https(false), negated: false, or_next: false };
        let names =
            |expression: &str| Scope { folder: String::new(), names: Pattern::new(expression, false) };
        settings.trusted_proxies = TrustedProxies(vec!["127.0.0.1".parse().unwrap()]);
        settings.rules = Rules {
            access: Access::new(vec![
                AccessRule { on: names("\\.inc$"), denies: true },
                AccessRule { on: Scope::folder("closed".into()), denies: true },
            ]),
            rewriting: vec![Rewriting {
                folder: String::new(),
                rewrites: vec![
                    rewrite("^hidden\\.txt$", "shown.txt", Vec::new(), Then::End),
                    rewrite("^(.*)$", to_https, vec![plain], Then::Redirect(301)),
                ],
            }],
            redirects: vec![
                Redirect {
                    from: From::Prefix("/old.txt".into()),
                    to: Some(Template::literal("/new.txt")),
                    status: 308,
                },
                Redirect { from: From::Prefix("/dead".into()), to: None, status: 410 },
            ],
            headers: vec![HeaderRule {
                on: names("\\.css$"),
                name: "Cache-Control".into(),
                action: HeaderAction::Set("max-age=60".into()),
            }],
            variables: Vec::new(),
        };
    });
    assert_eq!(get(running.address, "/hidden.txt", "").text(), "shown");
    assert_eq!(get(running.address, "/secret.inc", "").status, 404);
    assert_eq!(get(running.address, "/closed/a.txt", "").status, 404);
    assert_eq!(get(running.address, "/closed", "").status, 404);
    let moved = get(running.address, "/old.txt?a=b", "");
    assert_eq!((moved.status, moved.header("location")), (308, Some("/new.txt?a=b")));
    assert_eq!(get(running.address, "/dead/x", "").status, 410);
    assert_eq!(get(running.address, "/new.txt", "").text(), "new", "nobody has said whether this is TLS");
    let told =
        get(running.address, "/new.txt?a", "X-Forwarded-Proto: http\r\nX-Forwarded-Host: example.org\r\n");
    assert_eq!((told.status, told.header("location")), (301, Some("https://example.org/new.txt?a")));
    assert_eq!(get(running.address, "/new.txt", "X-Forwarded-Proto: https\r\n").text(), "new");
    assert_eq!(get(running.address, "/a.css", "").header("cache-control"), Some("max-age=60"));
    assert_eq!(get(running.address, "/new.txt", "").header("cache-control"), None);
}
