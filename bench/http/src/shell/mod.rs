//! Everything that touches the machine: processes, sockets, files, the clock.

pub(crate) mod child;
pub(crate) mod clock;
pub(crate) mod family;
pub(crate) mod http;
pub(crate) mod machine;
pub(crate) mod scenario;
pub(crate) mod server;
pub(crate) mod site;
pub(crate) mod wrk;
