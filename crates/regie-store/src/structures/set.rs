//! A set: sorted integers while it is small and holds nothing else, a table otherwise.

use crate::blob::{Blob, allocation};
use crate::number::{parse_integer, write_integer};
use crate::random::Random;
use crate::table::Table;
use std::borrow::Cow;

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) enum Set {
    /// Sorted.
    Integers(Vec<i64>),
    /// `outside` counts the bytes that members hold outside of the table's nodes.
    Big { table: Table<Blob>, outside: usize },
}

fn text(value: i64) -> Cow<'static, [u8]> {
    let mut out = Vec::with_capacity(20);
    write_integer(&mut out, value);
    Cow::Owned(out)
}

impl Set {
    pub(crate) fn new() -> Self {
        Self::Integers(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Integers(sorted) => sorted.len(),
            Self::Big { table, .. } => table.len(),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Integers(sorted) => allocation(sorted.capacity() * 8),
            Self::Big { table, outside } => table.memory() + outside,
        }
    }

    pub(crate) fn is_integers(&self) -> bool {
        matches!(self, Self::Integers(_))
    }

    pub(crate) fn contains(&self, member: &[u8]) -> bool {
        match self {
            Self::Integers(sorted) => {
                parse_integer(member).is_some_and(|value| sorted.binary_search(&value).is_ok())
            }
            Self::Big { table, .. } => table.contains(member),
        }
    }

    /// Adds a member; true if it is new. `limit` is how many integers stay packed.
    pub(crate) fn add(&mut self, member: &[u8], limit: usize, seed: u64) -> bool {
        if let Self::Integers(sorted) = self {
            match parse_integer(member) {
                Some(value) => {
                    let Err(at) = sorted.binary_search(&value) else { return false };
                    sorted.insert(at, value);
                    if sorted.len() > limit {
                        self.grow(seed);
                    }
                    return true;
                }
                None => self.grow(seed),
            }
        }
        let Self::Big { table, outside } = self else { return false };
        if table.contains(member) {
            return false;
        }
        let member = Blob::from(member);
        *outside += member.memory();
        table.insert(member);
        true
    }

    fn grow(&mut self, seed: u64) {
        let Self::Integers(sorted) = self else { return };
        let mut table = Table::new(seed);
        table.reserve(sorted.len() + 1);
        for &value in sorted.iter() {
            table.insert(Blob::from(&*text(value)));
        }
        *self = Self::Big { table, outside: 0 };
    }

    pub(crate) fn remove(&mut self, member: &[u8]) -> bool {
        match self {
            Self::Integers(sorted) => match parse_integer(member).map(|value| sorted.binary_search(&value)) {
                Some(Ok(at)) => {
                    sorted.remove(at);
                    true
                }
                _ => false,
            },
            Self::Big { table, outside } => match table.remove(member) {
                Some(gone) => {
                    *outside -= gone.memory();
                    true
                }
                None => false,
            },
        }
    }

    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = Cow<'_, [u8]>> + '_> {
        match self {
            Self::Integers(sorted) => Box::new(sorted.iter().map(|&value| text(value))),
            Self::Big { table, .. } => Box::new(table.iter().map(|member| Cow::Borrowed(member.as_slice()))),
        }
    }

    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8])) -> u64 {
        match self {
            Self::Integers(sorted) => {
                sorted.iter().for_each(|&value| visit(&text(value)));
                0
            }
            Self::Big { table, .. } => table.scan(cursor, |member| visit(member)),
        }
    }

    pub(crate) fn random(&self, random: &mut Random) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Integers(sorted) if sorted.is_empty() => None,
            Self::Integers(sorted) => Some(text(sorted[random.below(sorted.len())])),
            Self::Big { table, .. } => {
                table.random_fair(random).map(|member| Cow::Borrowed(member.as_slice()))
            }
        }
    }
}
