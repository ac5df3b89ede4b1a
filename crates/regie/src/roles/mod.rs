//! The parts that the supervisor starts from this same binary. Each starts alone too.

mod gateway;
pub(crate) mod jobs;
pub(crate) mod schedule;
pub(crate) mod sentinel;
mod signals;
pub(crate) mod store;
mod watch;

use regie_core::Exit;

use crate::cli::Role;
use crate::output;
use crate::site::{Place, Site};

/// `regie role NAME`.
pub(crate) fn start(place: &Place, role: &Role) -> Exit {
    match role {
        Role::Gateway => of_the_application(place, "gateway", |site| gateway::run(&site)),
        Role::Jobs => of_the_application(place, "jobs", |site| jobs::run(&site)),
        Role::Schedule => of_the_application(place, "schedule", schedule::run),
        Role::Sentinel => of_the_application(place, "sentinel", |site| sentinel::run(&site)),
        Role::Store(asked) => store::store(place, asked),
        Role::Watch => of_the_application(place, "watch", |site| watch::run(&site)),
    }
}

/// Runs a role on the application's configuration to its end, which it reaches when it has drained.
fn of_the_application(place: &Place, role: &str, run: impl FnOnce(Site) -> std::io::Result<()>) -> Exit {
    let site = match place.load(None) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    match run(site) {
        Ok(()) => Exit::Done,
        Err(fault) => {
            output::error(format_args!("{role}: {fault}"));
            Exit::Failed
        }
    }
}
