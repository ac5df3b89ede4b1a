//! What the engine knows about a client.

use crate::blob::Blob;
use regie_resp::Version;
use std::collections::BTreeSet;

/// A client's number; never given twice.
pub type ClientId = u64;

/// What the shell tells about a new connection.
#[derive(Debug, Clone, Default)]
pub struct Peer {
    /// The client's address, as CLIENT LIST shows it.
    pub address: String,
    /// The address it has reached.
    pub local_address: String,
    /// The descriptor's number, as CLIENT LIST shows it.
    pub descriptor: i32,
    /// It has come over a Unix socket.
    pub is_unix: bool,
}

/// Arguments that outlive the buffer they came in.
pub(crate) type OwnedArguments = Vec<Vec<u8>>;

/// A transaction being queued.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    pub(crate) queue: Vec<OwnedArguments>,
    /// A command was refused while queueing: EXEC will refuse all.
    pub(crate) is_broken: bool,
    /// One of the queued commands writes.
    pub(crate) writes: bool,
}

/// What a blocked client waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    List,
    SortedSet,
    Stream,
    /// For a group's entries: also woken when the group goes.
    StreamGroup,
    /// WAIT: for replicas.
    Replicas,
    /// For something that the shell does.
    Shell,
}

/// A client that waits for a key.
#[derive(Debug, Clone)]
pub(crate) struct Blocked {
    pub(crate) waiting: Waiting,
    /// Milliseconds; `None` waits for ever.
    pub(crate) deadline: Option<i64>,
    pub(crate) keys: Vec<Blob>,
    pub(crate) db: usize,
    /// The command to be tried again.
    pub(crate) arguments: OwnedArguments,
    /// Microseconds spent on it before, for its statistics.
    pub(crate) since: i64,
}

/// Whether replies are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Replies {
    #[default]
    On,
    Off,
    /// The next one is not written.
    SkipNext,
    /// This one is not written.
    Skip,
}

/// CLIENT TRACKING's options.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tracking {
    pub(crate) is_on: bool,
    pub(crate) redirect: ClientId,
    pub(crate) redirect_is_broken: bool,
    pub(crate) broadcast: bool,
    pub(crate) prefixes: Vec<Blob>,
    pub(crate) opt_in: bool,
    pub(crate) opt_out: bool,
    pub(crate) no_loop: bool,
    /// CLIENT CACHING was said for the next command.
    pub(crate) caching: Option<bool>,
}

/// A client that is a replica, or says that it will be.
#[derive(Debug, Default)]
pub(crate) struct Replica {
    /// It has got the data and hears of changes.
    pub(crate) is_online: bool,
    /// Where it says that it listens itself.
    pub(crate) address: String,
    pub(crate) port: i64,
    /// Bytes of changes that it has said it has.
    pub(crate) acknowledged: u64,
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) id: ClientId,
    pub(crate) peer: Peer,
    pub(crate) db: usize,
    pub(crate) version: Version,
    pub(crate) name: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) is_authenticated: bool,
    /// A client of the server itself.
    pub(crate) is_trusted: bool,
    /// Its user may do everything.
    pub(crate) may_all: bool,
    pub(crate) transaction: Option<Transaction>,
    /// Watched keys with whether each was overdue when it was watched.
    pub(crate) watched: Vec<(usize, Blob, bool)>,
    pub(crate) watch_is_dirty: bool,
    pub(crate) channels: BTreeSet<Blob>,
    pub(crate) patterns: BTreeSet<Blob>,
    pub(crate) shard_channels: BTreeSet<Blob>,
    pub(crate) blocked: Option<Blocked>,
    pub(crate) replies: Replies,
    pub(crate) tracking: Tracking,
    pub(crate) is_monitor: bool,
    pub(crate) replica: Option<Replica>,
    /// How far replicas must be to have what this client wrote last.
    pub(crate) wrote_until: u64,
    pub(crate) is_closing: bool,
    /// Its command is put off by CLIENT PAUSE.
    pub(crate) is_paused: bool,
    pub(crate) no_evict: bool,
    /// What it reads does not count as used.
    pub(crate) no_touch: bool,
    /// The client's library and its version, as it has said.
    pub(crate) library: Option<Box<(Vec<u8>, Vec<u8>)>>,
    pub(crate) created_at: i64,
    pub(crate) used_at: i64,
    pub(crate) last_command: &'static str,
}

impl Session {
    pub(crate) fn new(id: ClientId, peer: Peer, now: i64, is_authenticated: bool) -> Self {
        Self {
            id,
            peer,
            db: 0,
            version: Version::Two,
            name: Vec::new(),
            user: b"default".to_vec(),
            is_authenticated,
            is_trusted: false,
            may_all: true,
            transaction: None,
            watched: Vec::new(),
            watch_is_dirty: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            shard_channels: BTreeSet::new(),
            blocked: None,
            replies: Replies::On,
            tracking: Tracking::default(),
            is_monitor: false,
            replica: None,
            wrote_until: 0,
            is_closing: false,
            is_paused: false,
            no_evict: false,
            no_touch: false,
            library: None,
            created_at: now,
            used_at: now,
            last_command: "NULL",
        }
    }

    /// It is fed with every change.
    pub(crate) fn is_replica(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.is_online)
    }

    /// Address, port and acknowledged bytes of a replica, as ROLE and INFO show them.
    pub(crate) fn replica_place(&self) -> (String, i64, u64) {
        let replica = self.replica.as_ref();
        let named = replica.map(|replica| replica.address.clone()).filter(|address| !address.is_empty());
        let own = || self.peer.address.rsplit_once(':').map_or("", |(host, _)| host).to_owned();
        (
            named.unwrap_or_else(own),
            replica.map_or(0, |replica| replica.port),
            replica.map_or(0, |replica| replica.acknowledged),
        )
    }

    /// How many channels, patterns and shard channels it listens to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }
}
