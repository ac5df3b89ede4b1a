//! What C calls. Each finds the worker of the process, does its part and returns: no callback calls anything of PHP, so
//! no bailout passes a Rust frame, and a panic in one ends the process (they are `extern "C"`).

use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use regie_php_sys::{self as sys, Callbacks, Outcome, Request, Text};

use super::connection;
use super::log::{self, Level};
use super::report;
use super::request::foreign;
use super::worker;
use crate::scoreboard::State;

/// All of them.
pub(crate) static CALLBACKS: Callbacks = Callbacks {
    next_request,
    read_body,
    write,
    head_begin,
    head_line,
    head_end,
    flush,
    finish,
    done,
    log: write_log,
    event,
    give_up,
    status,
};

/// What a script forks (`pcntl_fork`) is a copy of a worker, and no worker: what it prints goes nowhere, and at its end
/// it ends, without a word to the gateway, whose answer is its parent's to finish.
static IS_COPY: AtomicBool = AtomicBool::new(false);

extern "C" fn note_copy() {
    IS_COPY.store(true, Relaxed);
}

fn is_copy() -> bool {
    IS_COPY.load(Relaxed)
}

/// In a worker, before its first request: what it forks from now on is a copy.
pub(crate) fn watch_forks() {
    // SAFETY: the handler stores a flag.
    unsafe { nix::libc::pthread_atfork(None, None, Some(note_copy)) };
}

unsafe extern "C" fn next_request(request: *mut Request) -> i32 {
    if is_copy() {
        return 0;
    }
    // SAFETY: callbacks come one at a time, and C gives room for the request.
    unsafe {
        match worker::current().next_request() {
            None => 0,
            Some(next) => {
                request.write(next);
                1
            }
        }
    }
}

unsafe extern "C" fn read_body(buffer: *mut c_char, size: usize) -> usize {
    if is_copy() {
        return 0;
    }
    // SAFETY: the engine's buffer has room for `size` bytes.
    unsafe { worker::current().read_body(std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size)) }
}

unsafe extern "C" fn write(bytes: *const c_char, size: usize) -> usize {
    if is_copy() {
        return size;
    }
    // SAFETY: the engine gives `size` readable bytes.
    let taken = unsafe { worker::current().write(foreign(bytes, size)) };
    if taken { size } else { 0 }
}

unsafe extern "C" fn head_begin(status: i32, reason: Text) {
    if is_copy() {
        return;
    }
    // SAFETY: as above.
    unsafe { worker::current().head_begin(status, foreign(reason.ptr, reason.len)) };
}

unsafe extern "C" fn head_line(bytes: *const c_char, size: usize) {
    if is_copy() {
        return;
    }
    // SAFETY: as above.
    unsafe { worker::current().head_line(foreign(bytes, size)) };
}

unsafe extern "C" fn head_end() -> i32 {
    if is_copy() {
        return 1;
    }
    // SAFETY: callbacks come one at a time.
    unsafe { i32::from(worker::current().head_end()) }
}

unsafe extern "C" fn flush() -> i32 {
    if is_copy() {
        return 1;
    }
    // SAFETY: callbacks come one at a time.
    unsafe { i32::from(worker::current().flush()) }
}

unsafe extern "C" fn finish() -> i32 {
    if is_copy() {
        return 0;
    }
    // SAFETY: callbacks come one at a time.
    unsafe { i32::from(worker::current().finish()) }
}

unsafe extern "C" fn done(outcome: *const Outcome) {
    if is_copy() {
        // SAFETY: C gives a valid outcome, and nothing is left to write.
        unsafe { sys::regie_exit((*outcome).exit_status) };
    }
    // SAFETY: callbacks come one at a time, and C gives a valid outcome.
    unsafe { worker::current().end(Some(&*outcome)) };
}

/// Also called in the master, while the engine starts.
unsafe extern "C" fn write_log(level: i32, bytes: *const c_char, size: usize) {
    let level = match level {
        sys::LOG_DEBUG => Level::Debug,
        sys::LOG_INFO => Level::Notice,
        sys::LOG_WARNING => Level::Warning,
        _ => Level::Error,
    };
    // SAFETY: as above.
    log::worker(level, unsafe { foreign(bytes, size) });
}

unsafe extern "C" fn event(what: i32, detail: Text) {
    // SAFETY: callbacks come one at a time.
    let (worker, detail) = unsafe { (worker::current(), foreign(detail.ptr, detail.len)) };
    match what {
        sys::EVENT_BOOTED => {
            worker.slot().set_state(State::Idle);
            worker.pool().tell_master();
        }
        sys::EVENT_GENERATION => worker.pool().want_generation(detail),
        sys::EVENT_REPLACE => worker.cannot_be_put_back(detail),
        sys::EVENT_LEFTOVER => log::worker(Level::Warning, detail),
        _ => {}
    }
}

unsafe extern "C" fn status(buffer: *mut c_char, size: usize) -> usize {
    // SAFETY: callbacks come one at a time.
    let pool = unsafe { worker::current().pool() };
    let json = report::snapshot(pool).for_scripts();
    // SAFETY: C's buffer has room for `size` bytes.
    let room = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), size) };
    let fits = json.len().min(size);
    room[..fits].copy_from_slice(&json.as_bytes()[..fits]);
    json.len()
}

unsafe extern "C" fn give_up() {
    connection::answer_in_last_resort();
}
