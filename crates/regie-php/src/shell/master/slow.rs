//! Requests that are slow: where PHP stands in them goes to the log, and they run on.

use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::unistd::Pid;
use regie_php_sys as sys;

use super::Master;
use crate::shell::log::{self, Level};

/// Bytes of a stack that are shown.
const STACK_SIZE: usize = 8 * 1024;

impl Master {
    /// Reads where PHP stands, and does not touch the worker.
    pub(super) fn tell_slow(&self, seat: usize, sequence: u32) {
        let slot = &self.pool.slots[seat];
        let Some(pid) = self.pids[seat] else { return };
        let stack = peek(pid);
        if slot.sequence.load(Relaxed) != sequence || slot.began_us.load(Relaxed) == 0 {
            // It has ended meanwhile.
            return;
        }
        self.pool.board.slow.fetch_add(1, Relaxed);
        log::master(
            Level::Warning,
            format_args!(
                "worker {pid}: {} {} ({}) is slow, it has run for {}; its PHP stack:\n{}",
                slot.method.get(),
                slot.uri.get(),
                slot.script.get(),
                self.pool.options.slow_request,
                stack.trim_end()
            ),
        );
    }
}

/// Where PHP stands in a worker, or why that cannot be said.
fn peek(pid: Pid) -> String {
    let mut text = vec![0_u8; STACK_SIZE];
    // SAFETY: it writes no more than there is room for; the worker is our fork.
    let len = unsafe { sys::regie_php_peek(pid.as_raw(), text.as_mut_ptr().cast(), text.len()) };
    match usize::try_from(len) {
        Ok(0) => "(it runs no script)".to_owned(),
        Ok(len) => String::from_utf8_lossy(&text[..len.min(text.len())]).into_owned(),
        Err(_) => {
            let error = Errno::from_raw(i32::try_from(-len).unwrap_or(0));
            format!(
                "(it cannot be read: {}; where the workers have another user, the master needs CAP_SYS_PTRACE)",
                error.desc()
            )
        }
    }
}
