//! From a request to its answer, whichever protocol carries them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use regie_pool::Pool;
use regie_pool::call::InformationalSink;

use super::body::{InBody, OutBody};
use super::files::{Files, Root};
use super::log::Logs;
use super::record::{By, Meter, Record};
use super::reply::Reply;
use super::send;
use crate::headers::Headers;
use crate::params::split_port;
use crate::proxies::{self, Client};
use crate::route::{self, Found, Route, Site};
use crate::settings::Settings;
use crate::target::Target;

/// A gateway that is ready to serve connections.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: Settings,
    pub(crate) logs: Logs,
    pub(crate) counters: Counters,
    /// By who has answered.
    pub(crate) meters: [Meter; By::ALL],
    site: Site,
    headers: Headers,
    files: Files,
    pool: Option<Pool>,
    side_pool: Option<Pool>,
    /// Bytes of answers that wait in files for slow clients.
    pub(crate) spooled: Arc<AtomicU64>,
    next_id: AtomicU64,
    id_prefix: String,
}

/// What has happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    /// By the first digit of the status.
    classes: [AtomicU64; 6],
}

/// A look at a gateway, for health checks and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections that are open.
    pub open: u64,
    /// Connections that were ever accepted.
    pub connections: u64,
    /// Requests that were begun.
    pub requests: u64,
    /// Answers by the first digit of their status: 1xx at 0 … 5xx at 4.
    pub answers: [u64; 5],
    /// The pool.
    pub pool: regie_pool::Counts,
}

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) target: String,
    /// The host that the target itself names.
    pub(crate) authority: Option<String>,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    /// The length of the body, when the client tells it.
    pub(crate) content_length: Option<u64>,
}

impl Asked {
    /// The host asked for, with or without port; empty when there is none.
    pub(crate) fn host(&self) -> &str {
        let told = || self.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.authority.as_deref().or_else(told).unwrap_or("")
    }

    /// The same request without conditions and ranges.
    pub(crate) fn without_conditions(&self) -> Self {
        Self {
            method: self.method.clone(),
            target: self.target.clone(),
            authority: self.authority.clone(),
            version: self.version,
            headers: HeaderMap::new(),
            content_length: self.content_length,
        }
    }
}

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tls: bool,
    /// It came by a listener for questions about the gateway itself.
    pub(crate) is_status: bool,
}

/// A request on its way through the gateway.
pub(crate) struct Visit<'a> {
    pub(crate) asked: &'a Asked,
    pub(crate) ends: Ends,
    pub(crate) target: Target<'a>,
    pub(crate) client: Client,
    pub(crate) id: String,
    pub(crate) informational: Option<InformationalSink>,
    /// What the site's rules tell scripts.
    pub(crate) variables: Vec<(String, String)>,
}

impl Gateway {
    /// Prepares a gateway on the current runtime, and its pool with it.
    #[must_use]
    pub fn new(settings: Settings, logs: Logs) -> Self {
        let at_app_root = settings.app_root.as_ref().is_none_or(|app| *app == settings.root);
        let site = Site {
            front_controller: settings.front_controller.clone(),
            single_script: settings.worker_script.is_some(),
            worker_script: settings.worker_script.as_ref().and_then(|script| {
                let below = script.strip_prefix(&settings.root).ok()?;
                Some(format!("/{}", below.to_str()?))
            }),
            has_side_pool: settings.side_pool.is_some(),
            index: settings.index.clone(),
            upload_folders: settings.upload_folders.clone(),
            at_app_root,
        };
        let seed = super::clock::time_of_day();
        Self {
            files: Files::new(&settings),
            pool: settings.pool.clone().map(Pool::start),
            side_pool: settings.side_pool.clone().map(Pool::start),
            counters: Counters::default(),
            meters: Default::default(),
            site,
            headers: Headers::new(&settings.rules.headers),
            spooled: Arc::default(),
            next_id: AtomicU64::new(0),
            id_prefix: format!("{:x}{:05x}", seed.as_secs(), seed.subsec_micros()),
            settings,
            logs,
        }
    }

    /// The pool behind the gateway.
    #[must_use]
    pub const fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    /// The pool beside the worker's.
    pub(crate) const fn side_pool(&self) -> Option<&Pool> {
        self.side_pool.as_ref()
    }

    /// All pools behind the gateway.
    pub fn pools(&self) -> impl Iterator<Item = &Pool> {
        self.pool.iter().chain(&self.side_pool)
    }

    /// The pool that runs `script`, and whether it is the one beside the worker's.
    pub(crate) fn pool_for(&self, script: &[u8]) -> (Option<&Pool>, bool) {
        let aside = self.site.is_aside(script);
        (if aside { self.side_pool() } else { self.pool.as_ref() }, aside)
    }

    /// What has happened since the start.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            open: load(&self.counters.open),
            connections: load(&self.counters.connections),
            requests: load(&self.counters.requests),
            answers: std::array::from_fn(|at| load(&self.counters.classes[at + 1])),
            pool: self.pool.as_ref().map(Pool::counts).unwrap_or_default(),
        }
    }

    /// Answers a request. `informational` is told of heads (103) that go before the answer.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        asked: &Arc<Asked>,
        body: InBody,
        ends: Ends,
        informational: Option<InformationalSink>,
    ) -> Reply {
        if ends.is_status {
            return self.tell_status(asked).await;
        }
        self.counters.requests.fetch_add(1, Ordering::Relaxed);
        let id = self.request_id(&asked.headers);
        let client =
            proxies::client(ends.peer.ip(), ends.tls, &asked.headers, &self.settings.trusted_proxies);
        let mut record = Record::new(self, asked, client.address, &id);
        let (target, bad) = match Target::parse(&asked.target) {
            Ok(target) => (target, None),
            Err(bad) => (Target::default(), Some(bad)),
        };
        let variables = Vec::new();
        let mut visit = Visit { asked, ends, target, client, id, informational, variables };
        let mut reply = match bad {
            Some(bad) => self.error(StatusCode::BAD_REQUEST, &visit, &bad.to_string()),
            None => self.answer_visit(&mut visit, body, &mut record).await,
        };
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(visit.id)) {
            reply.headers.insert(REQUEST_ID, value);
        }
        let status = reply.status.as_u16();
        self.counters.classes[usize::from(status / 100).min(5)].fetch_add(1, Ordering::Relaxed);
        record.status = status;
        reply.record = Some(record);
        reply
    }

    async fn answer_visit(&self, visit: &mut Visit<'_>, body: InBody, record: &mut Record) -> Reply {
        if let Some(refusal) = self.refusal(visit) {
            return refusal;
        }
        let root = match self.files.root() {
            Ok(root) => root,
            Err(fault) => {
                let detail =
                    format!("the document root {} cannot be read: {fault}", self.settings.root.display());
                self.logs.error(&detail);
                return self.error(StatusCode::INTERNAL_SERVER_ERROR, visit, &detail);
            }
        };
        if let Some(mut reply) = self.apply_rules(visit, &root) {
            self.headers.apply(&visit.target.path_text(), &mut reply.headers);
            return reply;
        }
        let visit = &*visit;
        let route = route::route(&visit.target, &self.site, |path| self.probe(&root, path));
        if let Route::Script { script, path_info } = route {
            let mut reply = self.run(visit, &root, &script, path_info, body, record).await;
            self.headers.apply(&String::from_utf8_lossy(&script), &mut reply.headers);
            return reply;
        }
        let mut reply = self.answer_without_php(visit, &root, &route);
        let path = if let Route::File(path) = &route { path } else { &visit.target.path };
        self.headers.apply(&String::from_utf8_lossy(path), &mut reply.headers);
        reply
    }

    /// The answer to what is refused before anything is looked at.
    fn refusal(&self, visit: &Visit<'_>) -> Option<Reply> {
        if !self.serves_host(visit) {
            let detail = "the host is none of [gateway] hosts";
            return Some(self.error(StatusCode::MISDIRECTED_REQUEST, visit, detail));
        }
        visit.asked.content_length.filter(|length| *length > self.settings.limits.body).map(|_| {
            let detail = format!("the body is larger than {} bytes", self.settings.limits.body);
            self.error(StatusCode::PAYLOAD_TOO_LARGE, visit, &detail)
        })
    }

    /// What lies at `path`, as far as a client may know.
    pub(crate) fn probe(&self, root: &Root, path: &[u8]) -> Found {
        let text = String::from_utf8_lossy(path);
        if self.settings.deny.matches(&text) {
            return Found::Nothing;
        }
        let access = &self.settings.rules.access;
        match self.files.probe(root, path) {
            Found::File if !access.is_empty() && access.denies(&text) => Found::Nothing,
            Found::Folder if !access.is_empty() && access.denies_folder(&text) => Found::Nothing,
            found => found,
        }
    }

    fn answer_without_php(&self, visit: &Visit<'_>, root: &Root, route: &Route<'_>) -> Reply {
        let nothing = |detail| self.error(StatusCode::NOT_FOUND, visit, detail);
        match route {
            Route::File(path) => send::from_root(&self.files, root, path, visit.asked)
                .unwrap_or_else(|| nothing("the file cannot be opened")),
            Route::AddSlash => add_slash(visit),
            Route::Script { .. } | Route::Nothing => nothing("no file, no script and no front controller"),
        }
    }

    fn serves_host(&self, visit: &Visit<'_>) -> bool {
        let hosts = &self.settings.hosts;
        if hosts.is_empty() {
            return true;
        }
        let host = visit.client.host.as_deref().unwrap_or_else(|| visit.asked.host());
        let (name, _) = split_port(host);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        hosts.iter().any(|known| match known.strip_prefix("*.") {
            Some(parent) => {
                name.strip_suffix(parent).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            None => known.eq_ignore_ascii_case(&name),
        })
    }

    /// The client's id when it is a plain one, else one of ours.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get(&REQUEST_ID).and_then(|value| value.to_str().ok());
        if let Some(given) = given.filter(|id| is_plain_id(id)) {
            return given.to_owned();
        }
        let number = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.id_prefix.len() + ID_DIGITS);
        id.push_str(&self.id_prefix);
        (0..ID_DIGITS).rev().for_each(|at| id.push(char::from(HEX[(number >> (4 * at)) as usize & 15])));
        id
    }

    pub(crate) fn error(&self, status: StatusCode, visit: &Visit<'_>, detail: &str) -> Reply {
        let detail = self.settings.explain_errors.then_some(detail);
        Reply::error(status, &visit.asked.headers, &visit.id, detail)
    }
}

/// What the id of a request is told by, to the gateway and by it.
const REQUEST_ID: header::HeaderName = header::HeaderName::from_static("x-request-id");

/// Digits that count requests, after those of the time when the gateway began.
const ID_DIGITS: usize = 10;
const HEX: &[u8; 16] = b"0123456789abcdef";

fn is_plain_id(id: &str) -> bool {
    (8..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A redirect to the same address with a slash. Only path and query, so that a proxy's scheme and port stay.
fn add_slash(visit: &Visit<'_>) -> Reply {
    let raw = visit.target.raw;
    let (path, query) = raw.split_at(raw.find('?').unwrap_or(raw.len()));
    // `//host` would lead to another site.
    let location = format!("/{}/{query}", path.trim_start_matches('/'));
    let reply = Reply::new(StatusCode::MOVED_PERMANENTLY, OutBody::Empty);
    // A rule has led to the folder: with a slash the address would be another one to the rule.
    match HeaderValue::from_str(&location).ok().filter(|_| !visit.target.is_rewritten()) {
        Some(value) => reply.with(header::LOCATION, value),
        None => Reply::new(StatusCode::NOT_FOUND, OutBody::Empty),
    }
}

/// Shares a gateway among connections.
pub(crate) type Shared = Arc<Gateway>;
