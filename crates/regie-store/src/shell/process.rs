//! What the system tells of this process, for INFO.

use crate::engine::ProcessState;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use std::sync::LazyLock;

/// Processor time and memory as they are now.
pub(crate) fn state() -> ProcessState {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok();
    let time = |time: Option<nix::sys::time::TimeVal>| time.map_or(0, |time| time.num_microseconds());
    ProcessState {
        cpu_user_us: time(usage.map(|usage| usage.user_time())),
        cpu_system_us: time(usage.map(|usage| usage.system_time())),
        resident: resident().unwrap_or(0),
        machine_memory: *MACHINE_MEMORY,
        ..ProcessState::default()
    }
}

fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}

static MACHINE_MEMORY: LazyLock<u64> = LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    kib.unwrap_or(0) * 1024
});
