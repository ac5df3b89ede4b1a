//! Everything that touches the world: sockets, files, the clock. The engine decides; this carries.

mod clock;
mod connection;
mod disk;
mod server;

pub use disk::RecoveryError;
pub use server::{Inherited, Options, RunError, run};
