//! What the operating system limits: open files, and the size of a file.

use crate::engine::Engine;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};

/// Files that the store needs beside its clients' sockets.
const OWN_FILES: u64 = 64;

/// A file that grows beyond the limit of its size (`ulimit -f`) is answered to the writer as a full disk is, in place
/// of ending the process. Holds for this thread and those that it starts.
pub(crate) fn report_full_files() {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGXFSZ);
    let _ = signals.thread_block();
}

/// Lets as many files be open as `maxclients` needs; where the system does not allow that, `maxclients` is lowered and
/// the operator is told.
pub(crate) fn make_room_for_clients(engine: &mut Engine, report: fn(&str)) {
    let wanted: u64 = engine.setting("maxclients").parse().unwrap_or(10_000);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    let needed = wanted + OWN_FILES;
    if soft >= needed {
        return;
    }
    if setrlimit(Resource::RLIMIT_NOFILE, needed.min(hard), hard).is_ok() && hard >= needed {
        return;
    }
    let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(soft, |(soft, _)| soft);
    let clients = allowed.saturating_sub(OWN_FILES).max(1);
    report(&format!(
        "maxclients is {clients} instead of {wanted}: this process may open {allowed} files (raise `ulimit -n`, or LimitNOFILE in systemd)"
    ));
    engine.lower_clients(clients);
}
