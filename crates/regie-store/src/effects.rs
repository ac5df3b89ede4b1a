//! What the shell has to do after the engine has handled something.

use crate::database::Database;
use crate::session::ClientId;
use crate::value::Value;

/// Something big that is freed away from the event loop: drop it on another thread.
#[derive(Debug)]
pub struct Garbage(#[expect(dead_code, reason = "held only to be dropped")] pub(crate) Trash);

#[derive(Debug)]
#[expect(dead_code, reason = "held only to be dropped")]
pub(crate) enum Trash {
    Value(Value),
    Database(Box<Database>),
}

/// Work on the disk that a command has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskRequest {
    /// Write the log anew from a snapshot (BGREWRITEAOF).
    Rewrite,
    /// Write a snapshot in the background (BGSAVE).
    Snapshot,
    /// Write a snapshot before going on, and answer this client (SAVE).
    SnapshotNow(ClientId),
    /// Keep what CONFIG SET has changed, and answer this client (CONFIG REWRITE).
    KeepSettings(ClientId),
    /// Write a copy of everything into a folder of this name (BACKUP).
    Backup(String),
    /// The setting `appendonly` has changed.
    Journal(bool),
    /// Read the file of users (ACL LOAD) and tell [`crate::Engine::shell_has_done`].
    LoadUsers(ClientId),
    /// Write the file of users (ACL SAVE) and tell [`crate::Engine::shell_has_done`].
    SaveUsers(ClientId),
    /// End the server, with a snapshot first if asked for.
    Shutdown {
        /// SHUTDOWN SAVE.
        save: bool,
    },
}

/// See the module's description. Emptied with [`crate::Engine::take_effects`] after each turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// Bytes for other clients than the one that was handled, in order: published messages, replies to clients that
    /// were blocked, invalidations.
    pub deliveries: Vec<(ClientId, Vec<u8>)>,
    /// Clients that were blocked and can be read from again.
    pub resumed: Vec<ClientId>,
    /// Clients to close once what was written to them has been sent.
    pub closes: Vec<ClientId>,
    /// Log records to append before any reply goes out.
    pub journal: Vec<u8>,
    /// Dropped elsewhere.
    pub garbage: Vec<Garbage>,
    /// Work on the disk.
    pub disk: Vec<DiskRequest>,
    /// The engine asks for a pause of the whole server (DEBUG SLEEP), in microseconds.
    pub sleep_us: u64,
    /// What the walk under way has recorded since the last turn.
    pub snapshot: Vec<u8>,
    /// The databases that `journal` changes, a bit each.
    pub journal_databases: u64,
    /// Lines for the operator.
    pub notices: Vec<String>,
}
