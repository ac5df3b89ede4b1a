//! The embedded store under `regie up`, with the clients that teams use.

use std::path::PathBuf;
use std::process::{Command, Output};

use regie_e2e::site::regie;
use regie_e2e::{App, Redis, Site, eventually, free_port, need};

/// A page that says what the store knows of it.
const COUNTER: &str = r#"<?php
$redis = new Redis();
$redis->connect(getenv('REDIS_HOST'), (int) getenv('REDIS_PORT'), 20);
$redis->auth(getenv('REDIS_PASSWORD'));
echo $redis->incr('visits'), ' ', $redis->info('server')['process_id'];
"#;

fn counting_app() -> App {
    let app = App::empty();
    app.write(".env", "REDIS_HOST=redis\n");
    app.write("public/index.php", COUNTER);
    app
}

fn visits(site: &Site) -> (u64, i32) {
    let text = site.get("/").text();
    let (visits, pid) = text.split_once(' ').unwrap_or_else(|| panic!("{text}"));
    (visits.parse().unwrap(), pid.parse().unwrap())
}

/// Debian's redis-cli against the store's own socket.
fn redis_cli(app: &App, words: &[&str]) -> Output {
    Command::new(need("redis-cli", "redis-tools"))
        .arg("-s")
        .arg(app.path().join(".regie/run/store.sock"))
        .args(words)
        .env("REDISCLI_AUTH", app.read(".regie/store.password").trim())
        .output()
        .expect("redis-cli runs")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_application_that_names_a_redis_has_a_store_of_its_own() {
    let app = counting_app();
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert!(site.printed().contains("REDIS_HOST redis → embedded store"), "{}", site.printed());
    let (first, pid) = visits(&site);
    assert_eq!(first, 1);
    let row = site.status("store").expect("a row for the store");
    assert_eq!((row["state"].as_str(), row["pid"].as_i64()), (Some("RUNNING"), Some(pid.into())));
    assert!(row["memory"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{row}");
    eventually("the store says how full it is", || {
        let row = site.status("store")?;
        row["description"].as_str()?.contains("of 512 MB").then_some(())
    });

    // New code leaves it alone, and other settings hold without a restart; a restart keeps data and port.
    let config = app.read("regie.toml");
    let store = "maxmemory = \"256mb\"\nprotected_keys = [\"@default\", \"orders:*\"]\ndb.2 = { appendfsync = \"always\" }\n";
    app.write("regie.toml", format!("{config}\n[store]\n{store}"));
    assert!(site.regie(&["reload"]).status.success());
    assert_eq!(visits(&site), (2, pid));
    let own = |name: &str| said(&redis_cli(&app, &["config", "get", name])).lines().nth(1).map(str::to_owned);
    eventually("the store has its new settings", || {
        (own("maxmemory") == Some((256 << 20).to_string())
            && own("db.2.appendfsync").as_deref() == Some("always")
            && own("protected-keys")
                .is_some_and(|words| words.contains("@locks") && words.contains("orders:*")))
        .then_some(())
    });
    let address = app.read(".regie/store.address");
    assert!(site.regie(&["restart", "store"]).status.success());
    let (third, restarted) = visits(&site);
    assert_eq!(third, 3);
    assert_ne!(restarted, pid);

    // Commands beside it have the same store.
    let run = site.regie(&["php", "public/index.php"]);
    assert!(said(&run).starts_with("4 "), "{}", said(&run));

    // The password is asked for, also on the socket, and stands in no command line.
    let password = app.read(".regie/store.password");
    assert_eq!(password.trim().len(), 48);
    let stranger = Command::new("redis-cli").arg("-s").arg(socket(&app)).arg("ping").output().unwrap();
    assert!(said(&stranger).contains("NOAUTH"), "{}", said(&stranger));
    let wrong = Command::new("redis-cli")
        .arg("-s")
        .arg(socket(&app))
        .args(["--no-auth-warning", "-a", "wrong", "ping"])
        .output()
        .unwrap();
    assert!(said(&wrong).contains("WRONGPASS"), "{}", said(&wrong));
    let title = std::fs::read(format!("/proc/{restarted}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&title).contains(password.trim()));

    // The next start finds the same.
    assert!(site.stop().success());
    let site = Site::up(app.path(), "[php.web]\nworkers = 2\n");
    assert_eq!(visits(&site).0, 5);
    assert_eq!((app.read(".regie/store.address"), app.read(".regie/store.password")), (address, password));
}

fn socket(app: &App) -> PathBuf {
    app.path().join(".regie/run/store.sock")
}

#[test]
fn applications_without_a_redis_have_no_store_and_two_with_one_have_two() {
    let without = App::empty();
    without.write("public/index.php", "<?php echo 'hello';");
    let site = Site::up(without.path(), "[php.web]\nworkers = 1\n");
    assert!(site.status("store").is_none());
    let (one, other) = (counting_app(), counting_app());
    let first = Site::up(one.path(), "[php.web]\nworkers = 1\n");
    let second = Site::up(other.path(), "[php.web]\nworkers = 1\n");
    assert_eq!((visits(&first).0, visits(&first).0, visits(&second).0), (1, 2, 1));
    assert_ne!(one.read(".regie/store.address"), other.read(".regie/store.address"));
    assert_ne!(one.read(".regie/store.password"), other.read(".regie/store.password"));
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let app = counting_app();
    let site = Site::up(app.path(), "[store]\nappendfsync = \"always\"\n[php.web]\nworkers = 1\n");
    let mut killed = visits(&site).1;
    for round in 0..3 {
        let acknowledged = (0..20).fold(0, |_, _| visits(&site).0);
        let pid = nix::unistd::Pid::from_raw(killed);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        // The request waits at the open listener until the store is back.
        let (after, pid) = visits(&site);
        assert_eq!(after, acknowledged + 1, "round {round}");
        assert_ne!(pid, killed);
        killed = pid;
    }
    let row = site.status("store").unwrap();
    assert_eq!(row["restarts"], 3, "{row}");
}

#[test]
fn redis_s_own_tools_work() {
    let app = counting_app();
    let _site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let ok = |words: &[&str]| {
        let output = redis_cli(&app, words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    };
    ok(&["eval", "for i = 1, 200 do redis.call('set', 'k' .. i, string.rep('x', i)) end", "0"]);
    assert_eq!(ok(&["--scan", "--pattern", "k1*"]).lines().count(), 111);
    let big = ok(&["--bigkeys"]);
    assert!(big.contains("Biggest string found") && big.contains("k200"), "{big}");
    assert!(ok(&["--memkeys"]).contains("Biggest string"));
    let _stat = listen(&app, &["--stat", "-i", "0.05"], "stat");
    eventually("--stat counts", || {
        app.read("stat").lines().any(|line| line.starts_with("200 ")).then_some(())
    });
    assert!(ok(&["--latency", "-i", "0.2", "--raw"]).split_whitespace().count() >= 4);
    assert!(ok(&["info", "memory"]).contains("used_memory:"));
    assert!(
        ok(&["config", "get", "port"])
            .contains(app.read(".regie/store.address").trim().split(':').nth(1).unwrap())
    );

    let own = |name: &str| ok(&["config", "get", name]).lines().nth(1).unwrap_or_default().to_owned();
    assert_eq!(own("maxmemory"), (512 << 20).to_string());
    assert_eq!(own("db.1.maxmemory"), (256 << 20).to_string(), "a cache takes half of it at most");
    assert_eq!(
        (own("db.1.maxmemory-policy"), own("db.0.maxmemory-policy")),
        ("allkeys-lru".into(), "noeviction".into())
    );
    assert_eq!((own("db.1.appendfsync"), own("db.0.appendfsync")), ("no".into(), "everysec".into()));

    let bench = Command::new(need("redis-benchmark", "redis-tools"))
        .arg("-s")
        .arg(socket(&app))
        .args(["-q", "-n", "500", "-c", "10", "-a", app.read(".regie/store.password").trim()])
        .output()
        .unwrap();
    let text = said(&bench);
    for command in
        ["PING_INLINE", "SET", "LPUSH", "LRANGE_600 (first 600 elements)", "MSET (10 keys)", "ZADD", "SPOP"]
    {
        assert!(text.contains(&format!("{command}: ")), "{command}: {text}");
    }
    assert!(!text.contains("rror"), "{text}");
}

#[test]
fn an_operator_asks_looks_and_copies() {
    let app = counting_app();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    visits(&site);
    let ok = |words: &[&str]| {
        let output = site.regie(words);
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    };
    assert_eq!(ok(&["store", "cli", "get", "visits"]).trim(), "1");
    assert_eq!(ok(&["store", "cli", "-n", "1", "set", "a", "two words"]).trim(), "OK");
    // Without redis-cli the same answers come.
    let plain = |words: &[&str]| {
        let mut command = regie(app.path());
        said(&command.args(["store", "cli"]).args(words).env("PATH", "/nonexistent").output().unwrap())
    };
    assert_eq!(plain(&["-n", "1", "get", "a"]).trim(), "two words");
    assert!(plain(&["get"]).contains("wrong number of arguments"));
    assert!(plain(&["--bigkeys"]).contains("apt install redis-tools"));

    let stats: serde_json::Value = serde_json::from_str(&ok(&["store", "stats", "--json"])).unwrap();
    assert_eq!((&stats["keyspace"]["0"]["keys"], &stats["keyspace"]["1"]["keys"]), (&1.into(), &1.into()));
    assert!(ok(&["store", "stats"]).contains("of 512 MB"));

    let copy = app.path().join("copy");
    let copied = ok(&["store", "backup", copy.to_str().unwrap()]);
    assert!(copied.contains("2 keys"), "{copied}");
    assert_eq!(site.regie(&["store", "backup", copy.to_str().unwrap()]).status.code(), Some(64));
    assert!(ok(&["store", "check", "--dir", copy.to_str().unwrap()]).contains("all is whole"));

    // A flipped byte is found, nothing starts on it, and what can be saved is saved.
    assert_eq!(site.regie(&["store", "repair"]).status.code(), Some(1), "it is in use");
    ok(&["stop", "store"]);
    assert_eq!(site.regie(&["store", "stats"]).status.code(), Some(69));
    let log = std::fs::read_dir(app.path().join(".regie/store"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "log" || kind == "snapshot"))
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let check = site.regie(&["store", "check"]);
    assert_eq!(check.status.code(), Some(1), "{}", said(&check));
    assert!(said(&check).contains("regie store repair"), "{}", said(&check));
    assert!(ok(&["store", "repair"]).contains("kept in"));
    ok(&["store", "check"]);
    ok(&["start", "store"]);
    ok(&["store", "cli", "ping"]);
}

#[test]
fn monitor_and_subscribers_hear() {
    let app = counting_app();
    let _site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let _monitor = listen(&app, &["monitor"], "monitor");
    let _subscriber = listen(&app, &["psubscribe", "news.*"], "subscriber");
    eventually("both listen", || {
        (app.read("monitor").contains("OK") && app.read("subscriber").contains("psubscribe")).then_some(())
    });
    assert_eq!(said(&redis_cli(&app, &["publish", "news.one", "hello"])).trim(), "1");
    eventually("the subscriber hears", || app.read("subscriber").contains("hello").then_some(()));
    eventually("the monitor hears", || {
        app.read("monitor").contains("\"publish\" \"news.one\" \"hello\"").then_some(())
    });
}

#[test]
fn a_team_moves_in_from_redis_and_out_again() {
    let redis = Redis::start("old", "");
    let old = |words: &[&str]| said(&redis.cli(words)).trim().to_owned();
    old(&["rpush", "queues:default", "job 1", "job 2"]);
    old(&["set", "visits", "41", "ex", "1000"]);
    old(&["-n", "1", "hset", "cached", "a", "1"]);
    old(&["save"]);

    let app = counting_app();
    let site = Site::up(app.path(), "[php.web]\nworkers = 1\n");
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let run = |words: &[&str]| {
        let output =
            regie(app.path()).args(["store"]).args(words).env("REDISCLI_AUTH", "old").output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", said(&output));
        said(&output)
    };
    assert!(run(&["import", "--from", &url]).contains("copied: 3 keys"));
    assert_eq!(visits(&site).0, 42);
    assert!(run(&["cli", "ttl", "visits"]).trim().parse::<i64>().unwrap() > 900);

    // Out of its files; what is here stays unless it is to be replaced.
    let dump = redis.folder().join("dump.rdb");
    assert!(run(&["import", "--from", dump.to_str().unwrap()]).contains("3 keys were there already"));
    assert!(
        run(&["import", "--from", dump.to_str().unwrap(), "--replace", "--db", "0"])
            .contains("copied: 2 keys")
    );
    assert_eq!(visits(&site).0, 42);

    // And back.
    old(&["flushall"]);
    assert!(run(&["export", "--to", &url]).contains("copied: 3 keys"));
    assert_eq!(old(&["lrange", "queues:default", "0", "-1"]), "job 1\njob 2");
    assert_eq!(old(&["-n", "1", "hget", "cached", "a"]), "1");
    let file = app.path().join("out.rdb");
    assert!(run(&["export", "--to", file.to_str().unwrap()]).contains("3 keys"));
    assert!(std::fs::read(&file).unwrap().starts_with(b"REDIS0010"));
    let nobody = site.regie(&["store", "import", "--from", "redis://127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(69), "{}", said(&nobody));
}

/// redis-cli doing something without end, its output in a file.
fn listen(app: &App, words: &[&str], file: &str) -> Killed {
    let out = std::fs::File::create(app.path().join(file)).unwrap();
    let child = Command::new(need("redis-cli", "redis-tools"))
        .arg("-s")
        .arg(socket(app))
        .args(words)
        .env("REDISCLI_AUTH", app.read(".regie/store.password").trim())
        .stdin(std::process::Stdio::null())
        .stdout(out)
        .spawn();
    Killed(child.unwrap())
}

/// A process that does not outlive the test.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_role_alone_takes_the_place_of_redis_server() {
    let folder = App::empty();
    // Its configuration names a port, as that of a redis-server does.
    let port = free_port().to_string();
    let listen = format!("127.0.0.1:{port}");
    let start = || {
        let child = regie(folder.path())
            .args(["role", "store", "--listen", &listen, "--dir", "data", "--set", "maxmemory=64mb"])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        eventually("the store answers", || (ask(&port, &["ping"]) == "PONG").then_some(()));
        Killed(child)
    };
    let mut store = start();
    assert_eq!(ask(&port, &["set", "kept", "yes"]), "OK");
    assert_eq!(ask(&port, &["config", "get", "maxmemory"]), "maxmemory\n67108864");
    let pid = nix::unistd::Pid::from_raw(store.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(store.0.wait().unwrap().success());
    let _again = start();
    assert_eq!(ask(&port, &["get", "kept"]), "yes", "redis-server saves when it is told to end");

    let open = regie(folder.path()).args(["role", "store", "--listen", "0.0.0.0:1"]).output().unwrap();
    assert_eq!(open.status.code(), Some(64), "{}", said(&open));
    assert!(said(&open).contains("--password-file"), "{}", said(&open));
}

fn ask(port: &str, words: &[&str]) -> String {
    let output =
        Command::new(need("redis-cli", "redis-tools")).args(["-p", port]).args(words).output().unwrap();
    said(&output).trim().to_owned()
}
