//! Categories of commands, and the sets of commands that rules speak of.

use crate::command::CommandId;
use crate::commands::table::COMMANDS;
use std::sync::LazyLock;

/// All categories, in Redis's order.
pub(crate) const CATEGORIES: [&str; 21] = [
    "keyspace",
    "read",
    "write",
    "set",
    "sortedset",
    "list",
    "hash",
    "string",
    "bitmap",
    "hyperloglog",
    "geo",
    "stream",
    "pubsub",
    "admin",
    "fast",
    "slow",
    "blocking",
    "dangerous",
    "connection",
    "transaction",
    "scripting",
];

/// The number of a category.
pub(crate) fn category_of(name: &[u8]) -> Option<usize> {
    CATEGORIES.iter().position(|category| name.eq_ignore_ascii_case(category.as_bytes()))
}

/// The categories of each command, a bit each.
static MASKS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mask =
        |names: Vec<&str>| names.iter().filter_map(|name| category_of(name.as_bytes())).map(|n| 1 << n).sum();
    COMMANDS.iter().map(|row| mask(row.all_categories())).collect()
});

/// Whether a command belongs to a category.
pub(crate) fn is_in(id: CommandId, category: usize) -> bool {
    MASKS[id] & (1 << category) != 0
}

/// The subcommands of each command.
static SUBCOMMANDS: LazyLock<Vec<Vec<CommandId>>> = LazyLock::new(|| {
    let of = |name: &str| (0..COMMANDS.len()).filter(|id| COMMANDS[*id].container() == Some(name)).collect();
    COMMANDS.iter().map(|row| of(row.name)).collect()
});

pub(crate) fn subcommands(id: CommandId) -> &'static [CommandId] {
    &SUBCOMMANDS[id]
}

/// A set of commands, and whether commands that come later belong to it (`+@all`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commands {
    bits: Vec<u64>,
    pub(crate) future: bool,
}

impl Commands {
    pub(crate) fn none() -> Self {
        Self { bits: vec![0; COMMANDS.len().div_ceil(64)], future: false }
    }

    pub(crate) fn all() -> Self {
        Self { bits: vec![u64::MAX; COMMANDS.len().div_ceil(64)], future: true }
    }

    pub(crate) fn has(&self, id: CommandId) -> bool {
        self.bits[id / 64] & (1 << (id % 64)) != 0
    }

    fn set_one(&mut self, id: CommandId, on: bool) {
        if on {
            self.bits[id / 64] |= 1 << (id % 64);
        } else {
            self.bits[id / 64] &= !(1 << (id % 64));
        }
    }

    /// Allows or forbids a command with its subcommands.
    pub(crate) fn set(&mut self, id: CommandId, on: bool) {
        self.set_one(id, on);
        subcommands(id).iter().for_each(|sub| self.set_one(*sub, on));
    }

    /// Allows or forbids a category.
    pub(crate) fn set_category(&mut self, category: usize, on: bool) {
        (0..COMMANDS.len()).filter(|id| is_in(*id, category)).for_each(|id| self.set(id, on));
    }

    /// How many commands of a category it has, and how many it has not.
    pub(crate) fn count(&self, category: usize) -> (usize, usize) {
        let members = || (0..COMMANDS.len()).filter(|id| is_in(*id, category));
        let on = members().filter(|id| self.has(*id)).count();
        (on, members().count() - on)
    }
}
