//! A set of rules: which commands, which keys, which channels.

use super::rules::{Commands, category_of};
use crate::command::{self, Command, CommandId, Flags};
use crate::command_keys::Access;
use crate::glob;
use std::collections::BTreeMap;

/// What was refused: the command, or the key or channel at a place among the arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Denied {
    Command,
    Key(usize),
    Channel(usize),
}

/// A pattern of keys and what may be done to them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyPattern {
    pub(crate) pattern: Vec<u8>,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// Why a rule was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuleError {
    Syntax,
    Unknown,
    KeysAfterAll,
    ChannelsAfterAll,
    NoSuchPassword,
    BadHash,
    FirstArgumentOfSubcommand,
}

impl RuleError {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Syntax => "Syntax error",
            Self::Unknown => "Unknown command or category name in ACL",
            Self::KeysAfterAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::ChannelsAfterAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::BadHash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::FirstArgumentOfSubcommand => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) commands: Commands,
    /// Every command, without a look at `commands`.
    pub(crate) all_commands: bool,
    /// First arguments with which a forbidden command may be run.
    pub(crate) first_arguments: BTreeMap<CommandId, Vec<Vec<u8>>>,
    pub(crate) all_keys: bool,
    pub(crate) keys: Vec<KeyPattern>,
    pub(crate) all_channels: bool,
    pub(crate) channels: Vec<Vec<u8>>,
}

/// Users and patterns may hold no spaces: rules are written in lines.
pub(crate) fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| byte.is_ascii_whitespace() || *byte == 0x0b || *byte == 0)
}

impl Selector {
    /// Nothing is allowed, but all channels if that is the default.
    pub(crate) fn new(all_channels: bool) -> Self {
        Self {
            commands: Commands::none(),
            all_commands: false,
            first_arguments: BTreeMap::new(),
            all_keys: false,
            keys: Vec::new(),
            all_channels,
            channels: Vec::new(),
        }
    }

    /// Applies a rule.
    pub(crate) fn apply(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => (self.all_keys, self.keys) = (true, Vec::new()),
            b"resetkeys" => (self.all_keys, self.keys) = (false, Vec::new()),
            b"allchannels" | b"&*" => (self.all_channels, self.channels) = (true, Vec::new()),
            b"resetchannels" => (self.all_channels, self.channels) = (false, Vec::new()),
            b"allcommands" | b"+@all" => self.set_all_commands(true),
            b"nocommands" | b"-@all" => self.set_all_commands(false),
            _ => return self.apply_named(rule),
        }
        Ok(())
    }

    fn set_all_commands(&mut self, on: bool) {
        self.commands = if on { Commands::all() } else { Commands::none() };
        self.all_commands = on;
        self.first_arguments.clear();
    }

    fn apply_named(&mut self, rule: &[u8]) -> Result<(), RuleError> {
        match rule {
            [b'~', pattern @ ..] => self.add_keys(pattern, true, true),
            [b'%', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'~').ok_or(RuleError::Syntax)?;
                let (mut read, mut write) = (false, false);
                for letter in &rest[..end] {
                    match letter.to_ascii_uppercase() {
                        b'R' if !read => read = true,
                        b'W' if !write => write = true,
                        _ => return Err(RuleError::Syntax),
                    }
                }
                self.add_keys(&rest[end + 1..], read, write)
            }
            [b'&', pattern @ ..] => self.add_channels(pattern),
            [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                let category = category_of(name).ok_or(RuleError::Unknown)?;
                self.commands.set_category(category, *sign == b'+');
                self.all_commands &= *sign == b'+';
                Ok(())
            }
            [b'+', name @ ..] => self.allow(name),
            [b'-', name @ ..] => {
                let id = command::find_full(name).ok_or(RuleError::Unknown)?;
                self.commands.set(id, false);
                self.all_commands = false;
                self.first_arguments.remove(&id);
                Ok(())
            }
            _ => Err(RuleError::Syntax),
        }
    }

    fn add_keys(&mut self, pattern: &[u8], read: bool, write: bool) -> Result<(), RuleError> {
        if self.all_keys {
            return Err(RuleError::KeysAfterAll);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        match self.keys.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => (known.read, known.write) = (known.read || read, known.write || write),
            None => self.keys.push(KeyPattern { pattern: pattern.to_vec(), read, write }),
        }
        Ok(())
    }

    fn add_channels(&mut self, pattern: &[u8]) -> Result<(), RuleError> {
        if self.all_channels {
            return Err(RuleError::ChannelsAfterAll);
        }
        if has_spaces(pattern) {
            return Err(RuleError::Syntax);
        }
        if !self.channels.iter().any(|known| known == pattern) {
            self.channels.push(pattern.to_vec());
        }
        Ok(())
    }

    /// `command`, `command|subcommand`, or `command|first-argument` of a command without subcommands.
    fn allow(&mut self, name: &[u8]) -> Result<(), RuleError> {
        let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
            let id = command::find_full(name).ok_or(RuleError::Unknown)?;
            self.commands.set(id, true);
            self.first_arguments.remove(&id);
            return Ok(());
        };
        let (whole, argument) = (&name[..bar], &name[bar + 1..]);
        let id = command::find_full(whole).ok_or(RuleError::Unknown)?;
        if command::row(id).container().is_some() {
            return Err(RuleError::FirstArgumentOfSubcommand);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if super::rules::subcommands(id).is_empty() {
            let known = self.first_arguments.entry(id).or_default();
            if !known.iter().any(|known| known.eq_ignore_ascii_case(argument)) {
                known.push(argument.to_vec());
            }
        } else {
            self.commands.set(command::find_full(name).ok_or(RuleError::Unknown)?, true);
        }
        Ok(())
    }

    /// Whether everything is allowed.
    pub(crate) fn may_all(&self) -> bool {
        self.all_commands && self.all_keys && self.all_channels
    }

    /// Whether a command may be run.
    pub(crate) fn check(&self, id: CommandId, arguments: &[&[u8]]) -> Result<(), Denied> {
        let row = command::row(id);
        if !self.all_commands && !row.flags.has(Flags::NO_AUTH) && !self.commands.has(id) {
            let allowed = self.first_arguments.get(&id);
            let first = arguments.get(1);
            let fits = first.zip(allowed).is_some_and(|(first, allowed)| {
                allowed.iter().any(|argument| argument.eq_ignore_ascii_case(first))
            });
            if !fits {
                return Err(Denied::Command);
            }
        }
        if !self.all_keys && row.has_keys() {
            for (place, access) in row.places(arguments).unwrap_or_default() {
                if !self.may_touch(arguments[place], access) {
                    return Err(Denied::Key(place));
                }
            }
        }
        if !self.all_channels
            && let Some((range, is_pattern)) = channels(row, arguments.len())
        {
            for place in range {
                if !self.may_listen(arguments[place], is_pattern) {
                    return Err(Denied::Channel(place));
                }
            }
        }
        Ok(())
    }

    fn may_touch(&self, key: &[u8], access: Access) -> bool {
        self.all_keys
            || self.keys.iter().any(|known| {
                (known.read || !access.reads())
                    && (known.write || !access.writes())
                    && glob::matches(&known.pattern, key, false)
            })
    }

    /// Whether every key may be read.
    pub(crate) fn may_read_all(&self) -> bool {
        self.all_keys || self.keys.iter().any(|known| known.read && known.pattern == b"*")
    }

    /// A pattern of channels is allowed only as it stands in the rules.
    pub(crate) fn may_listen(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_channels
            || self
                .channels
                .iter()
                .any(|known| if is_pattern { known == channel } else { glob::matches(known, channel, false) })
    }
}

/// Where a command's channels stand, and whether they are patterns.
fn channels(row: &Command, count: usize) -> Option<(std::ops::Range<usize>, bool)> {
    match row.name {
        "publish" | "spublish" => Some((1..2, false)),
        "subscribe" | "ssubscribe" => Some((1..count, false)),
        "psubscribe" => Some((1..count, true)),
        _ => None,
    }
}
