//! Rewind mode with real servers and with libraries that have threads and state of their own: whatever a request leaves
//! in the middle, the next ones are answered as in classic mode.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::pool::{Mode, Pool, wait_until};
use crate::rewind::Dice;

/// A redis-server and a MariaDB, ended when this is dropped.
struct Servers {
    folder: TempDir,
    children: Vec<Child>,
}

impl Drop for Servers {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Servers {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut servers = Self { folder, children: Vec::new() };
        servers.start_redis();
        servers.start_mariadb();
        servers
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start_redis(&mut self) {
        let socket = self.path("redis.sock");
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        self.launch(command.arg("--dir").arg(self.folder.path()), &socket, "redis-server");
    }

    fn start_mariadb(&mut self) {
        let (data, socket) = (self.path("data"), self.path("mariadb.sock"));
        let own =
            [format!("--datadir={}", data.display()), format!("--tmpdir={}", self.folder.path().display())];
        // It wants to be told that it may be root.
        let user = if nix::unistd::Uid::effective().is_root() { &["--user=root"][..] } else { &[] };
        let made = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .args(&own)
            .args(user)
            .output();
        let made = made.expect("the package mariadb-server-core is needed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = Command::new("mariadbd");
        command.args(["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=32M"]);
        command
            .args(["--innodb-flush-log-at-trx-commit=0", "--innodb-log-file-size=8M"])
            .args(&own)
            .args(user);
        self.launch(command.arg(format!("--socket={}", socket.display())), &socket, "mariadb-server-core");
    }

    fn launch(&mut self, command: &mut Command, socket: &Path, package: &str) {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.children.push(child.unwrap_or_else(|error| panic!("{error}: the package {package} is needed")));
        wait_until(&format!("{package} answers"), || UnixStream::connect(socket).is_ok(), String::new);
    }

    fn pool(&self, mode: Mode, flags: &[&str]) -> Pool {
        let (redis, mariadb) = (self.path("redis.sock"), self.path("mariadb.sock"));
        let sink = self.path(if mode == Mode::Classic { "letters-classic" } else { "letters-rewind" });
        let sendmail = format!("sendmail_path=cat >> {}", sink.display());
        let flags = [&["--workers", "1", "--ini", &sendmail], flags].concat();
        let env = [("REDIS", redis.to_str().unwrap()), ("MARIADB", mariadb.to_str().unwrap())];
        let pool = Pool::launch(mode, "rewind-services.php", &flags, &env);
        pool.wait_for_notice("READY=1");
        pool
    }

    fn letters(&self, sink: &str) -> usize {
        std::fs::read_to_string(self.path(sink)).unwrap_or_default().matches("Subject: Hello").count()
    }
}

const WAYS: [&str; 19] = [
    "redis",
    "redis-multi",
    "redis-lasting",
    "redis-session",
    "mysqli",
    "mysqli-failed",
    "mysqli-missing",
    "mysqli-killed",
    "pdo-unread",
    "pdo-transaction",
    "pdo-lasting",
    "mail",
    "curl",
    "curl-left",
    "intl",
    "intl-default",
    "hot",
    "exit",
    "throw",
];

#[test]
fn servers_and_libraries_meet_a_pristine_process() {
    let servers = Servers::start();
    let classic = servers.pool(Mode::Classic, &[]);
    let mut setup = Command::new("php");
    setup.arg("-r").arg(
        "$db = new PDO('mysql:unix_socket=' . $argv[1], 'root', ''); $db->exec('CREATE DATABASE IF NOT EXISTS test'); \
         $db->exec('CREATE TABLE test.kept (a INT) ENGINE=InnoDB');",
    );
    let made = setup.arg(servers.path("mariadb.sock")).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for (at, flags) in [
        &["--tracker", "auto"][..],
        &["--tracker", "pagemap", "--ini", "opcache.jit=tracing", "--ini", "opcache.jit_buffer_size=32M"],
    ]
    .into_iter()
    .enumerate()
    {
        let rewind = servers.pool(Mode::Rewind, flags);
        rewind.wait_for_log("written pages are found by");
        let mut dice = Dice(20_261_121);
        for round in 0..60 {
            let mut ways: Vec<&str> = Vec::new();
            for _ in 0..=dice.throw(4) {
                let way = WAYS[dice.throw(WAYS.len())];
                if !ways.contains(&way) {
                    ways.push(way);
                }
            }
            let uri = |who: &str| format!("/?as={who}{at}&do={}", ways.join(","));
            let expected = classic.ask(&classic.get(&uri("classic")));
            let answer = rewind.ask(&rewind.get(&uri("rewind")));
            let what = format!("round {round}, {ways:?}; {}", rewind.log());
            assert_eq!(answer.text(), expected.text(), "{what}");
            assert_eq!(answer.status, expected.status, "{what}");
        }
        let (ours, theirs) = (servers.letters("letters-rewind"), servers.letters("letters-classic"));
        assert!(ours > 0 && ours == theirs, "{ours} letters beside {theirs}");
    }
}
