//! Processes, files and the clock of scheduled tasks.

pub mod application;
pub mod clock;
pub mod files;
pub mod process;
