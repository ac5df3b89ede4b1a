//! When fields of a hash end: beside the hash, and only of one that has such fields, so that others pay nothing.

use crate::blob::Blob;
use std::collections::{BTreeMap, BTreeSet};

/// Bytes that a field costs here, beside a long name: an entry in each of two trees that are about two thirds full.
const COST: usize = 96;

/// Moments in milliseconds since 1970, by field and by time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    by_field: BTreeMap<Blob, i64>,
    by_time: BTreeSet<(i64, Blob)>,
    /// Bytes of names that do not fit into their entries.
    outside: usize,
}

impl Ends {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_field.is_empty()
    }

    pub(crate) fn get(&self, field: &[u8]) -> Option<i64> {
        self.by_field.get(field).copied()
    }

    /// The first of all.
    pub(crate) fn first(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    pub(crate) fn set(&mut self, field: &[u8], at: i64) {
        self.remove(field);
        let name = Blob::from(field);
        self.outside += name.memory();
        self.by_time.insert((at, name.clone()));
        self.by_field.insert(name, at);
    }

    /// Forgets a field; true if it had an end.
    pub(crate) fn remove(&mut self, field: &[u8]) -> bool {
        let Some((name, at)) = self.by_field.remove_entry(field) else { return false };
        self.outside -= name.memory();
        self.by_time.remove(&(at, name))
    }

    /// Takes out what has ended by `now`, the earliest first, at most `limit` fields.
    pub(crate) fn take_due(&mut self, now: i64, limit: usize) -> Vec<Blob> {
        let mut due = Vec::new();
        while due.len() < limit && self.first().is_some_and(|at| at <= now) {
            let Some((_, name)) = self.by_time.pop_first() else { break };
            self.by_field.remove(&*name);
            self.outside -= name.memory();
            due.push(name);
        }
        due
    }

    pub(crate) fn memory(&self) -> usize {
        self.by_field.len() * COST + self.outside
    }
}
