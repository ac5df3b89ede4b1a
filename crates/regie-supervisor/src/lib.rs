//! One table of programs, kept running: a pure state machine and the thin driver around it.
//!
//! In reading order: what a program is ([`spec`]), what is said over the control line ([`control`]), whom a name
//! means ([`pattern`]), what programs tell us ([`notify`]), the machine that decides ([`machine`]), what is kept of
//! output ([`ring`]), and the part that does I/O ([`shell`]).
//!
//! # Running it
//!
//! ```no_run
//! use std::time::Duration;
//! use regie_supervisor::{Foreground, Program, Readiness, Reload, Settings, Table, claim, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 1. Claim the run folder: refuses a second supervisor (naming the first's pid), and ends what a dead one left.
//! let claim = claim(".regie/run".as_ref())?;
//! for left in claim.leftovers() { eprintln!("{left}"); }
//!
//! // 2. Bind what must outlive a process (only now: what was left may have held the ports).
//! let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//!
//! // 3. The table. `gateway` finds the socket as LISTEN_FDS under the name `http0`, and `lifeline` after it.
//! let gateway = Program {
//!     descriptors: vec!["http0".into()],
//!     ready: Readiness::Notify,
//!     reload: Reload::Overlap,
//!     ..Program::new("gateway", ["regie", "role", "gateway"])
//! };
//!
//! // 4. Run on the process's main thread, with no other thread started, until told to stop.
//! let outcome = run(claim, Settings {
//!     table: Table { programs: vec![gateway], descriptors: vec![("http0".into(), listener.into())] },
//!     foreground: Some(Foreground::stdout()),
//!     stop_limit: Duration::from_secs(30),
//!     ..Settings::default()
//! })?;
//! # let _ = outcome; Ok(()) }
//! ```
//!
//! From another process, [`Client`] speaks to it: `Client::connect(run_dir)?.ask(&Request::Status { names: vec![] })`.
//!
//! # Signals to the supervisor
//!
//! SIGTERM, SIGINT, SIGQUIT: stop all in reverse order of dependency; a second one: at once. SIGHUP: as
//! `regie reload`. SIGUSR1: open the log files again. Children are in sessions of their own, so Ctrl-C in a
//! terminal reaches the supervisor alone.
//!
//! # What a child finds
//!
//! `LISTEN_FDS`, `LISTEN_FDNAMES`, `LISTEN_PID` for its descriptors (always `lifeline`, last: end of file means
//! that the supervisor died), `NOTIFY_SOCKET`, `REGIE_PROGRAM` (instance name), `REGIE_GENERATION`, `REGIE_RUN` and
//! `REGIE_TOKEN` (the last two mark what this supervisor started, so that the next one finds what is left). Messages
//! to `NOTIFY_SOCKET`:
//! `READY=1`, `STATUS=…`, `STOPPING=1`, and `X_REGIE_GENERATION=1`: reload me.
#![deny(unsafe_code)]

pub mod control;
pub mod machine;
pub mod notify;
pub mod pattern;
pub mod ring;
pub mod shell;
pub mod spec;

pub use control::{ErrorKind, LogLine, NameResult, Overview, Reply, Request, State, StatusRow, Stream};
pub use machine::{Moment, Outcome};
pub use nix::sys::signal::Signal;
pub use shell::claim::{Claim, ClaimError, Leftover, claim};
pub use shell::client::{Client, ClientError};
pub use shell::driver::run;
pub use shell::settings::{Foreground, RunError, Settings, Table};
pub use spec::{
    Backoff, Output, Program, RLimits, Readiness, Reload, Restart, RunAs, Scale, Stop, TableError, check,
};
