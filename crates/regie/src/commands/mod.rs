//! What each command does. Every one returns how the process ends.

pub(crate) mod check;
pub(crate) mod control;
pub(crate) mod init;
pub(crate) mod moving;
pub(crate) mod opcache;
pub(crate) mod php;
pub(crate) mod pool_workers;
pub(crate) mod queue;
pub(crate) mod rewind;
pub(crate) mod run;
pub(crate) mod schedule;
pub(crate) mod store;
pub(crate) mod up;

use regie_core::Exit;

use crate::output;

/// `regie version`.
pub(crate) fn version() -> Exit {
    output::line(format_args!("regie {}", env!("CARGO_PKG_VERSION")));
    Exit::Done
}
