//! A hash: packed while small, a table when it has grown; either with ends of single fields beside it.

use super::ends::Ends;
use super::pack::Pack;
use crate::blob::{Blob, allocation};
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
    /// One of the others, some of whose fields end by themselves. When the last of those has gone or stays, it is
    /// that other again.
    Timed {
        hash: Box<Hash>,
        ends: Box<Ends>,
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
            Self::Timed { hash, .. } => hash.len(),
        }
    }

    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Small(pack) => pack.memory(),
            Self::Big { table, outside } => table.memory() + outside,
            Self::Timed { hash, ends } => {
                allocation(size_of::<Self>()) + hash.memory() + allocation(size_of::<Ends>()) + ends.memory()
            }
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::Small(_) => "listpack",
            Self::Big { .. } => "hashtable",
            Self::Timed { hash, .. } if matches!(**hash, Self::Small(_)) => "listpackex",
            Self::Timed { hash, .. } => hash.encoding(),
        }
    }

    /// When a field ends, if it does.
    pub(crate) fn end_of(&self, field: &[u8]) -> Option<i64> {
        if let Self::Timed { ends, .. } = self { ends.get(field) } else { None }
    }

    /// When the first of its fields ends.
    pub(crate) fn first_end(&self) -> Option<i64> {
        if let Self::Timed { ends, .. } = self { ends.first() } else { None }
    }

    /// Lets a field end at a time. It must be there.
    pub(crate) fn set_end(&mut self, field: &[u8], at: i64) {
        if !matches!(self, Self::Timed { .. }) {
            let hash = Box::new(std::mem::replace(self, Self::new()));
            *self = Self::Timed { hash, ends: Box::default() };
        }
        if let Self::Timed { ends, .. } = self {
            ends.set(field, at);
        }
    }

    /// Lets a field stay; true if it had an end.
    pub(crate) fn clear_end(&mut self, field: &[u8]) -> bool {
        let Self::Timed { ends, .. } = self else { return false };
        let had = ends.remove(field);
        self.simplify();
        had
    }

    /// Removes at most `limit` of the fields that have ended by `now`.
    pub(crate) fn remove_due(&mut self, now: i64, limit: usize) -> Vec<Blob> {
        let Self::Timed { hash, ends } = self else { return Vec::new() };
        let due = ends.take_due(now, limit);
        for field in &due {
            hash.remove(field);
        }
        self.simplify();
        due
    }

    /// Without ends it needs no place for them.
    fn simplify(&mut self) {
        if let Self::Timed { hash, ends } = self
            && ends.is_empty()
        {
            *self = std::mem::replace(hash, Self::new());
        }
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<&[u8]> {
        match self {
            Self::Small(pack) => pack.get(field),
            Self::Big { table, .. } => table.get(field).map(|found| &*found.value),
            Self::Timed { hash, .. } => hash.get(field),
        }
    }

    /// Sets a field, which has no end from then on; true if it is new.
    pub(crate) fn set(&mut self, field: &[u8], value: &[u8], bounds: Bounds, seed: u64) -> bool {
        self.clear_end(field);
        self.change(field, value, bounds, seed)
    }

    /// Sets a field, which ends when it did before; true if it is new.
    pub(crate) fn change(&mut self, field: &[u8], value: &[u8], bounds: Bounds, seed: u64) -> bool {
        if let Self::Timed { hash, .. } = self {
            return hash.change(field, value, bounds, seed);
        }
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
        self.clear_end(field);
        match self {
            Self::Timed { hash, .. } => hash.remove(field),
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
            Self::Timed { hash, .. } => hash.iter(),
        }
    }

    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        let plain = if let Self::Timed { hash, .. } = self { hash } else { self };
        match plain {
            Self::Timed { .. } => 0,
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
            Self::Timed { hash, .. } => hash.random(random),
        }
    }
}
