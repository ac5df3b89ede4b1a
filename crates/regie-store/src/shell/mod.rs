//! Everything that touches the world: sockets, files, the clock. The engine decides; this carries.

mod clock;
mod connection;
mod disk;
mod follow;
mod limits;
mod process;
mod recover;
mod redis_files;
mod server;
mod settings;
mod snapshot_file;
pub mod tools;
mod users;

pub use recover::RecoveryError;
pub use server::{Inherited, Options, RunError, run};
