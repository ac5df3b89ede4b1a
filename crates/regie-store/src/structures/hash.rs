//! A hash: packed while small, a table when it has grown.

use super::pack::Pack;
use crate::blob::Blob;
use crate::random::Random;
use crate::table::{Keyed, Table};

/// A field and its value in a big hash.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) name: Blob,
    pub(crate) value: Blob,
}

impl Keyed for Field {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

/// How big a collection may be and still be packed (`hash-max-listpack-*` and alike).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Most elements.
    pub(crate) entries: usize,
    /// Longest element in bytes.
    pub(crate) value: usize,
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) enum Hash {
    Small(Pack),
    /// `outside` counts the bytes that fields and values hold outside of the table's nodes.
    Big {
        table: Table<Field>,
        outside: usize,
    },
}

impl Hash {
    pub(crate) fn new() -> Self {
        Self::Small(Pack::default())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Small(pack) => pack.len() / 2,
            Self::Big { table, .. } => table.len(),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Small(pack) => pack.memory(),
            Self::Big { table, outside } => table.memory() + outside,
        }
    }

    pub(crate) fn is_packed(&self) -> bool {
        matches!(self, Self::Small(_))
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Small(pack) => pack.get(field),
            Self::Big { table, .. } => table.get(field).map(|found| &*found.value),
        }
    }

    /// Sets a field; true if it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8], bounds: Bounds, seed: u64) -> bool {
        if let Self::Small(pack) = self {
            let fits = field.len() <= bounds.value && value.len() <= bounds.value;
            if fits && (pack.len() / 2 < bounds.entries || pack.get(field).is_some()) {
                return pack.set(field, value);
            }
            self.grow(seed);
        }
        let Self::Big { table, outside } = self else { return false };
        let value = Blob::from(value);
        *outside += value.memory();
        if let Some(found) = table.get_mut(field) {
            *outside -= found.value.memory();
            found.value = value;
            return false;
        }
        let name = Blob::from(field);
        *outside += name.memory();
        table.insert(Field { name, value });
        true
    }

    fn grow(&mut self, seed: u64) {
        let Self::Small(pack) = self else { return };
        let mut table = Table::new(seed);
        table.reserve(pack.len() / 2 + 1);
        let mut outside = 0;
        for (name, value) in pack.pairs() {
            let field = Field { name: Blob::from(name), value: Blob::from(value) };
            outside += field.name.memory() + field.value.memory();
            table.insert(field);
        }
        *self = Self::Big { table, outside };
    }

    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        match self {
            Self::Small(pack) => pack.remove(field),
            Self::Big { table, outside } => match table.remove(field) {
                Some(gone) => {
                    *outside -= gone.name.memory() + gone.value.memory();
                    true
                }
                None => false,
            },
        }
    }

    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (&[u8], &[u8])> + '_> {
        match self {
            Self::Small(pack) => Box::new(pack.pairs()),
            Self::Big { table, .. } => Box::new(table.iter().map(|field| (&*field.name, &*field.value))),
        }
    }

    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        match self {
            Self::Small(pack) => {
                pack.pairs().for_each(|(name, value)| visit(name, value));
                0
            }
            Self::Big { table, .. } => table.scan(cursor, |field| visit(&field.name, &field.value)),
        }
    }

    pub(crate) fn random(&self, random: &mut Random) -> Option<(&[u8], &[u8])> {
        match self {
            Self::Small(pack) if pack.len() == 0 => None,
            Self::Small(pack) => pack.pairs().nth(random.below(pack.len() / 2)),
            Self::Big { table, .. } => table.random_fair(random).map(|field| (&*field.name, &*field.value)),
        }
    }
}
