//! The gateway: HTTP in; PHP pools and static files out.
//!
//! The pure part, in the order in which a request meets it: [`http1`] reads its head, [`target`] decodes what it asks
//! for, [`guard`] and [`route`] decide who answers, [`proxies`] tells who asks, [`params`] tells PHP, [`accel`] reads
//! what PHP leaves to us, [`conditional`], [`encoding`], [`media`] and [`headers`] shape what is sent, [`access_log`] writes it down and
//! [`metrics`] counts it.
//! [`shell`] does the I/O. [`settings`] is what all of it is told.
//!
//! TLS, HTTP/3 and several applications have their places: a connection knows whether it is secure (`Ends::tls`), a
//! protocol is one file of the shell that brings requests to `Gateway::answer`, and a gateway is made of one `Settings`.
#![forbid(unsafe_code)]

pub mod accel;
pub mod access_log;
pub mod conditional;
pub mod encoding;
pub mod guard;
pub mod headers;
pub mod http1;
pub mod media;
pub mod metrics;
pub mod params;
pub mod proxies;
pub mod route;
pub mod settings;
pub mod shell;
pub mod target;

pub use access_log::LogFormat;
pub use encoding::Coding;
pub use proxies::TrustedProxies;
pub use settings::{Limits, Settings};
pub use shell::{Gateway, Listener, Logs, Report, Sink, Stats, serve};
