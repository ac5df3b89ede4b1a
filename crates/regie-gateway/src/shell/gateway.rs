//! From a request to its answer, whichever protocol carries them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt;
use regie_pool::{Body, Call, CallError, Head, Pool};

use super::body::{BodyError, InBody, OutBody};
use super::files::{FileBody, Files, OpenFile, Root};
use super::log::Logs;
use super::reply::Reply;
use crate::media;
use crate::params::{self, Script};
use crate::proxies::{self, Client};
use crate::route::{self, Route, Site};
use crate::settings::Settings;
use crate::target::Target;

/// A gateway that is ready to serve connections.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) settings: Settings,
    pub(crate) logs: Logs,
    site: Site,
    files: Files,
    pool: Option<Pool>,
    next_id: AtomicU64,
    id_prefix: String,
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

/// Both ends of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tls: bool,
}

/// A request on its way through the gateway.
struct Visit<'a> {
    asked: &'a Asked,
    ends: Ends,
    target: Target,
    client: Client,
    id: String,
}

impl Gateway {
    /// Prepares a gateway on the current runtime, and its pool with it.
    #[must_use]
    pub fn new(settings: Settings, logs: Logs) -> Self {
        let at_app_root = settings.app_root.as_ref().is_none_or(|app| *app == settings.root);
        let site = Site {
            front_controller: settings.front_controller.clone(),
            single_script: settings.worker_script.is_some(),
            index: settings.index.clone(),
            upload_folders: settings.upload_folders.clone(),
            at_app_root,
        };
        let seed = super::clock::time_of_day();
        Self {
            files: Files::new(&settings),
            pool: settings.pool.clone().map(Pool::start),
            site,
            next_id: AtomicU64::new(0),
            id_prefix: format!("{:x}{:05x}", seed.as_secs(), seed.subsec_micros()),
            settings,
            logs,
        }
    }

    /// The pool behind the gateway.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.as_ref()
    }

    pub(crate) async fn answer(&self, asked: &Asked, body: InBody, ends: Ends) -> Reply {
        let id = self.request_id(&asked.headers);
        let mut reply = self.answer_as(asked, body, ends, &id).await;
        if let Ok(value) = HeaderValue::from_str(&id) {
            reply.headers.insert("x-request-id", value);
        }
        reply
    }

    async fn answer_as(&self, asked: &Asked, body: InBody, ends: Ends, id: &str) -> Reply {
        let error = |status, detail: &str| self.error(status, &asked.headers, id, detail);
        if asked.content_length.is_some_and(|length| length > self.settings.limits.body) {
            return error(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than the limit");
        }
        let target = match Target::parse(&asked.target) {
            Ok(target) => target,
            Err(bad) => return error(StatusCode::BAD_REQUEST, &bad.to_string()),
        };
        let root = match self.files.root() {
            Ok(root) => root,
            Err(fault) => {
                let fault =
                    format!("the document root {} cannot be read: {fault}", self.settings.root.display());
                self.logs.error(&fault);
                return error(StatusCode::INTERNAL_SERVER_ERROR, &fault);
            }
        };
        let client =
            proxies::client(ends.peer.ip(), ends.tls, &asked.headers, &self.settings.trusted_proxies);
        let visit = Visit { asked, ends, target, client, id: id.to_owned() };
        match route::route(&visit.target, &self.site, |path| self.files.probe(&root, path)) {
            Route::File(path) => self.send_file(&visit, &root, &path),
            Route::Script { script, path_info } => self.run(&visit, &root, &script, &path_info, body).await,
            Route::AddSlash => add_slash(&visit),
            Route::Nothing => error(StatusCode::NOT_FOUND, "no file, no script and no front controller"),
        }
    }

    /// The client's id when it is a plain one, else one of ours.
    fn request_id(&self, headers: &HeaderMap) -> String {
        let given = headers.get("x-request-id").and_then(|value| value.to_str().ok());
        if let Some(given) = given.filter(|id| is_plain_id(id)) {
            return given.to_owned();
        }
        format!("{}{:06x}", self.id_prefix, self.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn error(&self, status: StatusCode, headers: &HeaderMap, id: &str, detail: &str) -> Reply {
        Reply::error(status, headers, id, self.settings.explain_errors.then_some(detail))
    }

    fn send_file(&self, visit: &Visit<'_>, root: &Root, path: &str) -> Reply {
        let Ok(open) = OpenFile::open_below(root, path) else {
            return self.error(StatusCode::NOT_FOUND, &visit.asked.headers, &visit.id, "the file is gone");
        };
        let body = FileBody::new(&open, 0, open.size);
        let body = match body.read_small() {
            Some(Ok(bytes)) => OutBody::Full(bytes),
            Some(Err(_)) | None => OutBody::File(body),
        };
        Reply::new(StatusCode::OK, body)
            .with(header::CONTENT_TYPE, HeaderValue::from_static(media::type_of(path)))
    }

    async fn run(
        &self,
        visit: &Visit<'_>,
        root: &Root,
        script: &str,
        path_info: &str,
        body: InBody,
    ) -> Reply {
        let error = |status, detail: &str| self.error(status, &visit.asked.headers, &visit.id, detail);
        let Some(pool) = &self.pool else {
            return error(StatusCode::SERVICE_UNAVAILABLE, "no pool runs PHP here");
        };
        let (body, length) = match self.take_in(visit.asked, body).await {
            Ok(taken) => taken,
            Err(fault) => return error(status_of(fault), &fault.to_string()),
        };
        let head = self.head(visit, root, script, path_info, length);
        match pool.call(Call::new(head, body)).await {
            Ok(answer) => {
                let body = match answer.body.into_whole() {
                    Ok(bytes) => OutBody::Full(bytes),
                    Err(streamed) => OutBody::Pool(streamed),
                };
                Reply { status: answer.status, headers: answer.headers, body, close: false }
            }
            Err(fault) => self.pool_error(visit, &fault),
        }
    }

    fn head(
        &self,
        visit: &Visit<'_>,
        root: &Root,
        script: &str,
        path_info: &str,
        length: Option<u64>,
    ) -> Head {
        let asked = visit.asked;
        let host = asked.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let file = match &self.settings.worker_script {
            Some(worker) => worker.to_string_lossy().into_owned(),
            None => [&root.path, script].concat(),
        };
        let request = params::Request {
            method: &asked.method,
            target: &visit.target,
            version: asked.version,
            headers: &asked.headers,
            content_length: length,
            client: &visit.client,
            peer: visit.ends.peer,
            local: visit.ends.local,
            host: asked.authority.as_deref().or(host).unwrap_or(""),
            request_id: &visit.id,
        };
        let script = Script {
            root: &root.path,
            name: script,
            file: &file,
            path_info,
            server_software: &self.settings.server_software,
            sendfile: true,
        };
        let mut head = Head::new();
        params::fill(&mut head, &request, &script);
        for (name, value) in &self.settings.params {
            head.push(name, value);
        }
        head
    }

    /// Takes the request's body in, and says how long it is.
    async fn take_in(&self, asked: &Asked, body: InBody) -> Result<(Body, Option<u64>), BodyError> {
        if matches!(body, InBody::Empty) || http_body::Body::is_end_stream(&body) {
            return Ok((Body::Empty, asked.content_length.filter(|length| *length > 0)));
        }
        let bytes = body.collect().await?.to_bytes();
        let length = bytes.len() as u64;
        Ok((Body::Full(bytes), Some(length)))
    }

    fn pool_error(&self, visit: &Visit<'_>, fault: &CallError) -> Reply {
        self.logs.error(&format!("{} {} {}: {fault}", visit.id, visit.asked.method, visit.target.path));
        let mut reply = self.error(fault.status(), &visit.asked.headers, &visit.id, &fault.to_string());
        if let Some(after) = fault.retry_after() {
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        reply
    }
}

fn status_of(fault: BodyError) -> StatusCode {
    match fault {
        BodyError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        BodyError::Timeout => StatusCode::REQUEST_TIMEOUT,
        BodyError::Malformed | BodyError::Gone => StatusCode::BAD_REQUEST,
    }
}

fn is_plain_id(id: &str) -> bool {
    (8..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A redirect to the same address with a slash. Only path and query, so that a proxy's scheme and port stay.
fn add_slash(visit: &Visit<'_>) -> Reply {
    let raw = &visit.target.raw;
    let (path, query) = raw.split_at(raw.find('?').unwrap_or(raw.len()));
    // `//host` would lead to another site.
    let location = format!("/{}/{query}", path.trim_start_matches('/'));
    let reply = Reply::new(StatusCode::MOVED_PERMANENTLY, OutBody::Empty);
    match HeaderValue::from_str(&location) {
        Ok(value) => reply.with(header::LOCATION, value),
        Err(_) => Reply::new(StatusCode::NOT_FOUND, OutBody::Empty),
    }
}

/// Shares a gateway among connections.
pub(crate) type Shared = Arc<Gateway>;
