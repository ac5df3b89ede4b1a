//! The supervisor for real: processes, signals, sockets and files.
//!
//! Each test starts a supervisor in a process of its own, which is this binary again with [`testbed::ROLE`] set, and
//! speaks to it as `regie` does.

mod control;
mod faults;
mod life;
mod output;
mod ready;
mod reload;
mod testbed;
mod world;
