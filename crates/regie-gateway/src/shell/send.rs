//! Sending a file: which form of it, which part of it, or that the client has it already.

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::body::OutBody;
use super::compress::add_vary;
use super::files::{FileBody, Files, Root, Sendable};
use super::gateway::Asked;
use super::reply::Reply;
use crate::conditional::{self, Condition, Part};
use crate::encoding::{Accepted, Coding};
use crate::media;
use crate::route::Found;

/// Answers with the file at `path` below the root, in a compressed form when one lies beside it and the client takes
/// it. None = the file is gone.
pub(crate) fn from_root(files: &Files, root: &Root, path: &[u8], asked: &Asked) -> Option<Reply> {
    if !matches!(asked.method, Method::GET | Method::HEAD) {
        let allow = HeaderValue::from_static("GET, HEAD");
        return Some(Reply::new(StatusCode::METHOD_NOT_ALLOWED, OutBody::Empty).with(header::ALLOW, allow));
    }
    let media = media::type_of(&String::from_utf8_lossy(path));
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    if media::is_compressible(media) {
        let beside = |coding: Coding| [path, coding.ending().as_bytes()].concat();
        let has = |coding: Coding| files.probe(root, &beside(coding)) == Found::File;
        let there: Vec<Coding> = Coding::ALL.into_iter().filter(|coding| has(*coding)).collect();
        if !there.is_empty() {
            add_vary(&mut headers);
            let best = Accepted::read(&asked.headers).best(&there);
            let form = best.and_then(|coding| {
                let file = files.open(root, &beside(coding), coding.name()).ok()?;
                Some((coding, file))
            });
            if let Some((coding, file)) = form {
                headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
                return Some(send(&file, headers, asked));
            }
        }
    }
    let file = files.open(root, path, "").ok()?;
    Some(send(&file, headers, asked))
}

/// Answers with `file`, with the conditions and ranges of the request honoured. `headers` are those that belong to the
/// file whatever part of it is sent.
pub(crate) fn send(file: &Sendable, mut headers: HeaderMap, asked: &Asked) -> Reply {
    let (validators, size) = (file.validators(), file.size());
    headers.entry(header::ETAG).or_insert_with(|| validators.etag.clone());
    headers.entry(header::LAST_MODIFIED).or_insert_with(|| validators.last_modified.clone());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let reply = |status, headers, body| Reply { headers, ..Reply::new(status, body) };
    match conditional::weigh(&asked.method, &asked.headers, validators) {
        Condition::Proceed => {}
        Condition::NotModified => {
            headers.remove(header::CONTENT_TYPE);
            return reply(StatusCode::NOT_MODIFIED, headers, OutBody::Empty);
        }
        Condition::Failed => return reply(StatusCode::PRECONDITION_FAILED, HeaderMap::new(), OutBody::Empty),
    }
    let part = match asked.method {
        Method::GET => conditional::part(&asked.headers, validators, size),
        _ => Part::Whole,
    };
    match part {
        Part::Whole => reply(StatusCode::OK, headers, file.body(0, size)),
        Part::Range { from, len } => {
            let range = format!("bytes {from}-{}/{size}", from + len - 1);
            headers.extend(HeaderValue::from_str(&range).ok().map(|range| (header::CONTENT_RANGE, range)));
            reply(StatusCode::PARTIAL_CONTENT, headers, file.body(from, len))
        }
        Part::Unsatisfiable => {
            let range = HeaderValue::from_str(&format!("bytes */{size}")).ok();
            let headers = range.map(|range| (header::CONTENT_RANGE, range)).into_iter().collect();
            reply(StatusCode::RANGE_NOT_SATISFIABLE, headers, OutBody::Empty)
        }
    }
}

impl Sendable {
    fn body(&self, from: u64, len: u64) -> OutBody {
        match self {
            Self::Small(file) => {
                let bounds = usize::try_from(from).ok().zip(usize::try_from(len).ok());
                bounds.map_or(OutBody::Empty, |(from, len)| OutBody::Full(file.bytes.slice(from..from + len)))
            }
            Self::Large(file, _) => OutBody::File(FileBody::new(file, from, len)),
        }
    }
}
