//! A sorted set: members in order of score, then of bytes, in blocks of up to 128, and when it is big a table from
//! member to score.
//!
//! A place in the order is a rank. Every range, by score, by name or by index, becomes two ranks first.

use crate::blob::{Blob, allocation};
use crate::random::Random;
use crate::structures::hash::Bounds;
use crate::table::{Keyed, Table};
use std::cmp::Ordering;

/// Most members in a block.
const BLOCK: usize = 128;

/// A member with its score.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) name: Blob,
    pub(crate) score: f64,
}

impl Keyed for Member {
    fn key(&self) -> &[u8] {
        &self.name
    }
}

impl Member {
    fn order(&self, score: f64, name: &[u8]) -> Ordering {
        self.score.partial_cmp(&score).unwrap_or(Ordering::Equal).then_with(|| self.name.as_slice().cmp(name))
    }
}

/// See the module's description.
#[derive(Debug, Clone)]
pub(crate) struct SortedSet {
    blocks: Vec<Vec<Member>>,
    /// From member to score; `None` while there are few.
    table: Option<Table<Member>>,
    length: usize,
    /// Bytes that long members hold outside (once: the two indexes share them).
    outside: usize,
}

impl SortedSet {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), table: None, length: 0, outside: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.length
    }

    pub(crate) fn is_packed(&self) -> bool {
        self.table.is_none()
    }

    pub(crate) fn memory(&self) -> usize {
        let blocks = match self.blocks.as_slice() {
            [] => 0,
            [only] => allocation(only.capacity() * size_of::<Member>()),
            // Blocks are split in halves: three quarters full on average.
            many => many.len() * allocation(BLOCK * size_of::<Member>()),
        };
        blocks
            + allocation(self.blocks.capacity() * size_of::<Vec<Member>>())
            + self.table.as_ref().map_or(0, Table::memory)
            + self.outside
    }

    pub(crate) fn score(&self, name: &[u8]) -> Option<f64> {
        match &self.table {
            Some(table) => table.get(name).map(|member| member.score),
            None => self.iter().find(|member| &*member.name == name).map(|member| member.score),
        }
    }

    /// Block and index in it of the first member not below (`score`, `name`).
    fn locate(&self, score: f64, name: &[u8]) -> (usize, usize) {
        let block = self.blocks.partition_point(|block| {
            block.last().is_some_and(|member| member.order(score, name) == Ordering::Less)
        });
        let inner = self
            .blocks
            .get(block)
            .map_or(0, |block| block.partition_point(|member| member.order(score, name) == Ordering::Less));
        (block, inner)
    }

    fn insert_ordered(&mut self, member: Member) {
        let (mut block, mut inner) = self.locate(member.score, &member.name);
        if block == self.blocks.len() {
            match self.blocks.len() {
                0 => self.blocks.push(Vec::new()),
                count => {
                    block = count - 1;
                    inner = self.blocks[block].len();
                }
            }
        }
        if self.blocks[block].len() >= BLOCK {
            // Appending in order is the common case: then the full block stays full.
            let at = if inner == BLOCK { BLOCK - 1 } else { BLOCK / 2 };
            let mut tail = Vec::with_capacity(BLOCK);
            tail.extend(self.blocks[block].drain(at..));
            self.blocks.insert(block + 1, tail);
            if inner > at {
                inner -= at;
                block += 1;
            }
        }
        self.blocks[block].insert(inner, member);
        self.length += 1;
    }

    fn remove_ordered(&mut self, score: f64, name: &[u8]) -> Option<Member> {
        let (block, inner) = self.locate(score, name);
        let found = self.blocks.get_mut(block)?;
        if found.get(inner).is_none_or(|member| &*member.name != name) {
            return None;
        }
        let member = found.remove(inner);
        if found.is_empty() {
            self.blocks.remove(block);
        }
        self.length -= 1;
        Some(member)
    }

    /// Sets a member's score; the old one if it was there. The score must be a number.
    pub(crate) fn set(&mut self, name: &[u8], score: f64, bounds: Bounds, seed: u64) -> Option<f64> {
        let old = self.score(name);
        self.change(old, name, score, bounds, seed);
        old
    }

    /// As [`SortedSet::set`], for a member whose score is known.
    pub(crate) fn change(&mut self, old: Option<f64>, name: &[u8], score: f64, bounds: Bounds, seed: u64) {
        if let Some(old) = old {
            if old == score {
                return;
            }
            if let Some(member) = self.remove_ordered(old, name) {
                if let Some(found) = self.table.as_mut().and_then(|table| table.get_mut(name)) {
                    found.score = score;
                }
                self.insert_ordered(Member { name: member.name, score });
            }
            return;
        }
        let member = Member { name: Blob::from(name), score };
        self.outside += member.name.memory();
        if self.table.is_none() && (self.length >= bounds.entries || name.len() > bounds.value) {
            let mut table = Table::new(seed);
            table.reserve(self.length + 1);
            for member in self.iter() {
                table.insert(member.clone());
            }
            self.table = Some(table);
        }
        if let Some(table) = &mut self.table {
            table.insert(member.clone());
        }
        self.insert_ordered(member);
    }

    pub(crate) fn remove(&mut self, name: &[u8]) -> Option<f64> {
        let score = self.score(name)?;
        let member = self.remove_ordered(score, name)?;
        self.outside -= member.name.memory();
        if let Some(table) = &mut self.table {
            table.remove(name);
        }
        Some(score)
    }

    /// How many members come before this one.
    pub(crate) fn rank(&self, name: &[u8]) -> Option<usize> {
        let score = self.score(name)?;
        let (block, inner) = self.locate(score, name);
        Some(self.blocks[..block].iter().map(Vec::len).sum::<usize>() + inner)
    }

    /// How many members there are for which `below` holds; it must hold for a first part and not for the rest.
    pub(crate) fn partition_point(&self, below: impl Fn(&Member) -> bool) -> usize {
        let block = self.blocks.partition_point(|block| block.last().is_some_and(&below));
        let inner = self.blocks.get(block).map_or(0, |block| block.partition_point(&below));
        self.blocks[..block].iter().map(Vec::len).sum::<usize>() + inner
    }

    fn at_rank(&self, rank: usize) -> (usize, usize) {
        let mut rest = rank;
        for (number, block) in self.blocks.iter().enumerate() {
            if rest < block.len() {
                return (number, rest);
            }
            rest -= block.len();
        }
        (self.blocks.len(), 0)
    }

    pub(crate) fn get(&self, rank: usize) -> Option<&Member> {
        let (block, inner) = self.at_rank(rank);
        self.blocks.get(block)?.get(inner)
    }

    /// Members from `rank` on.
    pub(crate) fn iter_from(&self, rank: usize) -> impl Iterator<Item = &Member> {
        let (block, inner) = self.at_rank(rank);
        self.blocks[block.min(self.blocks.len())..].iter().flatten().skip(inner)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Member> {
        self.blocks.iter().flatten()
    }

    /// Members from `rank` down to the first.
    pub(crate) fn iter_back_from(&self, rank: usize) -> impl Iterator<Item = &Member> {
        let (block, inner) = self.at_rank(rank);
        let skip = self.blocks.get(block).map_or(0, |block| block.len() - 1 - inner);
        self.blocks[..(block + 1).min(self.blocks.len())].iter().flatten().rev().skip(skip)
    }

    /// Members with ranks from `start` up to `end`, which must be there, from either end.
    pub(crate) fn range(
        &self,
        start: usize,
        end: usize,
        reverse: bool,
    ) -> Box<dyn Iterator<Item = &Member> + '_> {
        let count = end.saturating_sub(start);
        if count == 0 {
            Box::new(std::iter::empty())
        } else if reverse {
            Box::new(self.iter_back_from(end - 1).take(count))
        } else {
            Box::new(self.iter_from(start).take(count))
        }
    }

    pub(crate) fn scan(&self, cursor: u64, mut visit: impl FnMut(&Member)) -> u64 {
        match &self.table {
            Some(table) => table.scan(cursor, visit),
            None => {
                self.iter().for_each(&mut visit);
                0
            }
        }
    }

    pub(crate) fn random(&self, random: &mut Random) -> Option<&Member> {
        if self.length == 0 { None } else { self.get(random.below(self.length)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn agrees_with_a_model_under_random_change() {
        let bounds = Bounds { entries: 128, value: 64 };
        for seed in 1..20 {
            let mut random = Random::new(seed);
            let (mut set, mut model) = (SortedSet::new(), BTreeMap::<Vec<u8>, f64>::new());
            for _ in 0..3000 {
                let name = format!("m{}", random.below(600)).into_bytes();
                if random.below(3) < 2 {
                    let score = random.below(50) as f64;
                    assert_eq!(set.set(&name, score, bounds, 1), model.insert(name, score));
                } else {
                    assert_eq!(set.remove(&name), model.remove(&name));
                }
                assert_eq!(set.len(), model.len());
            }
            let mut order: Vec<(f64, Vec<u8>)> = model.iter().map(|(n, s)| (*s, n.clone())).collect();
            order.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
            assert!(set.iter().map(|m| (m.score, m.name.to_vec())).eq(order.iter().cloned()), "seed {seed}");
            for (rank, (score, name)) in order.iter().enumerate() {
                assert_eq!(set.rank(name), Some(rank));
                assert_eq!(set.score(name), Some(*score));
            }
            let backwards = set.range(3, order.len(), true).map(|m| m.name.to_vec());
            assert!(backwards.eq(order[3..].iter().rev().map(|(_, n)| n.clone())));
            let below = order.iter().filter(|(score, _)| *score < 25.0).count();
            assert_eq!(set.partition_point(|member| member.score < 25.0), below);
        }
    }
}
