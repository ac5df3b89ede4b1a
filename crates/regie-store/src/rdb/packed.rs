//! The compact forms in which Redis keeps small collections: listpack, ziplist, intset, zipmap; and LZF.

use crate::number::write_integer;

/// Unpacks LZF.
pub(super) fn lzf(packed: &[u8], length: usize) -> Option<Vec<u8>> {
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

pub(super) fn decimal(value: i64) -> Vec<u8> {
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

pub(super) fn intset(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let width = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let count = u32::from_le_bytes(bytes.get(4..8)?.try_into().ok()?) as usize;
    if !matches!(width, 2 | 4 | 8) || bytes.len() != count.checked_mul(width)?.checked_add(8)? {
        return None;
    }
    Some(bytes[8..].chunks(width).map(|raw| decimal(signed(raw))).collect())
}

/// The elements of a listpack.
pub(super) fn listpack(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
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
pub(super) fn ziplist(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
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

/// The fields and values of a zipmap, as Redis wrote small hashes before version 2.6.
pub(super) fn zipmap(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let (mut at, mut items) = (1, Vec::new());
    loop {
        let length = match *bytes.get(at)? {
            255 => return items.len().is_multiple_of(2).then_some(items),
            254 => {
                at += 5;
                u32::from_le_bytes(bytes.get(at - 4..at)?.try_into().ok()?) as usize
            }
            length => {
                at += 1;
                usize::from(length)
            }
        };
        // A value is followed by the number of bytes that lie idle behind it.
        let is_value = items.len() % 2 == 1;
        let idle = if is_value { usize::from(*bytes.get(at)?) } else { 0 };
        at += usize::from(is_value);
        items.push(bytes.get(at..at.checked_add(length)?)?.to_vec());
        at += length + idle;
    }
}

/// Writes a listpack.
#[derive(Debug)]
pub(super) struct ListpackWriter {
    bytes: Vec<u8>,
    count: usize,
}

impl ListpackWriter {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; 6], count: 0 }
    }

    pub(super) fn integer(&mut self, value: i64) {
        let start = self.bytes.len();
        match value {
            0..=127 => self.bytes.push(value as u8),
            -4096..=4095 => self.bytes.extend_from_slice(&[0xc0 | (value >> 8) as u8 & 0x1f, value as u8]),
            -32_768..=32_767 => {
                self.bytes.push(0xf1);
                self.bytes.extend_from_slice(&(value as i16).to_le_bytes());
            }
            -8_388_608..=8_388_607 => {
                self.bytes.push(0xf2);
                self.bytes.extend_from_slice(&(value as i32).to_le_bytes()[..3]);
            }
            -2_147_483_648..=2_147_483_647 => {
                self.bytes.push(0xf3);
                self.bytes.extend_from_slice(&(value as i32).to_le_bytes());
            }
            _ => {
                self.bytes.push(0xf4);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
        self.end(start);
    }

    pub(super) fn text(&mut self, text: &[u8]) {
        let (start, length) = (self.bytes.len(), text.len());
        match length {
            0..=63 => self.bytes.push(0x80 | length as u8),
            64..=4095 => self.bytes.extend_from_slice(&[0xe0 | (length >> 8) as u8, length as u8]),
            _ => {
                self.bytes.push(0xf0);
                self.bytes.extend_from_slice(&(length as u32).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(text);
        self.end(start);
    }

    /// Behind each element stands its length, to be read backwards: seven bits a byte, the highest first.
    fn end(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        let bytes = back_length(length);
        for place in (0..bytes).rev() {
            let more = if place + 1 == bytes { 0 } else { 0x80 };
            self.bytes.push((length >> (7 * place)) as u8 & 0x7f | more);
        }
        self.count += 1;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(0xff);
        let total = self.bytes.len() as u32;
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..6].copy_from_slice(&u16::try_from(self.count).unwrap_or(u16::MAX).to_le_bytes());
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_written_is_read() {
        let mut writer = ListpackWriter::new();
        let mut expect = Vec::new();
        for shift in 0..63 {
            for value in [1i64 << shift, -(1 << shift), (1 << shift) - 1] {
                writer.integer(value);
                expect.push(decimal(value));
            }
        }
        for length in [0, 1, 63, 64, 127, 128, 4095, 4096, 16_383, 16_384, 100_000] {
            writer.text(&vec![b'x'; length]);
            expect.push(vec![b'x'; length]);
        }
        let bytes = writer.finish();
        assert_eq!(listpack(&bytes), Some(expect));
    }

    #[test]
    fn a_zipmap_is_read() {
        let bytes =
            [&[2u8, 3][..], b"foo", &[3, 0], b"bar", &[5], b"hello", &[5, 2], b"world--", &[255]].concat();
        let items = zipmap(&bytes).unwrap();
        assert_eq!(items, [&b"foo"[..], b"bar", b"hello", b"world"]);
    }
}
