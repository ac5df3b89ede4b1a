//! Reaching the leader: a thread of its own connects, introduces this server and receives the copy, so that nobody
//! waits for it. The loop looks once a tick whether it has come to an end, and takes the connection over.
//!
//! ```text
//! replica                                        leader
//! AUTH, PING, REPLCONF listening-port, capa  ──▶
//! PSYNC history offset (or ? -1)             ──▶
//!                                            ◀── +CONTINUE [history], then commands
//!                                            ◀── +FULLRESYNC history offset
//!                                            ◀── $length, an RDB file (or $EOF:mark, the file, the mark), commands
//! ```

use crate::following::{Goal, Link};
use crate::shell::clock;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// Milliseconds between two attempts.
const RETRY_MS: i64 = 1000;
/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes of an answer's line at most.
const LINE: usize = 4096;
/// Length of the mark that ends a file whose length is not known beforehand.
const MARK: usize = 40;

/// A connection on which the leader's commands come.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) stream: TcpStream,
    /// The name of the leader's history, if it has said one.
    pub(crate) history: Option<String>,
    /// A whole copy, and the offset it stands for.
    pub(crate) copy: Option<(u64, Vec<u8>)>,
    /// What was read beyond.
    pub(crate) rest: Vec<u8>,
}

type Ending = (u64, Result<Arrived, String>);

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Follower {
    endings: mpsc::Receiver<Ending>,
    sender: mpsc::Sender<Ending>,
    /// The wish that the attempt under way serves, and whether it has come to the copy.
    attempt: Option<(u64, Arc<AtomicBool>)>,
    retry_at: i64,
    /// Where this server listens itself, for the leader's INFO.
    port: u16,
    /// What the operator was last told, so that it is not said each second.
    said: String,
}

impl Follower {
    pub(crate) fn new(port: u16) -> Self {
        let (sender, endings) = mpsc::channel();
        Self { endings, sender, attempt: None, retry_at: 0, port, said: String::new() }
    }

    /// Goes on with reaching the goal: how far it is, and the connection when it is there.
    pub(crate) fn pursue(&mut self, goal: &Goal, report: fn(&str)) -> (Link, Option<Arrived>) {
        while let Ok((number, ending)) = self.endings.try_recv() {
            if self.attempt.take_if(|(current, _)| *current == number).is_none() || number != goal.number {
                continue;
            }
            match ending {
                Ok(arrived) => {
                    self.said.clear();
                    return (Link::Sync, Some(arrived));
                }
                Err(why) => self.failed(goal, &why, report),
            }
        }
        if let Some((number, is_copying)) = &self.attempt
            && *number == goal.number
        {
            let link = if is_copying.load(Ordering::Acquire) { Link::Sync } else { Link::Connecting };
            return (link, None);
        }
        let now = clock::now_us() / 1000;
        if self.attempt.as_ref().is_some_and(|(number, _)| *number != goal.number) {
            // The old attempt ends by itself; nobody waits for it.
            (self.attempt, self.retry_at) = (None, 0);
        }
        if now >= self.retry_at {
            self.begin(goal.clone());
        }
        (Link::Connect, None)
    }

    /// An attempt has come to nothing, or what it brought cannot be used.
    pub(crate) fn failed(&mut self, goal: &Goal, why: &str, report: fn(&str)) {
        self.retry_at = clock::now_us() / 1000 + RETRY_MS;
        let line = format!("cannot follow {}:{}: {why}; it is tried again each second", goal.host, goal.port);
        if line != self.said {
            report(&line);
            self.said = line;
        }
    }

    fn begin(&mut self, goal: Goal) {
        let is_copying = Arc::new(AtomicBool::new(false));
        let (sender, shared, port) = (self.sender.clone(), is_copying.clone(), self.port);
        self.attempt = Some((goal.number, is_copying));
        let number = goal.number;
        let thread = std::thread::Builder::new().name("store-follow".into()).spawn(move || {
            let ending = attempt(&goal, port, &shared);
            let _ = sender.send((goal.number, ending));
        });
        if let Err(error) = thread {
            let _ = self.sender.send((number, Err(error.to_string())));
        }
    }
}

/// A connection with what was read from it and not used.
struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    fn fill(&mut self) -> Result<(), String> {
        let mut chunk = [0; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(0) => Err("it has closed the connection".into()),
            Ok(count) => {
                self.buffer.extend_from_slice(&chunk[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                Err("it is silent".into())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The next line that is not empty: a leader at work sends empty ones to show that it is there.
    fn line(&mut self) -> Result<String, String> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer) {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if !text.is_empty() {
                    return Ok(text);
                }
                continue;
            }
            if self.buffer.len() > LINE {
                return Err("it does not speak Redis's protocol".into());
            }
            self.fill()?;
        }
    }

    fn ask(&mut self, words: &[&[u8]]) -> Result<String, String> {
        let mut bytes = Vec::new();
        crate::engine::append(&mut bytes, words);
        self.stream.write_all(&bytes).map_err(|error| error.to_string())?;
        self.line()
    }

    /// A file whose length the header says, or which a mark ends.
    fn file(&mut self) -> Result<Vec<u8>, String> {
        let header = self.line()?;
        if let Some(mark) = header.strip_prefix("$EOF:").filter(|mark| mark.len() == MARK) {
            return self.until(mark.as_bytes());
        }
        let length = header.strip_prefix('$').and_then(|digits| digits.parse::<usize>().ok());
        let length = length.ok_or_else(|| format!("instead of a copy it says '{header}'"))?;
        while self.buffer.len() < length {
            self.fill()?;
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn until(&mut self, mark: &[u8]) -> Result<Vec<u8>, String> {
        let mut looked = 0;
        loop {
            if let Some(at) = memchr::memmem::find(&self.buffer[looked..], mark) {
                let mut rest = self.buffer.split_off(looked + at);
                rest.drain(..mark.len());
                return Ok(std::mem::replace(&mut self.buffer, rest));
            }
            looked = self.buffer.len().saturating_sub(mark.len() - 1);
            self.fill()?;
        }
    }
}

fn connect(goal: &Goal) -> Result<TcpStream, String> {
    let places = (goal.host.as_str(), goal.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let mut why = "its name leads to no address".to_owned();
    for place in places {
        match TcpStream::connect_timeout(&place, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn attempt(goal: &Goal, port: u16, is_copying: &AtomicBool) -> Result<Arrived, String> {
    let stream = connect(goal)?;
    let patience = Some(Duration::from_secs(goal.patience));
    stream
        .set_read_timeout(patience)
        .and_then(|()| stream.set_write_timeout(patience))
        .and_then(|()| stream.set_nodelay(true))
        .map_err(|error| error.to_string())?;
    let mut wire = Wire { stream, buffer: Vec::new() };
    introduce(&mut wire, goal, port)?;
    let (history, first) = match &goal.known {
        Some((history, first)) => (history.as_str(), first.to_string()),
        None => ("?", "-1".to_owned()),
    };
    let answer = wire.ask(&[b"PSYNC", history.as_bytes(), first.as_bytes()])?;
    let words: Vec<&str> = answer.split(' ').collect();
    let (history, copy) = match words[..] {
        ["+CONTINUE"] => (None, None),
        ["+CONTINUE", history] => (Some(history.to_owned()), None),
        ["+FULLRESYNC", history, offset] => {
            is_copying.store(true, Ordering::Release);
            let offset = offset.parse().map_err(|_| format!("it answers PSYNC with '{answer}'"))?;
            (Some(history.to_owned()), Some((offset, wire.file()?)))
        }
        _ => return Err(format!("it answers PSYNC with '{answer}'")),
    };
    Ok(Arrived { stream: wire.stream, history, copy, rest: wire.buffer })
}

fn introduce(wire: &mut Wire, goal: &Goal, port: u16) -> Result<(), String> {
    let password = goal.password.reveal();
    if !password.is_empty() {
        let answer = match goal.user.as_str() {
            "" => wire.ask(&[b"AUTH", password.as_bytes()])?,
            user => wire.ask(&[b"AUTH", user.as_bytes(), password.as_bytes()])?,
        };
        if answer.starts_with('-') {
            return Err(format!("it refuses 'masterauth': {answer}"));
        }
    }
    let answer = wire.ask(&[b"PING"])?;
    if answer.starts_with("-NOAUTH") {
        return Err("it asks for a password: set 'masterauth' (and 'masteruser')".into());
    }
    if answer.starts_with('-') {
        return Err(format!("it answers PING with '{answer}'"));
    }
    // What an old leader does not know of these it refuses, and goes on without.
    wire.ask(&[b"REPLCONF", b"listening-port", port.to_string().as_bytes()])?;
    wire.ask(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"])?;
    Ok(())
}
