//! Strings as rows of bits.

use crate::context::{Ctx, integer, is};
use crate::failure::{Outcome, SYNTAX, WRONG_TYPE};
use crate::notify::Class;
use crate::value::Value;

/// The number of a bit; `#n` counts fields of `width` bits.
fn offset(ctx: &Ctx<'_>, text: &[u8], width: Option<u64>) -> Outcome<u64> {
    const BAD: &str = "ERR bit offset is not an integer or out of range";
    let (digits, scale) = match (text, width) {
        ([b'#', rest @ ..], Some(width)) => (rest, width),
        (text, _) => (text, 1),
    };
    let number =
        crate::number::parse_integer(digits).and_then(|number| u64::try_from(number).ok()).ok_or(BAD)?;
    let number = number.checked_mul(scale).ok_or(BAD)?;
    if number >> 3 >= ctx.engine.config.bulk as u64 {
        return Err(BAD.into());
    }
    Ok(number)
}

fn bit(bytes: &[u8], at: u64) -> bool {
    bytes.get((at / 8) as usize).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
}

/// The string under `key` for changing it, at least `length` bytes long.
fn bytes_mut<'a>(ctx: &'a mut Ctx<'_>, key: &[u8], length: usize) -> Outcome<&'a mut Vec<u8>> {
    if ctx.write(key).is_none() {
        ctx.insert(key, Value::changed_text(Vec::new()));
    }
    let bytes = ctx.write(key).and_then(Value::text_mut).ok_or(WRONG_TYPE)?;
    if bytes.len() < length {
        bytes.resize(length, 0);
    }
    if bytes.len() == bytes.capacity() {
        bytes.reserve(1);
    }
    Ok(bytes)
}

pub(crate) fn setbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let at = offset(ctx, args[2], None)?;
    let on = match args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let length = ctx.text(args[1])?.map(|text| text.len());
    let bytes = bytes_mut(ctx, args[1], (at / 8) as usize + 1)?;
    let grown = length != Some(bytes.len());
    let old = bit(bytes, at);
    let mask = 1 << (7 - at % 8);
    let byte = &mut bytes[(at / 8) as usize];
    *byte = if on { *byte | mask } else { *byte & !mask };
    if grown || old != on {
        ctx.changed(Class::STRING, "setbit", args[1]);
    }
    ctx.out.integer(i64::from(old));
    Ok(())
}

pub(crate) fn getbit(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let at = offset(ctx, args[2], None)?;
    let on = ctx.text(args[1])?.is_some_and(|text| bit(&text, at));
    ctx.out.integer(i64::from(on));
    Ok(())
}

/// `start end [BYTE|BIT]` as a half-open range of bits within `length` bytes; `None` when it is empty.
fn bit_range(start: i64, end: i64, by_bit: bool, length: usize) -> Option<(u64, u64)> {
    let total = if by_bit { length as i64 * 8 } else { length as i64 };
    if start < 0 && end < 0 && start > end {
        return None;
    }
    let start = if start < 0 { (total + start).max(0) } else { start };
    let end = if end < 0 { (total + end).max(0) } else { end.min(total - 1) };
    if start > end || total == 0 {
        return None;
    }
    let scale = if by_bit { 1 } else { 8 };
    Some((start as u64 * scale, (end as u64 + 1) * scale))
}

fn unit(word: &[u8]) -> Outcome<bool> {
    match () {
        () if is(word, "BIT") => Ok(true),
        () if is(word, "BYTE") => Ok(false),
        () => Err(SYNTAX),
    }
}

fn count_ones(bytes: &[u8], from: u64, to: u64) -> u64 {
    let (first, last) = (from.div_ceil(8), to / 8);
    if first > last {
        return (from..to).filter(|at| bit(bytes, *at)).count() as u64;
    }
    let whole: u64 =
        bytes[first as usize..last as usize].iter().map(|byte| u64::from(byte.count_ones())).sum();
    let edges = (from..first * 8).chain(last * 8..to).filter(|at| bit(bytes, *at)).count() as u64;
    whole + edges
}

pub(crate) fn bitcount(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let range = match &args[2..] {
        [] => None,
        [start, end] => Some((integer(start)?, integer(end)?, false)),
        [start, end, word] => Some((integer(start)?, integer(end)?, unit(word)?)),
        _ => return Err(SYNTAX),
    };
    let count = match ctx.text(args[1])? {
        None => 0,
        Some(text) => match range {
            None => count_ones(&text, 0, text.len() as u64 * 8),
            Some((start, end, by_bit)) => {
                bit_range(start, end, by_bit, text.len()).map_or(0, |(from, to)| count_ones(&text, from, to))
            }
        },
    };
    ctx.out.integer(count as i64);
    Ok(())
}

pub(crate) fn bitpos(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let wanted = match integer(args[2])? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let (start, end, by_bit) = match &args[3..] {
        [] => (0, None, false),
        [start] => (integer(start)?, None, false),
        [start, end] => (integer(start)?, Some(integer(end)?), false),
        [start, end, word] => (integer(start)?, Some(integer(end)?), unit(word)?),
        _ => return Err(SYNTAX),
    };
    let found = match ctx.text(args[1])? {
        None => {
            if wanted {
                -1
            } else {
                0
            }
        }
        Some(text) => match bit_range(start, end.unwrap_or(-1), by_bit, text.len()) {
            None => -1,
            Some((from, to)) => first_bit(&text, from, to, wanted).map_or_else(
                // A row of ones is followed by zeros when its end was not given.
                || if !wanted && end.is_none() { text.len() as i64 * 8 } else { -1 },
                |at| at as i64,
            ),
        },
    };
    ctx.out.integer(found);
    Ok(())
}

fn first_bit(bytes: &[u8], from: u64, to: u64, wanted: bool) -> Option<u64> {
    let skip = if wanted { 0 } else { 0xff };
    let mut at = from;
    while at < to {
        if at.is_multiple_of(8) && to - at >= 8 && bytes[(at / 8) as usize] == skip {
            at += 8;
            continue;
        }
        if bit(bytes, at) == wanted {
            return Some(at);
        }
        at += 1;
    }
    None
}

pub(crate) fn bitop(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    let join: Option<fn(u8, u8) -> u8> = match () {
        () if is(args[1], "AND") => Some(|a, b| a & b),
        () if is(args[1], "OR") => Some(|a, b| a | b),
        () if is(args[1], "XOR") => Some(|a, b| a ^ b),
        () if is(args[1], "NOT") => None,
        () => return Err(SYNTAX),
    };
    if join.is_none() && args.len() != 4 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let mut inputs = Vec::new();
    for key in &args[3..] {
        inputs.push(ctx.text(key)?.map(std::borrow::Cow::into_owned).unwrap_or_default());
    }
    let length = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let mut result = inputs.remove(0);
    result.resize(length, 0);
    match join {
        None => result.iter_mut().for_each(|byte| *byte = !*byte),
        Some(join) => {
            for input in inputs {
                for (index, byte) in result.iter_mut().enumerate() {
                    *byte = join(*byte, input.get(index).copied().unwrap_or(0));
                }
            }
        }
    }
    let target = args[2];
    if result.is_empty() {
        ctx.delete(target);
    } else {
        ctx.put(target, Value::changed_text(result), false);
        ctx.changed(Class::STRING, "set", target);
    }
    ctx.out.integer(length as i64);
    Ok(())
}

/// What happens to a number that does not fit its field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Debug, Clone, Copy)]
enum Operation {
    Get,
    Set(i64),
    Add(i64),
}

/// One operation of BITFIELD.
#[derive(Debug, Clone, Copy)]
struct Field {
    operation: Operation,
    signed: bool,
    width: u32,
    at: u64,
    overflow: Overflow,
}

fn field_type(text: &[u8]) -> Outcome<(bool, u32)> {
    const BAD: &str =
        "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
    let (signed, digits) = match text {
        [b'i', rest @ ..] => (true, rest),
        [b'u', rest @ ..] => (false, rest),
        _ => return Err(BAD.into()),
    };
    let width = crate::number::parse_integer(digits).ok_or(BAD)?;
    let most = if signed { 64 } else { 63 };
    if (1..=most).contains(&width) { Ok((signed, width as u32)) } else { Err(BAD.into()) }
}

fn read_field(bytes: &[u8], field: &Field) -> i64 {
    let mut value: u64 = 0;
    for at in field.at..field.at + u64::from(field.width) {
        value = value << 1 | u64::from(bit(bytes, at));
    }
    if field.signed && field.width < 64 && value >> (field.width - 1) == 1 {
        value |= u64::MAX << field.width;
    }
    value as i64
}

fn write_field(bytes: &mut [u8], field: &Field, value: i64) {
    for index in 0..u64::from(field.width) {
        let at = field.at + index;
        let on = value as u64 >> (u64::from(field.width) - 1 - index) & 1 == 1;
        let mask = 1 << (7 - at % 8);
        let byte = &mut bytes[(at / 8) as usize];
        *byte = if on { *byte | mask } else { *byte & !mask };
    }
}

/// `value` within the field's range; `None` when it does not fit and that is a failure.
fn fit(value: i128, field: &Field) -> Option<i64> {
    let (low, high) = if field.signed {
        (-(1i128 << (field.width - 1)), (1i128 << (field.width - 1)) - 1)
    } else {
        (0, (1i128 << field.width) - 1)
    };
    if (low..=high).contains(&value) {
        return Some(value as i64);
    }
    match field.overflow {
        Overflow::Fail => None,
        Overflow::Saturate => Some(if value < low { low } else { high } as i64),
        Overflow::Wrap => {
            let mut wrapped = value & ((1i128 << field.width) - 1);
            if field.signed && wrapped > high {
                wrapped -= 1i128 << field.width;
            }
            Some(wrapped as i64)
        }
    }
}

fn parse_fields(ctx: &Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome<Vec<Field>> {
    let (mut fields, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while at < args.len() {
        let left = args.len() - at - 1;
        if is(args[at], "OVERFLOW") && left >= 1 {
            overflow = match () {
                () if is(args[at + 1], "WRAP") => Overflow::Wrap,
                () if is(args[at + 1], "SAT") => Overflow::Saturate,
                () if is(args[at + 1], "FAIL") => Overflow::Fail,
                () => return Err("ERR Invalid OVERFLOW type specified".into()),
            };
            at += 2;
            continue;
        }
        let is_get = is(args[at], "GET") && left >= 2;
        let changes = (is(args[at], "SET") || is(args[at], "INCRBY")) && left >= 3;
        if !is_get && !changes {
            return Err(SYNTAX);
        }
        let (signed, width) = field_type(args[at + 1])?;
        let place = offset(ctx, args[at + 2], Some(width.into()))?;
        let operation = if is_get {
            Operation::Get
        } else {
            if read_only {
                return Err("ERR BITFIELD_RO only supports the GET subcommand".into());
            }
            let value = integer(args[at + 3])?;
            if is(args[at], "SET") { Operation::Set(value) } else { Operation::Add(value) }
        };
        fields.push(Field { operation, signed, width, at: place, overflow });
        at += if is_get { 3 } else { 4 };
    }
    Ok(fields)
}

fn run_fields(ctx: &mut Ctx<'_>, args: &[&[u8]], read_only: bool) -> Outcome {
    let fields = parse_fields(ctx, args, read_only)?;
    let key = args[1];
    let writes = fields.iter().any(|field| !matches!(field.operation, Operation::Get));
    let mut replies: Vec<Option<i64>> = Vec::with_capacity(fields.len());
    let mut changes = 0;
    if writes {
        let end = fields
            .iter()
            .filter(|field| !matches!(field.operation, Operation::Get))
            .map(|field| ((field.at + u64::from(field.width)).div_ceil(8)) as usize)
            .max()
            .unwrap_or(0);
        let length = ctx.text(key)?.map(|text| text.len());
        let bytes = bytes_mut(ctx, key, end)?;
        changes = usize::from(length != Some(bytes.len()));
        for field in &fields {
            let old = read_field(bytes, field);
            let reply = match field.operation {
                Operation::Get => Some(old),
                Operation::Set(value) => {
                    // A value given for an unsigned field counts as it is written, without a sign.
                    let value = if field.signed { i128::from(value) } else { i128::from(value as u64) };
                    fit(value, field).map(|value| (value, old)).map(|(value, old)| {
                        changes += usize::from(value != old);
                        write_field(bytes, field, value);
                        old
                    })
                }
                Operation::Add(step) => fit(i128::from(old) + i128::from(step), field).inspect(|value| {
                    changes += usize::from(*value != old);
                    write_field(bytes, field, *value);
                }),
            };
            replies.push(reply);
        }
    } else {
        let text = ctx.text(key)?.unwrap_or_default();
        replies.extend(fields.iter().map(|field| Some(read_field(&text, field))));
    }
    if changes > 0 {
        ctx.changed(Class::STRING, "setbit", key);
    }
    ctx.out.array(replies.len());
    for reply in replies {
        match reply {
            Some(value) => ctx.out.integer(value),
            None => ctx.out.null(),
        }
    }
    Ok(())
}

pub(crate) fn bitfield(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    run_fields(ctx, args, false)
}

pub(crate) fn bitfield_ro(ctx: &mut Ctx<'_>, args: &[&[u8]]) -> Outcome {
    run_fields(ctx, args, true)
}
