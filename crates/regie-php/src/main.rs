//! `regie-php`: a pool of PHP workers that speaks FastCGI. A drop-in for php-fpm, and the part of Régie that runs PHP.
//!
//! The master ([`shell::master`]) starts the embedded engine once and forks workers ([`shell::worker`]) that share its
//! opcache; what happens between them is decided by a pure [`machine`], and seen on a [`scoreboard`] in shared memory.

mod crew;
mod machine;
mod options;
mod scoreboard;
mod script;
mod shell;
mod status;

use std::process::ExitCode;

use clap::Parser as _;
use regie_core::Exit;
use shell::master;
use shell::setup::{self, Fatal};

fn main() -> ExitCode {
    let options = match options::Options::try_parse() {
        Ok(options) => options,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    if options.trackers {
        return setup::tell_trackers(&mut std::io::stdout()).map_or(Exit::Failed, |()| Exit::Done).into();
    }
    match master::run(options) {
        Ok(()) => Exit::Done.into(),
        Err(fatal) => {
            shell::log::master(shell::log::Level::Error, format_args!("{fatal}"));
            match fatal {
                Fatal::Usage(_) => Exit::Usage,
                Fatal::Listen { .. } | Fatal::Engine => Exit::Unavailable,
                Fatal::System { .. } => Exit::Failed,
            }
            .into()
        }
    }
}
