//! `regie up` in a folder, and what a person would do with it.

use std::io::{self, BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::http::{Connection, Reply};
use crate::programs::program;
use crate::wait::eventually;

/// A running application. Dropping it stops it.
#[derive(Debug)]
pub struct Site {
    folder: PathBuf,
    supervisor: Supervisor,
    address: SocketAddr,
}

/// The process of `regie up`, and what it has printed until now. Whatever becomes of the test, it does not outlive it.
#[derive(Debug)]
struct Supervisor {
    process: Child,
    printed: Arc<Mutex<String>>,
}

impl Supervisor {
    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("a pid is a small number"))
    }

    fn has_ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().expect("a child can be asked")
    }

    fn printed(&self) -> String {
        self.printed.lock().expect("no panic while holding it").clone()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let printed = self.printed();
            let told =
                printed.lines().filter(|line| !line.contains(" HTTP/1.1\" ")).collect::<Vec<_>>().join("\n");
            eprintln!("--- regie up printed, but for the access log:\n{told}");
        }
        if self.has_ended().is_none() {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let _ = self.process.wait();
        }
    }
}

impl Site {
    /// Starts `regie up` in `folder` with `regie_toml` as its configuration (a free port is added), and waits until
    /// it says where it is served.
    ///
    /// # Panics
    /// When it ends instead; the message holds what it printed.
    #[must_use]
    pub fn up(folder: &Path, regie_toml: &str) -> Self {
        Self::up_with(folder, regie_toml, &[])
    }

    /// As [`Site::up`], with these variables in its environment.
    ///
    /// # Panics
    /// When it ends instead.
    #[must_use]
    pub fn up_with(folder: &Path, regie_toml: &str, environment: &[(&str, &Path)]) -> Self {
        Self::start(folder, regie_toml, environment, |line| line.starts_with("ready"))
    }

    /// As [`Site::up`], but waits only for the gateway: something else is not expected to get ready.
    ///
    /// # Panics
    /// When it ends instead.
    #[must_use]
    pub fn up_partly(folder: &Path, regie_toml: &str) -> Self {
        Self::start(folder, regie_toml, &[], |line| line.starts_with("gateway") && line.ends_with("* ready"))
    }

    fn start(
        folder: &Path,
        regie_toml: &str,
        environment: &[(&str, &Path)],
        is_up: fn(&str) -> bool,
    ) -> Self {
        write_config(folder, regie_toml);
        let mut process = regie(folder)
            .arg("up")
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("regie can be started");
        let printed = Arc::new(Mutex::new(String::new()));
        collect(process.stdout.take().expect("piped"), &printed);
        collect(process.stderr.take().expect("piped"), &printed);
        let mut supervisor = Supervisor { process, printed };
        let address = eventually("regie up says that it serves", || {
            if let Some(status) = supervisor.has_ended() {
                panic!("regie up ended with {status}");
            }
            let text = supervisor.printed();
            text.lines().any(is_up).then(|| served_address(&text)).flatten()
        });
        Self { folder: folder.to_owned(), supervisor, address }
    }

    /// Where it is served.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of `path`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Panics
    /// When no response comes.
    #[must_use]
    pub fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
            .unwrap_or_else(|fault| panic!("GET {path}: {fault}\n{}", self.printed()))
    }

    /// Asks once, on a connection of its own.
    ///
    /// # Errors
    /// When no response comes.
    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Reply> {
        Connection::open(self.address)?.ask(method, path, headers, body)
    }

    /// Runs another `regie` command in the same folder.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn regie(&self, arguments: &[&str]) -> Output {
        regie(&self.folder).args(arguments).stdin(Stdio::null()).output().expect("regie can be started")
    }

    /// The row of `regie status` for `name`.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<serde_json::Value> {
        let output = self.regie(&["status", "--json"]);
        let overview: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
        overview["rows"].as_array()?.iter().find(|row| row["name"] == name).cloned()
    }

    /// What it has printed until now.
    #[must_use]
    pub fn printed(&self) -> String {
        self.supervisor.printed()
    }

    /// The supervisor's process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.supervisor.pid()
    }

    /// How it has ended, when it has.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        self.supervisor.has_ended()
    }

    /// Asks it to stop, as Ctrl-C or a service manager does, and waits.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(mut self) -> ExitStatus {
        kill(self.pid(), Signal::SIGTERM).expect("it runs");
        eventually("regie up stops", || self.supervisor.has_ended())
    }
}

/// An application in the background; dropping this takes it down.
#[derive(Debug)]
pub struct Background<'a>(pub &'a Path);

impl Drop for Background<'_> {
    fn drop(&mut self) {
        let _ = regie(self.0).arg("down").output();
    }
}

/// The command `regie`, to be run in `folder`.
#[must_use]
pub fn regie(folder: &Path) -> Command {
    let mut command = Command::new(program("regie"));
    command.current_dir(folder).env_remove("APP_ENV").env_remove("NOTIFY_SOCKET").env("NO_COLOR", "1");
    command
}

/// Writes regie.toml with a free port, unless it names an address itself.
///
/// # Panics
/// When it cannot be written.
pub fn write_config(folder: &Path, regie_toml: &str) {
    let text = if regie_toml.contains("listen =") {
        regie_toml.to_owned()
    } else if regie_toml.contains("[gateway]") {
        regie_toml.replace("[gateway]", "[gateway]\nlisten = [\"127.0.0.1:0\"]")
    } else {
        format!("{regie_toml}\n[gateway]\nlisten = [\"127.0.0.1:0\"]\n")
    };
    std::fs::write(folder.join("regie.toml"), text).expect("regie.toml can be written");
}

fn served_address(printed: &str) -> Option<SocketAddr> {
    let after = printed.split("http://").nth(1)?;
    let end = after.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ':')).unwrap_or(after.len());
    after[..end].parse().ok()
}

fn collect(stream: impl Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut text = into.lock().expect("no panic while holding it");
            text.push_str(&String::from_utf8_lossy(&line));
            text.push('\n');
        }
    });
}
