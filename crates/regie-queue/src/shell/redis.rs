//! A small client of a Redis server, for one caller that knows what it sends.
//!
//! Commands of several callers that come together leave in one write and are answered in order (pipelining). The
//! connection is made when it is first needed and again when it is lost. An error says which of two things is true,
//! since the callers' next step depends on it: the server has not seen the commands ([`Fault::Unreachable`]), or
//! nobody knows whether it has ([`Fault::Lost`]).
//!
//! A server that has become a replica, or that holds a key no more, refuses what changes something (READONLY, MOVED). It
//! has not done it, so it counts as not reached, and the next connection looks for the server anew. While a slot of a
//! cluster is on its way to another node, a single command for a key that has gone ahead is sent there (ASK).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use regie_core::Secret;
use regie_resp::{Encoder, Frame, decode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use super::clock::now;

/// Where a server is, and as whom to speak to it.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// The user, for servers with several.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The database's number.
    pub database: u32,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host and port.
    Tcp(String, u16),
    /// A socket in the file system.
    Unix(PathBuf),
    /// Wherever it is when a connection is made.
    Asked(Asked),
}

/// Finds a server before each connection to it: host and port, or why nobody knows.
pub type Find = dyn Fn() -> Result<(String, u16), String> + Send + Sync;

/// A server whose place may change: the master that sentinels name, the node of a cluster that holds a key.
#[derive(Clone)]
pub struct Asked {
    /// What it is called.
    pub name: String,
    /// Whether a connection is good only when the server says that it is a master.
    pub is_master: bool,
    /// Called on a thread where it may wait.
    pub find: Arc<Find>,
}

impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl PartialEq for Asked {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Asked {}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Asked(asked) => f.write_str(&asked.name),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The server could not be reached: it has seen nothing.
    #[error("{address} cannot be reached: {why}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The connection was lost with commands on it: they may have been done or not.
    #[error("the connection was lost: {0}")]
    Lost(String),
    /// The server refused a command.
    #[error("the server refused a command: {0}")]
    Refused(String),
    /// The server's answer is not what such a command is answered with.
    #[error("the server's answer makes no sense: {0}")]
    Strange(&'static str),
}

impl Fault {
    /// Whether the server may have done what was asked.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Strange(_))
    }
}

/// How long connecting and a plain command may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is read at a time.
const READ: usize = 64 * 1024;

/// Commands on their way to the server.
#[derive(Debug, Default)]
pub struct Batch {
    encoder: Encoder,
    commands: usize,
}

impl Batch {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a command whose words are known.
    pub fn command(&mut self, words: &[&[u8]]) -> &mut Self {
        self.begin(words.len());
        for word in words {
            self.word(word);
        }
        self
    }

    /// Begins a command of `words` words, which follow by [`Batch::word`].
    pub fn begin(&mut self, words: usize) -> &mut Self {
        self.encoder.array(words);
        self.commands += 1;
        self
    }

    /// The next word.
    pub fn word(&mut self, word: impl AsRef<[u8]>) -> &mut Self {
        self.encoder.bulk(word.as_ref());
        self
    }

    /// The next words.
    pub fn words(&mut self, words: impl IntoIterator<Item = impl AsRef<[u8]>>) -> &mut Self {
        for word in words {
            self.word(word);
        }
        self
    }

    /// How many commands it holds.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.commands
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.commands == 0
    }
}

struct Request {
    bytes: Vec<u8>,
    replies: usize,
    patience: Option<Duration>,
    reply: oneshot::Sender<Result<Vec<Frame>, Fault>>,
}

/// A connection to a server. Clones share it; it ends with the last.
#[derive(Debug, Clone)]
pub struct Client {
    requests: mpsc::UnboundedSender<Request>,
}

impl Client {
    /// A client of `endpoint`, on the current runtime.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        // Unbounded in type only: each caller waits for its answer before it asks again.
        let (requests, inbox) = mpsc::unbounded_channel();
        tokio::spawn(serve(endpoint, inbox));
        Self { requests }
    }

    /// Sends `batch` and returns one answer for each command; errors of single commands are among them.
    ///
    /// # Errors
    /// When there are no answers.
    pub async fn send(&self, batch: Batch) -> Result<Vec<Frame>, Fault> {
        self.ask(batch, Some(PATIENCE)).await
    }

    /// The answer to the one command of `batch`, with a refusal as the error that it is.
    ///
    /// # Errors
    /// When there is no answer, or the server refused.
    pub async fn one(&self, batch: Batch) -> Result<Frame, Fault> {
        accepted(self.send(batch).await?.pop().ok_or(Fault::Strange("no answer"))?)
    }

    /// As [`Client::send`], for commands that wait in the server. The connection should be used for nothing else.
    ///
    /// # Errors
    /// When there are no answers.
    pub async fn send_blocking(&self, batch: Batch) -> Result<Vec<Frame>, Fault> {
        self.ask(batch, None).await
    }

    async fn ask(&self, batch: Batch, patience: Option<Duration>) -> Result<Vec<Frame>, Fault> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { bytes: batch.encoder.bytes, replies: batch.commands, patience, reply };
        let gone = || Fault::Lost("the client was closed".to_owned());
        self.requests.send(request).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The answer to a single command, with a refusal as the error that it is.
///
/// # Errors
/// When the server refused it.
pub fn accepted(frame: Frame) -> Result<Frame, Fault> {
    match frame {
        Frame::Error(text) => Err(Fault::Refused(String::from_utf8_lossy(&text).into_owned())),
        other => Ok(other),
    }
}

/// The strings of a list.
///
/// # Errors
/// When it is none.
pub fn bulks(frame: Frame) -> Result<Vec<Vec<u8>>, Fault> {
    let Frame::Array(items) = frame else { return Err(Fault::Strange("a list was expected")) };
    let bulk = |item| match item {
        Frame::Bulk(bytes) => Ok(bytes),
        _ => Err(Fault::Strange("a string was expected")),
    };
    items.into_iter().map(bulk).collect()
}

trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

struct Waiting {
    /// The command as it was sent, if it may have to be sent to another node.
    again: Option<Vec<u8>>,
    replies: usize,
    got: Vec<Frame>,
    until: Option<Instant>,
    reply: oneshot::Sender<Result<Vec<Frame>, Fault>>,
}

async fn serve(endpoint: Endpoint, mut inbox: mpsc::UnboundedReceiver<Request>) {
    let mut requests = Vec::new();
    while inbox.recv_many(&mut requests, 64).await > 0 {
        match connect(&endpoint).await {
            Ok(wire) => exchange(&endpoint, wire, &mut requests, &mut inbox).await,
            Err(fault) => {
                for request in requests.drain(..) {
                    // Who has gone away does not wait.
                    let _ = request.reply.send(Err(fault.clone()));
                }
            }
        }
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Box<dyn Wire>, Fault> {
    let unreachable = |why: String| Fault::Unreachable { address: endpoint.address.to_string(), why };
    let wire = timeout(PATIENCE, handshake(endpoint)).await;
    wire.map_err(|_| unreachable(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|fault| unreachable(fault.to_string()))
}

async fn handshake(endpoint: &Endpoint) -> std::io::Result<Box<dyn Wire>> {
    let mut wire: Box<dyn Wire> = match &endpoint.address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        Address::Tcp(host, port) => Box::new(open(host, *port).await?),
        Address::Asked(asked) => {
            let find = asked.find.clone();
            let found = tokio::task::spawn_blocking(move || find()).await.map_err(std::io::Error::other)?;
            let (host, port) = found.map_err(std::io::Error::other)?;
            Box::new(open(&host, port).await?)
        }
    };
    let mut batch = login(endpoint);
    if endpoint.database != 0 {
        batch.command(&[b"SELECT", endpoint.database.to_string().as_bytes()]);
    }
    // A server that loads its data or asks for a password says so here, not on the first real command.
    batch.command(&[b"PING"]);
    wire.write_all(&batch.encoder.bytes).await?;
    let mut buffer = BytesMut::new();
    for _ in 0..batch.commands {
        if let Frame::Error(text) = read_one(&mut wire, &mut buffer).await? {
            return Err(std::io::Error::other(String::from_utf8_lossy(&text).into_owned()));
        }
    }
    if let Address::Asked(Asked { is_master: true, .. }) = &endpoint.address {
        let mut batch = Batch::new();
        batch.command(&[b"ROLE"]);
        wire.write_all(&batch.encoder.bytes).await?;
        if !is_master(&read_one(&mut wire, &mut buffer).await?) {
            return Err(std::io::Error::other(
                "it is a replica: the sentinels have not found another master yet",
            ));
        }
    }
    Ok(wire)
}

/// What a connection begins with: the password, if there is one.
fn login(endpoint: &Endpoint) -> Batch {
    let mut batch = Batch::new();
    match (&endpoint.username, &endpoint.password) {
        (Some(user), Some(password)) => {
            batch.command(&[b"AUTH", user.as_bytes(), password.reveal().as_bytes()]);
        }
        (None, Some(password)) => {
            batch.command(&[b"AUTH", password.reveal().as_bytes()]);
        }
        _ => {}
    }
    batch
}

/// The answer of the node to which `refusal` sends a command: `ASK slot host:port`. A connection for this one command,
/// since it is only while a slot moves that this is needed at all.
async fn ask_there(endpoint: &Endpoint, refusal: &str, command: &[u8]) -> std::io::Result<Frame> {
    let strange = || std::io::Error::other(format!("the node says '{refusal}', which names no other"));
    let place = refusal.split(' ').nth(2).ok_or_else(strange)?;
    let (host, port) = place.rsplit_once(':').ok_or_else(strange)?;
    let mut wire: Box<dyn Wire> = Box::new(open(host, port.parse().map_err(|_| strange())?).await?);
    let mut batch = login(endpoint);
    batch.command(&[b"ASKING"]);
    let mut bytes = batch.encoder.bytes;
    bytes.extend_from_slice(command);
    wire.write_all(&bytes).await?;
    let mut buffer = BytesMut::new();
    for _ in 0..batch.commands {
        if let Frame::Error(text) = read_one(&mut wire, &mut buffer).await? {
            return Err(std::io::Error::other(String::from_utf8_lossy(&text).into_owned()));
        }
    }
    read_one(&mut wire, &mut buffer).await
}

async fn open(host: &str, port: u16) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether the answer to ROLE is a master's. A server that keeps it to itself is believed to be one.
fn is_master(frame: &Frame) -> bool {
    match frame {
        Frame::Array(items) => items.first() == Some(&Frame::Bulk(b"master".to_vec())),
        _ => true,
    }
}

async fn read_one(wire: &mut Box<dyn Wire>, buffer: &mut BytesMut) -> std::io::Result<Frame> {
    loop {
        if let Some((frame, len)) = decode(buffer).map_err(std::io::Error::other)? {
            buffer.advance(len);
            return Ok(frame);
        }
        buffer.reserve(READ);
        if wire.read_buf(buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Until the connection is lost. Requests on it fail then; later ones find a new connection.
async fn exchange(
    endpoint: &Endpoint,
    mut wire: Box<dyn Wire>,
    requests: &mut Vec<Request>,
    inbox: &mut mpsc::UnboundedReceiver<Request>,
) {
    let mut waiting = std::collections::VecDeque::new();
    let lost = loop {
        let may_move = matches!(endpoint.address, Address::Asked(_));
        if let Err(fault) = write(&mut wire, requests, may_move, &mut waiting).await {
            break fault.to_string();
        }
        let mut buffer = BytesMut::new();
        match answers(endpoint, &mut wire, &mut buffer, requests, inbox, &mut waiting).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(fault) => break fault.to_string(),
        }
    };
    for request in waiting.drain(..) {
        let _ = request.reply.send(Err(Fault::Lost(lost.clone())));
    }
}

async fn write(
    wire: &mut Box<dyn Wire>,
    requests: &mut Vec<Request>,
    may_move: bool,
    waiting: &mut std::collections::VecDeque<Waiting>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    for request in requests.drain(..) {
        let again = (may_move && request.replies == 1).then(|| request.bytes.clone());
        if bytes.is_empty() {
            bytes = request.bytes;
        } else {
            bytes.extend_from_slice(&request.bytes);
        }
        waiting.push_back(Waiting {
            again,
            replies: request.replies,
            got: Vec::with_capacity(request.replies),
            until: request.patience.map(|patience| Instant::from_std(now() + patience)),
            reply: request.reply,
        });
    }
    wire.write_all(&bytes).await
}

/// What a server says that has not done what it was asked, because another must do it or nobody can at the moment.
const ELSEWHERE: [&[u8]; 5] = [b"READONLY ", b"MOVED ", b"ASK ", b"TRYAGAIN ", b"CLUSTERDOWN "];

/// Why another server must be asked for what was refused.
fn elsewhere(answers: &[Frame]) -> Option<String> {
    let refused = answers.iter().find_map(|frame| match frame {
        Frame::Error(text) => ELSEWHERE.iter().any(|word| text.starts_with(word)).then_some(text),
        _ => None,
    });
    refused.map(|text| String::from_utf8_lossy(text).into_owned())
}

/// The answer of the node where a command's key is already, if this one says so.
async fn gone_ahead(endpoint: &Endpoint, done: &Waiting) -> Option<std::io::Result<Frame>> {
    let (Some(command), [Frame::Error(text)]) = (&done.again, &done.got[..]) else { return None };
    if !text.starts_with(b"ASK ") {
        return None;
    }
    let refusal = String::from_utf8_lossy(text);
    let there = timeout(PATIENCE, ask_there(endpoint, &refusal, command)).await;
    Some(there.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())))
}

/// Reads answers and takes in requests. True when there are new requests to be written, false when nobody is left to
/// ask.
async fn answers(
    endpoint: &Endpoint,
    wire: &mut Box<dyn Wire>,
    buffer: &mut BytesMut,
    requests: &mut Vec<Request>,
    inbox: &mut mpsc::UnboundedReceiver<Request>,
    waiting: &mut std::collections::VecDeque<Waiting>,
) -> std::io::Result<bool> {
    loop {
        while let Some((frame, len)) = decode(buffer).map_err(std::io::Error::other)? {
            buffer.advance(len);
            let Some(first) = waiting.front_mut() else {
                return Err(std::io::Error::other("an answer that nobody asked for"));
            };
            first.got.push(frame);
            if first.got.len() == first.replies
                && let Some(mut done) = waiting.pop_front()
            {
                match gone_ahead(endpoint, &done).await {
                    None => {}
                    Some(Ok(frame)) => done.got = vec![frame],
                    Some(Err(fault)) => {
                        // Who has gone away does not wait.
                        let _ = done.reply.send(Err(Fault::Lost(fault.to_string())));
                        continue;
                    }
                }
                if let Some(why) = elsewhere(&done.got) {
                    let address = "the server".to_owned();
                    let _ = done.reply.send(Err(Fault::Unreachable { address, why: why.clone() }));
                    return Err(std::io::Error::other(why));
                }
                let _ = done.reply.send(Ok(done.got));
            }
        }
        // With half an answer in the buffer, a write would have to carry it along.
        let whole = buffer.is_empty();
        let until = waiting.front().and_then(|first| first.until);
        buffer.reserve(READ);
        tokio::select! {
            biased;
            read = wire.read_buf(buffer) => if read? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            },
            count = inbox.recv_many(requests, 64), if whole => return Ok(count > 0),
            () = sleep_until(until.unwrap_or_else(|| Instant::from_std(now()))), if until.is_some() => {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
        }
    }
}
