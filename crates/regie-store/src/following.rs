//! Following another server: this one is its replica.
//!
//! ```text
//!              REPLICAOF host port                     a copy has come, or CONTINUE
//!   leads ──────────────────────────▶ Connect ─▶ Connecting ─▶ Sync ─────────────▶ Connected
//!     ▲                                  ▲            │          │                     │
//!     └── REPLICAOF NO ONE (from any)    └────────────┴──────────┴── the link is lost ─┘
//! ```
//!
//! The shell connects, introduces itself and receives the copy (`shell::follow`). The engine takes the copy in place of
//! its data ([`Engine::take_copy`]) and then runs what the leader sends as commands of one client, which nothing holds
//! up: no limit of memory, no full disk, no pause. What has come whole is counted in bytes, told to the leader once a
//! second, and is where a lost link is taken up again if the leader still has what was missed.
//!
//! **A replica decides nothing by itself**: keys whose time has passed are not read any more, but are deleted when the
//! leader says so; nothing is evicted; clients may not write unless `replica-read-only` is off. What it has got goes
//! into its own log, and to replicas of its own.

use crate::effects::{Garbage, Trash};
use crate::engine::{Engine, append};
use crate::rdb;
use crate::session::{ClientId, Peer, Waiting};
use regie_core::Secret;

/// How far the link to the leader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    Connect,
    Connecting,
    Sync,
    Connected,
}

impl Link {
    /// As ROLE shows it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Connecting => "connecting",
            Self::Sync => "sync",
            Self::Connected => "connected",
        }
    }
}

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) link: Link,
    /// The client whose commands are the leader's, while connected.
    client: Option<ClientId>,
    /// The name of the leader's history, once a copy has come.
    history: Option<String>,
    /// Bytes of that history that have taken effect. Within a transaction it stays at its beginning.
    pub(crate) offset: u64,
    /// Bytes that have been read, with those of a transaction that is not whole.
    read: u64,
    /// The database that the leader last spoke of.
    db: usize,
    /// When the link was last there, or the following began, in milliseconds.
    pub(crate) changed_at: i64,
    /// When the leader was last heard, in milliseconds.
    pub(crate) heard_at: i64,
    acknowledged_at: i64,
    /// A command of the leader's has failed here and that was said.
    has_complained: bool,
}

/// What the shell needs to reach the leader.
#[derive(Debug, Clone)]
pub(crate) struct Goal {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Secret,
    /// How long the leader may be silent, in seconds.
    pub(crate) patience: u64,
    /// The history that is there, and the first byte of it that is missing.
    pub(crate) known: Option<(String, u64)>,
    /// Which wish of the engine's this is: an answer to an older one is of no use.
    pub(crate) number: u64,
}

impl Engine {
    /// Begins to follow a server, or another one.
    pub(crate) fn follow(&mut self, host: &str, port: u16) {
        self.leave_leader();
        self.drop_replicas();
        self.refuse_blocked();
        self.following = Some(Following {
            host: host.to_owned(),
            port,
            link: Link::Connect,
            client: None,
            history: None,
            offset: 0,
            read: 0,
            db: 0,
            changed_at: self.now,
            heard_at: self.now,
            acknowledged_at: 0,
            has_complained: false,
        });
        self.config.note("replicaof", &format!("{host} {port}"));
        self.effects.notices.push(format!("follows {host}:{port} from now on"));
    }

    /// Follows nobody any more, and takes writes.
    pub(crate) fn follow_nobody(&mut self) {
        self.leave_leader();
        if let Some(following) = self.following.take() {
            self.replication.offset = self.replication.offset.max(following.offset);
            self.config.note("replicaof", "");
            self.effects.notices.push("follows nobody any more".to_owned());
        }
    }

    fn leave_leader(&mut self) {
        self.wishes += 1;
        if let Some(client) = self.following.as_mut().and_then(|following| following.client.take()) {
            self.effects.closes.push(client);
        }
    }

    /// Replicas of this server must begin anew: what they have is no part of the new history.
    fn drop_replicas(&mut self) {
        self.replication.forget();
        for replica in std::mem::take(&mut self.replication.replicas) {
            self.effects.closes.push(replica);
        }
    }

    /// Who waits would wait for ever: as in Redis they are told and closed.
    fn refuse_blocked(&mut self) {
        const TEXT: &[u8] =
            b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
        let waiting: Vec<ClientId> = self
            .sessions
            .values()
            .filter(|session| session.blocked.as_ref().is_some_and(|b| b.waiting != Waiting::Shell))
            .map(|session| session.id)
            .collect();
        for client in waiting {
            self.unblock(client);
            self.deliver(client, |out| out.error(TEXT));
            self.effects.closes.push(client);
        }
    }

    /// Follows the server that the setting names, which is written `host port`.
    pub(crate) fn follow_setting(&mut self) -> Result<(), String> {
        let text = self.config.get("replicaof").to_owned();
        if text.is_empty() {
            return Ok(());
        }
        let place = text.split_once(' ').and_then(|(host, port)| Some((host, port.trim().parse().ok()?)));
        let (host, port) =
            place.ok_or_else(|| format!("setting 'replicaof': '{text}' is not a host and a port"))?;
        self.follow(host, port);
        Ok(())
    }

    /// Whom the shell should connect to; nobody while the link is there.
    pub(crate) fn goal(&self) -> Option<Goal> {
        let following = self.following.as_ref().filter(|following| following.client.is_none())?;
        Some(Goal {
            host: following.host.clone(),
            port: following.port,
            user: self.config.get("masteruser").to_owned(),
            password: Secret::new(self.config.get("masterauth").to_owned()),
            patience: self.config.get("repl-timeout").parse().unwrap_or(60).max(1),
            known: following.history.clone().map(|history| (history, following.offset + 1)),
            number: self.wishes,
        })
    }

    /// Tells how far the shell is with connecting.
    pub(crate) fn set_link(&mut self, link: Link) {
        if let Some(following) = self.following.as_mut().filter(|following| following.client.is_none()) {
            following.link = link;
        }
    }

    /// Takes a leader's RDB file in place of all data; on an error the data stay as they were. What comes next is the
    /// byte behind `offset` of the leader's history.
    pub(crate) fn take_copy(&mut self, history: String, offset: u64, file: &[u8]) -> Result<(), String> {
        self.drop_replicas();
        let mut old = Vec::new();
        for db in 0..self.databases.len() {
            self.touch_watchers_of(db, None);
            let seed = self.random.next();
            old.push(self.databases[db].take(seed));
        }
        self.set_loading(true);
        let loaded = rdb::file::load(file, self, &mut |_| {});
        self.set_loading(false);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(why) => {
                self.databases = old;
                return Err(why);
            }
        };
        self.effects.garbage.extend(old.into_iter().map(|db| Garbage(Trash::Database(Box::new(db)))));
        self.scripts.lua().flush_libraries();
        for code in &loaded.functions {
            if let Err(error) = crate::script::load_library(self, code, true) {
                self.effects.notices.push(format!("a library of the leader's cannot be loaded: {error:?}"));
            }
        }
        self.tracking_invalidate_all();
        self.dirty += 1;
        self.stats.copies_taken += 1;
        if let Some(following) = &mut self.following {
            (following.history, following.offset, following.read) = (Some(history), offset, offset);
            (following.db, following.has_complained) = (0, false);
        }
        Ok(())
    }

    /// The link is there: gives the client whose commands are the leader's. `history` is its name if that has changed.
    pub(crate) fn begin_following(&mut self, peer: Peer, history: Option<String>) -> ClientId {
        let client = self.connect(peer);
        self.trust(client);
        let now = self.now;
        if let Some(following) = &mut self.following {
            following.client = Some(client);
            following.link = Link::Connected;
            (following.changed_at, following.heard_at, following.acknowledged_at) = (now, now, 0);
            following.read = following.offset;
            if history.is_some() {
                following.history = history;
            }
            let db = following.db;
            let session = self.session(client);
            session.db = db;
            session.replies = crate::session::Replies::Off;
        }
        client
    }

    /// Whether this client is the leader.
    pub(crate) fn is_leader(&self, client: ClientId) -> bool {
        self.following.as_ref().is_some_and(|following| following.client == Some(client))
    }

    /// The leader was heard.
    pub(crate) fn hear_leader(&mut self) {
        let now = self.now;
        if let Some(following) = &mut self.following {
            following.heard_at = now;
        }
    }

    /// A command of the leader's has run, which took so many bytes.
    pub(crate) fn count_from_leader(&mut self, client: ClientId, bytes: usize) {
        let session = self.session(client);
        let (is_whole, db) = (session.transaction.is_none(), session.db);
        if let Some(following) = &mut self.following {
            following.read += bytes as u64;
            if is_whole {
                (following.offset, following.db) = (following.read, db);
            }
        }
    }

    /// A command of the leader's was refused here: the data may differ from now on.
    pub(crate) fn complain_of_leader(&mut self, arguments: &[&[u8]], reply: &[u8]) {
        self.stats.unexpected_errors += 1;
        let Some(following) = self.following.as_mut().filter(|following| !following.has_complained) else {
            return;
        };
        following.has_complained = true;
        let command = crate::failure::shown(arguments[0]).to_uppercase();
        let line = reply.split(|byte| *byte == b'\r').next().unwrap_or_default();
        self.effects.notices.push(format!(
            "the leader's {command} is refused here ({}); the data may differ from now on",
            crate::failure::shown(line.strip_prefix(b"-").unwrap_or(line))
        ));
    }

    /// The link was lost.
    pub(crate) fn lose_leader(&mut self, client: ClientId) {
        let now = self.now;
        if let Some(following) = self.following.as_mut().filter(|f| f.client == Some(client)) {
            following.client = None;
            following.link = Link::Connect;
            following.changed_at = now;
            let text = format!("the link to {}:{} is lost", following.host, following.port);
            self.effects.notices.push(text);
        }
    }

    /// Once a second tells the leader how far this server is, and gives up a leader that is silent.
    pub(crate) fn tend_leader(&mut self) {
        let now = self.now;
        let patience = self.config.get("repl-timeout").parse::<i64>().unwrap_or(60).max(1) * 1000;
        let Some(following) = &mut self.following else { return };
        let Some(client) = following.client else { return };
        if now - following.heard_at > patience {
            return self.effects.closes.push(client);
        }
        if now - following.acknowledged_at >= 1000 {
            following.acknowledged_at = now;
            let words = following.acknowledgement();
            self.deliver(client, |out| out.bytes.extend_from_slice(&words));
        }
    }

    /// Refuses what a replica does not do.
    pub(crate) fn check_follower(&self) -> Result<(), crate::failure::Failure> {
        if self.following.is_some() && self.config.replica_read_only && !self.is_from_leader {
            return Err("READONLY You can't write against a read only replica.".into());
        }
        Ok(())
    }

    /// Whether the data are old and are not to be shown: the link is lost and `replica-serve-stale-data` is off.
    pub(crate) fn is_stale(&self) -> bool {
        !self.config.serves_stale_data
            && self.following.as_ref().is_some_and(|following| following.link != Link::Connected)
    }
}

impl Following {
    /// What a replica tells its leader.
    pub(crate) fn acknowledgement(&self) -> Vec<u8> {
        let mut words = Vec::new();
        append(&mut words, &[b"REPLCONF", b"ACK", self.offset.to_string().as_bytes()]);
        words
    }
}
