//! Slow clients, many connections, large bodies: each hurts only itself.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use regie_e2e::wait::{timed, within};
use regie_e2e::{App, Connection, Site, eventually, need};

fn pages() -> App {
    let app = App::empty();
    app.write("index.php", "<?php echo 'fine ', getmypid();");
    app.write("large.php", "<?php for ($i = 0; $i < 256; $i++) { echo str_repeat('x', 1 << 16); }");
    app.write(
        "size.php",
        "<?php $n = 0; $in = fopen('php://input', 'r'); while (!feof($in)) { $n += strlen(fread($in, 1 << 16)); } echo $n;",
    );
    app.write("abort.php", "<?php ignore_user_abort(false); register_shutdown_function(function () { file_put_contents(__DIR__ . '/aborted', connection_status()); }); for ($i = 0; $i < 1000; $i++) { echo str_repeat('x', 1 << 16); flush(); usleep(5000); }");
    app
}

/// Bytes of memory that a process holds.
fn resident(pid: &str) -> u64 {
    memory(pid, "VmRSS:")
}

/// The most that it has held since [`begin_peak`].
fn peak(pid: &str) -> u64 {
    memory(pid, "VmHWM:")
}

/// Has the kernel forget the most that a process has held, and returns what it holds.
fn begin_peak(pid: &str) -> u64 {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the kernel counts anew");
    resident(pid)
}

fn memory(pid: &str, row: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with(row)).expect("a line of the kernel");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).expect("a number of KB") * 1024
}

/// A process and all below it.
fn family(pid: i32) -> Vec<i32> {
    let below = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = below.split_whitespace().filter_map(|child| child.parse().ok()).flat_map(family);
    std::iter::once(pid).chain(children).collect()
}

/// Processor time of a process, in the kernel's ticks of 10 ms.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // What follows the name in parentheses, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum()
}

#[test]
fn nobody_waits_busily_when_there_is_nothing_to_do() {
    const WINDOW: Duration = Duration::from_secs(2);
    let app = pages();
    let site = Site::up(app.path(), "[php.web]\nworkers = 4\n");
    // Everybody was awake once, and a connection stays open.
    let mut kept = Connection::open(site.address()).unwrap();
    for _ in 0..20 {
        assert!(kept.ask("GET", "/", &[], b"").unwrap().text().starts_with("fine "));
    }
    let all = family(site.pid().as_raw());
    assert!(all.len() >= 7, "supervisor, gateway, master and four workers: {all:?}");
    // Who spins never has such a window; on a busy machine start-up's last work may fall into the first ones.
    within(
        Duration::from_secs(240),
        "two seconds in which all together use at most 1 % of a processor",
        || {
            let before: u64 = all.iter().copied().map(ticks).sum();
            std::thread::sleep(WINDOW);
            let after: u64 = all.iter().copied().map(ticks).sum();
            (before..=before + 2).contains(&after).then_some(())
        },
    );
    assert!(kept.ask("GET", "/", &[], b"").unwrap().text().starts_with("fine "), "and all are there again");
}

#[test]
fn slow_clients_do_not_hold_the_only_worker() {
    let app = pages();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    // One that sends its head a byte at a time, one that sends half a body, one that reads nothing.
    let mut half_head = TcpStream::connect(site.address()).unwrap();
    half_head.write_all(b"GET / HTT").unwrap();
    let mut half_body = TcpStream::connect(site.address()).unwrap();
    half_body
        .write_all(b"POST /size.php HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nstart")
        .unwrap();
    for _ in 0..5 {
        let (took, reply) = timed(|| site.get("/"));
        assert!(reply.text().starts_with("fine "), "{}", reply.text());
        assert!(took < Duration::from_secs(60), "{took:?}");
    }
    drop((half_head, half_body));
    assert!(site.get("/").text().starts_with("fine "));
}

#[test]
fn a_client_that_leaves_is_seen_by_php() {
    let app = pages();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let mut client = TcpStream::connect(site.address()).unwrap();
    client.write_all(b"GET /abort.php HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let mut some = [0; 1024];
    assert!(client.read(&mut some).unwrap() > 0);
    drop(client);
    eventually("PHP has seen that nobody listens", || (app.read("aborted") == "1").then_some(()));
    assert!(site.get("/").text().starts_with("fine "));
}

/// As WordPress calls its `wp-cron.php`: it hangs up although no worker has begun.
#[test]
fn a_client_that_leaves_the_queue_has_its_request_begun() {
    for lane in [true, false] {
        let app = pages();
        app.write(
            "hold.php",
            "<?php touch(__DIR__ . '/held'); for ($i = 0; $i < 6000 && !file_exists(__DIR__ . '/gate'); $i++) { usleep(10000); clearstatcache(); }",
        );
        app.write("cron.php", "<?php ignore_user_abort(true); echo str_repeat('x', 1 << 20); flush(); file_put_contents(__DIR__ . '/ran', $_SERVER['REQUEST_METHOD'] . file_get_contents('php://input'));");
        let site = Site::up(
            app.path(),
            &format!(
                "[gateway]\nhangup_grace = \"10m\"\nqueue_timeout = \"10m\"\n[php.web]\nworkers = 1\nlane = {lane}\n"
            ),
        );
        let mut holds = TcpStream::connect(site.address()).unwrap();
        holds.write_all(b"GET /hold.php HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        eventually("the only worker is busy", || app.path().join("held").exists().then_some(()));
        let mut call = TcpStream::connect(site.address()).unwrap();
        call.write_all(b"POST /cron.php HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nwork").unwrap();
        drop(call);
        eventually("the log says that the client has left", || {
            site.printed().contains("\"POST /cron.php HTTP/1.1\" 499 ").then_some(())
        });
        assert_eq!(app.read("ran"), "");
        app.write("gate", "");
        eventually("it has run", || (app.read("ran") == "POSTwork").then_some(()));
        assert!(site.get("/").text().starts_with("fine "));
    }
}

#[test]
fn work_behind_the_answer_holds_the_worker_and_not_the_client() {
    let app = pages();
    app.write(
        "later.php",
        "<?php echo 'answered'; fastcgi_finish_request(); for ($i = 0; $i < 6000 && !file_exists(__DIR__ . '/gate'); $i++) { usleep(10000); clearstatcache(); } file_put_contents(__DIR__ . '/done', '1');",
    );
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let mut client = Connection::open(site.address()).unwrap();
    let reply = client.ask("GET", "/later.php", &[], b"").unwrap();
    assert_eq!(reply.text(), "answered");
    assert_eq!(app.read("done"), "", "PHP is still at work");
    app.write("gate", "");
    assert!(site.get("/").text().starts_with("fine "), "the only worker is free again");
    assert_eq!(app.read("done"), "1", "and its work was not cut short");
}

#[test]
fn a_slow_reader_does_not_hold_the_only_worker() {
    const SIZE: usize = 16 << 20;
    let app = pages();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let mut reader = Connection::open(site.address()).unwrap();
    reader.send("GET /large.php HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    let head = reader.read_head().unwrap();
    assert_eq!(head.status, 200);
    // It has taken the head and takes no more. Everybody else is answered by the only worker.
    for _ in 0..5 {
        assert!(site.get("/").text().starts_with("fine "));
    }
    // What waited for it is whole.
    let mut taken = 0;
    while let Some(piece) = reader.read_chunk().unwrap() {
        assert!(piece.iter().all(|byte| *byte == b'x'));
        taken += piece.len();
    }
    assert_eq!(taken, SIZE);
}

/// What PHP made of it: bytes of the body that it read itself, or of the file that was uploaded.
const RECEIVED: &str = "<?php if ($_FILES) { echo filesize($_FILES['file']['tmp_name']); return; }
    $n = 0; $in = fopen('php://input', 'r'); while (!feof($in)) { $n += strlen(fread($in, 1 << 16)); } echo $n;";

#[test]
fn two_hundred_megabytes_pass_in_constant_memory() {
    const SIZE: usize = 200 << 20;
    const GROWTH_MAX: u64 = 16 << 20;
    const FORM: &str = "--edge\r\nContent-Disposition: form-data; name=\"file\"; filename=\"large\"\r\n\r\n";
    let app = pages();
    app.write("received.php", RECEIVED);
    let site = Site::up(
        app.path(),
        "[php]\nini = { post_max_size = \"300M\", upload_max_filesize = \"300M\" }\n[php.web]\nworkers = 1\n\
         [gateway]\nbody_limit = \"300mb\"\n",
    );
    // Each has done its work once before it is measured.
    assert_eq!(site.ask("POST", "/received.php", &[], b"0123456789").unwrap().text(), "10");
    let worker = site.get("/").text().split(' ').nth(1).expect("its pid").to_owned();
    let both = [("gateway", site.status("gateway").unwrap()["pid"].to_string()), ("worker", worker.clone())];
    for (kind, before, after) in [
        ("application/octet-stream", "", ""),
        ("multipart/form-data; boundary=edge", FORM, "\r\n--edge--\r\n"),
    ] {
        let resident: Vec<u64> = both.iter().map(|(_, pid)| begin_peak(pid)).collect();
        let mut client = Connection::open(site.address()).unwrap();
        let length = before.len() + SIZE + after.len();
        client
            .send(format!(
                "POST /received.php HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{before}"
            ))
            .unwrap();
        let piece = vec![b'x'; 1 << 20];
        (0..SIZE / piece.len()).for_each(|_| client.send(&piece).unwrap());
        client.send(after).unwrap();
        let reply = client.read_reply(false).unwrap();
        assert_eq!(reply.text(), SIZE.to_string(), "{kind}");
        for ((name, pid), resident) in both.iter().zip(resident) {
            let grown = peak(pid).saturating_sub(resident);
            assert!(grown < GROWTH_MAX, "{kind}: the {name} grew by {} KB", grown / 1024);
        }
    }
    assert_eq!(site.get("/").text(), format!("fine {worker}"), "it is the same worker still");
}

#[test]
fn what_is_too_large_is_refused_by_name() {
    let app = pages();
    let site = Site::up(
        app.path(),
        "[php.web]\nworkers = 1\n[gateway]\nbody_limit = \"1mb\"\nheader_limit = \"8kb\"\n",
    );
    let body = site.ask("POST", "/size.php", &[], &vec![b'x'; 2 << 20]);
    // The answer may come before all was sent, and the connection then ends.
    assert!(body.is_err() || body.is_ok_and(|reply| reply.status == 413));
    let exact = site.ask("POST", "/size.php", &[], &vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(exact.text(), (1 << 20).to_string());
    let head = site.ask("GET", "/", &[("X-Long", &"x".repeat(16 << 10))], b"").unwrap();
    assert_eq!(head.status, 431);
}

#[test]
fn requests_past_the_queue_are_told_to_try_again() {
    let app = App::empty();
    let gate = "for ($i = 0; $i < 6000 && !file_exists(__DIR__ . '/gate'); $i++) { usleep(10000); clearstatcache(); }";
    app.write("index.php", format!("<?php {gate} echo 'fine';"));
    let site = Site::up(
        app.path(),
        "[php.web]\nworkers = 1\n[gateway]\nqueue_length = 2\nqueue_timeout = \"10m\"\n",
    );
    let refused = Arc::new(AtomicUsize::new(0));
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let (address, refused) = (site.address(), Arc::clone(&refused));
            std::thread::spawn(move || {
                let reply = Connection::open(address).unwrap().ask("GET", "/", &[], b"").unwrap();
                refused.fetch_add(usize::from(reply.status == 503), Ordering::Relaxed);
                reply
            })
        })
        .collect();
    // Nobody is let through before the queue has overflowed.
    eventually("four are refused", || (refused.load(Ordering::Relaxed) >= 4).then_some(()));
    app.write("gate", "");
    let replies: Vec<_> = asked.into_iter().map(|client| client.join().unwrap()).collect();
    let busy: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    let good = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(good + busy.len(), 8, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
    assert!((2..=4).contains(&good), "one in hand and two waiting: {good}");
    assert!(busy.iter().all(|reply| !reply.header("retry-after").is_empty()));
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_one_more() {
    const IDLE: usize = 10_000;
    const EACH_MAX: u64 = 24 << 10;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    assert!(hard > IDLE as u64 + 500, "the hard limit of open files is {hard}; raise it: ulimit -Hn 20000");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let app = pages();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    assert!(site.get("/").text().starts_with("fine "));
    let gateway = site.status("gateway").unwrap()["pid"].to_string();
    let before = resident(&gateway);
    let connections: Vec<TcpStream> =
        (0..IDLE).map(|_| TcpStream::connect(site.address()).unwrap()).collect();
    let (took, reply) = timed(|| site.get("/"));
    assert!(reply.text().starts_with("fine "), "{}", reply.text());
    assert!(took < Duration::from_secs(60), "{took:?}");
    let grown = resident(&gateway).saturating_sub(before);
    assert!(grown < IDLE as u64 * EACH_MAX, "{} KB for {IDLE} connections", grown / 1024);
    drop(connections);
}

#[test]
fn wrk_finds_no_fault_in_files_pages_and_a_worker_that_is_replaced() {
    let app = pages();
    app.write("style.css", "body { color: teal }".repeat(500));
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\nmax_requests = 50\n");
    for path in ["/", "/style.css"] {
        let output = std::process::Command::new(need("wrk", "wrk"))
            .args(["--threads", "1", "--connections", "32", "--duration", "2s", "--timeout", "60s"])
            .arg(site.url(path))
            .output()
            .expect("wrk can be started");
        let said = String::from_utf8_lossy(&output.stdout);
        // It names both only when there were any.
        assert!(output.status.success() && said.contains("requests in"), "{said}");
        assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{path}: {said}");
        assert!(!said.contains(" 0 requests in"), "{said}");
    }
    assert!(site.status("php:web").unwrap()["restarts"] == 0, "workers come and go, the pool stays");
}

#[test]
fn a_leak_is_bounded_by_recycling_and_nobody_notices() {
    const REQUESTS: usize = 2_000;
    const WORKERS: u64 = 2;
    const LIMIT: u64 = 64 << 20;
    let app = App::empty();
    app.write("public/index.php", "");
    app.write(
        "worker.php",
        "<?php $kept = []; while (frankenphp_handle_request(function () use (&$kept) {
            $kept[] = str_repeat(chr(random_int(0, 255)), 1 << 20);
            echo getmypid();
        })) { }",
    );
    let site = Site::up(
        app.path(),
        "[php.web]\nmode = \"worker\"\nscript = \"worker.php\"\nworkers = 2\nmax_requests = 0\nmax_memory = \"64mb\"\n\
         ini = { memory_limit = \"-1\" }\n[gateway]\nfront_controller = \"index.php\"\naccess_log = \"off\"\n",
    );
    let all = || -> u64 {
        let held = |pid: i32| std::fs::read_to_string(format!("/proc/{pid}/status")).ok();
        let pages = |status: String| {
            let line = status.lines().find(|line| line.starts_with("RssAnon:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        family(site.pid().as_raw()).into_iter().filter_map(|pid| pages(held(pid)?)).sum::<u64>() * 1024
    };
    let before = all();
    let mut largest = 0;
    let mut pids = std::collections::BTreeSet::new();
    let mut client = Connection::open(site.address()).unwrap();
    for request in 0..REQUESTS {
        let reply = client.ask("GET", "/", &[], b"").unwrap();
        assert_eq!(reply.status, 200, "request {request}: {}", reply.text());
        pids.insert(reply.text());
        if request % 20 == 0 {
            largest = largest.max(all());
        }
    }
    // Two gigabytes were kept. A worker that leaves and the one in its place may be there at the same time.
    let bound = before + 2 * WORKERS * (LIMIT + (16 << 20));
    assert!(largest < bound, "{} MB at most, where {} MB are allowed", largest >> 20, bound >> 20);
    assert!(pids.len() > 10, "workers were replaced: {}", pids.len());
}

#[test]
fn the_gateway_tells_about_itself_while_every_worker_is_busy() {
    let app = pages();
    app.write(
        "hold.php",
        "<?php for ($i = 0; $i < 6000 && !file_exists(__DIR__ . '/gate'); $i++) { usleep(10000); clearstatcache(); } echo 'held';",
    );
    let site = Site::up(
        app.path(),
        "[php.web]\nworkers = 1\n[gateway]\nqueue_length = 1\nqueue_timeout = \"10m\"\n",
    );
    let socket = app.path().join(".regie/run/gateway.status.sock");
    let ask = |path: &str| {
        let output = std::process::Command::new(need("curl", "curl"))
            .args(["--silent", "--max-time", "60", "--write-out", " %{http_code}", "--unix-socket"])
            .arg(&socket)
            .arg(format!("http://gateway{path}"))
            .output()
            .expect("curl can be started");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    eventually("it is ready", || (ask("/readyz") == "ready\n 200").then_some(()));
    let held: Vec<_> = (0..2)
        .map(|_| {
            let address = site.address();
            std::thread::spawn(move || Connection::open(address).unwrap().ask("GET", "/hold.php", &[], b""))
        })
        .collect();
    eventually("one is in work and one waits", || {
        ask("/metrics").contains("regie_pool_waiting_requests{pool=\"web\"} 1").then_some(())
    });
    assert!(ask("/readyz").ends_with(" 503"), "{}", ask("/readyz"));
    assert_eq!(ask("/healthz"), "ok\n 200");
    app.write("gate", "");
    for reply in held {
        assert_eq!(reply.join().unwrap().unwrap().text(), "held");
    }
    eventually("it is ready again", || (ask("/readyz") == "ready\n 200").then_some(()));
    eventually("both are counted", || {
        let page = ask("/metrics");
        let waited = page.contains("regie_queue_duration_seconds_count{pool=\"web\"} 2");
        (waited && page.contains("regie_request_duration_seconds_count{pool=\"web\"} 2")).then_some(())
    });
    // The next generation of the gateway answers on the same socket.
    assert!(site.regie(&["restart", "gateway"]).status.success());
    eventually("it is ready after a restart", || (ask("/readyz") == "ready\n 200").then_some(()));
}
