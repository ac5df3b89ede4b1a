//! Our reading of HTTP/1.1 against hyper's: where both take a message, both take the same one. Mutations come from a
//! seed that a failure names.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Empty};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use regie_gateway::http1::chunked::{Decoder, Piece};
use regie_gateway::http1::head::{self, Framing};
use tokio::io::AsyncWriteExt;

/// Method, target and body of the first message; none when it is refused or not whole.
type Reading = Option<(String, String, Vec<u8>)>;

fn ours(text: &[u8]) -> Reading {
    let mut input = BytesMut::from(text);
    let head = head::take(&mut input, 65_536).ok()??;
    let mut body = Vec::new();
    match head.framing {
        Framing::Length(length) => body = input.get(..usize::try_from(length).ok()?)?.to_vec(),
        Framing::Chunked => {
            let mut decoder = Decoder::default();
            loop {
                match decoder.take(&mut input).ok()? {
                    Piece::Data(data) => body.extend_from_slice(&data),
                    Piece::NeedMore => return None,
                    Piece::End => break,
                }
            }
        }
    }
    let target = head.target.split('#').next().unwrap_or_default().to_owned();
    Some((head.method.to_string(), target, body))
}

async fn hypers(text: &[u8]) -> Reading {
    let (mut client, server) = tokio::io::duplex(65_536);
    client.write_all(text).await.unwrap();
    client.shutdown().await.unwrap();
    let heard: Arc<Mutex<Option<Reading>>> = Arc::default();
    let hear = heard.clone();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let hear = hear.clone();
        async move {
            let (parts, body) = request.into_parts();
            let target = parts.uri.path_and_query().map_or_else(|| "*".into(), ToString::to_string);
            let reading = body
                .collect()
                .await
                .ok()
                .map(|body| (parts.method.to_string(), target, body.to_bytes().to_vec()));
            hear.lock().unwrap().get_or_insert(reading);
            Ok::<_, std::convert::Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let connection = http1::Builder::new().half_close(true).serve_connection(TokioIo::new(server), service);
    let drain = async {
        let mut answers = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut client, &mut answers).await;
    };
    let _ = tokio::join!(connection, drain);
    heard.lock().unwrap().take().flatten()
}

const MESSAGES: [&str; 7] = [
    "GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;e=x\r\n world\r\n0\r\nT: r\r\n\r\n",
    "PUT / HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\nabc",
    "GET http://h/x HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n1\r\na\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
];

const BITS: [&str; 20] = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    "\0",
    ":",
    ";",
    ",",
    "0",
    "a",
    "chunked",
    "Content-Length: 1\r\n",
    "-",
    "+",
    "\u{b}",
    "Transfer-Encoding: chunked\r\n",
    "Host: x\r\n",
    "\r\n\r\n",
    "0x",
];

#[test]
fn both_read_the_same_message() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (seed, mut both, mut only_hyper) = (0x5eed_2026_u64, 0, 0);
    let mut state = seed;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    for round in 0..6_000 {
        let mut text = MESSAGES[random(MESSAGES.len())].as_bytes().to_vec();
        for _ in 0..random(4) {
            let at = random(text.len());
            match random(4) {
                0 => drop(text.remove(at)),
                1 => text[at] = u8::try_from(random(256)).unwrap(),
                _ => drop(text.splice(at..at, BITS[random(BITS.len())].bytes())),
            }
        }
        let (ours, hypers) = (ours(&text), runtime.block_on(hypers(&text)));
        match (&ours, &hypers) {
            (Some(_), Some(_)) => {
                both += 1;
                assert_eq!(ours, hypers, "seed {seed}, round {round}: {:?}", String::from_utf8_lossy(&text));
            }
            (None, Some(_)) => only_hyper += 1,
            _ => {}
        }
    }
    assert!(both > 1_000, "{both} messages were taken by both");
    assert!(only_hyper > 100, "{only_hyper} ambiguous messages were refused by us alone");
}
