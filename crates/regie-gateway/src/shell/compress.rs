//! Compression of what PHP answers. A flush in PHP is a flush here: whenever the application pauses, what it has written
//! so far leaves in a form that the client can unpack.
//!
//! Which form is sent depends on `Accept-Encoding`, so `Vary` names it wherever a compressed form may exist: with the
//! plain form, and with 304, too. A compressed form is another sequence of bytes, so its `ETag` is made a weak one (RFC
//! 9110, 8.8.1); the application still recognises it, as conditions on `GET` are compared weakly.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::Body;
use regie_pool::BoxError;

use super::body::OutBody;
use super::coder::{self, Coder};
use super::reply::Reply;
use crate::encoding::{Accepted, Coding};
use crate::media;

/// Whole bodies below this size are sent as they are: the head would outweigh the gain.
const WORTH_IT: u64 = 1_024;

/// Compressed bytes that are gathered before they are sent on.
const PIECE: usize = 16 * 1024;

/// Compresses `reply` when the client takes one of the codings `offered` and there is something to gain.
pub(crate) fn compress(mut reply: Reply, method: &Method, asked: &HeaderMap, offered: &[Coding]) -> Reply {
    if offered.is_empty() {
        return reply;
    }
    if reply.status == StatusCode::NOT_MODIFIED {
        not_modified(&mut reply.headers, asked);
        return reply;
    }
    if !is_eligible(&reply) {
        return reply;
    }
    add_vary(&mut reply.headers);
    let Some(coding) = Accepted::read(asked).best(offered) else { return reply };
    // Whether the body would be worth it is known only where its length is.
    if *method == Method::HEAD && !reply.headers.contains_key(header::CONTENT_LENGTH) {
        return reply;
    }
    let coded = match reply.body {
        OutBody::Full(_) if *method == Method::HEAD => Ok(OutBody::Untold),
        body if *method == Method::HEAD => Ok(body),
        OutBody::Full(bytes) => coder::whole(coding, &bytes)
            .map(|coded| OutBody::Full(coded.into()))
            .map_err(|_| OutBody::Full(bytes)),
        body => match Coder::new(coding) {
            Ok(coder) => Ok(OutBody::Coded(Box::new(CodedBody { body, coder: Some(coder), holds: false }))),
            Err(_) => Err(body),
        },
    };
    match coded {
        Ok(body) => reply.body = body,
        // There was no memory for it.
        Err(plain) => {
            reply.body = plain;
            return reply;
        }
    }
    reply.headers.remove(header::CONTENT_LENGTH);
    reply.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    weaken_etag(&mut reply.headers);
    reply
}

/// The answer that the client keeps was compressed when the tag that it sends is our weak form of the application's.
fn not_modified(headers: &mut HeaderMap, asked: &HeaderMap) {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok());
    if !media.is_none_or(media::is_compressible) {
        return;
    }
    add_vary(headers);
    let Some(etag) = headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()) else { return };
    let weak = format!("W/{etag}");
    let kept = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok());
    if kept.into_iter().any(|tags| tags.contains(&weak)) {
        weaken_etag(headers);
    }
}

fn is_eligible(reply: &Reply) -> bool {
    let headers = &reply.headers;
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let told = text(header::CONTENT_LENGTH).parse().ok();
    let large_enough = reply.body.known_length().or(told).is_none_or(|length| length >= WORTH_IT);
    large_enough
        && !matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT)
        && !headers.contains_key(header::CONTENT_ENCODING)
        && !text(header::CACHE_CONTROL).contains("no-transform")
        && media::is_compressible(text(header::CONTENT_TYPE))
}

pub(crate) fn add_vary(headers: &mut HeaderMap) {
    let named = headers.get_all(header::VARY).iter().any(|value| {
        let value = value.to_str().unwrap_or("").to_ascii_lowercase();
        value.contains("accept-encoding") || value.trim() == "*"
    });
    if !named {
        headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
}

/// The compressed form is another sequence of bytes (RFC 9110, 8.8.1).
fn weaken_etag(headers: &mut HeaderMap) {
    let strong =
        headers.get(header::ETAG).and_then(|etag| etag.to_str().ok()).filter(|etag| etag.starts_with('"'));
    if let Some(weak) = strong.and_then(|etag| HeaderValue::from_str(&format!("W/{etag}")).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

/// A body that is compressed as it comes.
#[derive(Debug)]
pub(crate) struct CodedBody {
    body: OutBody,
    /// None once the end was written.
    coder: Option<Coder>,
    /// Whether the coder holds bytes that were not flushed.
    holds: bool,
}

impl CodedBody {
    /// The body as it comes from the application.
    pub(crate) const fn plain(&mut self) -> &mut OutBody {
        &mut self.body
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.coder.is_none()
    }

    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BoxError>>> {
        loop {
            let Some(coder) = &mut self.coder else { return Poll::Ready(None) };
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    coder.write(&frame.into_data().unwrap_or_default())?;
                    self.holds = true;
                    if coder.ready() >= PIECE {
                        return Poll::Ready(Some(Ok(coder.take().into())));
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    self.coder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let rest = self.coder.take().map(Coder::finish).transpose()?.unwrap_or_default();
                    return Poll::Ready(Some(Ok(rest.into())));
                }
                Poll::Pending if self.holds => {
                    self.holds = false;
                    coder.flush()?;
                    return Poll::Ready(Some(Ok(coder.take().into())));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}
