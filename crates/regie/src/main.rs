//! `regie`: the command line, the roles, and their wiring. The one place that knows every part.
//!
//! In reading order: what can be typed ([`cli`]), where the application lies and what its configuration says
//! ([`site`]), the table of programs that follows from it ([`programs`]), the commands ([`commands`]) and the parts
//! that the supervisor starts from this same binary ([`roles`]).

mod cli;
mod commands;
mod handed;
mod horizon;
mod leader;
mod output;
mod own_workers;
mod programs;
mod roles;
mod shipped;
mod side_pool;
mod site;
mod sockets;
mod store;
mod time;
mod transports;
mod workers;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use regie_core::Exit;
use regie_supervisor::Request;

use cli::{Cli, Command};
use commands::control;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(fault) => return usage(&fault).into(),
    };
    run(cli).into()
}

/// Help and version are what was asked for; anything else that clap refuses is bad usage.
fn usage(fault: &clap::Error) -> Exit {
    // A closed pipe is no error: whoever reads has seen enough.
    let _ = fault.print();
    match fault.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

fn run(cli: Cli) -> Exit {
    let place = site::Place { folder: cli.directory, config: cli.config };
    match cli.command {
        Command::Up(up) => commands::up::up(&place, &up),
        Command::Down => control::down(&place.run_dir()),
        Command::Reload(names) => {
            control::act(&place.run_dir(), &Request::Reload { names: names.names, wait: true })
        }
        Command::Status(status) => control::status(&place.run_dir(), &status),
        Command::Start(names) => control::start_or_stop(&place.run_dir(), "start", names.all()),
        Command::Stop(names) => control::start_or_stop(&place.run_dir(), "stop", names.all()),
        Command::Restart(names) => control::restart(&place.run_dir(), &names.all()),
        Command::Scale(scale) => control::scale(&place.run_dir(), &scale.targets),
        Command::Logs(logs) => control::logs(&place.run_dir(), &logs, time::now_ms()),
        Command::Run(run) => commands::run::run(&place, &run.pool, &run.command),
        Command::Artisan(words) => commands::run::artisan(&place, words.words),
        Command::Console(words) => commands::run::console(&place, words.words),
        Command::Php(words) => commands::php::php(&place, words.words),
        Command::Schedule(asked) => commands::schedule::schedule(&place, &asked),
        Command::Check(check) => commands::check::check(&place, &check),
        Command::Init(init) => commands::init::init(&place, &init),
        Command::Queue(asked) => commands::queue::queue(&place, &asked),
        Command::Move(asked) => commands::moving::moving(&place, &asked),
        Command::Store(store) => commands::store::store(&place, store),
        Command::Version => commands::version(),
        Command::Role(role) => roles::start(&place, &role),
    }
}
