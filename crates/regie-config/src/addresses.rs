//! Where each address that an application names leads.

use std::collections::BTreeMap;

use crate::check::Finding;
use crate::dotenv::{DotEnv, Variables};
use crate::files::Files;
use crate::values::Framework;
use serde::Serialize;

/// The parts of Régie that can stand behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Available {
    /// The store, embedded or named by `[store] url`.
    pub store: Option<StoreAddress>,
}

/// How children reach the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreAddress {
    /// What it is called in a decision: `embedded store`.
    pub name: String,
    /// Host.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Password, when it asks for one.
    pub password: Option<regie_core::Secret>,
}

/// What happens with one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The variable that names it.
    pub variable: String,
    /// The host or address that it names, without password.
    pub was: String,
    /// Where it leads now; `None` when nothing is behind it.
    pub becomes: Option<String>,
    /// Why.
    pub why: String,
}

impl std::fmt::Display for Decision {
    /// `REDIS_HOST redis → embedded store`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let becomes = self.becomes.as_deref().unwrap_or("nothing behind it");
        write!(f, "{} {} → {becomes}", self.variable, self.was)
    }
}

/// The outcome for all addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// One per address that something is to be said about.
    pub decisions: Vec<Decision>,
    /// Variables for the children.
    pub overrides: Variables,
    /// What a person should know.
    pub findings: Vec<Finding>,
}

/// Decides for every address in `env`.
#[must_use]
pub fn decide(
    _env: &DotEnv,
    _hosts: &BTreeMap<String, String>,
    _files: &dyn Files,
    _framework: Framework,
    _resolves: &dyn Fn(&str) -> bool,
    _available: &Available,
) -> Addresses {
    Addresses::default()
}
