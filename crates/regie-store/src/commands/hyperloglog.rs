//! HyperLogLog: counting distinct elements in 12 KiB, as a string that Redis reads and writes too.
//!
//! The string is a header of 16 bytes (`HYLL`, the encoding, the cached count) and 16,384 registers of 6 bits. Redis's
//! sparse encoding is read; what is written is always the dense one.

use crate::context::Ctx;
use crate::failure::{Failure, Outcome, WRONG_TYPE};
use crate::notify::Class;
use crate::value::Value;

const REGISTERS: usize = 1 << 14;
const HEADER: usize = 16;
const DENSE: usize = HEADER + REGISTERS * 6 / 8;
/// Bits of the hash that are not the register's number.
const TAIL: u32 = 50;

const INVALID: &str = "WRONGTYPE Key is not a valid HyperLogLog string value.";
const CORRUPT: &str = "INVALIDOBJ Corrupted HLL object detected";

/// Austin Appleby's MurmurHash64A with Redis's seed: the registers must mean the same.
fn hash(text: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut h = 0xadc8_3b19u64 ^ (text.len() as u64).wrapping_mul(M);
    let mut chunks = text.chunks_exact(8);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)).wrapping_mul(M);
        k = (k ^ (k >> 47)).wrapping_mul(M);
        h = (h ^ k).wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        h = h.wrapping_mul(M);
    }
    h = (h ^ (h >> 47)).wrapping_mul(M);
    h ^ (h >> 47)
}

/// The register of an element, and the length of its run of zeros.
fn place(text: &[u8]) -> (usize, u8) {
    let hash = hash(text);
    let rest = (hash >> 14) | 1 << TAIL;
    (hash as usize & (REGISTERS - 1), rest.trailing_zeros() as u8 + 1)
}

/// Registers unpacked, a byte each.
struct Sketch(Vec<u8>);

impl Sketch {
    fn new() -> Self {
        Self(vec![0; REGISTERS])
    }

    fn parse(text: &[u8]) -> Outcome<Self> {
        if text.len() < HEADER || !text.starts_with(b"HYLL") || text[4] > 1 {
            return Err(INVALID.into());
        }
        if text[4] == 1 {
            return Self::parse_sparse(&text[HEADER..]);
        }
        if text.len() != DENSE {
            return Err(INVALID.into());
        }
        let mut sketch = Self::new();
        for (index, register) in sketch.0.iter_mut().enumerate() {
            let (byte, shift) = (HEADER + index * 6 / 8, index * 6 % 8);
            let next = text.get(byte + 1).copied().unwrap_or(0);
            *register = ((u16::from(next) << 8 | u16::from(text[byte])) >> shift) as u8 & 63;
        }
        Ok(sketch)
    }

    fn parse_sparse(mut text: &[u8]) -> Outcome<Self> {
        let mut sketch = Self::new();
        let mut at = 0;
        while let [first, rest @ ..] = text {
            let (value, run);
            match (first >> 6, rest) {
                (0, _) => (value, run, text) = (0, usize::from(first & 63) + 1, rest),
                (1, [second, rest @ ..]) => {
                    (value, run, text) = (0, (usize::from(first & 63) << 8 | usize::from(*second)) + 1, rest);
                }
                (1, []) => return Err(CORRUPT.into()),
                _ => (value, run, text) = ((first >> 2 & 31) + 1, usize::from(first & 3) + 1, rest),
            }
            sketch.0.get_mut(at..at + run).ok_or(CORRUPT)?.fill(value);
            at += run;
        }
        if at == REGISTERS { Ok(sketch) } else { Err(CORRUPT.into()) }
    }

    fn text(&self) -> Vec<u8> {
        let mut text = vec![0; DENSE];
        text[..4].copy_from_slice(b"HYLL");
        // The highest bit of the cached count says that it is not known.
        text[15] = 0x80;
        for (index, register) in self.0.iter().enumerate() {
            let (byte, shift) = (HEADER + index * 6 / 8, index * 6 % 8);
            let bits = u16::from(*register) << shift;
            text[byte] |= bits as u8;
            if byte + 1 < DENSE {
                text[byte + 1] |= (bits >> 8) as u8;
            }
        }
        text
    }

    fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = (*mine).max(*theirs);
        }
    }

    /// Otmar Ertl's estimator, as Redis has it.
    fn count(&self) -> u64 {
        let mut histogram = [0u32; 64];
        self.0.iter().for_each(|register| histogram[usize::from(*register)] += 1);
        let m = REGISTERS as f64;
        let mut z = m * tau((m - f64::from(histogram[TAIL as usize + 1])) / m);
        for index in (1..=TAIL as usize).rev() {
            z = 0.5 * (z + f64::from(histogram[index]));
        }
        z += m * sigma(f64::from(histogram[0]) / m);
        (0.721_347_520_444_481_7 * m * m / z).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

fn sketch(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome<Option<Sketch>> {
    match ctx.read(key) {
        None => Ok(None),
        Some(value) => {
            let text = value.as_text().ok_or(WRONG_TYPE)?;
            Sketch::parse(&text).map(Some)
        }
    }
}

fn store(ctx: &mut Ctx<'_>, key: &[u8], sketch: &Sketch) {
    ctx.put(key, Value::changed_text(sketch.text()), true);
    ctx.changed(Class::STRING, "pfadd", key);
}

pub(crate) fn pfadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let found = sketch(ctx, args[1])?;
    let mut changed = found.is_none();
    let mut sketch = found.unwrap_or_else(Sketch::new);
    for text in &args[2..] {
        let (register, run) = place(text);
        if sketch.0[register] < run {
            sketch.0[register] = run;
            changed = true;
        }
    }
    if changed {
        store(ctx, args[1], &sketch);
    }
    ctx.out.integer(i64::from(changed));
    Ok(())
}

fn merged(ctx: &mut Ctx<'_>, keys: &[&[u8]]) -> Outcome<Sketch> {
    let mut sum = Sketch::new();
    for key in keys {
        if let Some(other) = sketch(ctx, key)? {
            sum.merge(&other);
        }
    }
    Ok(sum)
}

pub(crate) fn pfcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let count = merged(ctx, &args[1..])?.count();
    ctx.out.integer(i64::try_from(count).map_err(|_| Failure::from(CORRUPT))?);
    Ok(())
}

pub(crate) fn pfmerge(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let sum = merged(ctx, &args[1..])?;
    store(ctx, args[1], &sum);
    ctx.out.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_near_and_survive_packing() {
        let mut sketch = Sketch::new();
        for index in 0..50_000 {
            let (register, run) = place(format!("element {index}").as_bytes());
            sketch.0[register] = sketch.0[register].max(run);
        }
        let count = sketch.count();
        assert!((49_000..51_000).contains(&count), "{count}");
        let again = Sketch::parse(&sketch.text()).unwrap();
        assert_eq!(again.0, sketch.0);
        assert_eq!(Sketch::new().count(), 0);
    }
}
