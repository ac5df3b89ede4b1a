//! The hash table under every database and every big collection.
//!
//! Buckets are chains, as in Redis, because three promises need a bucket that can be named:
//! - **It grows and shrinks without a stall.** Two bucket arrays live side by side while each operation moves one
//!   bucket; arrays come in segments that are taken when first touched and given back when emptied.
//! - **A scan needs no state.** Its cursor counts buckets with the bits reversed (Pieter Noordhuis's algorithm), so an
//!   element that is there all the time is seen at least once however often the table is resized in between.
//! - **A random element is cheap**: a random bucket that is not empty, then a random place in its chain.
//!
//! While a move is under way each hash has exactly one home: its bucket in the old array as long as that has not been
//! moved, else its bucket in the new one.

use crate::blob::allocation;
use crate::random::Random;
use std::hash::{BuildHasher, Hasher};

/// What can lie in a [`Table`].
pub(crate) trait Keyed {
    /// What it is found by.
    fn key(&self) -> &[u8];
}

impl Keyed for crate::blob::Blob {
    fn key(&self) -> &[u8] {
        self
    }
}

struct Node<T> {
    next: Link<T>,
    item: T,
}

type Link<T> = Option<Box<Node<T>>>;

/// Buckets per segment at most: 32 KiB, taken in one piece.
const SEGMENT: usize = 4096;
/// How many keys are worth looking at before they are put in.
pub(crate) const AHEAD: usize = 32;
/// Buckets of the smallest table.
const SMALLEST: usize = 4;

/// One array of buckets; its length is a power of two, or 0 before the first insertion.
struct Buckets<T> {
    segments: Vec<Box<[Link<T>]>>,
    length: usize,
    /// Segments that are there.
    taken: usize,
}

impl<T> Buckets<T> {
    const fn empty() -> Self {
        Self { segments: Vec::new(), length: 0, taken: 0 }
    }

    fn new(length: usize) -> Self {
        let mut segments = Vec::new();
        segments.resize_with(length.div_ceil(SEGMENT), || Box::from([]));
        Self { segments, length, taken: 0 }
    }

    fn get(&self, index: usize) -> Option<&Node<T>> {
        self.segments.get(index / SEGMENT)?.get(index % SEGMENT)?.as_deref()
    }

    /// The bucket, with its segment taken if need be.
    fn slot(&mut self, index: usize) -> &mut Link<T> {
        let size = self.length.min(SEGMENT);
        let segment = &mut self.segments[index / SEGMENT];
        if segment.is_empty() {
            *segment = std::iter::repeat_with(|| None).take(size).collect();
            self.taken += 1;
        }
        &mut segment[index % SEGMENT]
    }

    /// The bucket if its segment exists.
    fn existing(&mut self, index: usize) -> Option<&mut Link<T>> {
        self.segments.get_mut(index / SEGMENT)?.get_mut(index % SEGMENT)
    }

    fn memory(&self) -> usize {
        let size = self.length.min(SEGMENT) * size_of::<Link<T>>();
        self.taken * allocation(size) + self.segments.capacity() * size_of::<Box<[Link<T>]>>()
    }

    /// Gives back a segment whose buckets have been moved.
    fn give_back(&mut self, segment: usize) {
        if !std::mem::replace(&mut self.segments[segment], Box::from([])).is_empty() {
            self.taken -= 1;
        }
    }
}

/// See the module's description.
pub(crate) struct Table<T> {
    /// The array in use, or the old one while a move is under way.
    current: Buckets<T>,
    /// The new array while a move is under way.
    next: Buckets<T>,
    /// The next bucket of `current` to move; `None` when no move is under way.
    moving: Option<usize>,
    length: usize,
    seed: u64,
}

impl<T> std::fmt::Debug for Table<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table of {} in {} buckets", self.length, self.current.length)
    }
}

impl<T: Keyed> Table<T> {
    pub(crate) const fn new(seed: u64) -> Self {
        Self { current: Buckets::empty(), next: Buckets::empty(), moving: None, length: 0, seed }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = foldhash::quality::FixedState::with_seed(self.seed).build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// Bytes of the buckets and nodes, without what items hold outside of themselves.
    pub(crate) fn memory(&self) -> usize {
        self.current.memory() + self.next.memory() + self.length * Self::node_memory()
    }

    /// Bytes that one item's node costs.
    pub(crate) fn node_memory() -> usize {
        allocation(size_of::<Node<T>>())
    }

    /// In which array and bucket `hash` is at home.
    fn home(&self, hash: u64) -> (bool, usize) {
        let index = hash as usize & self.current.length.wrapping_sub(1);
        match self.moving {
            Some(moved) if index < moved => (true, hash as usize & (self.next.length - 1)),
            _ => (false, index),
        }
    }

    fn chain(&self, hash: u64) -> Option<&Node<T>> {
        let (new, index) = self.home(hash);
        if new { self.next.get(index) } else { self.current.get(index) }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&T> {
        self.find(self.hash(key), |item| item.key() == key)
    }

    /// The item with this hash for which `accept` holds.
    pub(crate) fn find(&self, hash: u64, accept: impl Fn(&T) -> bool) -> Option<&T> {
        let mut cursor = self.chain(hash);
        while let Some(node) = cursor {
            if accept(&node.item) {
                return Some(&node.item);
            }
            cursor = node.next.as_deref();
        }
        None
    }

    pub(crate) fn get_mut(&mut self, key: &[u8]) -> Option<&mut T> {
        self.find_mut(self.hash(key), |item| item.key() == key)
    }

    pub(crate) fn find_mut(&mut self, hash: u64, accept: impl Fn(&T) -> bool) -> Option<&mut T> {
        let (new, index) = self.home(hash);
        let array = if new { &mut self.next } else { &mut self.current };
        let mut cursor = array.existing(index)?.as_deref_mut();
        while let Some(node) = cursor {
            if accept(&node.item) {
                return Some(&mut node.item);
            }
            cursor = node.next.as_deref_mut();
        }
        None
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Puts `item` in. Its key must not be there yet.
    pub(crate) fn insert(&mut self, item: T) -> &mut T {
        self.grow_if_full();
        self.step();
        let hash = self.hash(item.key());
        let (new, index) = self.home(hash);
        self.length += 1;
        let slot = if new { self.next.slot(index) } else { self.current.slot(index) };
        let rest = slot.take();
        &mut slot.insert(Box::new(Node { next: rest, item })).item
    }

    pub(crate) fn remove(&mut self, key: &[u8]) -> Option<T> {
        self.step();
        let (new, index) = self.home(self.hash(key));
        let array = if new { &mut self.next } else { &mut self.current };
        let mut cursor = array.existing(index)?;
        while cursor.as_ref().is_some_and(|node| node.item.key() != key) {
            cursor = &mut cursor.as_mut()?.next;
        }
        let mut node = cursor.take()?;
        *cursor = node.next.take();
        self.length -= 1;
        self.shrink_if_sparse();
        Some(node.item)
    }

    fn grow_if_full(&mut self) {
        if self.moving.is_some() {
            return;
        }
        if self.current.length == 0 {
            self.current = Buckets::new(SMALLEST);
        } else if self.length >= self.current.length {
            self.begin_move(self.current.length * 2);
        }
    }

    fn shrink_if_sparse(&mut self) {
        if self.moving.is_none() && self.current.length > SMALLEST && self.length * 10 < self.current.length {
            self.begin_move(self.length.next_power_of_two().max(SMALLEST));
        }
    }

    /// Makes room for `more` items at once, for loading.
    pub(crate) fn reserve(&mut self, more: usize) {
        let wanted = (self.length + more).next_power_of_two().max(SMALLEST);
        if self.moving.is_none() && wanted > self.current.length {
            if self.length == 0 {
                self.current = Buckets::new(wanted);
            } else {
                self.begin_move(wanted);
            }
        }
    }

    /// Gives room back that was made for more items than have come.
    pub(crate) fn fit(&mut self) {
        if self.moving.is_none() && self.length * 4 < self.current.length {
            self.begin_move(self.length.next_power_of_two().max(SMALLEST));
        }
    }

    /// Looks at where keys are at home, and at what is moved next. Each of these places is far from the last in memory;
    /// looked at one behind the other, with nothing in between that waits for them, they are fetched side by side, and
    /// whoever puts the keys in finds them there.
    pub(crate) fn warm<'a>(&self, keys: impl Iterator<Item = &'a [u8]>) {
        let mut count = 0;
        if self.current.length > 0 {
            for key in keys {
                count += self.chain(self.hash(key)).map_or(0, |node| node.item.key().len());
            }
        }
        if let Some(moved) = self.moving {
            for index in moved..(moved + AHEAD).min(self.current.length) {
                count += self.current.get(index).map_or(0, |node| node.item.key().len());
            }
        }
        std::hint::black_box(count);
    }

    fn begin_move(&mut self, length: usize) {
        self.next = Buckets::new(length);
        self.moving = Some(0);
    }

    /// Moves one bucket, if a move is under way. Empty buckets are skipped up to a bound.
    pub(crate) fn step(&mut self) {
        let Some(start) = self.moving else { return };
        let mut index = start;
        let bound = (start + 64).min(self.current.length);
        while index < bound {
            let link = self.current.existing(index).and_then(Option::take);
            index += 1;
            if index.is_multiple_of(SEGMENT) {
                self.current.give_back(index / SEGMENT - 1);
            }
            if link.is_some() {
                self.rehome(link);
                break;
            }
        }
        if index == self.current.length {
            self.current = std::mem::replace(&mut self.next, Buckets::empty());
            self.moving = None;
        } else {
            self.moving = Some(index);
        }
    }

    fn rehome(&mut self, mut link: Link<T>) {
        while let Some(mut node) = link {
            link = node.next.take();
            let index = self.hash(node.item.key()) as usize & (self.next.length - 1);
            let slot = self.next.slot(index);
            node.next = slot.take();
            *slot = Some(node);
        }
    }

    pub(crate) fn is_moving(&self) -> bool {
        self.moving.is_some()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.current.segments.iter().chain(&self.next.segments).flat_map(|segment| segment.iter()).flat_map(
            |link| std::iter::successors(link.as_deref(), |node| node.next.as_deref()).map(|node| &node.item),
        )
    }

    fn visit_bucket(array: &Buckets<T>, index: usize, visit: &mut impl FnMut(&T)) {
        let mut cursor = array.get(index);
        while let Some(node) = cursor {
            visit(&node.item);
            cursor = node.next.as_deref();
        }
    }

    /// Visits the elements of the bucket that `cursor` names (and those it may have moved to or come from) and gives
    /// the next cursor; 0 begins, and 0 ends.
    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(&T)) -> u64 {
        if self.current.length == 0 {
            return 0;
        }
        let mut v = cursor;
        let (small, large) = if self.moving.is_none() {
            (&self.current, None)
        } else if self.current.length <= self.next.length {
            (&self.current, Some(&self.next))
        } else {
            (&self.next, Some(&self.current))
        };
        let small_mask = small.length as u64 - 1;
        Self::visit_bucket(small, (v & small_mask) as usize, &mut visit);
        let Some(large) = large else { return advance(v, small_mask) };
        let large_mask = large.length as u64 - 1;
        // Every bucket of the larger array that is an expansion of the smaller one's.
        loop {
            Self::visit_bucket(large, (v & large_mask) as usize, &mut visit);
            v = advance(v, large_mask);
            if v & (small_mask ^ large_mask) == 0 {
                return v;
            }
        }
    }

    /// A random element; each bucket is as likely as the next, so elements of long chains come a little less often.
    pub(crate) fn random(&self, random: &mut Random) -> Option<&T> {
        if self.length == 0 {
            return None;
        }
        let skipped = self.moving.unwrap_or(0);
        let range = self.current.length - skipped + self.next.length;
        loop {
            let index = skipped + random.below(range);
            let first = if index < self.current.length {
                self.current.get(index)
            } else {
                self.next.get(index - self.current.length)
            };
            let Some(first) = first else { continue };
            let chain = || std::iter::successors(Some(first), |node| node.next.as_deref());
            let chosen = random.below(chain().count());
            return chain().nth(chosen).map(|node| &node.item);
        }
    }

    /// A random element of several buckets' worth, so that chain lengths matter less.
    pub(crate) fn random_fair(&self, random: &mut Random) -> Option<&T> {
        if self.length == 0 {
            return None;
        }
        let mut sample: Vec<&T> = Vec::with_capacity(16);
        let mut cursor = random.next();
        for _ in 0..64 {
            let mask = self.current.length.max(self.next.length) as u64 - 1;
            let mut seen = Vec::new();
            self.collect(cursor & mask, &mut seen);
            sample.extend(seen);
            if sample.len() >= 15 {
                break;
            }
            cursor = random.next();
        }
        if sample.is_empty() {
            return self.random(random);
        }
        Some(sample[random.below(sample.len())])
    }

    fn collect<'a>(&'a self, index: u64, into: &mut Vec<&'a T>) {
        for array in [&self.current, &self.next] {
            let mut node = array.get(index as usize);
            while let Some(found) = node {
                into.push(&found.item);
                node = found.next.as_deref();
            }
        }
    }
}

/// The next cursor: one is added to the masked bits read backwards.
fn advance(cursor: u64, mask: u64) -> u64 {
    let mut v = cursor | !mask;
    v = v.reverse_bits();
    v = v.wrapping_add(1);
    v.reverse_bits()
}

impl<T: Keyed + Clone> Clone for Table<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.seed);
        copy.reserve(self.length);
        for item in self.iter() {
            copy.insert(item.clone());
        }
        copy
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blob::Blob;
    use std::collections::{BTreeSet, HashSet};

    fn name(n: usize) -> Blob {
        Blob::from(format!("key:{n}").as_bytes())
    }

    #[test]
    fn agrees_with_a_model_under_random_change() {
        for seed in 1..20 {
            let mut random = Random::new(seed);
            let (mut table, mut model) = (Table::new(seed), BTreeSet::new());
            for step in 0..6000 {
                let n = random.below(if step < 4000 { 2000 } else { 100 });
                if random.below(10) < (if step < 3000 { 7 } else { 3 }) {
                    if model.insert(n) {
                        table.insert(name(n));
                    }
                } else {
                    assert_eq!(table.remove(&name(n)).is_some(), model.remove(&n), "seed {seed}");
                }
                assert_eq!(table.len(), model.len());
                let probe = random.below(2000);
                assert_eq!(table.contains(&name(probe)), model.contains(&probe), "seed {seed}");
            }
            assert_eq!(table.iter().count(), model.len());
        }
    }

    #[test]
    fn a_scan_sees_all_that_stays_however_the_table_is_resized() {
        for seed in 1..30 {
            let mut random = Random::new(seed);
            let mut table = Table::new(seed);
            for n in 0..500 {
                table.insert(name(n));
            }
            let (mut cursor, mut seen, mut extra) = (0, HashSet::new(), 500);
            loop {
                cursor = table.scan(cursor, |item| {
                    seen.insert(item.clone());
                });
                if cursor == 0 {
                    break;
                }
                for _ in 0..random.below(200) {
                    if (seed % 2 == 0 && extra < 4000) || extra < 600 {
                        table.insert(name(extra));
                        extra += 1;
                    } else if seed % 2 == 1 {
                        // The first 100 stay; the others go, so that the table shrinks.
                        table.remove(&name(100 + random.below(extra - 100)));
                    }
                }
            }
            for n in 0..(if seed % 2 == 0 { 500 } else { 100 }) {
                assert!(seen.contains(&name(n)), "seed {seed} lost {n}");
            }
        }
    }

    #[test]
    fn random_elements_are_spread() {
        let mut table = Table::new(3);
        for n in 0..100 {
            table.insert(name(n));
        }
        let mut random = Random::new(9);
        let seen: HashSet<Blob> = (0..5000).filter_map(|_| table.random(&mut random).cloned()).collect();
        assert_eq!(seen.len(), 100);
    }
}
