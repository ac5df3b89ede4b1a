//! HyperLogLog: counting distinct elements in 12 KiB, as a string that Redis reads and writes too.
//!
//! The string is a header of 16 bytes (`HYLL`, the encoding, the cached count) and 16,384 registers of 6 bits. While
//! most registers are zero they are kept as runs (the sparse encoding), up to `hll-sparse-max-bytes`; a string that has
//! become dense stays so.

use crate::context::{Ctx, is};
use crate::failure::{Failure, Outcome, WRONG_TYPE, shown};
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

/// The highest bit of the cached count says that it is not known.
const UNKNOWN: u8 = 0x80;
/// The greatest register that the sparse encoding can hold.
const SPARSE_MOST: u8 = 32;

/// Registers unpacked, a byte each, and whether they were kept dense.
struct Sketch(Vec<u8>, bool);

impl Sketch {
    fn new() -> Self {
        Self(vec![0; REGISTERS], false)
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
        let mut sketch = Self(vec![0; REGISTERS], true);
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

    fn header(encoding: u8) -> Vec<u8> {
        let mut text = b"HYLL".to_vec();
        text.resize(HEADER, 0);
        text[4] = encoding;
        text
    }

    /// The string in which it is kept: sparse up to `limit` bytes.
    fn text(&self, limit: usize) -> Vec<u8> {
        match self.sparse(limit) {
            Some(text) if !self.1 => text,
            _ => self.dense(),
        }
    }

    /// Runs of equal registers; `None` if that takes more than `limit` bytes or cannot be.
    fn sparse(&self, limit: usize) -> Option<Vec<u8>> {
        let mut text = Self::header(1);
        text[15] = UNKNOWN;
        for group in self.0.chunk_by(|a, b| a == b) {
            let (value, mut left) = (group[0], group.len());
            if value > SPARSE_MOST {
                return None;
            }
            while left > 0 {
                let run = left.min(match value {
                    0 => REGISTERS,
                    _ => 4,
                });
                match value {
                    0 if run <= 64 => text.push(run as u8 - 1),
                    0 => text.extend_from_slice(&(0x4000 | (run as u16 - 1)).to_be_bytes()),
                    value => text.push(0x80 | (value - 1) << 2 | (run as u8 - 1)),
                }
                left -= run;
            }
            if text.len() > limit.saturating_add(HEADER) {
                return None;
            }
        }
        Some(text)
    }

    fn dense(&self) -> Vec<u8> {
        let mut text = Self::header(0);
        text.resize(DENSE, 0);
        text[15] = UNKNOWN;
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
    let limit = ctx.engine.config.get("hll-sparse-max-bytes").parse().unwrap_or(0);
    ctx.put(key, Value::changed_text(sketch.text(limit)), true);
    ctx.changed(Class::STRING, "pfadd", key);
}

/// Raises a register of a dense string in place; true if that changed it.
fn raise(text: &mut [u8], register: usize, run: u8) -> bool {
    let (byte, shift) = (HEADER + register * 6 / 8, register * 6 % 8);
    let next = text.get(byte + 1).copied().unwrap_or(0);
    let pair = u16::from(next) << 8 | u16::from(text[byte]);
    if (pair >> shift) as u8 & 63 >= run {
        return false;
    }
    let pair = pair & !(63 << shift) | u16::from(run) << shift;
    text[byte] = pair as u8;
    if let Some(next) = text.get_mut(byte + 1) {
        *next = (pair >> 8) as u8;
    }
    true
}

/// PFADD to a dense string; `None` if there is none.
fn add_dense(ctx: &mut Ctx<'_>, key: &[u8], elements: &[&[u8]]) -> Option<bool> {
    let dense = |text: &[u8]| text.len() == DENSE && text.starts_with(b"HYLL\0");
    match ctx.peek(key).map(|entry| &entry.value) {
        Some(Value::Text(text)) if dense(text) => {}
        _ => return None,
    }
    let Some(Value::Text(text)) = ctx.write(key) else { return None };
    let mut changed = false;
    for element in elements {
        let (register, run) = place(element);
        changed |= raise(text, register, run);
    }
    if changed {
        text[15] |= UNKNOWN;
        ctx.changed(Class::STRING, "pfadd", key);
    }
    Some(changed)
}

pub(crate) fn pfadd(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if let Some(changed) = add_dense(ctx, args[1], &args[2..]) {
        ctx.out.integer(i64::from(changed));
        return Ok(());
    }
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

/// Counts one key, and keeps the count in the string until it changes.
fn count_one(ctx: &mut Ctx<'_>, key: &[u8]) -> Outcome {
    let Some(sketch) = sketch(ctx, key)? else {
        ctx.out.integer(0);
        return Ok(());
    };
    let Some(value) = ctx.write(key) else { return Ok(()) };
    let mut text = value.as_text().ok_or(WRONG_TYPE)?.into_owned();
    let Ok(mut kept) = <[u8; 8]>::try_from(&text[8..HEADER]) else { return Err(CORRUPT.into()) };
    if kept[7] & UNKNOWN != 0 {
        kept = sketch.count().to_le_bytes();
        text[8..HEADER].copy_from_slice(&kept);
        ctx.put(key, Value::changed_text(text), true);
        ctx.changed_silently(key);
    }
    ctx.out.integer(i64::from_le_bytes(kept));
    Ok(())
}

pub(crate) fn pfcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    if let [_, key] = args {
        return count_one(ctx, key);
    }
    let count = merged(ctx, &args[1..])?.count();
    ctx.out.integer(i64::try_from(count).map_err(|_| Failure::from(CORRUPT))?);
    Ok(())
}

pub(crate) fn pfmerge(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let mut sum = merged(ctx, &args[1..])?;
    // One dense part makes the whole dense.
    for key in &args[1..] {
        sum.1 |= sketch(ctx, key)?.is_some_and(|part| part.1);
    }
    store(ctx, args[1], &sum);
    ctx.out.ok();
    Ok(())
}

pub(crate) fn pfdebug(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let key = args[2];
    let Some(mut sketch) = sketch(ctx, key)? else {
        return Err("ERR The specified key does not exist".into());
    };
    match () {
        () if is(args[1], "GETREG") => {
            ctx.out.array(REGISTERS);
            sketch.0.iter().for_each(|register| ctx.out.integer((*register).into()));
        }
        () if is(args[1], "ENCODING") => ctx.out.simple(if sketch.1 { "dense" } else { "sparse" }),
        () if is(args[1], "TODENSE") => {
            ctx.out.integer(i64::from(!sketch.1));
            if !sketch.1 {
                sketch.1 = true;
                store(ctx, key, &sketch);
            }
        }
        () if is(args[1], "DECODE") => {
            if sketch.1 {
                return Err("ERR HLL encoding is not sparse".into());
            }
            let run = |group: &[u8]| match group[0] {
                0 => format!("z:{}", group.len()),
                value => format!("v:{value},{}", group.len()),
            };
            let runs: Vec<String> = sketch.0.chunk_by(|a, b| a == b).map(run).collect();
            ctx.out.bulk(runs.join(" ").as_bytes());
        }
        () => return Err(format!("ERR Unknown PFDEBUG subcommand '{}'", shown(args[1])).into()),
    }
    Ok(())
}

/// Packs random registers both ways and counts what is known.
pub(crate) fn pfselftest(ctx: &mut Ctx<'_>, _args: &[&[u8]]) -> Outcome {
    let mut sketch = Sketch::new();
    for _ in 0..1000 {
        let (register, run) = place(&ctx.engine.random.next().to_le_bytes());
        sketch.0[register] = sketch.0[register].max(run);
    }
    for limit in [0, usize::MAX / 2] {
        if Sketch::parse(&sketch.text(limit)).is_ok_and(|again| again.0 != sketch.0) {
            return Err("ERR TESTFAILED registers differ after packing".into());
        }
    }
    if !(950..=1050).contains(&sketch.count()) {
        return Err(format!("ERR TESTFAILED 1000 elements are counted as {}", sketch.count()).into());
    }
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
        let again = Sketch::parse(&sketch.text(3000)).unwrap();
        assert_eq!(again.0, sketch.0);
        assert!(again.1);
        assert_eq!(Sketch::new().count(), 0);
    }
}
