//! Requests that PHP answers: the body is taken in, a worker is asked, and what it leaves to the gateway is done.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::BodyExt;
use regie_pool::{Answer, AnswerBody, Body, Call, CallError, Head};

use super::ahead::PoolBody;
use super::body::{BodyError, InBody, OutBody, hear_out};
use super::compress;
use super::files::{FileBody, Root, Sendable};
use super::gateway::{Gateway, Visit};
use super::overflow::Room;
use super::record::{By, Record};
use super::reply::Reply;
use super::send;
use super::spool::{self, SpoolError, Taken};
use crate::accel::{self, Wanted};
use crate::media;
use crate::params::{self, Script};

const X_SENDFILE: &str = "x-sendfile";
const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
const X_ACCEL_REDIRECT: &str = "x-accel-redirect";

impl Gateway {
    /// Has PHP answer. `record` is told who was asked, and how long the request waited for a worker.
    pub(crate) async fn run(
        &self,
        visit: &Visit<'_>,
        root: &Root,
        script: &[u8],
        path_info: &[u8],
        body: InBody,
        record: &mut Record,
    ) -> Reply {
        let (pool, aside) = self.pool_for(script);
        let Some(pool) = pool else {
            let detail = "no pool runs PHP here";
            return self.error(StatusCode::SERVICE_UNAVAILABLE, visit, detail);
        };
        let (body, length) = match self.take_in(visit, body).await {
            Ok(taken) => taken,
            Err(reply) => return reply,
        };
        let worker = self.settings.worker_script.as_deref().filter(|_| !aside);
        let worker = worker.map(|worker| Cow::from(worker.as_os_str().as_bytes()));
        let file = worker.unwrap_or_else(|| [root.path.as_bytes(), script].concat().into());
        let script = Script {
            root: &root.path,
            name: script,
            file: &file,
            path_info,
            server_software: &self.settings.server_software,
            sendfile: true,
        };
        let head = self.head(visit, &script, length);
        let outlives = self.outlives(&visit.asked.method, &body);
        let call = Call { informational: visit.informational.clone(), outlives, ..Call::new(head, body) };
        // Told before: a client may leave while its request waits.
        record.by = if aside { By::SidePool } else { By::Pool };
        match pool.call(call).await {
            Ok(answer) => {
                record.queued = Some(answer.waited);
                self.finish(visit, root, answer)
            }
            Err(fault) => self.pool_error(visit, &fault),
        }
    }

    /// How long a request that waits for a worker outlives its client. Those who hang up at once (WordPress, which calls its
    /// own `wp-cron.php`) send one of these methods and little else.
    fn outlives(&self, method: &Method, body: &Body) -> Option<Duration> {
        let may = matches!(*method, Method::GET | Method::POST) && !matches!(body, Body::Stream(_));
        Some(self.settings.limits.hangup_grace).filter(|grace| may && !grace.is_zero())
    }

    fn head(&self, visit: &Visit<'_>, script: &Script<'_>, length: Option<u64>) -> Head {
        let asked = visit.asked;
        let request = params::Request {
            method: &asked.method,
            target: &visit.target,
            version: asked.version,
            headers: &asked.headers,
            content_length: length,
            client: &visit.client,
            peer: visit.ends.peer,
            local: visit.ends.local,
            host: asked.host(),
            request_id: &visit.id,
        };
        let mut head = Head::new();
        params::fill(&mut head, &request, script);
        for (name, value) in &visit.variables {
            head.push(name, value);
        }
        for (name, value) in &self.settings.params {
            head.push(name, value);
        }
        head
    }

    /// Takes the request's body in, and says how long it is.
    async fn take_in(&self, visit: &Visit<'_>, body: InBody) -> Result<(Body, Option<u64>), Reply> {
        let told = visit.asked.content_length;
        if matches!(body, InBody::Empty) || http_body::Body::is_end_stream(&body) {
            return Ok((Body::Empty, told.filter(|length| *length > 0)));
        }
        // PHP must be told the length first, so a body of unknown length is taken in either way.
        if !self.settings.buffer_requests && told.is_some() {
            return Ok((Body::Stream(Box::pin(body.map_err(Into::into))), told));
        }
        let limits = &self.settings.limits;
        let taken = spool::take_in(body, limits.body, limits.body_in_memory, &self.settings.spool_dir);
        let taken = Box::pin(taken).await;
        match taken {
            Ok(Taken::Memory(bytes)) => {
                let length = bytes.len() as u64;
                Ok((Body::Full(bytes), Some(length)))
            }
            Ok(Taken::Spooled(file, length)) => {
                Ok((Body::Stream(Box::pin(BodyExt::map_err(file, Into::into))), Some(length)))
            }
            Err(SpoolError::Body(fault)) => Err(self.error(status_of(fault), visit, &fault.to_string())),
            Err(SpoolError::Disk(fault)) => {
                let detail = format!(
                    "a request's body cannot be kept in {}: {fault}",
                    self.settings.spool_dir.display()
                );
                self.logs.error(&format!("{} {detail}", visit.id));
                Err(self.error(StatusCode::INSUFFICIENT_STORAGE, visit, &detail))
            }
        }
    }

    /// Makes a reply of what PHP said.
    fn finish(&self, visit: &Visit<'_>, root: &Root, answer: Answer<AnswerBody>) -> Reply {
        let Answer { status, mut headers, body, .. } = answer;
        let sendfile = headers.remove(X_SENDFILE);
        let redirect = headers.remove(X_ACCEL_REDIRECT);
        if sendfile.is_some() || redirect.is_some() {
            hear_out(body);
            return self.leave_file(visit, root, status, headers, sendfile.as_ref(), redirect.as_ref());
        }
        let body = match body.into_whole() {
            // PHP itself keeps the body back, and how long it would be.
            Ok(bytes) if bytes.is_empty() && visit.asked.method == Method::HEAD => OutBody::Untold,
            Ok(bytes) => OutBody::Full(bytes),
            Err(streamed) => {
                let (ahead, room) = (self.settings.limits.read_ahead, self.room_for(&headers));
                OutBody::Pool(Box::new(PoolBody::new(streamed, ahead, room, self.logs.clone())))
            }
        };
        headers.remove(X_ACCEL_BUFFERING);
        let reply = Reply { headers, ..Reply::new(status, body) };
        compress::compress(reply, &visit.asked.method, &visit.asked.headers, &self.settings.compression)
    }

    /// Where an answer waits for a slow client past what is kept in memory. Live streams do not wait.
    fn room_for(&self, headers: &HeaderMap) -> Option<Room> {
        let limits = &self.settings.limits;
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let is_live = value("content-type").trim_start().starts_with("text/event-stream")
            || value(X_ACCEL_BUFFERING).eq_ignore_ascii_case("no");
        (limits.answer_spool > 0 && !is_live).then(|| Room {
            dir: self.settings.spool_dir.as_path().into(),
            each: limits.answer_spool,
            all: limits.answer_spools,
            taken: self.spooled.clone(),
        })
    }

    fn leave_file(
        &self,
        visit: &Visit<'_>,
        root: &Root,
        status: StatusCode,
        mut headers: HeaderMap,
        sendfile: Option<&HeaderValue>,
        redirect: Option<&HeaderValue>,
    ) -> Reply {
        let wanted = match (redirect, sendfile) {
            (Some(address), _) => std::str::from_utf8(address.as_bytes())
                .map_or(Wanted::Refused, |address| accel::accel(address, &self.settings.accel)),
            (None, Some(path)) => accel::sendfile(path.as_bytes()),
            (None, None) => Wanted::Refused,
        };
        let Some(path) = self.allowed_file(root, &wanted) else {
            self.logs.error(&format!(
                "{} PHP wants a file sent that is not there or not allowed: {wanted:?}",
                visit.id
            ));
            return self.error(
                StatusCode::NOT_FOUND,
                visit,
                "the file that PHP names is not there or not allowed",
            );
        };
        let Ok(file) = Sendable::open(&path) else {
            return self.error(StatusCode::NOT_FOUND, visit, "the file that PHP names cannot be opened");
        };
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(X_ACCEL_BUFFERING);
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        // PHP sets text/html where the application said nothing.
        if !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media::type_of(&name)));
        }
        if status == StatusCode::OK {
            return send::send(&file, headers, visit.asked);
        }
        let mut reply = send::send(&file, headers, &visit.asked.without_conditions());
        reply.status = status;
        reply
    }

    /// The real file, when PHP may have it sent.
    fn allowed_file(&self, root: &Root, wanted: &Wanted) -> Option<PathBuf> {
        match wanted {
            Wanted::Anywhere(path) => {
                let real = path.canonicalize().ok()?;
                let below =
                    |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
                let ours = root.holds(&real) || self.settings.sendfile_roots.iter().any(below);
                ours.then_some(real)
            }
            Wanted::Below(folder, rest) => {
                let folder = folder.canonicalize().ok()?;
                // It is normalised: one slash at its start.
                let rest = OsStr::from_bytes(rest.strip_prefix(b"/").unwrap_or(rest));
                let real = folder.join(rest).canonicalize().ok()?;
                real.starts_with(&folder).then_some(real)
            }
            Wanted::InRoot(path) => root.resolve(path).map(|(real, _)| real),
            Wanted::Refused => None,
        }
    }

    fn pool_error(&self, visit: &Visit<'_>, fault: &CallError) -> Reply {
        let path = visit.target.path_text();
        self.logs.error(&format!("{} {} {path}: {fault}", visit.id, visit.asked.method));
        let mut reply = self.error(fault.status(), visit, &fault.to_string());
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

impl FileBody {
    /// All of a file that was just written.
    pub(crate) fn of(file: std::fs::File, len: u64) -> Self {
        Self::new(&std::sync::Arc::new(file), 0, len)
    }
}
