//! Replies to Lua and back, by Redis's rules.

use mlua::{Lua, Result, Value};
use regie_resp::Encoder;

fn line<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let rest = &bytes[*at..];
    let end = memchr::memchr(b'\r', rest).unwrap_or(rest.len());
    *at = (*at + end + 2).min(bytes.len());
    &rest[..end]
}

/// A table with one field.
fn single(lua: &Lua, name: &str, value: Value) -> Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

/// The reply at `at` of what the engine has written, which is always whole.
pub(super) fn to_lua(lua: &Lua, bytes: &[u8], at: &mut usize) -> Result<Value> {
    let head = line(bytes, at);
    let (kind, text) = head.split_first().map_or((b'_', &b""[..]), |(kind, text)| (*kind, text));
    let number = || crate::number::parse_integer(text).unwrap_or(0);
    match kind {
        b':' => Ok(Value::Number(number() as f64)),
        b'$' => {
            let Ok(length) = usize::try_from(number()) else { return Ok(Value::Boolean(false)) };
            let body = &bytes[*at..*at + length];
            *at += length + 2;
            lua.create_string(body).map(Value::String)
        }
        b'+' => single(lua, "ok", Value::String(lua.create_string(text)?)),
        b'-' => single(lua, "err", Value::String(lua.create_string(text)?)),
        b'*' | b'>' => {
            let Ok(length) = usize::try_from(number()) else { return Ok(Value::Boolean(false)) };
            let table = lua.create_table_with_capacity(length, 0)?;
            for index in 1..=length {
                table.raw_set(index, to_lua(lua, bytes, at)?)?;
            }
            Ok(Value::Table(table))
        }
        b'%' => {
            let map = lua.create_table()?;
            for _ in 0..number() {
                let key = to_lua(lua, bytes, at)?;
                map.raw_set(key, to_lua(lua, bytes, at)?)?;
            }
            single(lua, "map", Value::Table(map))
        }
        b'~' => {
            let set = lua.create_table()?;
            for _ in 0..number() {
                set.raw_set(to_lua(lua, bytes, at)?, true)?;
            }
            single(lua, "set", Value::Table(set))
        }
        b',' => {
            let value = crate::number::parse_double(text).unwrap_or(f64::NAN);
            single(lua, "double", Value::Number(value))
        }
        b'#' => Ok(Value::Boolean(text == b"t")),
        b'(' => single(lua, "big_number", Value::String(lua.create_string(text)?)),
        b'=' => {
            let length = number().max(4) as usize;
            let body = &bytes[*at..*at + length];
            *at += length + 2;
            let table = lua.create_table()?;
            table.raw_set("format", lua.create_string(&body[..3])?)?;
            table.raw_set("string", lua.create_string(&body[4..])?)?;
            single(lua, "verbatim_string", Value::Table(table))
        }
        _ => Ok(Value::Nil),
    }
}

/// How deep a reply may be nested.
const DEPTH: usize = 100;

/// Writes what a script has returned.
pub(super) fn to_reply(out: &mut Encoder, value: &Value, depth: usize) -> Result<()> {
    if depth > DEPTH {
        out.error(b"ERR reached lua stack limit");
        return Ok(());
    }
    match value {
        Value::String(text) => out.bulk(&text.as_bytes()),
        Value::Integer(number) => out.integer(*number),
        Value::Number(number) => out.integer(*number as i64),
        Value::Boolean(true) if out.version == regie_resp::Version::Three => out.boolean(true),
        Value::Boolean(false) if out.version == regie_resp::Version::Three => out.boolean(false),
        Value::Boolean(true) => out.integer(1),
        Value::Table(table) => table_to_reply(out, table, depth)?,
        _ => out.null(),
    }
    Ok(())
}

fn table_to_reply(out: &mut Encoder, table: &mlua::Table, depth: usize) -> Result<()> {
    if let Value::String(text) = table.raw_get("err")? {
        out.error(&text.as_bytes());
        return Ok(());
    }
    if let Value::String(text) = table.raw_get("ok")? {
        out.simple(&text.to_string_lossy().replace(['\r', '\n'], " "));
        return Ok(());
    }
    if let Value::Number(value) = table.raw_get("double")? {
        out.double(value);
        return Ok(());
    }
    if let Value::String(digits) = table.raw_get("big_number")? {
        out.big_number(&digits.as_bytes());
        return Ok(());
    }
    if let Value::Table(verbatim) = table.raw_get("verbatim_string")?
        && let (Value::String(format), Value::String(text)) =
            (verbatim.raw_get("format")?, verbatim.raw_get("string")?)
    {
        out.verbatim(&format.to_string_lossy(), &text.as_bytes());
        return Ok(());
    }
    let (mark, mut count) = (out.mark(), 0);
    if let Value::Table(map) = table.raw_get("map")? {
        map.for_each(|key: Value, value: Value| {
            count += 1;
            to_reply(out, &key, depth + 1)?;
            to_reply(out, &value, depth + 1)
        })?;
        out.map_at(mark, count);
        return Ok(());
    }
    if let Value::Table(set) = table.raw_get("set")? {
        set.for_each(|key: Value, _: Value| {
            count += 1;
            to_reply(out, &key, depth + 1)
        })?;
        out.set_at(mark, count);
        return Ok(());
    }
    loop {
        let value: Value = table.raw_get(count + 1)?;
        if value.is_nil() {
            break;
        }
        count += 1;
        to_reply(out, &value, depth + 1)?;
    }
    out.array_at(mark, count);
    Ok(())
}
