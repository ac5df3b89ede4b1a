//! The words that every part of Régie shares, and nothing that does I/O.
//!
//! In reading order: how sizes and times are written ([`units`]), values that must not be shown
//! ([`secret`]), how a process says how it ended ([`exit`]), how what must outlive a process is
//! handed to it ([`handoff`]), how things stop ([`phase`]), which paths and addresses are meant
//! ([`patterns`], [`network`]), what `.htaccess` files say ([`rules`]), when something is due ([`cron`]), and what was probably meant ([`nearest`]).
#![forbid(unsafe_code)]

pub mod cron;
pub mod exit;
pub mod handoff;
pub mod nearest;
pub mod network;
pub mod patterns;
pub mod phase;
pub mod rules;
pub mod secret;
pub mod units;

pub use exit::Exit;
pub use network::Network;
pub use patterns::Patterns;
pub use phase::StopPhase;
pub use rules::Rules;
pub use secret::Secret;
pub use units::{ByteSize, Span};
