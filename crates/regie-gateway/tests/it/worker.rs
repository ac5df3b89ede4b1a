//! Workers that do what a test tells them: FastCGI over a Unix socket, a thread each, as regie-php's do.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use regie_fastcgi::record::{self, EndRequest};
use regie_fastcgi::{Framer, Kind, Step, management, params};

/// A request as a worker sees it.
pub(crate) struct Request<'a> {
    pub(crate) params: HashMap<String, String>,
    connection: &'a mut Wire,
    /// Whether the body was read to its end.
    body_done: bool,
}

pub(crate) struct Wire {
    stream: UnixStream,
    framer: Framer,
    input: Vec<u8>,
}

/// What a handler wants of its worker afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// End the request and wait for the next.
    Stay,
    /// End the request and say goodbye in the same write.
    Leave,
    /// End the request and close without a goodbye.
    HangUp,
    /// Close without a word.
    Die,
}

pub(crate) type Handler = Arc<dyn Fn(&mut Request<'_>) -> After + Send + Sync>;

pub(crate) struct FakePool {
    pub(crate) address: String,
    pub(crate) busy: Arc<AtomicUsize>,
    pub(crate) accepted: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl FakePool {
    pub(crate) fn start(
        workers: usize,
        handler: impl Fn(&mut Request<'_>) -> After + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path: PathBuf = dir.path().join("pool.sock");
        let listener = Arc::new(UnixListener::bind(&path).unwrap());
        let handler: Handler = Arc::new(handler);
        let (busy, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for _ in 0..workers {
            let (listener, handler) = (listener.clone(), handler.clone());
            let (busy, accepted) = (busy.clone(), accepted.clone());
            std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    accepted.fetch_add(1, Ordering::SeqCst);
                    let mut wire = Wire { stream, framer: Framer::default(), input: Vec::new() };
                    while wire.serve(workers, &handler, &busy) == Some(After::Stay) {}
                }
            });
        }
        Self { address: format!("unix:{}", path.display()), busy, accepted, _dir: dir }
    }
}

enum Event {
    Params(Vec<u8>),
    ParamsEnd,
    Stdin(Vec<u8>),
    StdinEnd,
    Values(Vec<u8>),
    Other,
}

impl Wire {
    fn next(&mut self) -> Option<Event> {
        loop {
            let (taken, event) = match self.framer.step(&self.input).unwrap() {
                (taken, Step::NeedMore) => (taken, None),
                (taken, Step::Piece { kind: Kind::Params, data, .. }) => {
                    (taken, Some(Event::Params(data.to_vec())))
                }
                (taken, Step::Piece { kind: Kind::Stdin, data, .. }) => {
                    (taken, Some(Event::Stdin(data.to_vec())))
                }
                (taken, Step::StreamEnd { kind: Kind::Params, .. }) => (taken, Some(Event::ParamsEnd)),
                (taken, Step::StreamEnd { kind: Kind::Stdin, .. }) => (taken, Some(Event::StdinEnd)),
                (taken, Step::Record { kind: Kind::GetValues, body, .. }) => {
                    (taken, Some(Event::Values(body.to_vec())))
                }
                (taken, _) => (taken, Some(Event::Other)),
            };
            self.input.drain(..taken);
            if event.is_some() {
                return event;
            }
            let mut piece = [0; 65_536];
            match self.stream.read(&mut piece) {
                Ok(read) if read > 0 => self.input.extend_from_slice(&piece[..read]),
                _ => return None,
            }
        }
    }

    /// Serves one request; none when the client has closed.
    fn serve(&mut self, workers: usize, handler: &Handler, busy: &AtomicUsize) -> Option<After> {
        let mut pairs = Vec::new();
        loop {
            match self.next()? {
                Event::Values(body) => {
                    self.stream.write_all(&management::answer_values(&body, workers)).ok()?;
                }
                Event::Params(data) => pairs.extend_from_slice(&data),
                Event::ParamsEnd => break,
                _ => {}
            }
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let params =
            params::pairs(&pairs).map(|pair| pair.unwrap()).map(|(n, v)| (text(n), text(v))).collect();
        busy.fetch_add(1, Ordering::SeqCst);
        let mut request = Request { params, connection: self, body_done: false };
        let after = handler(&mut request);
        if after != After::Die {
            let _ = request.body();
        }
        busy.fetch_sub(1, Ordering::SeqCst);
        let mut end = EndRequest::COMPLETE.to_record(1).to_vec();
        match after {
            After::Stay | After::HangUp => self.stream.write_all(&end).ok()?,
            After::Leave => {
                end.extend_from_slice(&management::GOAWAY);
                self.stream.write_all(&end).ok()?;
                // A request that crossed on the wire is served all the same; then the end of the connection.
                return self.serve(workers, handler, busy).map(|_| After::Leave);
            }
            After::Die => {}
        }
        Some(after)
    }
}

impl Request<'_> {
    pub(crate) fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }

    /// The next piece of the body.
    pub(crate) fn read(&mut self) -> Option<Vec<u8>> {
        while !self.body_done {
            match self.connection.next() {
                Some(Event::Stdin(data)) => return Some(data),
                Some(Event::StdinEnd) | None => self.body_done = true,
                Some(_) => {}
            }
        }
        None
    }

    pub(crate) fn body(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.read()).flatten().collect()
    }

    /// Writes to the answer; false when nobody listens.
    pub(crate) fn say(&mut self, text: impl AsRef<[u8]>) -> bool {
        let mut out = Vec::new();
        record::put_stream(&mut out, Kind::Stdout, 1, text.as_ref());
        self.connection.stream.write_all(&out).is_ok()
    }

    pub(crate) fn complain(&mut self, text: &str) {
        let mut out = Vec::new();
        record::put_stream(&mut out, Kind::Stderr, 1, text.as_bytes());
        let _ = self.connection.stream.write_all(&out);
    }

    /// Waits until the other side closes.
    pub(crate) fn wait_for_close(&mut self) {
        while self.connection.next().is_some() {}
    }
}
