//! A command in a terminal: `script` of util-linux gives it one, and the test types and reads.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::programs::{need, program};
use crate::wait::eventually;

/// What stands before the status on the screen.
const ENDED: &str = "[ended with ";

/// `regie WORDS` with a terminal of its own as input, output and controlling terminal. Dropping it hangs up.
#[derive(Debug)]
pub struct Terminal {
    process: Child,
    keys: Option<ChildStdin>,
    screen: Arc<Mutex<String>>,
    /// Puts on the screen what comes; ends when nothing can come any more.
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `regie` in `folder`; `words` is written as one would type it behind the name.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn regie(folder: &Path, words: &str) -> Self {
        // A shell that runs the tests in the background has Ctrl-C ignored, by all that they start.
        let mut process = Command::new(need("env", "coreutils"))
            .arg("--default-signal=INT,QUIT")
            .arg(need("script", "bsdutils"))
            .args(["--quiet", "--flush", "--command"])
            // The shell tells how the command ended. What it catches itself, the command meets as usual.
            .arg(format!("trap : INT; '{}' {words}; echo \"{ENDED}$?]\"", program("regie").display()))
            .arg("/dev/null")
            .current_dir(folder)
            .env_remove("APP_ENV")
            .envs([("NO_COLOR", "1"), ("TERM", "dumb"), ("SHELL", "/bin/sh")])
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("script can be started");
        let screen = Arc::new(Mutex::new(String::new()));
        let (mut shown, into) = (process.stdout.take().expect("piped"), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = shown.read(&mut bytes) {
                into.lock()
                    .expect("no panic while holding it")
                    .push_str(&String::from_utf8_lossy(&bytes[..read]));
            }
        });
        Self { keys: process.stdin.take(), process, screen, reader }
    }

    /// Types; a line ends with `\n`, Ctrl-C is `\x03`, Ctrl-D `\x04`.
    ///
    /// # Panics
    /// When the terminal is gone.
    pub fn type_in(&mut self, keys: &str) {
        let to = self.keys.as_mut().expect("it is open");
        to.write_all(keys.as_bytes()).and_then(|()| to.flush()).expect("somebody reads the keys");
    }

    /// Waits until `text` is on the screen.
    ///
    /// # Panics
    /// When it does not come.
    pub fn shows(&mut self, text: &str) {
        eventually(text, || {
            if self.screen().contains(text) {
                return Some(());
            }
            let ended = self.process.try_wait().expect("a child can be asked");
            // What it wrote last may still be on its way to the screen.
            if let Some(status) = ended.filter(|_| self.reader.is_finished()) {
                let screen = self.screen();
                assert!(screen.contains(text), "it ended with {status}; the screen:\n{screen}");
            }
            None
        });
    }

    /// Waits until what is typed is not shown, as a command arranges it that asks for a password.
    ///
    /// # Panics
    /// When it stays shown.
    pub fn stops_echoing(&self) {
        let script = self.process.id();
        eventually("the terminal does not show what is typed", || {
            let children = fs::read_to_string(format!("/proc/{script}/task/{script}/children")).ok()?;
            let inside = children.split_whitespace().next()?;
            let terminal = fs::File::open(format!("/proc/{inside}/fd/0")).ok()?;
            let modes = tcgetattr(&terminal).ok()?.local_flags;
            (!modes.contains(LocalFlags::ECHO)).then_some(())
        });
    }

    /// All that was on the screen until now.
    ///
    /// # Panics
    /// Never, unless another thread of the test did.
    #[must_use]
    pub fn screen(&self) -> String {
        self.screen.lock().expect("no panic while holding it").clone()
    }

    /// The status that the command ends with; 130 after Ctrl-C.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ends(&mut self) -> u8 {
        eventually("the command in the terminal ends", || {
            let screen = self.screen();
            let (status, _) = screen.split_once(ENDED)?.1.split_once(']')?;
            Some(status.parse().expect("a status"))
        })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the screen:\n{}", self.screen());
        }
        drop(self.keys.take());
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
