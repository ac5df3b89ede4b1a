//! A program that is started for the benchmark and does not outlive it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::clock::until;

/// How long a program may take to stop when it is asked to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(crate) struct Program {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it prints goes to a file in `folder`.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> Result<Self, String> {
        let log = folder.join(format!("{name}.out"));
        let file = File::create(&log).map_err(|fault| format!("{}: {fault}", log.display()))?;
        let copy = file.try_clone().map_err(|fault| format!("{}: {fault}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(copy)
            .spawn()
            .map_err(|fault| format!("{} cannot be started: {fault}", command.get_program().display()))?;
        Ok(Self { name, child, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with its last words when it has ended.
    pub(crate) fn running(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} ended with {status}: {}", self.name, self.last_words())),
            Err(fault) => Err(format!("{}: {fault}", self.name)),
        }
    }

    /// The end of what it printed.
    pub(crate) fn last_words(&self) -> String {
        const ENOUGH: usize = 2000;
        let text = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text[text.len().saturating_sub(ENOUGH)..]).trim().to_owned()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        if self.child.try_wait().is_ok_and(|status| status.is_some()) {
            return;
        }
        // It may have ended this very moment: then there is nothing to do.
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let ended = until(STOP_LIMIT, Duration::from_millis(5), || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
