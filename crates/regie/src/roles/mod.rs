//! The parts that the supervisor starts from this same binary. Each starts alone too.

mod gateway;
pub(crate) mod jobs;
pub(crate) mod schedule;
mod store;
mod watch;

use regie_core::Exit;

use crate::cli::Role;
use crate::site::Place;

/// `regie role NAME`.
pub(crate) fn start(place: &Place, role: &Role) -> Exit {
    match role {
        Role::Gateway => gateway::gateway(place),
        Role::Jobs => jobs::jobs(place),
        Role::Schedule => schedule::schedule(place),
        Role::Store(asked) => store::store(place, asked),
        Role::Watch => watch::watch(place),
    }
}
