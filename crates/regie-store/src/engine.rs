//! The engine: a Redis without sockets, files or clocks.
//!
//! Its verbs are few. [`Engine::connect`] and [`Engine::disconnect`] tell of clients. [`Engine::execute`] runs one
//! command and writes its reply; what it says beside that (bytes for other clients, log records, work for the disk)
//! lies in [`Effects`] until [`Engine::take_effects`]. [`Engine::tick`] does what time brings, and
//! [`Engine::next_deadline`] says when it must be called at the latest; calling it more often does no harm. The time
//! is an argument, chance comes from a seed: the same calls give the same bytes.

use crate::blob::Blob;
use crate::config::Config;
use crate::database::{Database, Entry};
use crate::effects::{DiskRequest, Effects, Garbage, Trash};
use crate::random::Random;
use crate::session::{ClientId, Peer, Session};
use crate::snapshot::Walk;
use crate::stats::{Latency, Slowlog, Stats};
use regie_resp::{Encoder, Version};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

pub(crate) type FastMap<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

/// Fields of hashes that a tick removes of each database because their time has passed.
pub(crate) const FIELDS_A_TICK: usize = 2_000;

/// What an engine is made with.
#[derive(Debug)]
pub struct Settings {
    /// Everything random follows from it.
    pub seed: u64,
    /// What generated passwords follow from; nobody may know it.
    pub secret: [u8; 32],
    /// The time at the start, in microseconds since 1970.
    pub now_us: i64,
    /// Settings by name, as CONFIG SET takes them; unknown names and bad values are refused by [`Engine::new`].
    pub config: Vec<(String, String)>,
    /// A source of monotonic microseconds, for durations only (SLOWLOG, statistics, the limit of scripts).
    pub stopwatch: fn() -> u64,
}

/// What the shell does next with a client's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Goes on with the next command.
    Next,
    /// Waits until the client is among [`Effects::resumed`].
    Blocked,
    /// Keeps this command and tries it again later: clients are paused.
    Later,
    /// Closes the connection once the reply has been sent.
    Close,
}

/// See the module's description.
pub struct Engine {
    pub(crate) databases: Vec<Database>,
    pub(crate) sessions: crate::sessions::Sessions,
    next_client: ClientId,
    pub(crate) config: Config,
    /// The settings that the engine was made with, or that have taken their place; see [`Engine::reconfigure`].
    pub(crate) given: Vec<(String, String)>,
    /// The client whose command runs wants its reads not to count as uses (CLIENT NO-TOUCH).
    pub(crate) is_untouched: bool,
    pub(crate) random: Random,
    /// Milliseconds since 1970, as given with the current call.
    pub(crate) now: i64,
    pub(crate) now_us: i64,
    pub(crate) started_at: i64,
    pub(crate) stopwatch: fn() -> u64,
    /// The last command that was found by its first word alone.
    pub(crate) last_command: crate::command::CommandId,
    /// When the last command ended, if the next follows at once: its beginning.
    pub(crate) lap: Option<u64>,
    pub(crate) effects: Effects,
    pub(crate) stats: Stats,
    pub(crate) slowlog: Slowlog,
    pub(crate) latency: Latency,
    /// Changes of the data since the start; a command compares it before and after.
    pub(crate) dirty: u64,
    /// Databases whose account of memory is open, a bit each.
    pub(crate) unsettled: u64,
    /// The database that the log was last told of.
    pub(crate) logged_db: Option<usize>,
    /// What is logged is kept (`appendonly`).
    pub(crate) is_logging: bool,
    /// Reading the log at the start: nothing expires and nothing is logged.
    pub(crate) is_loading: bool,
    pub(crate) watchers: FastMap<(usize, Blob), Vec<ClientId>>,
    pub(crate) channels: BTreeMap<Blob, BTreeSet<ClientId>>,
    pub(crate) patterns: BTreeMap<Blob, BTreeSet<ClientId>>,
    pub(crate) shard_channels: BTreeMap<Blob, BTreeSet<ClientId>>,
    /// Who waits for a key, longest first.
    pub(crate) waiting: FastMap<(usize, Blob), VecDeque<ClientId>>,
    /// Deadlines of those who wait.
    pub(crate) wait_deadlines: BTreeSet<(i64, ClientId)>,
    /// Keys that those who wait may want, in the order they became so.
    pub(crate) ready: VecDeque<(usize, Blob)>,
    /// Keys that may be read by trackers, and by whom.
    pub(crate) tracked: FastMap<Blob, BTreeSet<ClientId>>,
    /// Clients that track by prefix.
    pub(crate) broadcasting: BTreeMap<Blob, BTreeSet<ClientId>>,
    /// Keys that have changed since those who track by prefix were last told, and by whom.
    pub(crate) changed_keys: Vec<(Blob, ClientId)>,
    /// Some client tracks what it reads.
    pub(crate) any_tracking: bool,
    /// The keys that the script under way has declared: what it reads is tracked by them.
    pub(crate) declared: Vec<Blob>,
    /// The command under way has written pushes, not replies.
    pub(crate) is_pushing: bool,
    pub(crate) monitors: BTreeSet<ClientId>,
    pub(crate) replication: crate::replication::Replication,
    /// The server that this one follows.
    pub(crate) following: Option<crate::following::Following>,
    /// Counts whom this server was told to follow.
    pub(crate) wishes: u64,
    /// The command under way is the leader's.
    pub(crate) is_from_leader: bool,
    /// Until when clients are paused, and whether only writes are.
    pub(crate) pause: Option<(i64, bool)>,
    pub(crate) active_expiry: bool,
    pub(crate) walk: Option<Walk>,
    pub(crate) scripts: crate::script::Scripts,
    /// Bytes of the log's records that commands before the current one have left in the effects.
    pub(crate) journal_before: usize,
    pub(crate) users: crate::acl::Users,
    pub(crate) secret: [u8; 32],
    pub(crate) secrets_given: u64,
    /// Bytes of the shell's buffers, as it last told.
    pub(crate) shell_memory: usize,
    /// Why writes are refused: the disk is full or broken.
    pub(crate) disk_fault: Option<String>,
    pub(crate) disk: DiskState,
    /// `dirty` when the disk's state was told.
    pub(crate) dirty_told: u64,
    pub(crate) process: ProcessState,
    pub(crate) run_id: String,
    pub(crate) peak_memory: usize,
    pub(crate) shortage: crate::evict::Shortage,
}

/// What the shell tells of the disk, for INFO.
#[derive(Debug, Clone, Default)]
pub struct DiskState {
    /// A rewrite or snapshot is being written.
    pub is_writing: bool,
    /// Bytes of the log, and of the log after the last rewrite.
    pub journal_size: u64,
    /// See `journal_size`.
    pub journal_base_size: u64,
    /// Seconds since 1970 of the last snapshot.
    pub saved_at: i64,
    /// The last snapshot was written without a fault.
    pub last_save_is_ok: bool,
    /// Changes since the last snapshot.
    pub changes_since_save: u64,
    /// How many snapshots and rewrites have been written.
    pub rewrites: u64,
    /// Times that a write had to wait for a sync under `everysec`.
    pub delayed_syncs: u64,
    /// The backup being written.
    pub backup: Option<String>,
    /// Why the last backup failed, if it did.
    pub last_backup_error: Option<String>,
}

/// What the shell tells of its process, for INFO.
#[derive(Debug, Clone, Default)]
pub struct ProcessState {
    /// Microseconds of processor time spent in user space, and in the kernel.
    pub cpu_user_us: i64,
    /// See `cpu_user_us`.
    pub cpu_system_us: i64,
    /// Bytes of memory that the system has given to it.
    pub resident: u64,
    /// Bytes of memory of the machine.
    pub machine_memory: u64,
    /// Times that sockets were read from.
    pub reads: u64,
    /// Times that sockets were written to.
    pub writes: u64,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine with {} clients", self.sessions.len())
    }
}

impl Engine {
    /// An empty engine; an error names the setting that is wrong.
    pub fn new(settings: Settings) -> Result<Self, String> {
        let mut config = Config::default();
        let given = settings.config.clone();
        // What is set for all databases comes first, so that the order of the two does not matter.
        let (own, common): (Vec<_>, Vec<_>) =
            settings.config.into_iter().partition(|(name, _)| name.starts_with("db."));
        for (name, value) in common.into_iter().chain(own) {
            config.set_by_name(&name, &value)?;
        }
        config.settle_changes();
        let mut random = Random::new(settings.seed);
        let count: usize = config.get("databases").parse().unwrap_or(16);
        if count > 64 {
            return Err("setting 'databases': at most 64".into());
        }
        let mut users = crate::acl::Users::default();
        users.set_default_password(config.get("requirepass").as_bytes());
        Ok(Self {
            databases: (0..count).map(|_| Database::new(random.next())).collect(),
            sessions: crate::sessions::Sessions::default(),
            next_client: 1,
            is_logging: config.journal,
            config,
            given,
            run_id: random.hex(20),
            random,
            now: settings.now_us / 1000,
            now_us: settings.now_us,
            started_at: settings.now_us / 1000,
            stopwatch: settings.stopwatch,
            last_command: crate::command::find(b"ping").unwrap_or(0),
            lap: None,
            effects: Effects::default(),
            stats: Stats::new(crate::commands::table::COMMANDS.len()),
            slowlog: Slowlog::default(),
            latency: Latency::default(),
            dirty: 0,
            unsettled: 0,
            logged_db: None,
            is_loading: false,
            watchers: FastMap::default(),
            channels: BTreeMap::new(),
            patterns: BTreeMap::new(),
            shard_channels: BTreeMap::new(),
            waiting: FastMap::default(),
            wait_deadlines: BTreeSet::new(),
            ready: VecDeque::new(),
            tracked: FastMap::default(),
            broadcasting: BTreeMap::new(),
            changed_keys: Vec::new(),
            any_tracking: false,
            declared: Vec::new(),
            is_pushing: false,
            monitors: BTreeSet::new(),
            replication: crate::replication::Replication::default(),
            following: None,
            wishes: 0,
            is_from_leader: false,
            pause: None,
            active_expiry: true,
            walk: None,
            scripts: crate::script::Scripts::default(),
            journal_before: 0,
            users,
            secret: settings.secret,
            secrets_given: 0,
            shell_memory: 0,
            disk_fault: None,
            disk: DiskState {
                last_save_is_ok: true,
                saved_at: settings.now_us / 1_000_000,
                ..DiskState::default()
            },
            dirty_told: 0,
            process: ProcessState::default(),
            peak_memory: 0,
            is_untouched: false,
            shortage: crate::evict::Shortage::default(),
        })
    }

    /// Sets the time for what follows.
    pub fn set_now(&mut self, now_us: i64) {
        self.now_us = now_us;
        self.now = now_us / 1000;
        self.lap = None;
    }

    /// A new client.
    pub fn connect(&mut self, peer: Peer) -> ClientId {
        let id = self.next_client;
        self.next_client += 1;
        let authenticated = self.users.default_needs_no_password();
        let mut session = Session::new(id, peer, self.now, authenticated);
        session.may_all = self.users.get(b"default").is_some_and(crate::acl::User::may_all);
        self.sessions.get_or_insert_with(id, || session);
        self.stats.connections += 1;
        id
    }

    /// A client of the server itself: it needs no password.
    pub fn trust(&mut self, client: ClientId) {
        let session = self.session(client);
        session.is_authenticated = true;
        session.is_trusted = true;
        session.may_all = true;
    }

    /// A client has gone.
    pub fn disconnect(&mut self, client: ClientId) {
        self.unblock(client);
        self.unwatch(client);
        self.unsubscribe_all(client);
        self.tracking_off(client);
        self.monitors.remove(&client);
        self.remove_replica(client);
        self.lose_leader(client);
        self.sessions.remove(&client);
    }

    /// How many keys there are in all databases.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.databases.iter().map(|database| database.len() as u64).sum()
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.sessions.len()
    }

    /// A setting's value, as CONFIG GET shows it.
    #[must_use]
    pub fn setting(&self, name: &str) -> &str {
        self.config.get(name)
    }

    /// The strictest `appendfsync` of the databases whose bits are set.
    pub(crate) fn fsync(&self, databases: u64) -> crate::config::Fsync {
        self.config.fsync(databases)
    }

    /// Whether this client has not said its password yet: less is accepted from it.
    #[must_use]
    #[inline]
    pub fn is_unauthenticated(&self, client: ClientId) -> bool {
        self.sessions.get(&client).is_some_and(|session| !session.is_authenticated)
            && !self.users.default_needs_no_password()
    }

    /// The class of a client's output limit: `true` for one that listens to channels.
    #[must_use]
    pub fn is_subscriber(&self, client: ClientId) -> bool {
        self.sessions.get(&client).is_some_and(|session| session.subscriptions() > 0)
    }

    /// Whether a client is fed with what others do: a replica or a monitor.
    #[must_use]
    pub fn is_replica(&self, client: ClientId) -> bool {
        self.sessions.get(&client).is_some_and(|session| session.is_replica() || session.is_monitor)
    }

    /// When the client was last heard of and whether it may be closed for idling.
    #[must_use]
    pub fn idle_since(&self, client: ClientId) -> Option<i64> {
        let session = self.sessions.get(&client)?;
        let excused = session.blocked.is_some()
            || session.subscriptions() > 0
            || session.is_monitor
            || session.is_replica()
            || self.is_leader(client);
        (!excused).then_some(session.used_at)
    }

    /// What is to be done; empties it.
    #[must_use]
    pub fn take_effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Whether there is anything in the effects.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        let e = &self.effects;
        !(e.deliveries.is_empty()
            && e.resumed.is_empty()
            && e.closes.is_empty()
            && e.journal.is_empty()
            && e.garbage.is_empty()
            && e.disk.is_empty()
            && e.snapshot.is_empty()
            && e.notices.is_empty()
            && e.sleep_us == 0)
    }

    /// While a script takes long: the log's records of the commands that came before it in this turn, and the lines for
    /// the operator. What the script itself has left stays until it has ended.
    #[must_use]
    pub fn take_settled(&mut self) -> Effects {
        let rest = self.effects.journal.split_off(self.journal_before);
        self.journal_before = 0;
        Effects {
            journal: std::mem::replace(&mut self.effects.journal, rest),
            journal_databases: self.effects.journal_databases,
            notices: std::mem::take(&mut self.effects.notices),
            ..Effects::default()
        }
    }

    /// Whether a command has asked for the end of the server.
    #[must_use]
    pub fn wants_shutdown(&self) -> bool {
        self.effects.disk.iter().any(|request| matches!(request, DiskRequest::Shutdown { .. }))
    }

    /// The server ends in the middle of a command: nothing of it goes into the log.
    pub(crate) fn abandon_command(&mut self) {
        self.effects.journal.truncate(self.journal_before);
        self.is_logging = false;
    }

    /// Tells how many bytes the shell's buffers hold.
    pub fn set_shell_memory(&mut self, bytes: usize) {
        self.shell_memory = bytes;
    }

    /// Tells how the disk is; `fault` refuses writes with MISCONF until it is `None` again.
    pub fn set_disk(&mut self, state: DiskState, fault: Option<String>) {
        self.disk = state;
        self.dirty_told = self.dirty;
        self.disk_fault = fault;
    }

    /// Tells how the process is.
    pub fn set_process(&mut self, state: ProcessState) {
        self.process = state;
    }

    /// How the disk is, as last told.
    #[must_use]
    pub fn disk(&self) -> &DiskState {
        &self.disk
    }

    /// A connection was turned away: there are too many.
    pub fn count_rejected(&mut self) {
        self.stats.rejected_connections += 1;
    }

    /// Counts what came in.
    pub fn count_bytes_in(&mut self, bytes: usize) {
        self.stats.bytes_in += bytes as u64;
    }

    /// Counts what went out.
    pub fn count_bytes_out(&mut self, bytes: usize) {
        self.stats.bytes_out += bytes as u64;
    }

    /// Whether clients are paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// What the walk has recorded since it was last asked for.
    #[must_use]
    pub fn take_snapshot(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.effects.snapshot)
    }

    /// Runs the commands of a log's frame; an error says what is wrong with them.
    pub fn replay(&mut self, client: ClientId, commands: &[u8]) -> Result<(), String> {
        crate::replay::Replay::default().run(self, client, commands)
    }

    /// Counts of changes since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.dirty
    }

    #[inline]
    pub(crate) fn session(&mut self, client: ClientId) -> &mut Session {
        let now = self.now;
        self.sessions.get_or_insert_with(client, || Session::new(client, Peer::default(), now, true))
    }

    /// Hands bytes to another client.
    pub(crate) fn deliver(&mut self, client: ClientId, write: impl FnOnce(&mut Encoder)) {
        let version = self.sessions.get(&client).map_or(Version::Two, |session| session.version);
        let mut encoder = Encoder::new(version);
        write(&mut encoder);
        match self.effects.deliveries.last_mut() {
            Some((last, bytes)) if *last == client => bytes.extend_from_slice(&encoder.bytes),
            _ => self.effects.deliveries.push((client, encoder.bytes)),
        }
    }

    /// Does what time brings: deadlines of keys and of those who wait, moves of growing tables, statistics.
    pub fn tick(&mut self, now_us: i64) {
        self.set_now(now_us);
        while let Some(&(deadline, client)) = self.wait_deadlines.first() {
            if deadline > self.now {
                break;
            }
            self.time_out(client);
        }
        if self.pause.is_some_and(|(until, _)| until <= self.now) {
            self.pause = None;
        }
        if self.active_expiry && !self.is_loading && self.pause.is_none() && self.following.is_none() {
            let start = (self.stopwatch)();
            self.expire_some();
            let us = (self.stopwatch)().saturating_sub(start);
            self.stats.expiry_us += us;
            self.note_latency("expire-cycle", us);
        }
        self.replicate(false);
        self.ping_replicas();
        self.tend_leader();
        if !self.tracked.is_empty() {
            self.trim_tracked();
        }
        for database in &mut self.databases {
            if database.table.is_moving() {
                for _ in 0..100 {
                    database.table.step();
                }
            }
        }
        self.stats.sample(self.now, self.peak_memory);
        self.peak_memory = self.peak_memory.max(self.memory());
        self.serve_ready();
        self.settle();
        self.tracking_broadcast();
    }

    /// When [`Engine::tick`] must be called at the latest, in milliseconds since 1970.
    #[must_use]
    pub fn next_deadline(&self) -> i64 {
        let cycle = self.now + 100;
        let wait = self.wait_deadlines.first().map_or(cycle, |(deadline, _)| *deadline);
        let pause = self.pause.map_or(cycle, |(until, _)| until);
        cycle.min(wait).min(pause)
    }

    /// Looks through some deadlines of each database and deletes what is due: as long as more than a tenth of what
    /// was looked at was due, within a bound.
    fn expire_some(&mut self) {
        for db in 0..self.databases.len() {
            let mut budget = 16;
            loop {
                let rows = self.databases[db].volatile_len();
                if rows == 0 {
                    break;
                }
                let looked = rows.min(400);
                let mut due = 0;
                for _ in 0..looked {
                    let database = &mut self.databases[db];
                    if database.cursor >= database.volatile_len() {
                        database.cursor = 0;
                    }
                    let row = database.cursor;
                    match database.deadline_at(row) {
                        Some(deadline) if deadline.at <= self.now => {
                            let Some(key) = database.entry_at(row).map(|entry| entry.key.clone()) else {
                                break;
                            };
                            self.expire(db, &key);
                            due += 1;
                        }
                        Some(_) => database.cursor += 1,
                        None => break,
                    }
                }
                budget -= 1;
                if due * 10 <= looked || budget == 0 {
                    break;
                }
            }
            self.end_some_fields(db);
        }
    }

    /// Removes fields of hashes whose time has passed, within a bound.
    fn end_some_fields(&mut self, db: usize) {
        let mut left = FIELDS_A_TICK;
        while left > 0
            && let Some(key) = self.databases[db].hash_with_ended_fields(self.now)
        {
            let gone = self.end_fields(db, &key, left);
            self.settle();
            if gone == 0 {
                break;
            }
            left -= gone;
        }
    }

    /// Appends a command to the log.
    pub(crate) fn log(&mut self, db: usize, arguments: &[&[u8]]) {
        if self.is_loading {
            return;
        }
        self.replication.add(db, arguments);
        if !self.is_logging {
            return;
        }
        if self.logged_db != Some(db) {
            self.logged_db = Some(db);
            let mut digits = Vec::new();
            regie_resp::write_integer(&mut digits, db as i64);
            append(&mut self.effects.journal, &[b"SELECT", &digits]);
        }
        self.effects.journal_databases |= 1 << db;
        append(&mut self.effects.journal, arguments);
    }

    /// Whether anybody wants to know of changes: the log or a replica.
    pub(crate) fn is_recording(&self) -> bool {
        !self.is_loading && (self.is_logging || !self.replication.replicas.is_empty())
    }

    /// Begins a new part of the log, which must name its database again.
    pub fn begin_log_part(&mut self) {
        self.logged_db = None;
    }

    /// Turns logging on or off.
    pub fn set_logging(&mut self, on: bool) {
        self.is_logging = on;
        self.logged_db = None;
    }

    /// Says that the data is being read from disk, or no longer.
    pub fn set_loading(&mut self, on: bool) {
        self.is_loading = on;
    }

    /// Puts a whole entry in, as a snapshot has it.
    pub(crate) fn restore_entry(
        &mut self,
        db: usize,
        key: &[u8],
        value: crate::value::Value,
        deadline: Option<i64>,
    ) {
        if let Some(Entry { value, .. }) = self.take_key(db, key) {
            self.effects.garbage.push(Garbage(Trash::Value(value)));
        }
        self.insert(db, key, value);
        if deadline.is_some() {
            self.databases[db].set_deadline(key, deadline);
        }
    }
}

/// A command as the log has it: an array of strings.
pub(crate) fn append(out: &mut Vec<u8>, arguments: &[&[u8]]) {
    out.push(b'*');
    regie_resp::write_integer(out, arguments.len() as i64);
    out.extend_from_slice(b"\r\n");
    for argument in arguments {
        out.push(b'$');
        regie_resp::write_integer(out, argument.len() as i64);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}
