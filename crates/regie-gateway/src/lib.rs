//! The gateway: HTTP in; PHP pools and static files out.
//!
//! The pure part, in the order in which a request meets it: [`http1`] reads its head, [`target`] decodes what it asks
//! for, [`guard`] and [`route`] decide who answers, [`proxies`] who asks, [`params`] tells PHP, [`media`] names types,
//! [`access_log`] writes it down. [`shell`] does the I/O. [`settings`] is what all of it is told.
#![forbid(unsafe_code)]

pub mod access_log;
pub mod guard;
pub mod http1;
pub mod media;
pub mod params;
pub mod proxies;
pub mod route;
pub mod settings;
pub mod shell;
pub mod target;

pub use access_log::LogFormat;
pub use proxies::TrustedProxies;
pub use settings::{Limits, Settings};
pub use shell::{Gateway, Listener, Logs, Report, serve};
