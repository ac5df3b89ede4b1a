//! A supervisor in a process and a folder of its own.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_supervisor::{Client, LogLine, Reply, Request, State, StatusRow};

use crate::testbed;

/// No wait for a condition takes longer.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    supervisor: Child,
}

impl World {
    /// Starts the table that [`testbed::settings`] has for `case`, and waits until it answers.
    pub(crate) fn start(case: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), case)
    }

    pub(crate) fn start_in(dir: tempfile::TempDir, case: &str) -> Self {
        let supervisor = command(case, dir.path()).spawn().unwrap();
        let world = Self { dir, supervisor };
        until("the supervisor answers", || Client::connect(&world.run_dir()).is_ok());
        world
    }

    /// Starts another supervisor in the same folder.
    pub(crate) fn again(&mut self, case: &str) {
        self.supervisor = command(case, self.dir.path()).spawn().unwrap();
        until("the supervisor answers", || Client::connect(&self.run_dir()).is_ok());
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.dir.path().join("run")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.supervisor.id()).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        let mut client = Client::connect(&self.run_dir()).unwrap();
        client.set_timeout(Some(LIMIT)).unwrap();
        client
    }

    pub(crate) fn ask(&self, request: &Request) -> Reply {
        self.client().ask(request).unwrap()
    }

    /// Asks and expects that every name came out as wanted; the details.
    pub(crate) fn done(&self, request: &Request) -> Vec<String> {
        match self.ask(request) {
            Reply::Done { results } => {
                assert!(results.iter().all(|r| r.ok), "{request:?}: {results:?}\n{}", self.log());
                results.into_iter().map(|r| r.detail).collect()
            }
            other => panic!("{request:?}: {other:?}"),
        }
    }

    pub(crate) fn rows(&self) -> Vec<StatusRow> {
        match self.ask(&Request::Status { names: vec![] }) {
            Reply::Status(overview) => overview.rows,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn row(&self, name: &str) -> StatusRow {
        self.rows()
            .into_iter()
            .find(|row| row.name == name)
            .unwrap_or_else(|| panic!("no {name}: {:?}", self.rows()))
    }

    /// Waits until the instance is so, and gives its row.
    pub(crate) fn until_state(&self, name: &str, state: State) -> StatusRow {
        self.until_row(name, state.as_str(), |row| row.state == state)
    }

    pub(crate) fn until_row(&self, name: &str, what: &str, holds: impl Fn(&StatusRow) -> bool) -> StatusRow {
        let start = now();
        loop {
            let row = self.row(name);
            if holds(&row) {
                return row;
            }
            assert!(start.elapsed() < LIMIT, "{name} is not {what}: {row:?}\n{}", self.log());
            pause();
        }
    }

    pub(crate) fn logs(&self, names: &[&str]) -> Vec<LogLine> {
        let mut client = self.client();
        let names = names.iter().map(|n| (*n).to_owned()).collect();
        client.send(&Request::Logs { names, tail: None, follow: false, since_ms: None, grep: None }).unwrap();
        let mut lines = Vec::new();
        loop {
            match client.next_reply().unwrap() {
                Reply::Line(line) => lines.push(line),
                Reply::End {} => return lines,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn until_log(&self, name: &str, text: &str) {
        until(&format!("{name} says {text}"), || {
            self.logs(&[name]).iter().any(|line| line.text.contains(text))
        });
    }

    /// What the supervisor has written to its terminal.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("terminal")).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the supervisor's end: what [`testbed`] wrote of its outcome.
    pub(crate) fn ended(&mut self) -> String {
        let start = now();
        while self.supervisor.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < LIMIT, "the supervisor does not end\n{}", self.log());
            pause();
        }
        fs::read_to_string(self.path("outcome")).unwrap_or_default()
    }

    pub(crate) fn shut_down(&mut self) -> String {
        self.done(&Request::Shutdown { fast: false });
        self.ended()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        self.supervisor.kill().unwrap();
        self.supervisor.wait().unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Ok(None) = self.supervisor.try_wait() {
            // Twice: at once.
            self.signal(Signal::SIGTERM);
            let start = now();
            while start.elapsed() < Duration::from_secs(2) && matches!(self.supervisor.try_wait(), Ok(None)) {
                pause();
                let _ = kill(Pid::from_raw(self.pid()), Signal::SIGTERM);
            }
            let _ = self.supervisor.kill();
            let _ = self.supervisor.wait();
        }
    }
}

/// This binary as a supervisor of the table `case` in `dir`.
pub(crate) fn command(case: &str, dir: &Path) -> Command {
    let mut command = testbed::myself("supervisor");
    command.arg0("supervisor-under-test");
    command.env("TESTBED_CASE", case).env("TESTBED_DIR", dir).stdout(Stdio::null());
    command
}

/// Waits for a condition, which must come to hold.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "waited in vain until {what}");
        pause();
    }
}

/// Whether the process is there and not a zombie.
pub(crate) fn lives(pid: i32) -> bool {
    let row = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    row.rsplit(')')
        .next()
        .and_then(|rest| rest.split_whitespace().next())
        .is_some_and(|state| !"ZX".contains(state))
}

pub(crate) fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

#[expect(clippy::disallowed_methods, reason = "deadlines of tests")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Between two looks at a condition.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
