//! What each page of the tour promises, by hand and in Chromium.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};

use regie_e2e::{App, Connection, Reply, Site, eventually, need};

use crate::load::Load;

/// The tour with its own configuration, and `extra` in its public folder.
fn tour(extra: &[(&str, &str)]) -> (App, Site) {
    let app = App::named("tour");
    for (name, content) in extra {
        app.write(&format!("public/{name}"), content);
    }
    let config = app.read("regie.toml");
    assert!(config.contains("request_timeout = \"15s\""), "the endless loop's end: {config}");
    let site =
        Site::up(app.path(), &config.replace("request_timeout = \"15s\"", "request_timeout = \"10s\""));
    (app, site)
}

fn is_pulse(body: &str) -> bool {
    body.contains("\"pid\":")
}

/// Chromium on a profile of its own. It does not outlive this.
struct Browser {
    process: Child,
    _profile: tempfile::TempDir,
}

impl Browser {
    fn command(profile: &tempfile::TempDir) -> Command {
        let mut command = Command::new(need("chromium", "chromium"));
        command
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .arg(format!("--user-data-dir={}", profile.path().display()));
        command
    }

    /// The document of `url` once its scripts have run.
    fn document(url: &str) -> String {
        let profile = tempfile::tempdir().unwrap();
        let output = Self::command(&profile)
            .args(["--virtual-time-budget=3000", "--dump-dom", url])
            .output()
            .expect("chromium can be started");
        let page = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(!page.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        page
    }

    /// Opens `url` and stays there.
    fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let process = Self::command(&profile)
            .args(["--remote-debugging-port=0", url])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromium can be started");
        Self { process, _profile: profile }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn each_page_is_shown_by_a_browser() {
    let (_app, site) = tour(&[]);
    let page = Browser::document(&site.url("/"));
    assert!(page.contains("Régie"), "{page}");
    assert!(page.contains("fpm-fcgi"), "the page says what runs: {page}");
    for path in ["/request.php", "/upload.php", "/stream.php", "/session.php", "/slow.php", "/crash.php"] {
        assert_eq!(site.get(path).status, 200, "{path}");
    }
    for visit in 1..3 {
        let store = site.get("/store.php").text();
        assert!(store.contains(&format!("role=\"status\">{visit}</p>")), "{store}");
        assert!(store.contains("<td>Régie "), "{store}");
    }
}

/// Puts each page on its stage, as a visitor would open it, presses its buttons and sends what came of it.
const VISITOR: &str = r#"<!doctype html>
<title>A visitor of the tour</title>
<div id="stage"></div>
<script type="module">
const stage = document.getElementById('stage');
const seen = {};
const see = async (what, probe) => {
  for (let look = 0; look < 2000; look++) {
    const found = probe();
    if (found) return (seen[what] = found);
    await new Promise((then) => setTimeout(then, 50));
  }
  throw new Error(`never seen: ${what}`);
};
const open = async (page) => {
  const html = await (await fetch(page)).text();
  const main = new DOMParser().parseFromString(html, 'text/html').querySelector('main');
  stage.replaceChildren(document.importNode(main, true));
  await import(`/assets/tour.js?${page}`);
};
const press = (selector) => stage.querySelector(selector).click();
const text = (selector) => stage.querySelector(selector)?.textContent ?? '';
try {
  await open('/upload.php');
  press('[data-upload-make]');
  seen.progress = new Set();
  await see('upload', () => {
    seen.progress.add(Number(stage.querySelector('[data-upload-bar]').getAttribute('aria-valuenow')));
    return /answer 200/.test(text('[data-upload-status]')) && text('[data-upload-result] tbody');
  });
  seen.progress = [...seen.progress];
  await open('/stream.php');
  press('[data-stream-start]');
  await see('stream', () => /piece 12 of 12/.test(text('[data-stream-tape]'))
    && /arrivals over/.test(text('[data-stream-status]')) && text('[data-stream-status]'));
  await open('/slow.php');
  press('[data-action*="seconds=1"]');
  await see('slow', () => /answered 200/.test(text('[data-events]')) && text('[data-events]'));
  await open('/crash.php');
  press('[data-action*="way=segfault"]');
  await see('crash', () => /answered 502/.test(text('[data-events]')) && text('[data-events]'));
  const before = Number(text('[data-strip-sum] b'));
  await see('others', () => Number(text('[data-strip-sum] b')) > before + 5 && text('[data-strip-sum]'));
} catch (fault) {
  seen.fault = `${fault} on ${stage.textContent}`;
}
await fetch('/seen.php', { method: 'POST', body: JSON.stringify(seen) });
</script>
"#;

#[test]
fn a_browser_uploads_streams_waits_and_crashes_a_worker() {
    let keep = "<?php file_put_contents(__DIR__ . '/../seen.new', file_get_contents('php://input')); rename(__DIR__ . '/../seen.new', __DIR__ . '/../seen.json');";
    let (app, site) = tour(&[("visitor.html", VISITOR), ("seen.php", keep)]);
    let _browser = Browser::open(&site.url("/visitor.html"));
    let seen = eventually("the browser has been through the pages", || {
        serde_json::from_str::<serde_json::Value>(&app.read("seen.json")).ok()
    });
    let text = |what: &str| seen[what].as_str().unwrap_or_default();
    assert_eq!(text("fault"), "", "{seen}");
    assert!(text("upload").contains("made-up.bin") && text("upload").contains("64,000,000 bytes"), "{seen}");
    let progress = seen["progress"].as_array().unwrap();
    assert!(progress.iter().any(|part| *part == 100), "{seen}");
    assert!(text("others").contains(" 0 failed"), "nobody else has noticed the crash: {seen}");
}

#[test]
fn an_upload_is_measured_as_it_was_sent() {
    const SIZE: usize = 3 << 20;
    let (app, site) = tour(&[]);
    let file: Vec<u8> = (0..SIZE).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    let path = app.write("sent.bin", &file);
    let sum = Command::new(need("sha256sum", "coreutils")).arg(path).output().unwrap().stdout;
    let sum = String::from_utf8_lossy(&sum).split_whitespace().next().unwrap().to_owned();
    let mut body = b"--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.bin\"\r\n\
                     Content-Type: application/x-tour\r\n\r\n"
        .to_vec();
    body.extend_from_slice(&file);
    body.extend_from_slice(b"\r\n--edge--\r\n");

    // In pieces, and while it is on its way everybody else is answered.
    let mut client = Connection::open(site.address()).unwrap();
    client
        .send(format!(
            "POST /upload.php HTTP/1.1\r\nHost: tour\r\nAccept: application/json\r\n\
             Content-Type: multipart/form-data; boundary=edge\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ))
        .unwrap();
    for piece in body.chunks(1 << 20) {
        client.send(piece).unwrap();
        assert!(is_pulse(&site.get("/pulse.php").text()));
    }
    let reply = client.read_reply(false).unwrap();
    let received: serde_json::Value = serde_json::from_slice(&reply.body).expect("JSON");
    assert_eq!(reply.status, 200, "{received}");
    assert_eq!(received["Name"], "a b.bin");
    assert_eq!(received["Size"], "3,145,728 bytes");
    assert_eq!(received["Type"], "application/x-tour");
    assert_eq!(received["SHA-256"], sum);
}

#[test]
fn a_stream_arrives_while_it_is_made() {
    let (_app, site) = tour(&[]);
    // Three seconds lie between the first piece and the last. On a machine that stands still for so long they may come as one.
    let arrived_early = (0..5).any(|_| {
        let mut client = Connection::open(site.address()).unwrap();
        client.send("GET /chunks.php HTTP/1.1\r\nHost: tour\r\n\r\n").unwrap();
        assert_eq!(client.read_head().unwrap().status, 200);
        let first = client.read_chunk().unwrap().expect("a piece");
        let mut tape = String::from_utf8_lossy(&first).into_owned();
        let is_early = tape.contains("piece  1 of 12") && !tape.contains("piece 12");
        while let Some(piece) = client.read_chunk().unwrap() {
            tape.push_str(&String::from_utf8_lossy(&piece));
        }
        assert_eq!(tape.lines().count(), 12, "{tape}");
        assert!(tape.lines().last().unwrap().starts_with("piece 12 of 12"), "{tape}");
        is_early
    });
    assert!(arrived_early, "the first piece never came before the last was made");
}

#[test]
fn each_visitor_has_a_counter_of_their_own() {
    let (_app, site) = tour(&[]);
    let count = |cookie: &str, form: Option<&[u8]>| -> (Reply, String) {
        let (method, body) = form.map_or(("GET", &b""[..]), |form| ("POST", form));
        let headers = [("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded")];
        let reply = site.ask(method, "/session.php", &headers, body).unwrap();
        let set = reply.header("set-cookie").split(';').next().unwrap_or_default().to_owned();
        (reply, if set.is_empty() { cookie.to_owned() } else { set })
    };
    let shown = |cookie: &str| {
        let page = count(cookie, None).0.text();
        let at = page.find("class=\"big\"").unwrap_or_else(|| panic!("a counter in {page}"));
        let digits = page[at..].split('>').nth(1).unwrap().split('<').next().unwrap().to_owned();
        digits.trim().parse::<u32>().unwrap_or_else(|_| panic!("a number: {digits}"))
    };
    let (_, ada) = count("", None);
    let (_, bob) = count("", None);
    assert_ne!(ada, bob);
    for _ in 0..3 {
        assert_eq!(count(&ada, Some(b"more=1")).0.status, 303);
    }
    assert_eq!(count(&bob, Some(b"more=1")).0.status, 303);
    assert_eq!((shown(&ada), shown(&bob)), (3, 1));
    let (_, ada_anew) = count(&ada, Some(b"forget=1"));
    assert_ne!(ada_anew, ada, "who is forgotten gets another session");
    assert_eq!((shown(&ada_anew), shown(&bob)), (0, 1));
}

#[test]
fn a_slow_page_does_not_make_the_others_wait() {
    let (_app, site) = tour(&[]);
    // Two of the four workers sleep for four seconds, and the others answer meanwhile; on a machine that stands still for so
    // long it cannot be seen.
    let seen = (0..5).any(|_| {
        let address = site.address();
        let slow = || {
            std::thread::spawn(move || {
                Connection::open(address).unwrap().ask("GET", "/wait.php?seconds=4", &[], b"")
            })
        };
        let slow = [slow(), slow()];
        let quick: BTreeSet<String> = (0..10).map(|_| site.get("/pulse.php").text()).collect();
        let meanwhile = slow.iter().all(|slow| !slow.is_finished());
        assert!(quick.iter().all(|body| is_pulse(body)), "{quick:?}");
        for slow in slow {
            assert_eq!(slow.join().unwrap().unwrap().status, 200);
        }
        meanwhile
    });
    assert!(seen, "ten quick answers never came before two slow ones");
}

#[test]
fn a_crash_is_seen_by_nobody_else() {
    let (_app, site) = tour(&[]);
    let load = Load::start(site.address(), 4, "/pulse.php", is_pulse);
    for (way, status) in [("segfault", 502), ("kill", 502), ("memory", 500), ("loop", 504), ("none", 404)] {
        let reply = site.ask("POST", &format!("/crash-now.php?way={way}"), &[], b"").unwrap();
        assert_eq!(reply.status, status, "{way}: {}", reply.text());
    }
    assert_eq!(site.get("/crash-now.php?way=kill").status, 403, "only the tour's own page may");
    let seen = load.stop();
    assert!(seen.bad.is_empty(), "{} good; bad: {:?}", seen.good, &seen.bad[..seen.bad.len().min(5)]);
    assert!(seen.good > 20, "{}", seen.good);
}
