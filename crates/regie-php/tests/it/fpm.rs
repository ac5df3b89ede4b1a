//! What scripts know of php-fpm, beside Debian's php-fpm itself.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::client::{Ask, Connection};
use crate::pool::{MODES, Pool, php, wait_until};

struct Fpm {
    child: Child,
    folder: tempfile::TempDir,
}

impl Fpm {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let user = nix::unistd::User::from_uid(nix::unistd::getuid()).unwrap().unwrap().name;
        let config = format!(
            "[global]\nerror_log = {}\ndaemonize = no\n[www]\nlisten = {}\nuser = {user}\npm = static\npm.max_children = 2\n",
            at("fpm.log"),
            at("fpm.sock")
        );
        std::fs::write(folder.path().join("fpm.conf"), config).unwrap();
        let program = format!("/usr/sbin/php-fpm{}", regie_php_sys::MINOR);
        let child = Command::new(&program)
            .args(["-R", "-y", &at("fpm.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|fault| {
                panic!("{program}: {fault}; apt-get install php{}-fpm", regie_php_sys::MINOR)
            });
        let fpm = Self { child, folder };
        let listens = || std::os::unix::net::UnixStream::connect(fpm.socket()).is_ok();
        wait_until("php-fpm", listens, String::new);
        fpm
    }

    fn socket(&self) -> std::path::PathBuf {
        self.folder.path().join("fpm.sock")
    }

    /// What it answers. While it starts it drops connections that it has accepted; these requests are sent again.
    fn ask(&self, script: &Path, uri: &str) -> String {
        let ask = Ask::get(script, uri);
        let mut answer = None;
        let is_answered = || {
            answer = Connection::open(&self.socket()).try_ask(&ask).ok();
            answer.is_some()
        };
        wait_until("php-fpm's answer", is_answered, String::new);
        answer.expect("it was waited for").text()
    }
}

impl Drop for Fpm {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// All that php-fpm's line has, in its order, is in ours.
fn holds(ours: &str, theirs: &str) {
    let mut own = ours.split_whitespace();
    for wanted in theirs.split_whitespace() {
        assert!(own.any(|found| found == wanted), "{wanted} of\n{theirs}\nin\n{ours}");
    }
}

#[test]
fn fpm_get_status_says_what_php_fpms_says() {
    let fpm = Fpm::start();
    let script = php("fpm-status.php");
    let theirs = fpm.ask(&script, "/status");
    assert!(theirs.lines().count() == 2 && theirs.contains("procs=array"), "{theirs}");
    for mode in MODES {
        let pool = Pool::start(mode, "fpm-status.php", &["--workers", "2"]);
        let ask = |uri: &str| pool.ask(&pool.get(uri).with("REMOTE_USER", "ada")).text();
        for (ours, theirs) in ask("/status").lines().zip(theirs.lines()) {
            holds(ours, theirs);
        }
        assert_eq!(
            ask("/a/b?values=1"),
            r#"["web",true,true,true,"Running","GET","\/a\/b","values=1","ada"]"#,
            "{mode:?}"
        );
    }
}
