//! The border's structs; the twin of `csrc/regie.h`. The assertions at the end have theirs in `csrc/layout.c`.

use std::ffi::c_char;
use std::mem::{offset_of, size_of};

/// Bytes with a NUL behind the last one; absent when the pointer is null.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Text {
    /// The first byte, or null.
    pub ptr: *const c_char,
    /// Their number, without the NUL.
    pub len: usize,
}

impl Text {
    /// No text.
    pub const ABSENT: Self = Self { ptr: std::ptr::null(), len: 0 };
}

/// A name and its value: a CGI parameter, an environment entry.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Param {
    /// `SCRIPT_FILENAME`
    pub name: Text,
    /// `/srv/app/index.php`
    pub value: Text,
}

/// A request, as the engine wants it. What it points to stays valid until `done` has returned.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Request {
    /// `GET`
    pub method: Text,
    /// As the client sent it: `/a?b=c`.
    pub uri: Text,
    /// What stands behind the question mark.
    pub query: Text,
    /// Of the body.
    pub content_type: Text,
    /// The file to run.
    pub script: Text,
    /// The header Cookie.
    pub cookie: Text,
    /// The header Authorization.
    pub authorization: Text,
    /// Settings for this request, which the script may change.
    pub php_value: Text,
    /// Settings for this request, which the script may not change.
    pub php_admin_value: Text,
    /// All parameters: what `$_SERVER` holds.
    pub params: *const Param,
    /// Their number.
    pub params_len: usize,
    /// Of the body; 0 for none.
    pub content_length: i64,
    /// 1000 for HTTP/1.0, 1001 for anything later.
    pub protocol: i32,
    /// 1 when the body is a message for the worker script's callback.
    pub message: i32,
}

/// What the engine tells about a request that is over.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Outcome {
    /// The exit status of the script.
    pub exit_status: i32,
    /// 1 when it ended in a fatal error.
    pub fatal: i32,
    /// Highest use of PHP's memory, in bytes.
    pub memory_peak: u64,
}

/// Room for a stack trace.
pub const TRACE_SIZE: usize = 8184;

/// Where PHP stood when the time limit passed. Lies in shared memory; C writes it in a signal handler.
#[derive(Debug)]
#[repr(C)]
pub struct Trace {
    /// The request that it is about; written last.
    pub sequence: u32,
    /// Bytes of `text` that count.
    pub len: u32,
    /// A line for each frame.
    pub text: [u8; TRACE_SIZE],
}

/// Levels of [`Callbacks::log`].
pub const LOG_DEBUG: i32 = 0;
/// See [`LOG_DEBUG`].
pub const LOG_INFO: i32 = 1;
/// See [`LOG_DEBUG`].
pub const LOG_WARNING: i32 = 2;
/// See [`LOG_DEBUG`].
pub const LOG_ERROR: i32 = 3;

/// The worker script has reached its loop.
pub const EVENT_BOOTED: i32 = 1;
/// The pool must start anew with fresh opcache memory; the detail says why.
pub const EVENT_GENERATION: i32 = 2;
/// Paranoid mode: the detail names what the request left behind.
pub const EVENT_LEFTOVER: i32 = 3;

/// Rewind mode: this process cannot be put back; the detail says why.
pub const EVENT_REPLACE: i32 = 4;

/// What C calls. Each is called on the worker's only thread, in between PHP's own doing; it returns normally and calls
/// nothing of PHP.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub struct Callbacks {
    /// Blocks until there is a request (1) or the worker shall leave (0).
    pub next_request: unsafe extern "C" fn(*mut Request) -> i32,
    /// Up to that many bytes of the body; 0 at its end or when the peer is gone.
    pub read_body: unsafe extern "C" fn(*mut c_char, usize) -> usize,
    /// Takes response bytes; less than given when the peer is gone or the time limit has passed.
    pub write: unsafe extern "C" fn(*const c_char, usize) -> usize,
    /// The response's head begins: status and, where the script gave one, its reason.
    pub head_begin: unsafe extern "C" fn(i32, Text),
    /// A header of it, `Name: value`.
    pub head_line: unsafe extern "C" fn(*const c_char, usize),
    /// The head is complete. 1, or 0 when it is not sent (informational ones, to a peer that does not know them).
    pub head_end: unsafe extern "C" fn() -> i32,
    /// Sends what is buffered; 0 when the peer is gone.
    pub flush: unsafe extern "C" fn() -> i32,
    /// Ends the response while the script goes on; 0 when it was over already.
    pub finish: unsafe extern "C" fn() -> i32,
    /// The request is over.
    pub done: unsafe extern "C" fn(*const Outcome),
    /// A line for the log, at one of `LOG_*`.
    pub log: unsafe extern "C" fn(i32, *const c_char, usize),
    /// One of `EVENT_*`.
    pub event: unsafe extern "C" fn(i32, Text),
    /// Answers 504 if nothing of the response has left yet. Called in a signal handler.
    pub give_up: unsafe extern "C" fn(),
    /// The pool's state as JSON, with php-fpm's names for it. Writes as much as fits, and returns how long it is.
    pub status: unsafe extern "C" fn(*mut c_char, usize) -> usize,
}

/// Changed settings are put back between requests of a worker script.
pub const RESET_INI: u32 = 1 << 0;
/// The working directory is.
pub const RESET_CWD: u32 = 1 << 1;
/// The file mode mask is.
pub const RESET_UMASK: u32 = 1 << 2;
/// The locale is.
pub const RESET_LOCALE: u32 = 1 << 3;
/// The time zone is.
pub const RESET_TIMEZONE: u32 = 1 << 4;
/// Error and exception handlers are.
pub const RESET_HANDLERS: u32 = 1 << 5;

/// What rewinding has cost a worker. Lies in shared memory; C writes it.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub struct RewindStats {
    /// Requests after which memory was put back.
    pub requests: u64,
    /// Pages put back, in all.
    pub pages: u64,
    /// Microseconds spent on it, in all.
    pub micros: u64,
    /// Pages after the last request.
    pub last_pages: u64,
    /// Microseconds after the last request.
    pub last_micros: u64,
    /// Microseconds from the fork until the process took requests.
    pub ready_micros: u64,
}

/// How the engine starts. Lives as long as the process.
#[derive(Debug)]
#[repr(C)]
pub struct Settings {
    /// `PHP_SAPI`; opcache works under names that it knows.
    pub sapi_name: *const c_char,
    /// The folder of php.ini, or null for the built-in one.
    pub ini_path: *const c_char,
    /// Its folder of further files, or null.
    pub ini_scan_path: *const c_char,
    /// Lines that win over php.ini.
    pub ini_entries: *const c_char,
    /// `PHP_BINARY`
    pub executable: *const c_char,
    /// What C calls.
    pub callbacks: *const Callbacks,
    /// Worker mode: the script, and what `$_SERVER` describes before the loop.
    pub boot: *const Request,
    /// Entries of the environment that in worker mode `$_SERVER` has at boot only.
    pub worker_env: *const Param,
    /// Their number.
    pub worker_env_len: usize,
    /// Bytes of PHP's stack.
    pub stack_size: usize,
    /// `RESET_*`, joined.
    pub resets: u32,
    /// 1 for worker mode.
    pub worker_mode: u8,
    /// 1 to report what requests leave behind.
    pub paranoid: u8,
    /// 1 to define STDIN, STDOUT and STDERR, as the CLI has them.
    pub define_streams: u8,
    /// 1 for rewind mode.
    pub rewind: u8,
}

/// The worker was asked to leave.
pub const ENDED_ASKED: i32 = 0;
/// The worker script ended before its loop.
pub const ENDED_SCRIPT: i32 = 1;
/// The engine is in doubt: make room for a new process.
pub const ENDED_RECYCLE: i32 = 2;
/// The engine refused to start a request.
pub const ENDED_ENGINE: i32 = 3;
/// Rewind mode: the script is parked at its checkpoint.
pub const ENDED_CHECKPOINT: i32 = 4;

/// Stage of the timing signal: raise a fatal error.
pub const STAGE_FATAL: i32 = 0;
/// Stage of the timing signal: answer 504 if nothing was sent.
pub const STAGE_GIVE_UP: i32 = 1;

const _: () = {
    assert!(size_of::<Text>() == 16);
    assert!(size_of::<Param>() == 32);
    assert!(size_of::<Request>() == 176);
    assert!(offset_of!(Request, params) == 144);
    assert!(offset_of!(Request, content_length) == 160);
    assert!(offset_of!(Request, protocol) == 168);
    assert!(offset_of!(Request, message) == 172);
    assert!(size_of::<Outcome>() == 16);
    assert!(size_of::<Trace>() == 8192);
    assert!(offset_of!(Trace, text) == 8);
    assert!(size_of::<Callbacks>() == 104);
    assert!(size_of::<Settings>() == 88);
    assert!(offset_of!(Settings, worker_env_len) == 64);
    assert!(offset_of!(Settings, resets) == 80);
    assert!(offset_of!(Settings, worker_mode) == 84);
    assert!(offset_of!(Settings, rewind) == 87);
    assert!(size_of::<RewindStats>() == 48);
};
