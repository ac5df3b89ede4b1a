//! Gzip for what PHP answers. A flush in PHP is a flush here: whenever the application pauses, what it has written so
//! far leaves in a form that the client can unpack.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body::{Body, Frame};
use regie_pool::BoxError;

use super::body::OutBody;
use super::reply::Reply;
use crate::encoding::{Accepted, Coding};
use crate::media;

/// Whole bodies below this size are sent as they are: the head would outweigh the gain.
const WORTH_IT: u64 = 1_024;

/// Compressed bytes that are gathered before they are sent on.
const PIECE: usize = 16 * 1024;

/// Fast and nearly as good as the slow levels on pages of text.
const LEVEL: Compression = Compression::new(4);

/// Compresses `reply` when the client takes it and there is something to gain.
pub(crate) fn compress(reply: Reply, method: &Method, asked: &HeaderMap) -> Reply {
    if !is_eligible(&reply) {
        return reply;
    }
    let mut reply = reply;
    add_vary(&mut reply.headers);
    let wanted = Accepted::read(asked).best(|coding| coding == Coding::Gzip).is_some();
    if !wanted || *method == Method::HEAD {
        return reply;
    }
    reply.headers.remove(header::CONTENT_LENGTH);
    reply.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(Coding::Gzip.name()));
    weaken_etag(&mut reply.headers);
    reply.body = match reply.body {
        OutBody::Full(bytes) => whole(&bytes),
        body => OutBody::Boxed(Box::pin(Gzip::new(body))),
    };
    reply
}

fn is_eligible(reply: &Reply) -> bool {
    let headers = &reply.headers;
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let told = text(header::CONTENT_LENGTH).parse().ok();
    let large_enough = reply.body.known_length().or(told).is_none_or(|length| length >= WORTH_IT);
    large_enough
        && !matches!(
            reply.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT
        )
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

fn whole(bytes: &[u8]) -> OutBody {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 3), LEVEL);
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    OutBody::Full(written.expect("writing to memory does not fail").into())
}

struct Gzip {
    body: OutBody,
    /// None once the end was written.
    encoder: Option<GzEncoder<Vec<u8>>>,
    /// Whether the encoder holds bytes that were not flushed.
    holds: bool,
}

impl Gzip {
    fn new(body: OutBody) -> Self {
        Self { body, encoder: Some(GzEncoder::new(Vec::new(), LEVEL)), holds: false }
    }
}

impl Body for Gzip {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let Some(encoder) = &mut this.encoder else { return Poll::Ready(None) };
            match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    encoder.write_all(&data)?;
                    this.holds = true;
                    if encoder.get_ref().len() >= PIECE {
                        return piece(encoder);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    this.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(None) => {
                    let Some(encoder) = this.encoder.take() else { return Poll::Ready(None) };
                    let rest = encoder.finish()?;
                    return Poll::Ready(Some(Ok(Frame::data(rest.into()))));
                }
                Poll::Pending if this.holds => {
                    this.holds = false;
                    encoder.flush()?;
                    return piece(encoder);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn piece(encoder: &mut GzEncoder<Vec<u8>>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
    let bytes = std::mem::take(encoder.get_mut());
    Poll::Ready(Some(io::Result::Ok(Frame::data(bytes.into())).map_err(Into::into)))
}
