//! Values in the encoding of Redis's RDB files: for DUMP and RESTORE, for snapshots, and for reading a Redis's own.
//!
//! Written are the plain encodings, which every Redis from version 2.6 on reads (streams: from 7.0; hashes with fields
//! that end by themselves: from 7.4). Read are also the
//! compact ones that Redis writes: listpack, ziplist, intset, zipmap, quicklist, and strings compressed with LZF.

use crate::config::Config;
use crate::number::write_integer;
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;
use crate::structures::sorted_set::SortedSet;
use crate::value::Value;
use packed::{intset, listpack, lzf, ziplist, zipmap};
use std::borrow::Cow;

pub(crate) mod file;
mod packed;
mod stream;

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
    pub(super) const HASH_ZIPMAP: u8 = 9;
    /// Redis 5, 7.0 and 7.2.
    pub(super) const STREAM: u8 = 15;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const STREAM_3: u8 = 21;
    /// Hashes whose fields have deadlines: Redis 7.4 and its release candidates.
    pub(super) const HASH_DEADLINES_OLD: u8 = 22;
    pub(super) const HASH_LISTPACK_DEADLINES_OLD: u8 = 23;
    pub(super) const HASH_DEADLINES: u8 = 24;
    pub(super) const HASH_LISTPACK_DEADLINES: u8 = 25;
    /// A stream as snapshots of format 1 have it.
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
            // Ends are told by their distance from the first, and 0 is none.
            let first = hash.first_end();
            match first {
                None => out.push(kind::HASH),
                Some(first) => {
                    out.push(kind::HASH_DEADLINES);
                    out.extend_from_slice(&first.to_le_bytes());
                }
            }
            write_length(out, hash.len() as u64);
            for (field, text) in hash.iter() {
                if let Some(first) = first {
                    write_length(out, hash.end_of(field).map_or(0, |at| (at - first + 1) as u64));
                }
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
        Value::Stream(stream) => stream::write(out, stream),
    }
}

/// A field, its value, and when it ends.
type TimedField = (Vec<u8>, Vec<u8>, Option<i64>);

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
            kind::HASH_DEADLINES_OLD
            | kind::HASH_LISTPACK_DEADLINES_OLD
            | kind::HASH_DEADLINES
            | kind::HASH_LISTPACK_DEADLINES => {
                let mut hash = Hash::new();
                for (field, text, end) in self.fields_with_deadlines(kind)? {
                    if !hash.set(&field, &text, config.hash, seed) {
                        return None;
                    }
                    if let Some(at) = end {
                        hash.set_end(&field, at);
                    }
                }
                Value::Hash(Box::new(hash))
            }
            kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => {
                let items = match kind {
                    kind::HASH => self.strings(2)?,
                    kind::HASH_ZIPMAP => zipmap(&self.string()?)?,
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
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => {
                Value::Stream(Box::new(self.stream(kind, config)?))
            }
            kind::STREAM_PLAIN => Value::Stream(Box::new(self.plain_stream(config)?)),
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

    /// Fields, values, and when they end.
    fn fields_with_deadlines(&mut self, kind: u8) -> Option<Vec<TimedField>> {
        let mut fields = Vec::new();
        let moment = |at: i64| (at > 0).then_some(at);
        if matches!(kind, kind::HASH_LISTPACK_DEADLINES | kind::HASH_LISTPACK_DEADLINES_OLD) {
            if kind == kind::HASH_LISTPACK_DEADLINES {
                self.take(8)?;
            }
            for row in listpack(&self.string()?)?.chunks_exact(3) {
                let end = crate::number::parse_integer(&row[2])?;
                fields.push((row[0].clone(), row[1].clone(), moment(end)));
            }
            return Some(fields);
        }
        // What the others count from.
        let mut first = 1;
        if kind == kind::HASH_DEADLINES {
            first = i64::from_le_bytes(self.take(8)?.try_into().ok()?);
        }
        for _ in 0..self.length()? {
            let end = match i64::try_from(self.length()?).ok()? {
                0 => None,
                distance => moment(first.checked_add(distance - 1)?),
            };
            fields.push((self.string()?.into_owned(), self.string()?.into_owned(), end));
        }
        Some(fields)
    }

    fn old_double(&mut self) -> Option<f64> {
        Some(match self.byte()? {
            255 => f64::NEG_INFINITY,
            254 => f64::INFINITY,
            253 => f64::NAN,
            length => crate::number::parse_double(self.take(usize::from(length))?)?,
        })
    }
}

/// CRC-64 with the polynomial of Jones, as RDB has it.
pub(crate) fn crc64(bytes: &[u8]) -> u64 {
    crc64_on(0, bytes)
}

/// Goes on with the checksum of what came before.
pub(crate) fn crc64_on(before: u64, bytes: &[u8]) -> u64 {
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
    bytes.iter().fold(before, |crc, &byte| TABLE[(crc as u8 ^ byte) as usize] ^ (crc >> 8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_redis_s() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn random_bytes_never_panic() {
        let config = Config::default();
        let mut random = crate::random::Random::new(1);
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..random.below(60)).map(|_| random.next() as u8).collect();
            let kinds =
                [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 250];
            let kind = kinds[random.below(kinds.len())];
            let _ = Reader::new(&bytes).value_of(kind, &config, 1);
        }
    }
}
