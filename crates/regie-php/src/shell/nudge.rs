//! The two signals between master and workers. Real-time ones near the top of the range, since every other belongs to
//! PHP's extensions and applications (pcntl).

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use nix::libc;

/// Interrupts a worker's wait, so that it looks at its slot. Also what the kernel sends when the master dies.
pub(crate) fn nudge() -> i32 {
    libc::SIGRTMAX() - 5
}

/// Brings a time limit; see `timeout.c`.
pub(crate) fn time_limit() -> i32 {
    libc::SIGRTMAX() - 4
}

static MASTER: AtomicU32 = AtomicU32::new(0);
static LEAVE: AtomicBool = AtomicBool::new(false);

/// The value of a nudge that asks the worker to leave.
const LEAVE_VALUE: usize = 1;

extern "C" fn on_nudge(_signal: i32, info: *mut libc::siginfo_t, _context: *mut libc::c_void) {
    // SAFETY: the kernel gives a valid siginfo; the value is read only of a signal that was queued with one.
    let asked =
        unsafe { (*info).si_code == libc::SI_QUEUE && (*info).si_value().sival_ptr.addr() == LEAVE_VALUE };
    // The kernel's own nudge comes when the master has died; we are somebody else's child then.
    if asked || std::os::unix::process::parent_id() != MASTER.load(Relaxed) {
        LEAVE.store(true, Relaxed);
    }
}

/// Looks whether the master is still there; for the nudge that came before anybody listened.
pub(crate) fn look_for_master() {
    if std::os::unix::process::parent_id() != MASTER.load(Relaxed) {
        LEAVE.store(true, Relaxed);
    }
}

extern "C" fn on_quit(_signal: i32) {
    LEAVE.store(true, Relaxed);
}

/// Lets nudges interrupt system calls. SIGQUIT asks for a graceful end, as it does of a php-fpm worker.
pub(crate) fn listen_to_nudges(master: u32) {
    MASTER.store(master, Relaxed);
    // SAFETY: the handlers store a flag; an all-zero sigaction is valid, without SA_RESTART.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction =
            on_nudge as extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) as usize;
        action.sa_flags = libc::SA_SIGINFO;
        libc::sigaction(nudge(), &raw const action, std::ptr::null_mut());
        action.sa_sigaction = on_quit as extern "C" fn(i32) as usize;
        action.sa_flags = 0;
        libc::sigaction(libc::SIGQUIT, &raw const action, std::ptr::null_mut());
    }
}

/// Asks this process itself to leave, after a while.
pub(crate) fn leave_after(span: Duration) {
    // SAFETY: the handler stores a flag; PHP does not run in this process any more, so the timer is nobody else's.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_quit as extern "C" fn(i32) as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        let timer = libc::itimerval {
            // Again and again: the first may come a moment before a wait begins.
            it_interval: libc::timeval { tv_sec: 0, tv_usec: 100_000 },
            it_value: libc::timeval {
                tv_sec: span.as_secs().cast_signed(),
                tv_usec: i64::from(span.subsec_micros().max(1)),
            },
        };
        libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut());
    }
}

/// Whether the worker was asked to leave.
pub(crate) fn told_to_leave() -> bool {
    LEAVE.load(Relaxed)
}

/// Asks a worker to leave. One that has just died is not there to be asked, which is no error.
pub(crate) fn ask_to_leave(pid: i32) {
    queue(pid, nudge(), LEAVE_VALUE);
}

/// Tells a worker that the time of its request is up.
pub(crate) fn send_time_limit(pid: i32, sequence: u32, stage: i32) {
    // 30 bits of the sequence tell requests apart.
    let number = ((sequence & 0x3fff_ffff) << 1) | stage.cast_unsigned();
    queue(pid, time_limit(), number as usize);
}

fn queue(pid: i32, signal: i32, number: usize) {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(number) };
    // SAFETY: a signal to a child of ours; the value is a number, carried where a pointer may be.
    unsafe { libc::sigqueue(pid, signal, value) };
}
