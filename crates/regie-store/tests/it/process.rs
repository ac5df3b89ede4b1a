//! A store in a process of its own, which can be killed and limited.

use crate::server::Client;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The example `store`, which is the server alone.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--offline", "-p", "regie-store", "--example", "store"])
            .args(if cfg!(debug_assertions) { None } else { Some("--release") })
            .status();
        assert!(built.is_ok_and(|status| status.success()), "the example `store` is built");
        let test = std::env::current_exe().unwrap();
        test.ancestors().nth(2).unwrap().join("examples/store")
    })
}

/// Ends with the test, whatever happens.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(dir: &Path, config: &[(&str, &str)]) -> Self {
        Self::start_with(dir, config, &[])
    }

    /// With variables of its own.
    pub(crate) fn start_with(dir: &Path, config: &[(&str, &str)], environment: &[(&str, &Path)]) -> Self {
        let arguments = config.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).to_owned()]);
        let mut child = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--dir", dir.to_str().unwrap()])
            .args(arguments)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("ready ").expect("the store says where it listens");
        Self { address: address.parse().unwrap(), child }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Kills it at once, without a word.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Bytes of memory that the system has given to it, page by page: the kernel's quick answer is less exact the more
    /// processors there are.
    pub(crate) fn resident(&self) -> u64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap();
        let kilobytes = |name: &str| -> u64 {
            let line = rollup.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        (kilobytes("Rss:") + kilobytes("Swap:")) << 10
    }

    /// Sets or lifts the limit of the size of its files.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = bytes.map_or("unlimited".to_owned(), |bytes| bytes.to_string());
        let set = Command::new("prlimit")
            .args(["--pid", &self.child.id().to_string(), &format!("--fsize={limit}:")])
            .status()
            .expect("the package util-linux is installed");
        assert!(set.success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
