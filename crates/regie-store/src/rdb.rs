//! Values in the encoding of Redis's RDB files: for DUMP and RESTORE, for snapshots, and for reading a Redis's own.
//!
//! Written are the plain encodings, which every Redis from version 2.6 on reads (streams: from 5.0). Read are also the
//! compact ones that Redis writes: listpack, ziplist, intset, zipmap, quicklist, and strings compressed with LZF.

use crate::config::Config;
use crate::number::write_integer;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;
use crate::structures::sorted_set::SortedSet;
use crate::structures::stream::{Consumer, Group, Id, Pending, Stream};
use crate::value::Value;
use std::borrow::Cow;

/// The version of the payloads that DUMP writes: Redis 7.0's.
pub(crate) const VERSION: u16 = 10;
/// The highest version that RESTORE accepts.
pub(crate) const HIGHEST: u16 = 12;

/// Types of values.
mod kind {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const SORTED_SET: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const SORTED_SET_2: u8 = 5;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const SORTED_SET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const SORTED_SET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const SET_LISTPACK: u8 = 20;
    /// A stream in a form of our own.
    pub(super) const STREAM_PLAIN: u8 = 250;
}

pub(crate) fn write_length(out: &mut Vec<u8>, length: u64) {
    match length {
        0..=63 => out.push(length as u8),
        64..=16383 => out.extend_from_slice(&[0x40 | (length >> 8) as u8, length as u8]),
        16384..=0xffff_ffff => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    write_length(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// The type and the value.
pub(crate) fn write_value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Text(_) | Value::Short { .. } | Value::Integer(_) => {
            out.push(kind::STRING);
            write_string(out, &value.as_text().unwrap_or(Cow::Borrowed(b"")));
        }
        Value::List(list) => {
            out.push(kind::LIST);
            write_length(out, list.len() as u64);
            list.iter().for_each(|text| write_string(out, text));
        }
        Value::Set(set) => {
            out.push(kind::SET);
            write_length(out, set.len() as u64);
            set.iter().for_each(|text| write_string(out, &text));
        }
        Value::Hash(hash) => {
            out.push(kind::HASH);
            write_length(out, hash.len() as u64);
            for (field, text) in hash.iter() {
                write_string(out, field);
                write_string(out, text);
            }
        }
        Value::SortedSet(set) => {
            out.push(kind::SORTED_SET_2);
            write_length(out, set.len() as u64);
            for member in set.iter() {
                write_string(out, &member.name);
                out.extend_from_slice(&member.score.to_le_bytes());
            }
        }
        Value::Stream(stream) => write_stream(out, stream),
    }
}

fn write_id(out: &mut Vec<u8>, id: Id) {
    write_length(out, id.ms);
    write_length(out, id.seq);
}

fn write_stream(out: &mut Vec<u8>, stream: &Stream) {
    out.push(kind::STREAM_PLAIN);
    write_length(out, stream.len() as u64);
    for entry in stream.range(Id::MIN, Id::MAX) {
        write_id(out, entry.id);
        write_length(out, entry.fields.len() as u64);
        entry.fields.iter().for_each(|text| write_string(out, text));
    }
    write_id(out, stream.last_id);
    write_id(out, stream.max_deleted);
    write_length(out, stream.entries_added);
    write_length(out, stream.groups.len() as u64);
    for (name, group) in &stream.groups {
        write_string(out, name);
        write_id(out, group.last_delivered);
        write_length(out, group.entries_read.map_or(0, |read| read + 1));
        write_length(out, group.consumers.len() as u64);
        for (name, consumer) in &group.consumers {
            write_string(out, name);
            write_length(out, consumer.seen_at as u64);
        }
        write_length(out, group.pending.len() as u64);
        for (id, pending) in &group.pending {
            write_id(out, *id);
            write_string(out, &pending.consumer);
            write_length(out, pending.delivered_at as u64);
            write_length(out, pending.deliveries);
        }
    }
}

/// Reads what was written; `None` anywhere means that the bytes are broken.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(taken)
    }

    fn encoded_length(&mut self) -> Option<Result<u64, u8>> {
        let first = self.byte()?;
        Some(match first >> 6 {
            0 => Ok(u64::from(first & 63)),
            1 => Ok(u64::from(first & 63) << 8 | u64::from(self.byte()?)),
            2 if first == 0x80 => Ok(u64::from(u32::from_be_bytes(self.take(4)?.try_into().ok()?))),
            2 if first == 0x81 => Ok(u64::from_be_bytes(self.take(8)?.try_into().ok()?)),
            2 => return None,
            _ => Err(first & 63),
        })
    }

    pub(crate) fn length(&mut self) -> Option<u64> {
        self.encoded_length()?.ok()
    }

    pub(crate) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let integer = |value: i64| {
            let mut out = Vec::new();
            write_integer(&mut out, value);
            Some(Cow::Owned(out))
        };
        match self.encoded_length()? {
            Ok(length) => Some(Cow::Borrowed(self.take(usize::try_from(length).ok()?)?)),
            Err(0) => integer(i64::from(self.byte()? as i8)),
            Err(1) => integer(i64::from(i16::from_le_bytes(self.take(2)?.try_into().ok()?))),
            Err(2) => integer(i64::from(i32::from_le_bytes(self.take(4)?.try_into().ok()?))),
            Err(3) => {
                let packed = self.length()? as usize;
                let length = self.length()? as usize;
                lzf(self.take(packed)?, length).map(Cow::Owned)
            }
            Err(_) => None,
        }
    }

    /// A value with its type in front.
    pub(crate) fn value(&mut self, config: &Config, seed: u64) -> Option<Value> {
        let kind = self.byte()?;
        self.value_of(kind, config, seed)
    }

    pub(crate) fn value_of(&mut self, kind: u8, config: &Config, seed: u64) -> Option<Value> {
        Some(match kind {
            kind::STRING => Value::text(&self.string()?),
            kind::LIST => {
                let count = self.length()?;
                let mut list = List::default();
                for _ in 0..count {
                    list.push_back(&self.string()?);
                }
                Value::List(Box::new(list))
            }
            kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                let count = if kind == kind::LIST_ZIPLIST { 1 } else { self.length()? };
                let mut list = List::default();
                for _ in 0..count {
                    let container = if kind == kind::LIST_QUICKLIST_2 { self.length()? } else { 0 };
                    let bytes = self.string()?;
                    match (kind, container) {
                        (kind::LIST_QUICKLIST_2, 1) => list.push_back(&bytes),
                        (kind::LIST_QUICKLIST_2, _) => {
                            listpack(&bytes)?.iter().for_each(|text| list.push_back(text));
                        }
                        _ => ziplist(&bytes)?.iter().for_each(|text| list.push_back(text)),
                    }
                }
                Value::List(Box::new(list))
            }
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => {
                let members = match kind {
                    kind::SET => self.strings(1)?,
                    kind::SET_INTSET => intset(&self.string()?)?,
                    _ => listpack(&self.string()?)?,
                };
                let mut set = Set::new();
                for member in &members {
                    if !set.add(member, config.set_integers, seed) {
                        return None;
                    }
                }
                Value::Set(Box::new(set))
            }
            kind::HASH | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
                let items = match kind {
                    kind::HASH => self.strings(2)?,
                    kind::HASH_ZIPLIST => ziplist(&self.string()?)?,
                    _ => listpack(&self.string()?)?,
                };
                let mut hash = Hash::new();
                for pair in items.chunks(2) {
                    if !hash.set(&pair[0], pair.get(1)?, config.hash, seed) {
                        return None;
                    }
                }
                Value::Hash(Box::new(hash))
            }
            kind::SORTED_SET | kind::SORTED_SET_2 => {
                let count = self.length()?;
                let mut set = SortedSet::new();
                for _ in 0..count {
                    let name = self.string()?;
                    let score = if kind == kind::SORTED_SET {
                        self.old_double()?
                    } else {
                        f64::from_le_bytes(self.take(8)?.try_into().ok()?)
                    };
                    if score.is_nan() || set.set(&name, score, config.sorted_set, seed).is_some() {
                        return None;
                    }
                }
                Value::SortedSet(Box::new(set))
            }
            kind::SORTED_SET_ZIPLIST | kind::SORTED_SET_LISTPACK => {
                let bytes = self.string()?;
                let items =
                    if kind == kind::SORTED_SET_ZIPLIST { ziplist(&bytes)? } else { listpack(&bytes)? };
                let mut set = SortedSet::new();
                for pair in items.chunks(2) {
                    let score = crate::number::parse_double(pair.get(1)?)?;
                    if set.set(&pair[0], score, config.sorted_set, seed).is_some() {
                        return None;
                    }
                }
                Value::SortedSet(Box::new(set))
            }
            kind::STREAM_PLAIN => Value::Stream(Box::new(self.stream(config)?)),
            _ => return None,
        })
    }

    /// A count and as many strings, times `each`.
    fn strings(&mut self, each: u64) -> Option<Vec<Vec<u8>>> {
        let count = self.length()?.checked_mul(each)?;
        let mut items = Vec::with_capacity(count.min(1024) as usize);
        for _ in 0..count {
            items.push(self.string()?.into_owned());
        }
        Some(items)
    }

    fn old_double(&mut self) -> Option<f64> {
        Some(match self.byte()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            length => crate::number::parse_double(self.take(usize::from(length))?)?,
        })
    }

    fn id(&mut self) -> Option<Id> {
        Some(Id { ms: self.length()?, seq: self.length()? })
    }

    fn stream(&mut self, config: &Config) -> Option<Stream> {
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

/// Unpacks LZF.
fn lzf(packed: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(length.min(1 << 20));
    let mut at = 0;
    while at < packed.len() {
        let control = usize::from(packed[at]);
        at += 1;
        if control < 32 {
            out.extend_from_slice(packed.get(at..=at + control)?);
            at += control + 1;
        } else {
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(*packed.get(at)?);
                at += 1;
            }
            let back = ((control & 31) << 8 | usize::from(*packed.get(at)?)) + 1;
            at += 1;
            let start = out.len().checked_sub(back)?;
            for index in start..start + count + 2 {
                out.push(out[index]);
            }
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

fn decimal(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write_integer(&mut out, value);
    out
}

/// A little-endian signed integer of up to 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let mut value = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) { -1i64 } else { 0 };
    for &byte in bytes.iter().rev() {
        value = value << 8 | i64::from(byte);
    }
    value
}

fn intset(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let width = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let count = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    if !matches!(width, 2 | 4 | 8) || bytes.len() != count.checked_mul(width)?.checked_add(8)? {
        return None;
    }
    Some(bytes[8..].chunks(width).map(|raw| decimal(signed(raw))).collect())
}

/// The elements of a listpack.
fn listpack(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize != bytes.len() {
        return None;
    }
    let (mut at, mut items) = (6, Vec::new());
    loop {
        let first = *bytes.get(at)?;
        if first == 0xff {
            return Some(items);
        }
        let rest = &bytes[at..];
        let (head, size, item) = match first {
            0..=0x7f => (1, 0, decimal(i64::from(first))),
            0x80..=0xbf => {
                let length = usize::from(first & 0x3f);
                (1, length, rest.get(1..1 + length)?.to_vec())
            }
            0xc0..=0xdf => {
                let raw = u16::from(first & 0x1f) << 8 | u16::from(*rest.get(1)?);
                (2, 0, decimal(i64::from((raw << 3) as i16 >> 3)))
            }
            0xe0..=0xef => {
                let length = usize::from(first & 0x0f) << 8 | usize::from(*rest.get(1)?);
                (2, length, rest.get(2..2 + length)?.to_vec())
            }
            0xf0 => {
                let length = u32::from_le_bytes(rest.get(1..5)?.try_into().ok()?) as usize;
                (5, length, rest.get(5..5usize.checked_add(length)?)?.to_vec())
            }
            0xf1 => (3, 0, decimal(signed(rest.get(1..3)?))),
            0xf2 => (4, 0, decimal(signed(rest.get(1..4)?))),
            0xf3 => (5, 0, decimal(signed(rest.get(1..5)?))),
            0xf4 => (9, 0, decimal(signed(rest.get(1..9)?))),
            _ => return None,
        };
        items.push(item);
        let length = head + size;
        at += length + back_length(length);
    }
}

/// Bytes that a listpack entry's length takes behind it.
fn back_length(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16383 => 2,
        16384..=2_097_151 => 3,
        2_097_152..=268_435_455 => 4,
        _ => 5,
    }
}

/// The elements of a ziplist.
fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize != bytes.len() {
        return None;
    }
    let (mut at, mut items) = (10, Vec::new());
    loop {
        let previous = *bytes.get(at)?;
        if previous == 0xff {
            return Some(items);
        }
        at += if previous == 254 { 5 } else { 1 };
        let first = *bytes.get(at)?;
        let rest = &bytes[at..];
        let (head, size): (usize, usize) = match first >> 6 {
            0 => (1, usize::from(first & 63)),
            1 => (2, usize::from(first & 63) << 8 | usize::from(*rest.get(1)?)),
            2 => (5, u32::from_be_bytes(rest.get(1..5)?.try_into().ok()?) as usize),
            _ => {
                let width = match first {
                    0xc0 => 2,
                    0xd0 => 4,
                    0xe0 => 8,
                    0xf0 => 3,
                    0xfe => 1,
                    0xf1..=0xfd => {
                        items.push(decimal(i64::from(first & 0x0f) - 1));
                        at += 1;
                        continue;
                    }
                    _ => return None,
                };
                items.push(decimal(signed(rest.get(1..1 + width)?)));
                at += 1 + width;
                continue;
            }
        };
        items.push(rest.get(head..head.checked_add(size)?)?.to_vec());
        at += head + size;
    }
}

/// CRC-64 with the polynomial of Jones, as RDB has it.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    const TABLE: [u64; 256] = {
        let mut table = [0; 256];
        let mut index = 0;
        while index < 256 {
            let mut crc = index as u64;
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 1 != 0 { (crc >> 1) ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 };
                bit += 1;
            }
            table[index] = crc;
            index += 1;
        }
        table
    };
    bytes.iter().fold(0, |crc, &byte| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_redis_s() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn lzf_is_unpacked() {
        // A literal of one byte, then 10 bytes from one byte back.
        assert_eq!(lzf(&[0, b'a', 0xe0, 1, 0], 11).as_deref(), Some(&b"aaaaaaaaaaa"[..]));
        assert_eq!(lzf(&[0xe0, 1, 0], 10), None);
    }

    #[test]
    fn a_listpack_is_read() {
        let bytes = [
            &[24u8, 0, 0, 0, 4, 0][..],
            &[0x05, 1],
            &[0x82, b'h', b'i', 3],
            &[0xdf, 0xff, 2],
            &[0xf1, 0x00, 0x80, 3],
            &[0xff],
        ]
        .concat();
        let mut bytes = bytes;
        bytes[0] = bytes.len() as u8;
        let items = listpack(&bytes).unwrap();
        assert_eq!(items, [b"5".to_vec(), b"hi".to_vec(), b"-1".to_vec(), b"-32768".to_vec()]);
    }

    #[test]
    fn random_bytes_never_panic() {
        let config = Config::default();
        let mut random = crate::random::Random::new(1);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            let kinds = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 16, 17, 18, 20, 250];
            let kind = kinds[random.below(kinds.len())];
            let _ = Reader::new(&bytes).value_of(kind, &config, 1);
        }
    }
}
