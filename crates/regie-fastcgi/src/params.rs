//! Name-value pairs: the parameters of a request, and the values of management records.

use crate::Malformed;

/// Iterates over the pairs in `bytes`. A pair that runs past the end is the last item, an error.
#[must_use]
pub const fn pairs(bytes: &[u8]) -> Pairs<'_> {
    Pairs { rest: bytes }
}

/// See [`pairs`].
#[derive(Debug, Clone)]
pub struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    /// Name and value.
    type Item = Result<(&'a [u8], &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let Some((name, value, rest)) = split_pair(self.rest) else {
            self.rest = &[];
            return Some(Err(Malformed::Pair));
        };
        self.rest = rest;
        Some(Ok((name, value)))
    }
}

fn split_pair(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name_len, bytes) = split_len(bytes)?;
    let (value_len, bytes) = split_len(bytes)?;
    let (name, bytes) = bytes.split_at_checked(name_len)?;
    let (value, rest) = bytes.split_at_checked(value_len)?;
    Some((name, value, rest))
}

/// A length: one byte below 128, else four with the highest bit set.
fn split_len(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((usize::from(first), rest));
    }
    let (four, rest) = bytes.split_first_chunk::<4>()?;
    Some(((u32::from_be_bytes(*four) & 0x7fff_ffff) as usize, rest))
}

/// Appends a pair to `out`.
///
/// # Panics
/// When name or value is longer than 2³¹ − 1 bytes, which no limit of ours lets through.
pub fn put_pair(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put_len(out, name.len());
    put_len(out, value.len());
    out.extend_from_slice(name);
    out.extend_from_slice(value);
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    match u8::try_from(len) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let long = u32::try_from(len).ok().filter(|n| *n <= 0x7fff_ffff).expect("lengths fit in 31 bits");
            out.extend_from_slice(&(long | 0x8000_0000).to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_survive_at_every_length() {
        let long = vec![b'v'; 300];
        for (name, value) in [(&b"A"[..], &b""[..]), (b"", b"x"), (b"SCRIPT_NAME", &long), (&long, b"1")] {
            let mut out = Vec::new();
            put_pair(&mut out, name, value);
            assert_eq!(pairs(&out).collect::<Vec<_>>(), [Ok((name, value))]);
        }
    }

    #[test]
    fn a_cut_pair_is_an_error_and_the_end() {
        let mut out = Vec::new();
        put_pair(&mut out, b"HTTP_HOST", b"localhost");
        for cut in 1..out.len() {
            assert_eq!(pairs(&out[..cut]).collect::<Vec<_>>(), [Err(Malformed::Pair)], "cut at {cut}");
        }
        assert_eq!(pairs(&[0xff, 0xff, 0xff, 0xff, 0]).count(), 1);
    }
}
