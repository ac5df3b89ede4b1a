//! Where each address that an application names leads.
//!
//! Applications name their services for the place they ran in before: `REDIS_HOST=redis`, `DB_HOST=db`,
//! `127.0.0.1:6379`, DSNs. For each such address, in this order:
//!
//! 1. a name in `[hosts]` leads where it says;
//! 2. a container's name (one label, that resolves nowhere) and a loopback default port lead to Régie's own part,
//!    when there is one;
//! 3. what resolves, or answers on loopback, stays as it is written;
//! 4. the rest has nothing behind it, and is named with the ways out. The application is served meanwhile.
//!
//! The outcome reaches children as real environment, which wins over `.env` in both frameworks. A configuration that
//! was cached before (`bootstrap/cache/config.php`) does not look at the environment, so it is compared and named
//! with the command that renews it ([`cached`]).

pub mod cached;
mod names;
pub(crate) mod url;

use std::cell::RefCell;
use std::collections::BTreeMap;

use regie_core::Secret;
use serde::Serialize;

use crate::check::{Finding, Severity};
use crate::dotenv::{DotEnv, Variables};
use crate::files::Files;
use crate::values::Framework;
use names::{Named, Service};

/// The parts that can stand behind an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Available {
    /// The store: Régie's own, or the one that `[store] url` names.
    pub store: Option<StoreAddress>,
    /// Whether there is a store, and nobody knows where.
    pub store_is_lost: bool,
    /// Loopback ports on which the user's own programs will listen.
    pub ports: Vec<u16>,
}

impl Available {
    /// The store at `address`, and nothing else.
    #[must_use]
    pub fn store(address: StoreAddress) -> Self {
        Self { store: Some(address), ..Self::default() }
    }
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
    /// User, when it is not the default one.
    pub username: Option<String>,
    /// Password, when it asks for one.
    pub password: Option<Secret>,
    /// Whether it is spoken to through TLS.
    pub tls: bool,
    /// All nodes that are named, where it is a cluster.
    pub nodes: Vec<(String, u16)>,
}

/// Where an address leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "to")]
pub enum Becomes {
    /// To what is written.
    AsWritten,
    /// To this instead.
    Instead(String),
    /// Nowhere.
    Nothing,
}

/// What happens with one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The variable that names it.
    pub variable: String,
    /// The host that it names, with the port where that is not the usual one.
    pub was: String,
    /// Where it leads now.
    pub becomes: Becomes,
    /// Why.
    pub why: String,
    /// Whether the application's settings use the service at all.
    pub used: bool,
}

impl std::fmt::Display for Decision {
    /// `REDIS_HOST redis → embedded store`
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let becomes = match &self.becomes {
            Becomes::AsWritten => "as written",
            Becomes::Instead(what) => what,
            Becomes::Nothing => "nothing behind it",
        };
        write!(f, "{} {} → {becomes}", self.variable, self.was)
    }
}

/// The outcome for all addresses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// One per address.
    pub decisions: Vec<Decision>,
    /// Variables for the children.
    pub overrides: Variables,
    /// What a person should know.
    pub findings: Vec<Finding>,
    /// Whether an address leads to the store.
    pub leads_to_store: bool,
    /// Whether the application's settings use a Redis, wherever it is.
    pub uses_redis: bool,
}

/// What deciding asks of the world.
pub trait Network {
    /// Whether a host name leads anywhere.
    fn resolves(&self, host: &str) -> bool;
    /// Whether a connection to a loopback port is accepted.
    fn listens(&self, host: &str, port: u16) -> bool;
}

/// Decides for every address that `env` names.
#[must_use]
pub fn decide(
    env: &DotEnv,
    hosts: &BTreeMap<String, String>,
    files: &dyn Files,
    framework: Framework,
    network: &dyn Network,
    available: &Available,
) -> Addresses {
    let deciding = Deciding { hosts, network, available, resolved: RefCell::default() };
    let mut out = Addresses::default();
    for named in names::all(env, framework) {
        let outcome = deciding.outcome(&named);
        out.uses_redis |= named.service == Service::Store && named.used;
        let becomes = match &outcome {
            Outcome::AsWritten(_) => Becomes::AsWritten,
            Outcome::Nothing(_) => Becomes::Nothing,
            Outcome::Store(store) => Becomes::Instead(store.name.clone()),
            Outcome::Host(host, port) => Becomes::Instead(match port {
                Some(port) => format!("{host}:{port}"),
                None => host.clone(),
            }),
        };
        match &outcome {
            Outcome::Store(store) => {
                out.leads_to_store = true;
                named.point_to_store(store, env, framework, &mut out.overrides);
            }
            Outcome::Host(host, port) => named.point_to(host, *port, &mut out.overrides),
            Outcome::AsWritten(_) | Outcome::Nothing(_) => {}
        }
        if matches!(outcome, Outcome::Nothing(_)) {
            out.findings.push(nothing_behind(&named, env));
        }
        out.decisions.push(Decision {
            variable: named.variable.clone(),
            was: named.shown(),
            becomes,
            why: outcome.why(),
            used: named.used,
        });
    }
    if framework == Framework::Wordpress {
        wp_config(&deciding, files, &mut out);
    }
    if framework == Framework::Symfony {
        out.findings.extend(written_down(files));
    }
    if framework == Framework::Laravel && out.leads_to_store {
        out.findings.extend(available.store.as_ref().and_then(|store| speaks_to_one(store, files)));
    }
    out.findings.extend(cached::stale(files, framework, env, &out));
    out
}

/// Laravel speaks to a cluster only where its configuration has one: no variable says so.
fn speaks_to_one(store: &StoreAddress, files: &dyn Files) -> Option<Finding> {
    const FILE: &str = "config/database.php";
    if store.nodes.is_empty() {
        return None;
    }
    let text = files.read(FILE)?;
    let bare: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let knows = bare.contains("'clusters'=>[") || bare.contains("\"clusters\"=>[");
    (!knows).then(|| {
        let what = "[store] url names a cluster, and redis has no clusters here: a node refuses other nodes' keys (MOVED)";
        let fix = "in 'redis', in place of 'default' (and of 'cache' alike): 'clusters' => ['options' => ['password' => \
                   env('REDIS_PASSWORD')], 'default' => [['host' => env('REDIS_HOST'), 'port' => env('REDIS_PORT')]]]";
        Finding::new(Severity::Error, FILE, what, fix)
    })
}

/// Addresses of a Redis that Symfony's configuration writes down, its own default included: no variable reaches them.
fn written_down(files: &dyn Files) -> Vec<Finding> {
    const FOLDER: &str = "config/packages";
    let fix = "write '%env(REDIS_URL)%' there, and REDIS_URL=redis://localhost in .env";
    let mut findings = Vec::new();
    for name in
        files.list(FOLDER).into_iter().filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"))
    {
        let path = format!("{FOLDER}/{name}");
        let Some(text) = files.read(&path) else { continue };
        let lines = || text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#'));
        let address = lines().find_map(|(index, line)| {
            let (_, rest) = line.split_once("redis://")?;
            let host = rest.split(['\'', '"', '/', ':', '@', '?', ' ']).next()?;
            let found = is_loopback(host) || (is_one_label(host) && !host.contains('%'));
            found.then(|| (index + 1, host.to_owned()))
        });
        if let Some((line, host)) = address {
            let what = format!("redis://{host} is written down, so it cannot be led to the store");
            findings.push(Finding::new(Severity::Warning, format!("{path}:{line}"), what, fix));
        }
        let adapter = lines().find(|(_, line)| line.contains("cache.adapter.redis"));
        if let Some((index, _)) = adapter.filter(|_| !text.contains("default_redis_provider")) {
            let what =
                "the cache's Redis is Symfony's default, redis://localhost, which cannot be led to the store";
            let fix = "framework.cache.default_redis_provider: '%env(REDIS_URL)%', and REDIS_URL=redis://localhost in .env";
            findings.push(Finding::new(Severity::Warning, format!("{path}:{}", index + 1), what, fix));
        }
    }
    findings
}

/// The host that wp-config.php writes down: no variable reaches it, so it can only be named.
fn wp_config(deciding: &Deciding<'_>, files: &dyn Files, out: &mut Addresses) {
    const FILE: &str = "wp-config.php";
    let Some(text) = files.read(FILE) else { return };
    let written = text.lines().enumerate().find_map(|(index, line)| {
        let rest = line.trim().strip_prefix("define")?.trim_start().strip_prefix('(')?;
        let mut quoted = rest.split(['\'', '"']);
        let name = quoted.nth(1)?;
        let literal = quoted.next()?.trim() == ",";
        (name == "DB_HOST" && literal).then_some((index + 1, quoted.next()?))
    });
    let Some((line, host)) = written else { return };
    let named = Named::written(host);
    let (becomes, why) = match deciding.outcome(&named) {
        Outcome::AsWritten(why) => (Becomes::AsWritten, why),
        Outcome::Nothing(why) => (Becomes::Nothing, why),
        Outcome::Store(_) | Outcome::Host(..) => (Becomes::Nothing, "the file does not ask the environment"),
    };
    if becomes == Becomes::Nothing {
        let what = format!("DB_HOST {} has nothing behind it", named.shown());
        let fix = format!(
            "define('DB_HOST', getenv('DB_HOST') ?: '{host}'), then [php.web] env = {{ DB_HOST = \"ADDRESS\" }}"
        );
        out.findings.push(Finding::new(Severity::Warning, format!("{FILE}:{line}"), what, fix));
    }
    let (variable, was) = (format!("{FILE} DB_HOST"), named.shown());
    out.decisions.push(Decision { variable, was, becomes, why: why.to_owned(), used: true });
}

/// The decision, with what it takes to carry it out.
enum Outcome<'a> {
    AsWritten(&'static str),
    Store(&'a StoreAddress),
    Host(String, Option<u16>),
    Nothing(&'static str),
}

impl Outcome<'_> {
    fn why(&self) -> String {
        match self {
            Self::AsWritten(why) | Self::Nothing(why) => (*why).to_owned(),
            Self::Store(_) => "the application's usual address of a Redis".to_owned(),
            Self::Host(..) => "[hosts] says so".to_owned(),
        }
    }
}

struct Deciding<'a> {
    hosts: &'a BTreeMap<String, String>,
    network: &'a dyn Network,
    available: &'a Available,
    /// A name server is asked once per name.
    resolved: RefCell<BTreeMap<String, bool>>,
}

impl<'a> Deciding<'a> {
    fn outcome(&self, named: &Named) -> Outcome<'a> {
        let host = named.host.to_ascii_lowercase();
        if let Some(target) = self.hosts.get(&host) {
            let (host, port) = url::host_and_port(target);
            return Outcome::Host(host, port);
        }
        let loopback = is_loopback(&host);
        let container = !loopback && is_one_label(&host) && !self.resolves(&host);
        let usual_port = named.port.is_none_or(|port| Some(port) == named.service.default_port());
        if named.service == Service::Store && (container || (loopback && usual_port)) {
            return match &self.available.store {
                Some(store) => Outcome::Store(store),
                None if self.available.store_is_lost => Outcome::Nothing("the sentinels do not answer"),
                None if container => {
                    Outcome::Nothing("no such host, and [store] enabled = false turns the embedded store off")
                }
                None => self.on_loopback(named),
            };
        }
        if container {
            return Outcome::Nothing("no such host: it is the name of a container");
        }
        if loopback {
            return self.on_loopback(named);
        }
        if host.parse::<std::net::IpAddr>().is_ok() {
            return Outcome::AsWritten("an address");
        }
        if self.resolves(&host) {
            return Outcome::AsWritten("the name resolves");
        }
        Outcome::Nothing("the name does not resolve")
    }

    fn on_loopback(&self, named: &Named) -> Outcome<'a> {
        match named.port.or_else(|| named.service.default_port()) {
            Some(port) if self.available.ports.contains(&port) => {
                Outcome::AsWritten("one of the programs listens there")
            }
            Some(port) if !self.network.listens(&named.host, port) => {
                Outcome::Nothing("nothing listens there")
            }
            _ => Outcome::AsWritten("it is reached on this machine"),
        }
    }

    fn resolves(&self, host: &str) -> bool {
        if let Some(known) = self.resolved.borrow().get(host) {
            return *known;
        }
        let found = self.network.resolves(host);
        self.resolved.borrow_mut().insert(host.to_owned(), found);
        found
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A name without a dot, as compose gives to containers.
fn is_one_label(host: &str) -> bool {
    !host.is_empty() && !host.contains(['.', ':'])
}

fn nothing_behind(named: &Named, env: &DotEnv) -> Finding {
    let severity = if named.used { Severity::Warning } else { Severity::Note };
    let mut what = format!("{} {} has nothing behind it", named.variable, named.shown());
    if !named.used {
        what.push_str("; the application's settings do not use it");
    }
    let mut ways = Vec::new();
    if is_loopback(&named.host) {
        ways.push(format!("start {} there", named.service.article()));
    } else {
        ways.push(format!("[hosts] {} = \"ADDRESS\" in regie.toml", url::toml_key(&named.host)));
    }
    ways.extend(named.service.ways_out().iter().map(|way| (*way).to_owned()));
    Finding::new(severity, env.origin(&named.variable), what, ways.join(", or "))
}

#[cfg(test)]
mod tests;
