//! Connections to the control line. A slow, silent or babbling client hurts only itself.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::poll::PollFlags;

use crate::control::{
    ErrorKind, IDLE_LIMIT, LogLine, MAX_CLIENTS, MAX_REQUEST, MAX_UNSENT, Reply, Request, Stream,
};
use crate::machine::Now;
use crate::pattern::mentions;

/// Which lines a follower wants.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) names: Vec<Named>,
    pub(crate) since_ms: Option<u64>,
    pub(crate) grep: Option<String>,
}

/// Whose lines.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    pub(crate) pattern: String,
    /// Only those that speak of this worker of it.
    pub(crate) worker: Option<String>,
}

impl Filter {
    /// `means` says whether a pattern means an instance.
    pub(crate) fn wants(&self, line: &LogLine, means: impl Fn(&str, &str) -> bool) -> bool {
        (self.names.is_empty()
            || self.names.iter().any(|named| {
                (named.pattern == line.name || means(&named.pattern, &line.name))
                    && named.worker.as_ref().is_none_or(|worker| mentions(&line.text, worker))
            }))
            && self.since_ms.is_none_or(|since| line.time_ms >= since)
            && self.grep.as_ref().is_none_or(|text| line.text.contains(text.as_str()))
    }
}

/// What a client is doing.
#[derive(Debug)]
pub(crate) enum Mode {
    /// Its next request is read.
    Idle,
    /// It is owed an answer.
    Waiting,
    /// It is sent every new line.
    Following(Filter),
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: UnixStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    pub(crate) mode: Mode,
    last_asked: Now,
    /// Lines that a slow follower did not get.
    skipped: u64,
    /// No more will come.
    ended: bool,
    /// To be closed when the outbox is empty.
    closing: bool,
    /// To be closed now.
    broken: bool,
}

impl Client {
    fn new(stream: UnixStream, now: Now) -> Self {
        Self {
            stream,
            inbox: Vec::new(),
            outbox: Vec::new(),
            mode: Mode::Idle,
            last_asked: now,
            skipped: 0,
            ended: false,
            closing: false,
            broken: false,
        }
    }

    pub(crate) fn interest(&self) -> (BorrowedFd<'_>, PollFlags) {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::POLLIN, !self.ended && !self.closing && self.inbox.len() <= MAX_REQUEST);
        flags.set(PollFlags::POLLOUT, !self.outbox.is_empty());
        (self.stream.as_fd(), flags)
    }

    /// Reads and writes as far as it goes.
    pub(crate) fn serve(&mut self, ready: PollFlags) {
        if ready.contains(PollFlags::POLLIN) {
            self.read();
        }
        if ready.contains(PollFlags::POLLOUT) {
            self.write();
        }
        if ready.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
            // What it asked before it left is still done; nobody reads the answers.
            self.ended = true;
            self.closing = true;
            self.outbox.clear();
        }
    }

    fn read(&mut self) {
        let mut chunk = [0u8; 8192];
        match self.stream.read(&mut chunk) {
            Ok(0) => self.ended = true,
            Ok(count) => self.inbox.extend_from_slice(&chunk[..count]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.broken = true,
        }
    }

    fn write(&mut self) {
        match self.stream.write(&self.outbox) {
            Ok(count) => {
                self.outbox.drain(..count);
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.broken = true,
        }
    }

    /// The next request, when it is this client's turn to ask. Garbage is answered and passed over.
    pub(crate) fn next_request(&mut self, now: Now) -> Option<Request> {
        while matches!(self.mode, Mode::Idle) && !self.broken {
            let Some(end) = self.inbox.iter().take(MAX_REQUEST).position(|b| *b == b'\n') else {
                if self.inbox.len() >= MAX_REQUEST {
                    let message = format!("a request is at most {MAX_REQUEST} bytes long");
                    self.push(&Reply::Error { kind: ErrorKind::TooMuch, message });
                    self.inbox.clear();
                    self.closing = true;
                }
                return None;
            };
            let line: Vec<u8> = self.inbox.drain(..=end).collect();
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            self.last_asked = now;
            match serde_json::from_slice(&line) {
                Ok(request) => return Some(request),
                Err(error) => {
                    let message = format!("not a request: {error}");
                    self.push(&Reply::Error { kind: ErrorKind::BadRequest, message });
                }
            }
        }
        None
    }

    /// Queues a reply. One who does not read is cut off.
    pub(crate) fn push(&mut self, reply: &Reply) {
        if self.outbox.len() > MAX_UNSENT {
            self.broken = true;
            return;
        }
        // A value made of strings and numbers always has a JSON form.
        if let Ok(text) = serde_json::to_vec(reply) {
            self.outbox.extend_from_slice(&text);
            self.outbox.push(b'\n');
        }
    }

    /// Queues a line for a follower, or counts it when the follower is slow.
    pub(crate) fn push_line(&mut self, line: LogLine) {
        if self.outbox.len() > MAX_UNSENT / 2 {
            self.skipped += 1;
            return;
        }
        self.tell_skipped(line.time_ms);
        self.push(&Reply::Line(line));
    }

    /// Tells a follower that was slow how much it has missed, once it reads again.
    pub(crate) fn tell_skipped(&mut self, time_ms: u64) {
        if self.skipped == 0 || self.outbox.len() > MAX_UNSENT / 2 {
            return;
        }
        let text = format!("{} lines were skipped, because they were not read in time", self.skipped);
        self.skipped = 0;
        let name = super::logs::SELF.to_owned();
        self.push(&Reply::Line(LogLine { time_ms, name, stream: Stream::Event, text }));
    }

    /// The answer that it waited for was given.
    pub(crate) fn answered(&mut self, now: Now) {
        self.mode = Mode::Idle;
        self.last_asked = now;
    }

    /// Writes what the socket takes at once, at the very end.
    pub(crate) fn last_words(&mut self) {
        while !self.outbox.is_empty() && !self.broken {
            let before = self.outbox.len();
            self.write();
            if self.outbox.len() == before {
                break;
            }
        }
    }

    fn is_over(&self, now: Now) -> bool {
        let idle = matches!(self.mode, Mode::Idle);
        let silent = idle && now.saturating_sub(self.last_asked) >= IDLE_LIMIT;
        // Whoever has only closed its writing half still gets its answers; a follower that did is gone for us.
        let served = self.ended
            && self.outbox.is_empty()
            && !matches!(self.mode, Mode::Waiting)
            && !self.has_request();
        self.broken || silent || served || (self.closing && self.outbox.is_empty() && !self.has_request())
    }

    fn has_request(&self) -> bool {
        matches!(self.mode, Mode::Idle) && self.inbox.contains(&b'\n')
    }
}

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) listener: UnixListener,
    pub(crate) list: BTreeMap<u64, Client>,
    next: u64,
}

impl Clients {
    /// `listener` must not block.
    pub(crate) fn new(listener: UnixListener) -> Self {
        Self { listener, list: BTreeMap::new(), next: 1 }
    }

    pub(crate) fn accept(&mut self, now: Now) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let mut client = Client::new(stream, now);
            if self.list.len() >= MAX_CLIENTS {
                let message = format!("there are {MAX_CLIENTS} connections already; try again");
                client.push(&Reply::Error { kind: ErrorKind::TooMuch, message });
                client.last_words();
                continue;
            }
            self.list.insert(self.next, client);
            self.next += 1;
        }
    }

    pub(crate) fn drop_over(&mut self, now: Now) {
        self.list.retain(|_, client| !client.is_over(now));
    }

    pub(crate) fn anyone_follows(&self) -> bool {
        self.list.values().any(|client| matches!(client.mode, Mode::Following(_)))
    }

    /// When the next silent one is to be cut off.
    pub(crate) fn next_deadline(&self) -> Option<Now> {
        let idle = self.list.values().filter(|client| matches!(client.mode, Mode::Idle));
        idle.map(|client| client.last_asked + IDLE_LIMIT).min()
    }
}
