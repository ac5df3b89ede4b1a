//! ACL LOG: what was refused, newest first. Similar refusals within a minute are one entry with a count.

use std::collections::VecDeque;

/// Where a command was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    TopLevel,
    Multi,
    Lua,
}

impl Context {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TopLevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// A refusal.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) count: u64,
    /// `command`, `key`, `channel` or `auth`.
    pub(crate) reason: &'static str,
    pub(crate) context: Context,
    /// The command, key or channel.
    pub(crate) object: Vec<u8>,
    pub(crate) user: Vec<u8>,
    /// Milliseconds since 1970 of the last time.
    pub(crate) at: i64,
    /// The client of the last time, as CLIENT LIST shows it.
    pub(crate) client: String,
}

/// How long a refusal is counted as the same.
const SAME_MS: i64 = 60_000;
/// Entries that are compared with a new one.
const COMPARED: usize = 10;

/// See the module's description.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) entries: VecDeque<Entry>,
}

impl Log {
    pub(crate) fn add(&mut self, entry: Entry, limit: usize) {
        let same = self.entries.iter().take(COMPARED).position(|old| {
            (old.reason, old.context) == (entry.reason, entry.context)
                && (old.at - entry.at).abs() <= SAME_MS
                && old.object == entry.object
                && old.user == entry.user
        });
        let before = same.and_then(|index| self.entries.remove(index)).map_or(0, |old| old.count);
        self.entries.push_front(Entry { count: before + 1, ..entry });
        self.entries.truncate(limit);
    }
}
