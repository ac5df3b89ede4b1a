//! The event loop: one thread, epoll, all clients.
//!
//! A turn takes what the sockets have, runs the commands, writes the log, and only then sends the replies: so with
//! `appendfsync always` one sync serves every client of the turn, and no reply goes out before it.
//!
//! The loop is our own rather than a runtime's because a turn has an order (read, run, log, sync, send) that tasks of
//! their own would have to be forced into. `bench/store` measures it beside redis-server.
//!
//! Why epoll and one thread (`bench/store/loops.sh 3 20000`, loops that answer and do nothing else, microseconds of
//! processor time for a request, one at a time and 16 in a pipeline): epoll 10.5 and 0.52, io_uring 9.2 and 0.49. A tenth
//! is not enough for a second loop: Docker's default profile and many hardened kernels refuse io_uring, so there would
//! have to be both. And redis-server takes 12.0 and 1.0 with one thread, 314 and 14 with a second one for its sockets, which
//! looks for work all the time: a store that shares the machine with PHP cannot afford that. (`lookout.rs` says when this
//! one does.)

use super::clock;
use super::connection::{Connection, Hold, Socket};
use super::disk::Disk;
use super::door::{Listener, open};
use super::follow::{Arrived, Follower};
use super::lookout::{LOOK_US, Lookout};
use super::options::{Changes, Inherited, Options, RunError};
use super::status::Status;
use crate::effects::{DiskRequest, Effects};
use crate::engine::{Engine, Settings};
use crate::following::Link;
use crate::script::Meanwhile;
use crate::session::{ClientId, Peer};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use regie_resp::Limits;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::mpsc;

/// Bytes taken from a socket at once.
pub(super) const CHUNK: usize = 64 << 10;
/// Events taken in a turn.
const EVENTS: usize = 1024;
/// Tokens at and above this are no clients.
pub(super) const FIRST_LISTENER: u64 = 1 << 40;
const SHUTDOWN: u64 = 1 << 41;
const CHANGES: u64 = 1 << 42;
/// More keys than this are not freed at the end.
const MANY_KEYS: u64 = 100_000;
/// Bytes that the walk records in a turn.
const WALK_SLICE: usize = 128 << 10;

/// Everything but the engine, which is handed to it: so it can serve others from within a script.
pub(super) struct Server {
    pub(super) epoll: Epoll,
    pub(super) listeners: Vec<Listener>,
    pub(super) connections: Vec<Option<Box<Connection>>>,
    pub(super) free: Vec<usize>,
    pub(super) by_client: HashMap<ClientId, usize, foldhash::fast::FixedState>,
    /// Connections with something to send.
    pub(super) to_send: Vec<usize>,
    /// Connections that are put off by a pause.
    pub(super) paused: Vec<usize>,
    /// Listeners that are not listened to until the next tick, because there are no more descriptors.
    pub(super) deaf: Vec<usize>,
    pub(super) disk: Disk,
    pub(super) follower: Follower,
    lookout: Lookout,
    pub(super) garbage: mpsc::Sender<Vec<crate::effects::Garbage>>,
    pub(super) stopping: bool,
    pub(super) dir: Option<PathBuf>,
    /// Others were served from within a script in this turn.
    pub(super) was_inside: bool,
    /// Times that sockets were read from and written to.
    pub(super) reads: u64,
    pub(super) writes: u64,
    pub(super) limits: Limits,
    pub(super) report: fn(&str),
    changes: Option<Changes>,
    pub(super) status: Status,
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
    let mut inherited = inherited;
    let changes = inherited.changes.take();
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
    if let Some(changes) = &changes {
        epoll.add(&changes.heard, EpollEvent::new(EpollFlags::EPOLLIN, CHANGES))?;
    }
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
        lookout: Lookout::default(),
        garbage,
        stopping: false,
        dir: options.dir.clone(),
        was_inside: false,
        reads: 0,
        writes: 0,
        limits: Limits::DEFAULT,
        report,
        changes,
        status: Status::new(options.status),
    };
    ready(&addresses);
    server.turn_until_stopped(&mut engine)?;
    server.finish(&mut engine);
    if let Some(path) = &options.unix {
        let _ = std::fs::remove_file(path);
    }
    if engine.keys() > MANY_KEYS {
        // To give millions of keys back one by one takes seconds, for which the next start would wait; the system takes
        // them all at once when the process ends.
        std::mem::forget(engine);
    }
    Ok(())
}

impl Server {
    fn turn_until_stopped(&mut self, engine: &mut Engine) -> Result<(), RunError> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut scratch = vec![0u8; CHUNK];
        let mut last_tick = 0;
        while !self.stopping {
            let count = self.wait(engine, &mut events)?;
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

    /// Waits for the next events; how many there are.
    fn wait(&mut self, engine: &Engine, events: &mut [EpollEvent]) -> Result<usize, Errno> {
        let wait = EpollTimeout::try_from(self.wait_ms(engine)).unwrap_or(EpollTimeout::ZERO);
        if wait != EpollTimeout::ZERO && self.lookout.is_due() {
            let found = self.look(events)?;
            self.lookout.looked(found > 0);
            if found > 0 {
                return Ok(found);
            }
        }
        self.events(events, wait)
    }

    /// A signal is no event.
    fn events(&self, events: &mut [EpollEvent], wait: EpollTimeout) -> Result<usize, Errno> {
        match self.epoll.wait(events, wait) {
            Err(Errno::EINTR) => Ok(0),
            other => other,
        }
    }

    /// Looks for events for a moment without sleeping.
    fn look(&self, events: &mut [EpollEvent]) -> Result<usize, Errno> {
        let until = clock::stopwatch() + LOOK_US;
        loop {
            let found = self.events(events, EpollTimeout::ZERO)?;
            if found > 0 || clock::stopwatch() >= until {
                return Ok(found);
            }
            for _ in 0..8 {
                std::hint::spin_loop();
            }
        }
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
        self.close_the_biggest(engine);
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

    fn handle(&mut self, engine: &mut Engine, token: u64, flags: EpollFlags, scratch: &mut [u8]) {
        if token == SHUTDOWN {
            self.stopping = true;
            // As redis-server: what has a schedule of snapshots and no log is saved before the end.
            if !engine.setting("save").is_empty() && engine.setting("appendonly") == "no" {
                self.disk.snapshot_now(engine, self.report);
            }
        } else if token == CHANGES {
            self.change_settings(engine);
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

    /// Settings have come that are to hold from now on.
    fn change_settings(&mut self, engine: &mut Engine) {
        let Some(changes) = &self.changes else { return };
        let mut bytes = [0; 64];
        // At its end nothing more will come.
        if !matches!(nix::unistd::read(&changes.heard, &mut bytes), Ok(1..)) {
            let _ = self.epoll.delete(&changes.heard);
        }
        while let Some(settings) = self.changes.as_ref().and_then(|changes| changes.settings.try_recv().ok())
        {
            match engine.reconfigure(&settings) {
                Ok(lines) => lines.iter().for_each(|line| (self.report)(line)),
                Err(why) => (self.report)(&format!("the settings stay as they are: {why}")),
            }
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
