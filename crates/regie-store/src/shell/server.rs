//! The event loop: one thread, epoll, all clients.
//!
//! A turn takes what the sockets have, runs the commands, writes the log, and only then sends the replies: so with
//! `appendfsync always` one sync serves every client of the turn, and no reply goes out before it.
//!
//! The loop is our own rather than a runtime's because a turn has an order (read, run, log, sync, send) that tasks of
//! their own would have to be forced into. `bench/store` measures it beside redis-server.

use super::clock;
use super::connection::{Connection, Hold, Socket};
use super::disk::Disk;
use super::follow::{Arrived, Follower};
use super::recover::RecoveryError;
use crate::effects::{DiskRequest, Effects};
use crate::engine::{Engine, Flow, Settings};
use crate::following::Link;
use crate::script::Meanwhile;
use crate::session::{ClientId, Peer};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use regie_core::ByteSize;
use regie_resp::{Limits, Parsed};
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::mpsc;

/// Bytes taken from a socket at once.
const CHUNK: usize = 64 << 10;
/// Connections accepted in a turn.
const ACCEPTS: usize = 1000;
/// Events taken in a turn.
const EVENTS: usize = 1024;
/// Tokens at and above this are no clients.
const FIRST_LISTENER: u64 = 1 << 40;
const SHUTDOWN: u64 = 1 << 41;
/// Bytes that the walk records in a turn.
const WALK_SLICE: usize = 128 << 10;

/// How to run a store.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// A Unix socket to listen on; made with mode 0600.
    pub unix: Option<PathBuf>,
    /// Where the data lies; without it nothing is kept.
    pub dir: Option<PathBuf>,
    /// Settings as CONFIG SET takes them.
    pub config: Vec<(String, String)>,
    /// Called with a line for the operator.
    pub report: Option<fn(&str)>,
    /// Called with what the store is doing, in a few words, when that has changed: while it reads its data, and every
    /// few seconds from then on.
    pub status: Option<fn(&str)>,
}

/// Sockets that were opened by someone else.
#[derive(Debug, Default)]
pub struct Inherited {
    /// Listening TCP sockets.
    pub tcp: Vec<TcpListener>,
    /// Listening Unix sockets.
    pub unix: Vec<UnixListener>,
}

/// Why a store did not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// A socket cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The data cannot be read.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The operating system refused something that cannot be done without.
    #[error("event loop: {0}")]
    System(#[from] io::Error),
}

impl From<nix::errno::Errno> for RunError {
    fn from(errno: nix::errno::Errno) -> Self {
        Self::System(errno.into())
    }
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Everything but the engine, which is handed to it: so it can serve others from within a script.
struct Server {
    epoll: Epoll,
    listeners: Vec<Listener>,
    connections: Vec<Option<Box<Connection>>>,
    free: Vec<usize>,
    by_client: HashMap<ClientId, usize, foldhash::fast::FixedState>,
    /// Connections with something to send.
    to_send: Vec<usize>,
    /// Connections that are put off by a pause.
    paused: Vec<usize>,
    /// Listeners that are not listened to until the next tick, because there are no more descriptors.
    deaf: Vec<usize>,
    disk: Disk,
    follower: Follower,
    garbage: mpsc::Sender<Vec<crate::effects::Garbage>>,
    stopping: bool,
    dir: Option<PathBuf>,
    /// Others were served from within a script in this turn.
    was_inside: bool,
    /// Times that sockets were read from and written to.
    reads: u64,
    writes: u64,
    limits: Limits,
    report: fn(&str),
    status: Status,
}

/// What `regie status` shows of the store.
struct Status {
    say: Option<fn(&str)>,
    said: String,
    at_us: i64,
}

impl Status {
    /// Microseconds between two looks.
    const EVERY: i64 = 5_000_000;

    fn tell(&mut self, engine: &Engine, now_us: i64) {
        let Some(say) = self.say.filter(|_| now_us - self.at_us >= Self::EVERY) else { return };
        self.at_us = now_us;
        let limit: u64 = engine.setting("maxmemory").parse().unwrap_or(0);
        let limit = if limit > 0 { format!(" of {limit}", limit = ByteSize(limit)) } else { String::new() };
        let memory = ByteSize(engine.memory() as u64);
        let now = format!("{} keys, {memory}{limit}, {} clients", engine.keys(), engine.clients());
        if now != self.said {
            say(&now);
            self.said = now;
        }
    }
}

/// Serves until `shutdown` becomes readable (or reaches its end), or a client says SHUTDOWN. `ready` is called once the
/// sockets are open and the data has been read.
pub fn run(
    options: &Options,
    inherited: Inherited,
    shutdown: &OwnedFd,
    ready: impl FnOnce(&[SocketAddr]),
) -> Result<(), RunError> {
    let report = options.report.unwrap_or(|_| {});
    let (mut seed, mut secret) = ([0; 8], [0; 32]);
    let mut source = std::fs::File::open("/dev/urandom")?;
    io::Read::read_exact(&mut source, &mut seed)?;
    io::Read::read_exact(&mut source, &mut secret)?;
    let settings = Settings {
        seed: u64::from_le_bytes(seed),
        secret,
        now_us: clock::now_us(),
        config: options.config.clone(),
        stopwatch: clock::stopwatch,
    };
    let mut engine = Engine::new(settings).map_err(RunError::Setting)?;
    if !engine.setting("aclfile").is_empty() {
        let file = super::users::path(engine.setting("aclfile"), options.dir.as_deref());
        let text = super::users::read(&file).map_err(RunError::Setting)?;
        let name = file.display().to_string();
        engine.load_users(&text, &name, 0).map_err(RunError::Setting)?;
    }
    super::settings::apply(options.dir.as_deref(), &mut engine, report).map_err(RunError::Setting)?;
    super::limits::report_full_files();
    super::limits::make_room_for_clients(&mut engine, report);
    let listeners = open(options, inherited)?;
    let backlog = engine.setting("tcp-backlog").parse().unwrap_or(511);
    for listener in &listeners {
        if let Listener::Tcp(socket) = listener {
            // A crowd that comes at once is not turned away.
            socket2::SockRef::from(socket).listen(backlog)?;
        }
    }
    let disk = Disk::open(options.dir.as_deref(), &mut engine, report, options.status.unwrap_or(|_| {}))?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, listener) in listeners.iter().enumerate() {
        let event = EpollEvent::new(EpollFlags::EPOLLIN, FIRST_LISTENER + index as u64);
        match listener {
            Listener::Tcp(socket) => epoll.add(socket, event)?,
            Listener::Unix(socket) => epoll.add(socket, event)?,
        }
    }
    epoll.add(shutdown, EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN))?;
    let (garbage, collector) = mpsc::channel::<Vec<crate::effects::Garbage>>();
    std::thread::Builder::new().name("store-free".into()).spawn(move || collector.iter().for_each(drop))?;
    let addresses: Vec<SocketAddr> = listeners
        .iter()
        .filter_map(|listener| match listener {
            Listener::Tcp(socket) => socket.local_addr().ok(),
            Listener::Unix(_) => None,
        })
        .collect();
    engine.follow_setting().map_err(RunError::Setting)?;
    let mut server = Server {
        epoll,
        listeners,
        connections: Vec::new(),
        free: Vec::new(),
        by_client: HashMap::default(),
        to_send: Vec::new(),
        paused: Vec::new(),
        deaf: Vec::new(),
        disk,
        follower: Follower::new(addresses.first().map_or(0, SocketAddr::port)),
        garbage,
        stopping: false,
        dir: options.dir.clone(),
        was_inside: false,
        reads: 0,
        writes: 0,
        limits: Limits::DEFAULT,
        report,
        status: Status { say: options.status, said: String::new(), at_us: 0 },
    };
    ready(&addresses);
    server.turn_until_stopped(&mut engine)?;
    server.finish(&mut engine);
    if let Some(path) = &options.unix {
        let _ = std::fs::remove_file(path);
    }
    Ok(())
}

fn open(options: &Options, inherited: Inherited) -> Result<Vec<Listener>, RunError> {
    let mut listeners = Vec::new();
    for address in &options.listen {
        let fault = |source| RunError::Listen { address: address.to_string(), source };
        listeners.push(Listener::Tcp(TcpListener::bind(address).map_err(fault)?));
    }
    if let Some(path) = &options.unix {
        let fault = |source| RunError::Listen { address: path.display().to_string(), source };
        if std::os::unix::net::UnixStream::connect(path).is_err() {
            // Nobody listens: what lies there was left by a process that is gone.
            let _ = std::fs::remove_file(path);
        }
        let socket = UnixListener::bind(path).map_err(fault)?;
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(fault)?;
        listeners.push(Listener::Unix(socket));
    }
    listeners.extend(inherited.tcp.into_iter().map(Listener::Tcp));
    listeners.extend(inherited.unix.into_iter().map(Listener::Unix));
    for listener in &listeners {
        match listener {
            Listener::Tcp(socket) => socket.set_nonblocking(true)?,
            Listener::Unix(socket) => socket.set_nonblocking(true)?,
        }
    }
    Ok(listeners)
}

impl Server {
    fn turn_until_stopped(&mut self, engine: &mut Engine) -> Result<(), RunError> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut scratch = vec![0u8; CHUNK];
        let mut last_tick = 0;
        while !self.stopping {
            let wait = self.wait_ms(engine);
            let count = match self
                .epoll
                .wait(&mut events, EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::ZERO))
            {
                Ok(count) => count,
                Err(nix::errno::Errno::EINTR) => 0,
                Err(errno) => return Err(errno.into()),
            };
            let now_us = clock::now_us();
            engine.set_now(now_us);
            for event in &events[..count] {
                self.handle(engine, event.data(), event.events(), &mut scratch);
            }
            if now_us / 1000 >= engine.next_deadline() || now_us - last_tick >= 100_000 {
                last_tick = now_us;
                self.tick(engine, now_us);
            }
            self.settle(engine);
        }
        Ok(())
    }

    /// How long the loop may sleep: not at all while a walk has work to do.
    fn wait_ms(&self, engine: &Engine) -> i32 {
        if engine.is_walking() && self.disk.wants_more() {
            return 0;
        }
        let now = clock::now_us() / 1000;
        (engine.next_deadline() - now).clamp(0, 100) as i32
    }

    fn tick(&mut self, engine: &mut Engine, now_us: i64) {
        engine.tick(now_us);
        let memory = self.connections.iter().flatten().map(|connection| connection.memory()).sum();
        engine.set_shell_memory(memory);
        let mut state = super::process::state();
        (state.reads, state.writes) = (self.reads, self.writes);
        engine.set_process(state);
        self.close_idle(engine, now_us / 1000);
        // A client that is sent nothing more is above its soft limit all the same.
        for index in 0..self.connections.len() {
            if self.connections[index].as_ref().is_some_and(|connection| connection.over_soft_since.is_some())
            {
                self.check_output(engine, index);
            }
        }
        for listener in std::mem::take(&mut self.deaf) {
            self.listen(listener, true);
        }
        self.disk.tick(engine, self.report);
        self.follow(engine);
        self.status.tell(engine, now_us);
        self.limits =
            Limits { bulk: engine.setting("proto-max-bulk-len").parse().unwrap_or(0), ..Limits::DEFAULT };
        if !engine.is_paused() {
            for index in std::mem::take(&mut self.paused) {
                self.resume(engine, index);
            }
        }
    }

    /// Goes on with reaching the server that this one follows.
    fn follow(&mut self, engine: &mut Engine) {
        let Some(goal) = engine.goal() else { return };
        let (link, arrived) = self.follower.pursue(&goal, self.report);
        engine.set_link(link);
        let Some(arrived) = arrived else { return };
        if let Err(why) = self.adopt(engine, arrived) {
            engine.set_link(Link::Connect);
            self.follower.failed(&goal, &why, self.report);
        }
    }

    /// Takes over a connection on which the leader's commands come.
    fn adopt(&mut self, engine: &mut Engine, mut arrived: Arrived) -> Result<(), String> {
        arrived.stream.set_nonblocking(true).map_err(|error| error.to_string())?;
        if let Some((offset, file)) = arrived.copy {
            let history = arrived.history.take().unwrap_or_default();
            self.disk.end_snapshot(engine, self.report);
            engine
                .take_copy(history, offset, &file)
                .map_err(|why| format!("its copy cannot be read: {why}"))?;
            self.disk.keep_copy(engine, self.report);
            engine.set_now(clock::now_us());
            (self.report)(&format!("the leader's copy is loaded: {} keys", engine.keys()));
        }
        let address = |found: io::Result<SocketAddr>| found.map(|a| a.to_string()).unwrap_or_default();
        let peer = Peer {
            address: address(arrived.stream.peer_addr()),
            local_address: address(arrived.stream.local_addr()),
            descriptor: std::os::fd::AsRawFd::as_raw_fd(&arrived.stream),
            is_unix: false,
        };
        let client = engine.begin_following(peer, arrived.history);
        let index = self.place(engine, Socket::Tcp(arrived.stream), client).ok_or("epoll refuses it")?;
        if let Some(connection) = &mut self.connections[index] {
            connection.input = arrived.rest;
        }
        self.run_input(engine, index);
        Ok(())
    }

    fn close_idle(&mut self, engine: &mut Engine, now: i64) {
        let seconds: i64 = engine.setting("timeout").parse().unwrap_or(0);
        if seconds == 0 {
            return;
        }
        for index in 0..self.connections.len() {
            let Some(connection) = &self.connections[index] else { continue };
            let idle = engine.idle_since(connection.client).is_some_and(|since| now - since > seconds * 1000);
            if idle {
                self.close(engine, index);
            }
        }
    }

    fn handle(&mut self, engine: &mut Engine, token: u64, flags: EpollFlags, scratch: &mut [u8]) {
        if token == SHUTDOWN {
            self.stopping = true;
            // As redis-server: what has a schedule of snapshots and no log is saved before the end.
            if !engine.setting("save").is_empty() && engine.setting("appendonly") == "no" {
                self.disk.snapshot_now(engine, self.report);
            }
        } else if token >= FIRST_LISTENER {
            self.accept(engine, (token - FIRST_LISTENER) as usize);
        } else {
            let index = token as usize;
            if flags.intersects(EpollFlags::EPOLLOUT) {
                self.list(index);
            }
            if flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
                self.receive(engine, index, scratch);
            }
        }
    }

    fn accept(&mut self, engine: &mut Engine, listener: usize) {
        for _ in 0..ACCEPTS {
            let accepted = match &self.listeners[listener] {
                Listener::Tcp(socket) => socket.accept().map(|(socket, peer)| {
                    let _ = socket.set_nodelay(true);
                    let local = socket.local_addr().map(|address| address.to_string()).unwrap_or_default();
                    (Socket::Tcp(socket), peer.to_string(), local)
                }),
                Listener::Unix(socket) => socket.accept().map(|(client, _)| {
                    let path = socket
                        .local_addr()
                        .ok()
                        .and_then(|a| a.as_pathname().map(|p| p.display().to_string()));
                    let path = path.unwrap_or_default();
                    (Socket::Unix(client), format!("{path}:0"), format!("{path}:0"))
                }),
            };
            match accepted {
                Ok((socket, address, local_address)) => self.welcome(engine, socket, address, local_address),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors: what waits is looked at again a little later.
                    (self.report)(&format!("cannot accept a connection: {error}"));
                    self.listen(listener, false);
                    self.deaf.push(listener);
                    return;
                }
            }
        }
    }

    /// Whether new connections of a listener are heard of.
    fn listen(&mut self, listener: usize, on: bool) {
        let flags = if on { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        let mut event = EpollEvent::new(flags, FIRST_LISTENER + listener as u64);
        let _ = match &self.listeners[listener] {
            Listener::Tcp(socket) => self.epoll.modify(socket, &mut event),
            Listener::Unix(socket) => self.epoll.modify(socket, &mut event),
        };
    }

    fn welcome(&mut self, engine: &mut Engine, mut socket: Socket, address: String, local_address: String) {
        let nonblocking = match &socket {
            Socket::Tcp(socket) => socket.set_nonblocking(true),
            Socket::Unix(socket) => socket.set_nonblocking(true),
        };
        if nonblocking.is_err() {
            return;
        }
        let most: usize = engine.setting("maxclients").parse().unwrap_or(usize::MAX);
        if engine.clients() >= most {
            engine.count_rejected();
            let text = b"-ERR max number of clients reached\r\n";
            let _ = match &mut socket {
                Socket::Tcp(socket) => io::Write::write(socket, text),
                Socket::Unix(socket) => io::Write::write(socket, text),
            };
            return;
        }
        let peer = Peer {
            address,
            local_address,
            descriptor: socket.descriptor(),
            is_unix: matches!(socket, Socket::Unix(_)),
        };
        let client = engine.connect(peer);
        self.place(engine, socket, client);
    }

    /// A place for a client's connection; `None` if its socket cannot be listened to.
    fn place(&mut self, engine: &mut Engine, socket: Socket, client: ClientId) -> Option<usize> {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(None);
            self.connections.len() - 1
        });
        if self.epoll.add(socket.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64)).is_err() {
            engine.disconnect(client);
            self.free.push(index);
            return None;
        }
        self.by_client.insert(client, index);
        self.connections[index] = Some(Box::new(Connection::new(socket, client)));
        Some(index)
    }

    fn receive(&mut self, engine: &mut Engine, index: usize, scratch: &mut [u8]) {
        let Some(connection) = &mut self.connections[index] else { return };
        // A long argument that is half here is read straight to its place.
        let count = match connection.socket.read(scratch) {
            Ok(0) => return self.close(engine, index),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return;
            }
            Err(_) => return self.close(engine, index),
        };
        engine.count_bytes_in(count);
        if engine.is_leader(connection.client) {
            engine.hear_leader();
        }
        self.reads += 1;
        match connection.hold {
            Hold::Closing => return,
            Hold::Blocked | Hold::Paused => {
                connection.input.extend_from_slice(&scratch[..count]);
                return self.check_input(engine, index);
            }
            Hold::No => {}
        }
        if connection.input.is_empty() {
            let used = self.run_commands(engine, index, &scratch[..count]);
            if let Some(connection) = &mut self.connections[index] {
                connection.input.extend_from_slice(&scratch[used..count]);
            }
        } else {
            connection.input.extend_from_slice(&scratch[..count]);
            self.run_input(engine, index);
        }
        self.check_input(engine, index);
        self.list(index);
    }

    /// Runs the commands in a connection's own buffer.
    fn run_input(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let mut input = std::mem::take(&mut connection.input);
        let used = self.run_commands(engine, index, &input);
        if used == input.len() {
            input.clear();
            if input.capacity() > CHUNK {
                input = Vec::new();
            }
        } else if used > 0 {
            input.drain(..used);
        }
        if let Some(connection) = &mut self.connections[index] {
            connection.input = input;
        }
    }

    /// A client may not make the server keep more than its limit.
    fn check_input(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = self.connections[index].as_ref().filter(|c| !c.input.is_empty()) else {
            return;
        };
        let limit = if engine.is_unauthenticated(connection.client) {
            1 << 20
        } else {
            engine.setting("client-query-buffer-limit").parse().unwrap_or(usize::MAX)
        };
        if connection.input.len() > limit {
            self.close(engine, index);
        }
    }

    /// Runs the whole commands at the beginning of `data`; how many bytes they took. The connection stands aside
    /// meanwhile: a script that takes long serves the others.
    fn run_commands(&mut self, engine: &mut Engine, index: usize, data: &[u8]) -> usize {
        let Some(mut connection) = self.connections[index].take() else { return data.len() };
        let mut at = 0;
        while at < data.len() && connection.hold == Hold::No {
            at += match self.run_command(engine, &mut connection, &data[at..]) {
                Some(consumed) => consumed,
                None => break,
            };
        }
        if connection.hold == Hold::Closing {
            at = data.len();
        }
        if connection.hold == Hold::Paused {
            self.paused.push(index);
        }
        if self.was_inside {
            connection.is_listed = false;
        }
        self.connections[index] = Some(connection);
        at
    }

    /// Runs the command at the beginning of `data`; how many bytes it took, `None` if it is not whole or is put off.
    fn run_command(
        &mut self,
        engine: &mut Engine,
        connection: &mut Connection,
        data: &[u8],
    ) -> Option<usize> {
        let limits = if engine.is_unauthenticated(connection.client) {
            &Limits::UNAUTHENTICATED
        } else {
            &self.limits
        };
        let consumed = match connection.parser.parse(data, limits) {
            Ok(Parsed::Incomplete { .. }) => return None,
            Ok(Parsed::Command { consumed }) => consumed,
            Err(error) => {
                connection.out.error(format!("ERR {error}").as_bytes());
                connection.hold = Hold::Closing;
                return None;
            }
        };
        let count = connection.parser.count();
        let mut few: [&[u8]; 16] = [&[]; 16];
        let many: Vec<&[u8]>;
        let arguments = if count <= few.len() {
            for (slot, argument) in few.iter_mut().zip(connection.parser.arguments(data)) {
                *slot = argument;
            }
            &few[..count]
        } else {
            many = connection.parser.arguments(data).collect();
            &many[..]
        };
        let flow = engine.execute_with(connection.client, arguments, &mut connection.out, self);
        connection.parser.next();
        if engine.is_leader(connection.client) {
            engine.count_from_leader(connection.client, consumed);
        }
        match flow {
            Flow::Next => {}
            Flow::Later => {
                connection.hold = Hold::Paused;
                return None;
            }
            Flow::Blocked => connection.hold = Hold::Blocked,
            Flow::Close => connection.hold = Hold::Closing,
        }
        Some(consumed)
    }

    /// Goes on with a client that was held.
    fn resume(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        if connection.hold == Hold::Closing {
            return;
        }
        connection.hold = Hold::No;
        if !connection.input.is_empty() {
            self.run_input(engine, index);
        }
        self.list(index);
    }

    fn list(&mut self, index: usize) {
        if let Some(connection) = &mut self.connections[index]
            && !connection.is_listed
        {
            connection.is_listed = true;
            self.to_send.push(index);
        }
    }

    /// Does what the commands of this turn have asked for, then sends.
    fn settle(&mut self, engine: &mut Engine) {
        if engine.is_walking() && self.disk.wants_more() {
            let done = engine.walk(WALK_SLICE);
            self.disk.walked(done);
        }
        while engine.has_effects() {
            let effects = engine.take_effects();
            self.carry_out(engine, effects);
        }
        self.answer(engine);
        self.was_inside = false;
    }

    /// Writes the log, then sends what it allows.
    fn answer(&mut self, engine: &mut Engine) {
        let may_answer = self.disk.end_of_turn(engine, self.report);
        for index in std::mem::take(&mut self.to_send) {
            if may_answer {
                self.send(engine, index);
            } else {
                self.cut(engine, index);
            }
        }
    }

    /// Takes what goes to the disk and to the operator.
    fn note(&mut self, effects: &Effects) {
        self.disk.write(&effects.journal, effects.journal_databases, &effects.snapshot);
        for notice in &effects.notices {
            (self.report)(notice);
        }
    }

    fn carry_out(&mut self, engine: &mut Engine, effects: Effects) {
        self.note(&effects);
        if effects.sleep_us > 0 {
            std::thread::sleep(std::time::Duration::from_micros(effects.sleep_us));
            engine.set_now(clock::now_us());
        }
        for (client, bytes) in effects.deliveries {
            let Some(&index) = self.by_client.get(&client) else { continue };
            if let Some(connection) = &mut self.connections[index]
                && connection.hold != Hold::Closing
            {
                connection.out.bytes.extend_from_slice(&bytes);
            }
            self.list(index);
        }
        for client in effects.closes {
            if let Some(&index) = self.by_client.get(&client) {
                self.close(engine, index);
            }
        }
        for client in effects.resumed {
            if let Some(&index) = self.by_client.get(&client) {
                self.resume(engine, index);
            }
        }
        if !effects.garbage.is_empty() {
            let _ = self.garbage.send(effects.garbage);
        }
        for request in effects.disk {
            match request {
                DiskRequest::Shutdown { save } => {
                    if save {
                        self.disk.snapshot_now(engine, self.report);
                    }
                    self.stopping = true;
                }
                DiskRequest::KeepSettings(client) => {
                    let kept = super::settings::keep(self.dir.as_deref(), &engine.kept_settings());
                    engine.shell_has_done(client, kept);
                }
                DiskRequest::LoadUsers(client) => {
                    let file = super::users::path(engine.setting("aclfile"), self.dir.as_deref());
                    let name = file.display().to_string();
                    let done =
                        super::users::read(&file).and_then(|text| engine.load_users(&text, &name, client));
                    engine.shell_has_done(client, done);
                }
                DiskRequest::SaveUsers(client) => {
                    let file = super::users::path(engine.setting("aclfile"), self.dir.as_deref());
                    let done = super::users::write(&file, &engine.users_file()).map_err(|error| {
                        (self.report)(&format!("cannot write {}: {error}", file.display()));
                        "There was an error trying to save the ACLs. Please check the server logs for more information"
                            .to_owned()
                    });
                    engine.shell_has_done(client, done);
                }
                request => self.disk.request(request, engine, self.report),
            }
        }
    }

    fn send(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        connection.is_listed = false;
        let before = connection.pending();
        self.writes += 1;
        let Ok(all) = connection.flush() else { return self.close(engine, index) };
        engine.count_bytes_out(before - connection.pending());
        if all && connection.hold == Hold::Closing {
            return self.close(engine, index);
        }
        if all == connection.waits_to_write {
            connection.waits_to_write = !all;
            let flags = if all { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT };
            let mut event = EpollEvent::new(flags, index as u64);
            let _ = self.epoll.modify(connection.socket.as_fd(), &mut event);
        }
        if !all {
            self.check_output(engine, index);
        }
    }

    /// Closes a client that does not read fast enough for its class's limits.
    fn check_output(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = &mut self.connections[index] else { return };
        let class = match connection.client {
            client if engine.is_subscriber(client) => "pubsub",
            client if engine.is_replica(client) => "slave",
            _ => "normal",
        };
        let limits = engine.setting("client-output-buffer-limit");
        let mut words = limits.split_whitespace().skip_while(|word| *word != class).skip(1);
        let mut number = || words.next().and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let (hard, soft, seconds) = (number() as usize, number() as usize, number());
        let pending = connection.pending();
        let now = clock::now_us() / 1000;
        if soft == 0 || pending <= soft {
            connection.over_soft_since = None;
        } else {
            connection.over_soft_since.get_or_insert(now);
        }
        let too_long = connection.over_soft_since.is_some_and(|since| now - since > seconds as i64 * 1000);
        if (hard > 0 && pending > hard) || too_long {
            (self.report)(&format!(
                "client {} closed: {pending} bytes wait to be read by it",
                connection.client
            ));
            self.close(engine, index);
        }
    }

    /// Closes a client after what can be sent at once.
    fn close(&mut self, engine: &mut Engine, index: usize) {
        if let Some(connection) = &mut self.connections[index] {
            let _ = connection.flush();
        }
        self.cut(engine, index);
    }

    /// Closes a client without a word more.
    fn cut(&mut self, engine: &mut Engine, index: usize) {
        let Some(connection) = self.connections[index].take() else { return };
        let _ = self.epoll.delete(connection.socket.as_fd());
        self.by_client.remove(&connection.client);
        engine.disconnect(connection.client);
        self.free.push(index);
    }

    /// The last of it: what was answered is on disk before the process ends.
    fn finish(&mut self, engine: &mut Engine) {
        self.settle(engine);
        self.disk.finish(self.report);
    }
}

impl Meanwhile for Server {
    /// A turn within a turn. The commands that came before the script are written to the log and answered; the script's
    /// own client, and what the script has done for others, wait for its end.
    fn serve(&mut self, engine: &mut Engine) -> bool {
        self.note(&engine.take_settled());
        self.was_inside = true;
        let mut events = [EpollEvent::empty(); 64];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        let mut scratch = vec![0; if count > 0 { CHUNK } else { 0 }];
        for event in &events[..count] {
            self.handle(engine, event.data(), event.events(), &mut scratch);
        }
        self.answer(engine);
        self.stopping || engine.wants_shutdown()
    }
}
