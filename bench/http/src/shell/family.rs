//! The memory and the processor time of a family of processes, from /proc.
//!
//! PSS shares each page fairly among those who map it, so a family's sum is what it costs; RSS counts opcache once for
//! each worker and would flatter whoever has fewer processes. Processor time does not care who else runs on the
//! machine, so it is the steadiest of all numbers here.

use std::fs;

/// A process of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) command: String,
}

impl Process {
    /// Whether it runs PHP, by the name that it bears.
    pub(crate) fn is_php(&self) -> bool {
        self.command.starts_with("php-fpm") || self.command.starts_with("regie-php")
    }
}

/// `roots` and all that descends from them.
pub(crate) fn family(roots: &[u32]) -> Vec<Process> {
    let parents = parents();
    let mut pids = roots.to_vec();
    let mut at = 0;
    while at < pids.len() {
        let parent = pids[at];
        pids.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    pids.into_iter()
        .map(|pid| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            Process { pid, command: String::from_utf8_lossy(&command).replace('\0', " ").trim().to_owned() }
        })
        .collect()
}

/// Each process with its parent.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // The name in parentheses may hold anything, so the fields are counted from its end.
            let parent = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}

/// What all have spent in programs and in the kernel, in milliseconds; children that have ended count with their parent.
pub(crate) fn processor_ms(processes: &[Process]) -> f64 {
    processes.iter().map(|process| ticks(process.pid)).sum::<f64>() * MS_PER_TICK
}

/// Linux counts in hundredths of a second in /proc, whatever its own clock.
const MS_PER_TICK: f64 = 10.0;

fn ticks(pid: u32) -> f64 {
    // Counted from the end of the name: utime, stime, cutime, cstime are fields 14 to 17.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = stat.rsplit_once(')') else { return 0.0 };
    rest.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// The proportional share of all, in megabytes.
pub(crate) fn pss_mb(processes: &[Process]) -> f64 {
    processes.iter().map(|process| field_kb(process.pid, "smaps_rollup", "Pss:")).sum::<f64>() * KB
}

/// The resident memory of all, in megabytes.
pub(crate) fn rss_mb(processes: &[Process]) -> f64 {
    processes.iter().map(|process| field_kb(process.pid, "status", "VmRSS:")).sum::<f64>() * KB
}

/// The largest resident memory that a process has had since [`reset_peak`], in megabytes.
pub(crate) fn peak_mb(process: &Process) -> f64 {
    field_kb(process.pid, "status", "VmHWM:") * KB
}

/// Starts the measure of [`peak_mb`] again; only the owner and root may, else the peak is that of its whole life.
pub(crate) fn reset_peak(process: &Process) {
    let _ = fs::write(format!("/proc/{}/clear_refs", process.pid), "5");
}

const KB: f64 = 1024.0 / 1e6;

/// A line `Name:   123 kB` of a file of /proc; 0 when the process is gone.
fn field_kb(pid: u32, file: &str, name: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0)
}
