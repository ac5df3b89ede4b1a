//! How children end, and what the master makes of it.

use std::sync::atomic::Ordering::Relaxed;

use nix::libc;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::{EXIT_APOLOGIZED, EXIT_BOOT_FAILED, EXIT_UNPARKED, Generation, Master, clock, log};
use crate::machine::Ending;
use crate::scoreboard::{Slot, State};
use crate::shell::log::Level;

impl Master {
    pub(super) fn reap(&mut self) {
        // nix's own refuses the real-time signals, after the kernel has forgotten the child.
        let mut status = 0;
        loop {
            // SAFETY: writes the status.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            let pid = Pid::from_raw(pid);
            if libc::WIFEXITED(status) {
                self.on_exit(pid, Some(libc::WEXITSTATUS(status)), None);
            } else if libc::WIFSIGNALED(status) {
                self.on_exit(pid, None, Some(libc::WTERMSIG(status)));
            }
        }
    }

    fn on_exit(&mut self, pid: Pid, code: Option<i32>, signal: Option<i32>) {
        self.predecessors.retain(|old| *old != pid);
        if let Some(janitor) = &self.janitor {
            janitor.bury(pid.as_raw().cast_unsigned());
        }
        if self.status.pid == Some(pid) {
            self.status.pid = None;
            if !self.status_is_on_demand() {
                self.fork_status_desk();
            }
        }
        let how = || {
            code.map_or_else(|| format!("signal {}", signal.unwrap_or(0)), |code| format!("exit code {code}"))
        };
        if self.template.as_ref().is_some_and(|template| template.pid == pid) {
            let was_parked = self.template.take().is_some_and(|template| template.is_ready);
            if self.pool.options.or_classic && !was_parked {
                self.fall_back(&format!("it did not boot to its checkpoint ({})", how()));
            }
            self.machine.template_exited(clock::monotonic_us(), ending_of(code));
            self.pool.board.failures.store(self.machine.failures(), Relaxed);
            log::master(Level::Warning, format_args!("the template {pid} has ended ({})", how()));
        }
        if matches!(self.generation, Generation::Trial(trial) if trial == pid) {
            self.after_trial(code == Some(0));
        }
        let Some(seat) = self.pids.iter().position(|held| *held == Some(pid)) else { return };
        let slot = &self.pool.slots[seat];
        let now_us = clock::monotonic_us();
        let ending = ending_of(code);
        let by_us = signal == Some(libc::SIGKILL) && self.machine.is_stopping();
        if ending == Ending::Crashed && !by_us {
            report_crash(seat, slot, pid, code, signal, now_us);
            self.crashes += 1;
            self.notify.say(&format!("STATUS={}\n", self.status_line()));
        }
        self.pids[seat] = None;
        if code == Some(EXIT_UNPARKED) {
            self.fall_back("a worker could not begin");
        }
        self.look_at_losses();
        slot.set_state(State::Empty);
        slot.pid.store(0, Relaxed);
        slot.began_us.store(0, Relaxed);
        if let Some(sequence) = self.machine.exited(now_us, seat, ending) {
            self.show_stack(seat, sequence);
        }
        self.pool.board.failures.store(self.machine.failures(), Relaxed);
    }
}

fn ending_of(code: Option<i32>) -> Ending {
    match code {
        Some(0) => Ending::Clean,
        Some(EXIT_BOOT_FAILED) => Ending::BootFailed,
        Some(EXIT_APOLOGIZED) => Ending::BootFailedAndWaited,
        _ => Ending::Crashed,
    }
}

fn report_crash(seat: usize, slot: &Slot, pid: Pid, code: Option<i32>, signal: Option<i32>, now_us: u64) {
    let how = match (code, signal) {
        (_, Some(signal)) => {
            let name = Signal::try_from(signal).map_or("a real-time signal", Signal::as_str);
            format!("was ended by signal {signal} ({name})")
        }
        (code, None) => format!("exited with code {}", code.unwrap_or(-1)),
    };
    let age_ms = now_us.saturating_sub(slot.born_us.load(Relaxed)) / 1000;
    let doing = if slot.began_us.load(Relaxed) > 0 {
        format!("in {} {} ({})", slot.method.get(), slot.uri.get(), slot.script.get())
    } else {
        format!("while {}", slot.state().as_str().to_lowercase())
    };
    let name = log::Name(Some(seat));
    log::master(
        Level::Warning,
        format_args!("worker {pid} ({name}) {how} {doing}, {age_ms} ms after its start"),
    );
}
