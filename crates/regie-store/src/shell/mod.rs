//! Everything that touches the world: sockets, files, the clock. The engine decides; this carries.

mod clients;
mod clock;
mod connection;
mod disk;
mod door;
mod follow;
mod limits;
mod lookout;
mod options;
mod process;
mod recover;
mod redis_files;
mod server;
mod settings;
mod snapshot_file;
mod status;
pub mod tools;
mod users;

pub use options::{Changes, Inherited, Options, RunError};
pub use recover::RecoveryError;
pub use server::run;
