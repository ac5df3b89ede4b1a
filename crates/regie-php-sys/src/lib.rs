//! The C SAPI that embeds PHP, and its raw declarations.
//!
//! Everything that touches the engine is C (`csrc/`): a Zend bailout is a `longjmp`, and must never pass a Rust frame.
//! Rust gives [`Callbacks`], leaves that return normally and call nothing of PHP; C runs the request loop and calls
//! them. The twin of these declarations is `csrc/regie.h`; both sides assert sizes and offsets.
//!
//! One process, one engine, one thread: [`regie_php_startup`] runs once in the pool master, the workers are forked
//! from it and each calls [`regie_php_child`] and then [`regie_php_run`], which returns when the worker shall end.

mod layout;

pub use layout::*;

use std::ffi::{c_char, c_int};

/// Version of PHP that this was built against.
pub const BUILT_FOR: &str = env!("REGIE_PHP_BUILT_FOR");
/// What `--version` says: ours, and PHP's.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (PHP ", env!("REGIE_PHP_BUILT_FOR"), ")");
/// Its minor version, as Debian names its packages and folders: `8.2`.
pub const MINOR: &str = env!("REGIE_PHP_MINOR");
/// The command line PHP of that version.
pub const PHP_BINARY: &str = env!("REGIE_PHP_BINARY");

unsafe extern "C" {
    /// Starts the engine, once, in the master. 1 when it runs.
    ///
    /// # Safety
    /// `settings` and all it points to must live as long as the process, and no other thread may exist.
    pub fn regie_php_startup(settings: *const Settings) -> i32;
    /// After the fork, in the worker. `signal` is the one that brings time limits.
    ///
    /// # Safety
    /// `trace` must live as long as the process. Called once, before [`regie_php_run`].
    pub fn regie_php_child(trace: *mut Trace, signal: i32);
    /// Serves until it is asked to leave, on a stack of its own. Returns one of `ENDED_*`, and the exit status of the
    /// worker script.
    ///
    /// # Safety
    /// The engine runs, and the callbacks are safe to call.
    pub fn regie_php_run(exit_status: *mut i32) -> i32;
    /// Rewind mode, in the template, after [`regie_php_run`] has returned at the checkpoint: takes the snapshot. 1, or 0 with
    /// the reason in `why`.
    ///
    /// # Safety
    /// `why` has room for `size` bytes.
    pub fn regie_rewind_snapshot(why: *mut c_char, size: usize) -> i32;
    /// Why the boot script doubts that its application may be parked; empty when it does not.
    ///
    /// # Safety
    /// Called in the template, on its only thread.
    pub fn regie_rewind_doubt() -> *const c_char;
    /// Makes a worker of the template: as `fork()`, but the child's parent is the template's. The pid, 0 in the child, -1.
    ///
    /// # Safety
    /// No other thread may exist.
    pub fn regie_rewind_fork() -> i32;
    /// In that child: serves until it is asked to leave. Returns one of `ENDED_*`, with the reason in `why` when it could
    /// not begin.
    ///
    /// # Safety
    /// `stats` must live as long as the process, in shared memory; the callbacks are safe to call, and keep nothing on the
    /// heap between two requests.
    pub fn regie_rewind_serve(stats: *mut RewindStats, why: *mut c_char, size: usize) -> i32;
    /// The descriptor of the peer's connection, which stays open between requests; -1 for none.
    ///
    /// # Safety
    /// Called in a worker, on its only thread.
    pub fn regie_rewind_keep(fd: i32);
    /// Chooses how written pages will be found: by the tracker of that name, or, where it is null, by the best that works
    /// here. Its name, a static text, or null with the reason in `why`.
    ///
    /// # Safety
    /// `name` is absent or ends with a NUL, and `why` has room for `size` bytes. Called before there is a template.
    pub fn regie_rewind_tracker(name: *const c_char, why: *mut c_char, size: usize) -> *const c_char;
    /// The sequence of the request in hand, 0 for none; a time limit for any other is ignored.
    ///
    /// # Safety
    /// Called in a worker, on its only thread.
    pub fn regie_php_sequence(sequence: u32);
    /// 1 when the time limit of the request in hand has passed.
    ///
    /// # Safety
    /// Called in a worker, on its only thread.
    pub fn regie_php_timed_out() -> i32;
    /// Writes where PHP stands in the worker `pid`, a line for each frame, while it runs on. How many bytes; 0 when it runs no
    /// script, `-errno` when its memory cannot be read.
    ///
    /// # Safety
    /// `out` has room for `size` bytes. Called in the master, whose fork the worker is.
    pub fn regie_php_peek(pid: i32, out: *mut c_char, size: usize) -> i64;
    /// The state of opcache as JSON; null when it could not be made. Valid until the next call.
    ///
    /// # Safety
    /// The engine runs, and this process is a child of the master's that serves no requests.
    pub fn regie_php_opcache(with_scripts: i32) -> *const std::ffi::c_char;
    /// The version of the engine that is linked in.
    ///
    /// # Safety
    /// The text is static.
    pub fn regie_php_version() -> *const c_char;
    /// Sets the name that ps shows.
    ///
    /// # Safety
    /// `title` ends in a NUL. No other thread may exist.
    pub fn regie_title(title: *const c_char);
    /// Ends the process without running any destructor.
    ///
    /// # Safety
    /// Nothing of value may be left unwritten.
    pub fn regie_exit(status: c_int) -> !;
}
