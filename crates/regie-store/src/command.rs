//! What a command is: a row of the table in `commands/table.rs`. From the rows come dispatch, checks of arity and
//! rights, COMMAND and COMMAND DOCS, the statistics' slots, and the page of the guide.

use crate::command_keys::KeySpec;
use crate::context::Ctx;
use crate::failure::Outcome;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The function behind a command. The first argument is its name.
pub(crate) type Run = fn(&mut Ctx<'_>, &[&[u8]]) -> Outcome;

/// A set of properties of a command, as COMMAND shows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Flags(pub(crate) u32);

impl Flags {
    pub(crate) const WRITE: Self = Self(1);
    pub(crate) const READONLY: Self = Self(1 << 1);
    /// Refused when memory is short.
    pub(crate) const DENYOOM: Self = Self(1 << 2);
    pub(crate) const ADMIN: Self = Self(1 << 3);
    pub(crate) const PUBSUB: Self = Self(1 << 4);
    /// Not for scripts.
    pub(crate) const NOSCRIPT: Self = Self(1 << 5);
    pub(crate) const BLOCKING: Self = Self(1 << 6);
    /// Allowed while the data is being read at the start.
    pub(crate) const LOADING: Self = Self(1 << 7);
    pub(crate) const STALE: Self = Self(1 << 8);
    pub(crate) const SKIP_MONITOR: Self = Self(1 << 9);
    pub(crate) const SKIP_SLOWLOG: Self = Self(1 << 10);
    /// Allowed before AUTH.
    pub(crate) const NO_AUTH: Self = Self(1 << 11);
    pub(crate) const FAST: Self = Self(1 << 12);
    /// Allowed while a script runs too long.
    pub(crate) const ALLOW_BUSY: Self = Self(1 << 14);
    /// Not within MULTI.
    pub(crate) const NO_MULTI: Self = Self(1 << 15);
    /// Put off while writes are paused, although it writes nothing itself.
    pub(crate) const MAY_REPLICATE: Self = Self(1 << 16);
    /// Refused while a replica loads in the background; this server never does.
    pub(crate) const NO_ASYNC_LOADING: Self = Self(1 << 17);
    /// It may name no key at all.
    pub(crate) const NO_MANDATORY_KEYS: Self = Self(1 << 18);
    pub(crate) const ASKING: Self = Self(1 << 19);

    /// Whether one of `other` holds.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Names of the flags in the order in which COMMAND shows them.
pub(crate) const FLAG_NAMES: [(Flags, &str); 18] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::PUBSUB, "pubsub"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::SKIP_MONITOR, "skip_monitor"),
    (Flags::SKIP_SLOWLOG, "skip_slowlog"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::FAST, "fast"),
    (Flags::ASKING, "asking"),
    (Flags::NO_MANDATORY_KEYS, "no_mandatory_keys"),
    (Flags::NO_ASYNC_LOADING, "no_async_loading"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Command {
    /// In lower case; a subcommand is `container|name`.
    pub(crate) name: &'static str,
    /// How many arguments with the name; at least so many when negative.
    pub(crate) arity: i32,
    pub(crate) flags: Flags,
    pub(crate) keys: &'static [KeySpec],
    /// Categories of ACL rules, without those that follow from the flags.
    pub(crate) categories: &'static str,
    pub(crate) group: &'static str,
    pub(crate) since: &'static str,
    pub(crate) help: &'static str,
    /// What COMMAND tells proxies about its replies and where to send it.
    pub(crate) tips: &'static str,
    /// `None` for a container, whose subcommands have rows of their own.
    pub(crate) run: Option<Run>,
}

impl Command {
    /// The row with tips.
    pub(crate) const fn tips(mut self, tips: &'static str) -> Self {
        self.tips = tips;
        self
    }

    pub(crate) fn accepts(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    /// The name of the container of a subcommand.
    pub(crate) fn container(&self) -> Option<&'static str> {
        self.name.split_once('|').map(|(container, _)| container)
    }

    /// All ACL categories.
    pub(crate) fn all_categories(&self) -> Vec<&'static str> {
        let mut all: Vec<&'static str> = Vec::new();
        let flags = self.flags;
        let is_script = self.categories.contains("scripting");
        for (holds, name) in [
            (flags.has(Flags::WRITE), "write"),
            (flags.has(Flags::READONLY) && !is_script, "read"),
            (flags.has(Flags::ADMIN), "admin"),
            (flags.has(Flags::ADMIN), "dangerous"),
            (flags.has(Flags::PUBSUB), "pubsub"),
            (flags.has(Flags::FAST), "fast"),
            (!flags.has(Flags::FAST), "slow"),
            (flags.has(Flags::BLOCKING), "blocking"),
        ] {
            if holds {
                all.push(name);
            }
        }
        for name in self.categories.split_whitespace() {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }
}

/// The number of a command: its place in the table.
pub(crate) type CommandId = usize;

static INDEX: LazyLock<HashMap<&'static [u8], CommandId, foldhash::fast::FixedState>> = LazyLock::new(|| {
    crate::commands::table::COMMANDS.iter().enumerate().map(|(id, c)| (c.name.as_bytes(), id)).collect()
});

/// The command of this name, which may be a container.
pub(crate) fn find(name: &[u8]) -> Option<CommandId> {
    let mut lower = [0u8; 40];
    let lower = lower.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    if lower.contains(&b'|') {
        return None;
    }
    INDEX.get(&*lower).copied()
}

/// The subcommand of a container.
pub(crate) fn find_sub(container: &str, name: &[u8]) -> Option<CommandId> {
    let full = [container.as_bytes(), b"|", &name.to_ascii_lowercase()].concat();
    INDEX.get(&full[..]).copied()
}

/// The command of a full name, `config|get` included.
pub(crate) fn find_full(name: &[u8]) -> Option<CommandId> {
    INDEX.get(&name.to_ascii_lowercase()[..]).copied()
}

/// The row of a number.
pub(crate) fn row(id: CommandId) -> &'static Command {
    &crate::commands::table::COMMANDS[id]
}
