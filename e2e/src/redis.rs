//! Debian's redis-server in the parts that several of them make together: masters, replicas, sentinels, nodes of a cluster.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::port::free_port;
use crate::programs::need;
use crate::wait::eventually;

/// How many ports are tried before something else must be wrong.
const TRIES: u32 = 50;

/// A server, until it is dropped.
#[derive(Debug)]
pub struct Redis {
    process: Child,
    /// Where it listens on loopback.
    pub port: u16,
    password: &'static str,
    folder: tempfile::TempDir,
}

impl Redis {
    /// A server whose configuration has these lines too.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(password: &'static str, lines: &str) -> Self {
        let secret = format!("requirepass {password}\nmasterauth {password}\nsave \"\"\n");
        let secret = if password.is_empty() { "save \"\"\n".to_owned() } else { secret };
        Self::any_port(password, &[], &format!("{secret}{lines}"))
    }

    /// A sentinel that watches `master`, and fails over only when it is told to.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn sentinel(master: &Self, name: &str, quorum: usize) -> Self {
        let lines = format!(
            "sentinel monitor {name} 127.0.0.1 {} {quorum}\nsentinel auth-pass {name} {}\n\
             sentinel down-after-milliseconds {name} 600000\nsentinel failover-timeout {name} 10000\n",
            master.port, master.password
        );
        Self::any_port("", &["--sentinel"], &lines)
    }

    fn any_port(password: &'static str, words: &[&str], lines: &str) -> Self {
        for _ in 0..TRIES {
            // Others take theirs at the same time.
            let folder = tempfile::Builder::new().prefix("regie-e2e-redis-").tempdir().expect("a folder");
            let port = free_port();
            let file = folder.path().join("redis.conf");
            let place = format!("port {port}\nbind 127.0.0.1\ndir {}\n", folder.path().display());
            std::fs::write(&file, format!("{place}{lines}")).expect("a file can be written");
            let process = run(&file, words);
            let mut server = Self { process, port, password, folder };
            if server.answers() {
                return server;
            }
        }
        panic!("none of {TRIES} ports is free");
    }

    /// Whether it is this server that answers; false when it has ended.
    fn answers(&mut self) -> bool {
        eventually("a redis-server answers", || {
            let pid = format!("process_id:{}\r", self.process.id());
            let info = self.cli(&["info", "server"]);
            if String::from_utf8_lossy(&info.stdout).contains(&pid) {
                return Some(true);
            }
            matches!(self.process.try_wait(), Ok(Some(_))).then_some(false)
        })
    }

    /// redis-cli on it.
    ///
    /// # Panics
    /// When there is none.
    pub fn cli(&self, words: &[&str]) -> Output {
        let mut command = Command::new(need("redis-cli", "redis-tools"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(words);
        if !self.password.is_empty() {
            command.env("REDISCLI_AUTH", self.password);
        }
        command.output().expect("redis-cli runs")
    }

    /// What redis-cli says on it, without the newline.
    pub fn says(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.cli(words).stdout).trim_end().to_owned()
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Where its files are.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
    }
}

fn run(file: &Path, words: &[&str]) -> Child {
    Command::new(need("redis-server", "redis-server"))
        .arg(file)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server runs")
}
