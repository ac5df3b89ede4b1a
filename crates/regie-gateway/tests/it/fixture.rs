//! A gateway of one's own for each test: its thread, its port, its folder.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regie_gateway::{Gateway, Listener, Logs, Report, Settings, Stats, serve};
use regie_pool::PoolSettings;
use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::client::PATIENCE;
use crate::worker::FakePool;

pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Where it tells about itself.
    pub(crate) status: SocketAddr,
    pub(crate) root: TempDir,
    pub(crate) access: Arc<Mutex<Vec<u8>>>,
    pub(crate) errors: Arc<Mutex<Vec<u8>>>,
    gateway: Arc<Gateway>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Report>>,
}

/// A gateway over a folder with `files`; `tell` changes its settings.
pub(crate) fn gateway(files: &[(&str, &str)], tell: impl FnOnce(&mut Settings)) -> Running {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let mut settings = Settings::new(root.path());
    settings.limits.drain = Duration::from_secs(5);
    tell(&mut settings);
    let (access, errors) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
    let sink = |lines: &Arc<Mutex<Vec<u8>>>| {
        let lines = lines.clone();
        Arc::new(move |bytes: &[u8]| lines.lock().unwrap().extend_from_slice(bytes))
    };
    let logs = Logs::new(sink(&access), sink(&errors));
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let watch = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().for_status();
    let status = watch.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let (ready, started) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let gateway = Arc::new(Gateway::new(settings, logs));
            ready.send(gateway.clone()).unwrap();
            serve(gateway, vec![listener, watch], async { drop(stopped.await) }).await.unwrap()
        })
    });
    let gateway = started.recv().unwrap();
    Running { address, status, root, access, errors, gateway, stop: Some(stop), thread: Some(thread) }
}

/// A gateway before `pool`, with a front controller.
pub(crate) fn before(pool: &FakePool, tell: impl FnOnce(&mut Settings)) -> Running {
    let address = pool.address.parse().unwrap();
    gateway(&[("index.php", "<?php"), ("other.php", "<?php"), ("style.css", "body{}")], |settings| {
        settings.front_controller = Some("/index.php".into());
        settings.pool = Some(PoolSettings::new(address));
        tell(settings);
    })
}

impl Running {
    pub(crate) fn stats(&self) -> Stats {
        self.gateway.stats()
    }

    pub(crate) fn begin_stop(&mut self) {
        self.stop.take();
    }

    pub(crate) fn stop(mut self) -> Report {
        self.begin_stop();
        self.thread.take().unwrap().join().unwrap()
    }

    pub(crate) fn error_log(&self) -> String {
        String::from_utf8(self.errors.lock().unwrap().clone()).unwrap()
    }

    /// The access log, once it holds `lines` lines.
    pub(crate) fn access_log(&self, lines: usize) -> String {
        wait_for("lines of the access log", || {
            let log = String::from_utf8(self.access.lock().unwrap().clone()).unwrap();
            (log.lines().count() >= lines).then_some(log)
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "tests measure time here")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks until `look` finds something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A gateway in a process of its own (the example `serve`), for measuring its memory.
pub(crate) struct Alone {
    pub(crate) address: SocketAddr,
    child: Child,
    /// Held open: a program whose error output is closed fails to write there.
    _errors: BufReader<ChildStderr>,
}

impl Alone {
    pub(crate) fn start(root: &Path, arguments: &[&str]) -> Self {
        let here = std::env::current_exe().unwrap();
        let program = here.parent().unwrap().parent().unwrap().join("examples/serve");
        let mut child = Command::new(&program)
            .args(["--listen", "127.0.0.1:0", "--root"])
            .arg(root)
            .args(arguments)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; build it: cargo build --examples", program.display())
            });
        let mut line = String::new();
        let mut errors = BufReader::new(child.stderr.take().unwrap());
        errors.read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
        Self { address: address.parse().unwrap(), child, _errors: errors }
    }

    /// Resident memory, page by page: the kernel's quick answer is less exact the more processors there are.
    pub(crate) fn resident(&self) -> usize {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let line = rollup.lines().find(|line| line.starts_with("Rss:")).expect("a line of the kernel");
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1_024
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
