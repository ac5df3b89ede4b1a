//! A stream: entries in order of their ids, in blocks of a bounded number, and the groups that read it.

use crate::blob::{Blob, allocation};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;

/// An entry's id: milliseconds and a sequence number within them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Id {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

impl Id {
    pub(crate) const MIN: Self = Self { ms: 0, seq: 0 };
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The id right behind this one; `None` behind the last.
    pub(crate) fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// The id right before this one; `None` before the first.
    pub(crate) fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// One entry: its fields and values alternate.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    pub(crate) fields: Box<[Blob]>,
}

impl Entry {
    fn memory(&self) -> usize {
        allocation(self.fields.len() * size_of::<Blob>())
            + self.fields.iter().map(Blob::memory).sum::<usize>()
    }
}

/// What is delivered and not yet acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    pub(crate) consumer: Blob,
    pub(crate) delivered_at: i64,
    pub(crate) deliveries: u64,
}

/// One reader of a group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Consumer {
    pub(crate) seen_at: i64,
    pub(crate) pending: BTreeMap<Id, ()>,
}

/// A group of readers that share the stream's entries among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(crate) last_delivered: Id,
    /// How many entries the group has read, if that is known: it is what the lag is reckoned from.
    pub(crate) entries_read: Option<u64>,
    pub(crate) pending: BTreeMap<Id, Pending>,
    pub(crate) consumers: BTreeMap<Blob, Consumer>,
}

/// See the module's description.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stream {
    blocks: VecDeque<VecDeque<Entry>>,
    length: usize,
    pub(crate) last_id: Id,
    pub(crate) max_deleted: Id,
    pub(crate) entries_added: u64,
    pub(crate) groups: BTreeMap<Blob, Group>,
    /// Bytes of the entries.
    memory: usize,
}

impl Stream {
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(crate) fn memory(&self) -> usize {
        let groups: usize = self
            .groups
            .values()
            .map(|group| 128 + group.consumers.len() * 96 + group.pending.len() * 112)
            .sum();
        self.memory + self.length * size_of::<Entry>() + self.blocks.len() * 48 + groups
    }

    /// Appends an entry; its id must be above the last one.
    pub(crate) fn append(&mut self, id: Id, fields: &[&[u8]], block: usize) {
        let entry = Entry { id, fields: fields.iter().map(|&text| Blob::from(text)).collect() };
        self.memory += entry.memory();
        if self.blocks.back().is_none_or(|last| last.len() >= block.max(1)) {
            self.blocks.push_back(VecDeque::new());
        }
        if let Some(last) = self.blocks.back_mut() {
            last.push_back(entry);
        }
        self.length += 1;
        self.last_id = id;
        self.entries_added += 1;
    }

    fn locate(&self, id: Id) -> (usize, usize) {
        let block = self.blocks.partition_point(|block| block.back().is_some_and(|entry| entry.id < id));
        let inner = self.blocks.get(block).map_or(0, |block| block.partition_point(|entry| entry.id < id));
        (block, inner)
    }

    pub(crate) fn first(&self) -> Option<&Entry> {
        self.blocks.front()?.front()
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.blocks.back()?.back()
    }

    pub(crate) fn get(&self, id: Id) -> Option<&Entry> {
        let (block, inner) = self.locate(id);
        self.blocks.get(block)?.get(inner).filter(|entry| entry.id == id)
    }

    pub(crate) fn remove(&mut self, id: Id) -> bool {
        let (block, inner) = self.locate(id);
        let Some(found) = self.blocks.get_mut(block) else { return false };
        if found.get(inner).is_none_or(|entry| entry.id != id) {
            return false;
        }
        if let Some(gone) = found.remove(inner) {
            self.memory -= gone.memory();
        }
        if found.is_empty() {
            self.blocks.remove(block);
        }
        self.length -= 1;
        true
    }

    /// Entries from `start` to `end`, both included.
    pub(crate) fn range(&self, start: Id, end: Id) -> impl Iterator<Item = &Entry> {
        let (block, inner) = self.locate(start);
        self.blocks
            .range(block.min(self.blocks.len())..)
            .flatten()
            .skip(inner)
            .take_while(move |e| e.id <= end)
    }

    /// Entries from `end` down to `start`, both included.
    pub(crate) fn range_back(&self, start: Id, end: Id) -> impl Iterator<Item = &Entry> {
        let block = self.blocks.partition_point(|block| block.front().is_some_and(|entry| entry.id <= end));
        self.blocks
            .range(..block)
            .rev()
            .flat_map(|block| block.iter().rev())
            .skip_while(move |entry| entry.id > end)
            .take_while(move |entry| entry.id >= start)
    }

    /// Removes entries from the front while `stop` does not hold. `whole` blocks only: the cheap, approximate way,
    /// which may leave a few more; then `limit` bounds the work (0: no bound).
    pub(crate) fn trim(&mut self, keep: &Keep, whole: bool, limit: usize) -> usize {
        let mut removed = 0;
        while let Some(block) = self.blocks.front() {
            let (Some(last), count) = (block.back(), block.len()) else { break };
            let all = match keep {
                Keep::Length(length) => self.length.saturating_sub(count) >= *length,
                Keep::From(id) => last.id < *id,
            };
            if all {
                if limit > 0 && removed + count > limit {
                    break;
                }
                if matches!(keep, Keep::Length(length) if self.length <= *length) {
                    break;
                }
                for entry in block {
                    self.memory -= entry.memory();
                }
                self.length -= count;
                removed += count;
                self.blocks.pop_front();
                continue;
            }
            if whole {
                break;
            }
            let Some(block) = self.blocks.front_mut() else { break };
            let before = block.len();
            while let Some(entry) = block.front() {
                let stay = match keep {
                    Keep::Length(length) => self.length <= *length,
                    Keep::From(id) => entry.id >= *id,
                };
                if stay {
                    break;
                }
                self.memory -= entry.memory();
                block.pop_front();
                self.length -= 1;
            }
            removed += before - block.len();
            break;
        }
        removed
    }

    /// How many entries lie behind the group's last read; `None` when deletions have made it uncertain.
    pub(crate) fn lag(&self, group: &Group) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if let Some(read) = group.entries_read
            && !self.has_tombstone(group.last_delivered)
        {
            return Some(self.entries_added.saturating_sub(read));
        }
        self.entries_before(group.last_delivered).map(|read| self.entries_added.saturating_sub(read))
    }

    /// Whether an entry behind `start` has been deleted. What was deleted before the first entry left no gap.
    pub(crate) fn has_tombstone(&self, start: Id) -> bool {
        self.max_deleted != Id::MIN
            && start <= self.max_deleted
            && self.first().is_some_and(|first| first.id <= self.max_deleted)
    }

    /// How many entries were ever added up to `id`, if that can be known.
    pub(crate) fn entries_before(&self, id: Id) -> Option<u64> {
        if self.entries_added == 0 {
            return Some(0);
        }
        if self.length == 0 && id <= self.last_id {
            return Some(self.entries_added);
        }
        if id == self.last_id {
            return Some(self.entries_added);
        }
        if id > self.last_id {
            return None;
        }
        let first = self.first()?.id;
        if self.max_deleted == Id::MIN || self.max_deleted < first {
            if id < first {
                return Some(self.entries_added - self.length as u64);
            }
            if id == first {
                return Some(self.entries_added - self.length as u64 + 1);
            }
        }
        None
    }
}

/// What a trim leaves.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep {
    /// The last so many.
    Length(usize),
    /// Those from this id on.
    From(Id),
}
