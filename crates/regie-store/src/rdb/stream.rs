//! Streams as RDB has them: listpacks of up to a hundred entries, then the groups.
//!
//! A listpack begins with a master entry (how many entries, how many deleted, the field names of the first); each entry
//! gives its id as a difference from the listpack's key, and its field names only if they are others. Three versions
//! are read (Redis 5, 7.0 and 7.2), the second is written.

use super::packed::{ListpackWriter, listpack};
use super::{Reader, kind, write_length, write_string};
use crate::config::Config;
use crate::number::parse_integer;
use crate::structures::stream::{Consumer, Entry, Group, Id, Pending, Stream};

/// Entries and bytes in a listpack at most.
const ENTRIES: usize = 100;
const BYTES: usize = 4096;
/// Flags of an entry.
const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

fn write_id(out: &mut Vec<u8>, id: Id) {
    write_length(out, id.ms);
    write_length(out, id.seq);
}

fn raw_id(id: Id) -> [u8; 16] {
    let mut raw = [0; 16];
    raw[..8].copy_from_slice(&id.ms.to_be_bytes());
    raw[8..].copy_from_slice(&id.seq.to_be_bytes());
    raw
}

pub(super) fn write(out: &mut Vec<u8>, stream: &Stream) {
    out.push(kind::STREAM_2);
    let mut packs: Vec<(Id, Vec<u8>)> = Vec::new();
    let mut entries = stream.range(Id::MIN, Id::MAX).peekable();
    while let Some(first) = entries.peek() {
        let master = first.id;
        packs.push((master, write_pack(&mut entries)));
    }
    write_length(out, packs.len() as u64);
    for (master, pack) in packs {
        write_string(out, &raw_id(master));
        write_string(out, &pack);
    }
    write_length(out, stream.len() as u64);
    write_id(out, stream.last_id);
    write_id(out, stream.first().map_or(Id::MIN, |entry| entry.id));
    write_id(out, stream.max_deleted);
    write_length(out, stream.entries_added);
    write_length(out, stream.groups.len() as u64);
    for (name, group) in &stream.groups {
        write_string(out, name);
        write_id(out, group.last_delivered);
        write_length(out, group.entries_read.unwrap_or(u64::MAX));
        write_length(out, group.pending.len() as u64);
        for (id, pending) in &group.pending {
            out.extend_from_slice(&raw_id(*id));
            out.extend_from_slice(&pending.delivered_at.to_le_bytes());
            write_length(out, pending.deliveries);
        }
        write_length(out, group.consumers.len() as u64);
        for (name, consumer) in &group.consumers {
            write_string(out, name);
            out.extend_from_slice(&consumer.seen_at.to_le_bytes());
            write_length(out, consumer.pending.len() as u64);
            for id in consumer.pending.keys() {
                out.extend_from_slice(&raw_id(*id));
            }
        }
    }
}

/// Takes as many entries as go into one listpack.
fn write_pack<'a>(entries: &mut std::iter::Peekable<impl Iterator<Item = &'a Entry>>) -> Vec<u8> {
    let mut taken: Vec<&Entry> = Vec::new();
    let mut size = 0;
    while let Some(entry) = entries.next_if(|_| taken.len() < ENTRIES && (size < BYTES || taken.is_empty())) {
        size += entry.fields.iter().map(|text| text.len() + 8).sum::<usize>();
        taken.push(entry);
    }
    let names = |entry: &'a Entry| entry.fields.iter().step_by(2);
    let mut pack = ListpackWriter::new();
    let Some(first) = taken.first() else { return pack.finish() };
    pack.integer(taken.len() as i64);
    pack.integer(0);
    pack.integer(first.fields.len() as i64 / 2);
    names(first).for_each(|name| pack.text(name));
    pack.integer(0);
    for entry in &taken {
        let is_same = names(entry).eq(names(first));
        pack.integer(if is_same { SAME_FIELDS } else { 0 });
        pack.integer(entry.id.ms.wrapping_sub(first.id.ms) as i64);
        pack.integer(entry.id.seq.wrapping_sub(first.id.seq) as i64);
        let count = entry.fields.len() as i64 / 2;
        if is_same {
            entry.fields.iter().skip(1).step_by(2).for_each(|text| pack.text(text));
            pack.integer(count + 3);
        } else {
            pack.integer(count);
            entry.fields.iter().for_each(|text| pack.text(text));
            pack.integer(2 * count + 4);
        }
    }
    pack.finish()
}

impl Reader<'_> {
    fn raw_id(&mut self) -> Option<Id> {
        let raw = self.take(16)?;
        id_of(raw)
    }

    fn time(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(super) fn stream(&mut self, kind: u8, config: &Config) -> Option<Stream> {
        let mut stream = Stream::default();
        for _ in 0..self.length()? {
            let master = id_of(&self.string()?)?;
            read_pack(&mut stream, master, &listpack(&self.string()?)?, config)?;
        }
        let length = self.length()?;
        if length != stream.len() as u64 {
            return None;
        }
        stream.last_id = self.id()?;
        stream.entries_added = length;
        if kind != kind::STREAM {
            let _first = self.id()?;
            stream.max_deleted = self.id()?;
            stream.entries_added = self.length()?;
        }
        for _ in 0..self.length()? {
            let name = self.string()?;
            let mut group = Group { last_delivered: self.id()?, ..Group::default() };
            group.entries_read = if kind == kind::STREAM {
                stream.entries_before(group.last_delivered)
            } else {
                Some(self.length()?).filter(|read| *read != u64::MAX)
            };
            self.group(kind, &mut group)?;
            stream.groups.insert((&*name).into(), group);
        }
        Some(stream)
    }

    fn group(&mut self, kind: u8, group: &mut Group) -> Option<()> {
        let mut unowned = std::collections::BTreeMap::new();
        for _ in 0..self.length()? {
            unowned.insert(self.raw_id()?, (self.time()?, self.length()?));
        }
        for _ in 0..self.length()? {
            let name = self.string()?;
            let mut consumer = Consumer { seen_at: self.time()?, ..Consumer::default() };
            if kind == kind::STREAM_3 {
                self.time()?;
            }
            for _ in 0..self.length()? {
                let id = self.raw_id()?;
                let (delivered_at, deliveries) = unowned.remove(&id)?;
                consumer.pending.insert(id, ());
                group.pending.insert(id, Pending { consumer: (&*name).into(), delivered_at, deliveries });
            }
            group.consumers.insert((&*name).into(), consumer);
        }
        unowned.is_empty().then_some(())
    }

    fn id(&mut self) -> Option<Id> {
        Some(Id { ms: self.length()?, seq: self.length()? })
    }

    pub(super) fn plain_stream(&mut self, config: &Config) -> Option<Stream> {
        let mut stream = Stream::default();
        for _ in 0..self.length()? {
            let id = self.id()?;
            let fields = self.strings(1)?;
            let fields: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            stream.append(id, &fields, config.stream_block);
        }
        stream.last_id = self.id()?;
        stream.max_deleted = self.id()?;
        stream.entries_added = self.length()?;
        for _ in 0..self.length()? {
            let name = self.string()?;
            let mut group = Group { last_delivered: self.id()?, ..Group::default() };
            group.entries_read = self.length()?.checked_sub(1);
            for _ in 0..self.length()? {
                let consumer = self.string()?;
                let seen_at = self.length()? as i64;
                group.consumers.insert((&*consumer).into(), Consumer { seen_at, ..Consumer::default() });
            }
            for _ in 0..self.length()? {
                let id = self.id()?;
                let consumer = self.string()?;
                let pending = Pending {
                    consumer: (&*consumer).into(),
                    delivered_at: self.length()? as i64,
                    deliveries: self.length()?,
                };
                group.consumers.get_mut(&*consumer)?.pending.insert(id, ());
                group.pending.insert(id, pending);
            }
            stream.groups.insert((&*name).into(), group);
        }
        Some(stream)
    }
}

fn id_of(raw: &[u8]) -> Option<Id> {
    Some(Id {
        ms: u64::from_be_bytes(raw.get(..8)?.try_into().ok()?),
        seq: u64::from_be_bytes(raw.get(8..16)?.try_into().ok()?),
    })
}

fn read_pack(stream: &mut Stream, master: Id, items: &[Vec<u8>], config: &Config) -> Option<()> {
    let mut items = items.iter();
    let integer = |items: &mut std::slice::Iter<'_, Vec<u8>>| parse_integer(items.next()?);
    let count = integer(&mut items)?.checked_add(integer(&mut items)?)?;
    let mut names: Vec<&[u8]> = Vec::new();
    for _ in 0..integer(&mut items)? {
        names.push(items.next()?);
    }
    integer(&mut items)?;
    for _ in 0..count {
        let flags = integer(&mut items)?;
        let id = Id {
            ms: master.ms.wrapping_add(integer(&mut items)? as u64),
            seq: master.seq.wrapping_add(integer(&mut items)? as u64),
        };
        let mut fields: Vec<&[u8]> = Vec::new();
        if flags & SAME_FIELDS != 0 {
            for name in &names {
                fields.push(name);
                fields.push(items.next()?);
            }
        } else {
            for _ in 0..integer(&mut items)?.checked_mul(2)? {
                fields.push(items.next()?);
            }
        }
        integer(&mut items)?;
        if flags & DELETED == 0 {
            if stream.last().is_some_and(|last| last.id >= id) {
                return None;
            }
            stream.append(id, &fields, config.stream_block);
        }
    }
    Some(())
}
