//! Starts a pool for a test, waits until it is ready, and ends it by its pid.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Answer, Ask, Connection};
use crate::lane;

/// No wait takes longer in a test that passes.
const PATIENCE: Duration = Duration::from_secs(180);

/// How requests are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Classic,
    Worker,
    Rewind,
}

/// All of them.
pub(crate) const MODES: [Mode; 3] = [Mode::Classic, Mode::Worker, Mode::Rewind];

/// How requests reach the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    FastCgi,
    Lane,
}

/// Every mode over both carriers. In rewind mode the lane's pool finds written pages in the way of older kernels.
pub(crate) const WAYS: [(Mode, Carrier); 6] = [
    (Mode::Classic, Carrier::FastCgi),
    (Mode::Worker, Carrier::FastCgi),
    (Mode::Classic, Carrier::Lane),
    (Mode::Worker, Carrier::Lane),
    (Mode::Rewind, Carrier::FastCgi),
    (Mode::Rewind, Carrier::Lane),
];

/// A running pool.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
    pub(crate) script: PathBuf,
    /// When it is asked over the lane.
    lane: Option<lane::Client>,
    limit: Option<Duration>,
    notices: UnixDatagram,
    log: Arc<Mutex<String>>,
}

/// A file of `e2e/php`.
pub(crate) fn php(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/php").canonicalize().unwrap().join(name)
}

impl Pool {
    /// A pool that runs `script` of `e2e/php`, ready to be asked.
    pub(crate) fn start(mode: Mode, script: &str, flags: &[&str]) -> Self {
        let pool = Self::launch(mode, script, flags, &[]);
        pool.wait_for_notice("READY=1");
        pool
    }

    /// The same, asked over the lane or not.
    pub(crate) fn start_on((mode, carrier): (Mode, Carrier), script: &str, flags: &[&str]) -> Self {
        let pool = Self::launch_on((mode, carrier), script, flags, &[]);
        pool.wait_for_notice("READY=1");
        pool
    }

    /// The same, without waiting, and with more environment.
    pub(crate) fn launch(mode: Mode, script: &str, flags: &[&str], env: &[(&str, &str)]) -> Self {
        Self::launch_on((mode, Carrier::FastCgi), script, flags, env)
    }

    /// The same, asked over the lane or not.
    pub(crate) fn launch_on(
        (mode, carrier): (Mode, Carrier),
        script: &str,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = php(script);
        let notices = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notices.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_regie-php"));
        command.arg("--listen").arg(format!("unix:{}", folder.path().join("pool.sock").display()));
        let script_mode = match mode {
            Mode::Classic => None,
            Mode::Worker => Some("worker"),
            Mode::Rewind => Some("rewind"),
        };
        if let Some(mode) = script_mode {
            command.args(["--mode", mode, "--script"]).arg(&script);
        }
        let workers = ["--workers", "4"];
        if !flags.contains(&"--workers") {
            command.args(workers);
        }
        if (mode, carrier) == (Mode::Rewind, Carrier::Lane) && !flags.contains(&"--tracker") {
            command.args(["--tracker", "pagemap"]);
        }
        let lane = (carrier == Carrier::Lane).then(lane::Client::new);
        if let Some(lane) = &lane {
            lane.hand_to(&mut command);
        }
        let limit = flags.iter().position(|flag| *flag == "--request-timeout").map(|at| flags[at + 1]);
        let limit = limit.and_then(|span| span.strip_suffix("ms")?.parse().ok()).map(Duration::from_millis);
        command
            .args(flags)
            .env("NOTIFY_SOCKET", folder.path().join("notify"))
            .env("TMPDIR", folder.path())
            .envs(env.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (kept, stderr) = (Arc::clone(&log), BufReader::new(child.stderr.take().unwrap()));
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&String::from_utf8_lossy(&line));
                log.push('\n');
            }
        });
        Self { child, folder, script, lane, limit, notices, log }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("pool.sock")
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(crate) fn wait_for_notice(&self, wanted: &str) {
        let mut buffer = [0; 512];
        loop {
            let len =
                self.notices.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}; {}", self.log()));
            if String::from_utf8_lossy(&buffer[..len]).lines().any(|line| line == wanted) {
                return;
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log contains `part`.
    pub(crate) fn wait_for_log(&self, part: &str) {
        wait_until(&format!("{part:?} in the log"), || self.log().contains(part), || self.log());
    }

    pub(crate) fn get(&self, uri: &str) -> Ask {
        Ask::get(&self.script, uri)
    }

    /// The lane that the pool was started with.
    pub(crate) fn lane(&self) -> Arc<regie_lane::Lane> {
        self.lane.as_ref().expect("the pool has a lane").lane()
    }

    /// Asks as a peer of its own.
    pub(crate) fn ask(&self, ask: &Ask) -> Answer {
        self.peer().ask(ask)
    }

    /// Asks over a connection that is kept, and replaced when its worker says goodbye.
    pub(crate) fn ask_kept(&self, connection: &mut Connection, uri: &str) -> String {
        let answer = connection.ask(&self.get(uri));
        if answer.goodbye {
            *connection = Connection::open_as_gateway(&self.socket());
        }
        answer.text()
    }

    /// Somebody who asks: a connection, or the lane.
    pub(crate) fn peer(&self) -> Peer<'_> {
        match &self.lane {
            Some(lane) => Peer::Lane(self, lane),
            None => Peer::Connection(Connection::open_as_gateway(&self.socket())),
        }
    }

    /// The same; a connection begins without a handshake, which a worker that is killed would leave unanswered.
    pub(crate) fn abrupt_peer(&self) -> Peer<'_> {
        match &self.lane {
            Some(lane) => Peer::Lane(self, lane),
            None => Peer::Connection(Connection::open(&self.socket())),
        }
    }

    /// Asks, reads the beginning of the answer, and is gone.
    pub(crate) fn leave_early(&self, ask: &Ask) {
        match self.peer() {
            Peer::Lane(_, lane) => lane.leave_early(&self.socket(), ask),
            Peer::Connection(mut connection) => {
                connection.send(&ask.to_bytes(true)).unwrap();
                connection.next().unwrap();
            }
        }
    }

    /// Pids of the workers, without the status process.
    pub(crate) fn workers(&self) -> Vec<i32> {
        children(self.pid())
            .into_iter()
            .filter(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|title| contains(&title, b" worker"))
            })
            .collect()
    }

    /// Waits until there are `count` of them: one that was forked just now has no title yet.
    pub(crate) fn wait_for_workers(&self, count: usize) -> Vec<i32> {
        wait_until(&format!("{count} workers"), || self.workers().len() == count, || self.log());
        self.workers()
    }

    pub(crate) fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for the master's end. Returns its exit code.
    pub(crate) fn wait_for_end(&mut self) -> Option<i32> {
        let mut code = None;
        wait_until(
            "the end of the master",
            || {
                let ended = self.child.try_wait().unwrap();
                code = ended.and_then(|status| status.code());
                ended.is_some()
            },
            || "it still runs".into(),
        );
        code
    }
}

/// See [`Pool::peer`].
#[derive(Debug)]
pub(crate) enum Peer<'a> {
    Connection(Connection),
    Lane(&'a Pool, &'a lane::Client),
}

impl Peer<'_> {
    pub(crate) fn try_ask(&mut self, ask: &Ask) -> std::io::Result<Answer> {
        match self {
            Self::Connection(connection) => connection.try_ask(ask),
            Self::Lane(pool, lane) => lane.try_ask(&pool.socket(), pool.limit, ask),
        }
    }

    pub(crate) fn ask(&mut self, ask: &Ask) -> Answer {
        self.try_ask(ask).unwrap_or_else(|error| panic!("{error}: {:?}", ask.params))
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ =
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGINT);
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the pool:\n{}", self.log());
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// Pids of the children of `pid`.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The clock of the tests, read here only.
#[expect(clippy::disallowed_methods, reason = "tests bound their waits by the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks again and again until `condition` holds; fails with `what` and what `explain` says.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool, explain: impl Fn() -> String) {
    let start = now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {}", explain());
        std::thread::sleep(Duration::from_millis(5));
    }
}
