//! One HTTP/2 connection, in clear text with prior knowledge. hyper speaks the protocol; requests take the same way
//! through the gateway as those of HTTP/1.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use regie_pool::BoxError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::body::{H2Body, InBody, OutBody};
use super::gateway::{Asked, Ends, Shared};
use super::record::Record;
use super::server::Drain;
use super::stream::Stream;

/// A client that does not answer a ping for so long is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Serves `stream`, of which `read` was read already.
pub(crate) async fn serve(gateway: Shared, stream: Stream, read: BytesMut, ends: Ends, drain: &Drain) {
    let limits = gateway.settings.limits;
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(answer(&gateway, request, ends).await) }
    });
    let mut draining = std::pin::pin!(drain.notified());
    draining.as_mut().enable();
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT)
        .serve_connection(TokioIo::new(Rewound { read, stream }), service);
    let mut connection = std::pin::pin!(connection);
    if !drain.is_on() {
        tokio::select! {
            _ = connection.as_mut() => return,
            () = draining => {}
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

async fn answer(gateway: &Shared, request: Request<hyper::body::Incoming>, ends: Ends) -> Response<Recorded> {
    let (parts, body) = request.into_parts();
    let mut headers = parts.headers;
    if let Some(authority) = parts.uri.authority()
        && let Ok(host) = authority.as_str().parse()
    {
        headers.insert(header::HOST, host);
    }
    join_cookies(&mut headers);
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let empty = http_body::Body::is_end_stream(&body);
    let asked = Arc::new(Asked {
        method: parts.method,
        target: parts.uri.path_and_query().map_or_else(|| "*".to_owned(), ToString::to_string),
        authority: parts.uri.authority().map(ToString::to_string),
        version: parts.version,
        headers,
        content_length: if empty { Some(0) } else { length },
    });
    let body = if empty {
        InBody::Empty
    } else {
        InBody::H2(Box::new(H2Body::new(body, gateway.settings.limits.body_timeout)))
    };
    // hyper cannot send informational heads from a server, so 103 is heard by HTTP/1.1 clients only.
    let mut reply = gateway.answer(&asked, body, ends, None).await;
    let bodiless = asked.method == Method::HEAD
        || matches!(reply.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if bodiless && matches!(reply.body, OutBody::Pool(_)) {
        std::mem::replace(&mut reply.body, OutBody::Empty).hear_out();
    }
    let body = reply.body.pumped(gateway.settings.limits.write_timeout);
    let mut response = Response::new(Recorded { body, record: reply.record.take() });
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"] {
        headers.remove(name);
    }
    response
}

/// A body that tells the access log how much of it was sent.
struct Recorded {
    body: OutBody,
    record: Option<Box<Record>>,
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let (Some(Ok(frame)), Some(record)) = (&polled, &mut this.record) {
            record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// HTTP/2 clients split cookies (RFC 9113, 8.2.3); applications want one header.
fn join_cookies(headers: &mut http::HeaderMap) {
    let cookies: Vec<&[u8]> =
        headers.get_all(header::COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = http::HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        headers.insert(header::COOKIE, joined);
    }
}

/// A socket that begins with bytes that were read from it already.
struct Rewound {
    read: BytesMut,
    stream: Stream,
}

impl AsyncRead for Rewound {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.read.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buffer);
        }
        let count = this.read.len().min(buffer.remaining());
        buffer.put_slice(&this.read[..count]);
        this.read.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
