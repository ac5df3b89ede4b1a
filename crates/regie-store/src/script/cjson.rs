//! `cjson` as Redis has it, byte for byte: numbers with 14 significant digits, `/` escaped, an empty table is `{}`,
//! a table with only positive integer keys is an array.

use mlua::{Error, Lua, Result, Table, Value};
use regie_resp::format_general;

/// How deep values may be nested.
const DEPTH: usize = 1000;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("null", Value::NULL)?;
    table.raw_set("_NAME", "cjson")?;
    table.raw_set("_VERSION", "2.1.0")?;
    table.raw_set(
        "encode",
        lua.create_function(|lua, value: Value| {
            let mut out = Vec::with_capacity(128);
            encode(&mut out, &value, 0)?;
            lua.create_string(out)
        })?,
    )?;
    table.raw_set(
        "decode",
        lua.create_function(|lua, text: mlua::LuaString| {
            let text = text.as_bytes();
            let mut reader = Reader { lua, text: &text, at: 0 };
            reader.space();
            let value = reader.value(0)?;
            reader.space();
            if reader.at < reader.text.len() {
                return Err(reader.unexpected("the end"));
            }
            Ok(value)
        })?,
    )?;
    for name in [
        "encode_sparse_array",
        "encode_max_depth",
        "decode_max_depth",
        "encode_number_precision",
        "encode_keep_buffer",
        "encode_invalid_numbers",
        "decode_invalid_numbers",
    ] {
        table.raw_set(name, lua.create_function(|_, ()| Ok(()))?)?;
    }
    Ok(table)
}

fn fault(text: impl Into<String>) -> Error {
    Error::RuntimeError(text.into())
}

fn encode_number(out: &mut Vec<u8>, number: f64) -> Result<()> {
    if !number.is_finite() {
        return Err(fault("Cannot serialise number: must not be NaN or Inf"));
    }
    if number.fract() == 0.0 && number.abs() < 1e14 {
        regie_resp::write_integer(out, number as i64);
    } else {
        out.extend_from_slice(format_general(number, 14).as_bytes());
    }
    Ok(())
}

fn encode_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' | b'\\' | b'/' => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            12 => out.extend_from_slice(b"\\f"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=31 | 127 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The length of a table that is an array; `None` for one that is not.
fn array_length(table: &Table) -> Result<Option<usize>> {
    let (mut highest, mut items, mut is_array) = (0usize, 0usize, true);
    table.for_each(|key: Value, _: Value| {
        match key {
            Value::Integer(index) if index > 0 => highest = highest.max(index as usize),
            Value::Number(index) if index > 0.0 && index.fract() == 0.0 => {
                highest = highest.max(index as usize);
            }
            _ => is_array = false,
        }
        items += 1;
        Ok(())
    })?;
    if !is_array || items == 0 {
        return Ok(None);
    }
    if highest > items * 2 && highest > 10 {
        return Err(fault("Cannot serialise table: excessively sparse array"));
    }
    Ok(Some(highest))
}

fn encode(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::LightUserData(pointer) if pointer.0.is_null() => out.extend_from_slice(b"null"),
        Value::Boolean(true) => out.extend_from_slice(b"true"),
        Value::Boolean(false) => out.extend_from_slice(b"false"),
        Value::Integer(number) => encode_number(out, *number as f64)?,
        Value::Number(number) => encode_number(out, *number)?,
        Value::String(text) => encode_string(out, &text.as_bytes()),
        Value::Table(table) => {
            if depth >= DEPTH {
                return Err(fault(format!("Cannot serialise, excessive depth ({})", depth + 1)));
            }
            encode_table(out, table, depth + 1)?;
        }
        other => return Err(fault(format!("Cannot serialise {}: type not supported", other.type_name()))),
    }
    Ok(())
}

fn encode_table(out: &mut Vec<u8>, table: &Table, depth: usize) -> Result<()> {
    if let Some(length) = array_length(table)? {
        out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                out.push(b',');
            }
            encode(out, &table.raw_get(index)?, depth)?;
        }
        out.push(b']');
        return Ok(());
    }
    out.push(b'{');
    let mut first = true;
    table.for_each(|key: Value, value: Value| {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        match key {
            Value::String(text) => encode_string(out, &text.as_bytes()),
            Value::Integer(_) | Value::Number(_) => {
                out.push(b'"');
                encode(out, &key, depth)?;
                out.push(b'"');
            }
            _ => return Err(fault("Cannot serialise table: table key must be a number or string")),
        }
        out.push(b':');
        encode(out, &value, depth)
    })?;
    out.push(b'}');
    Ok(())
}

struct Reader<'a> {
    lua: &'a Lua,
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn unexpected(&self, wanted: &str) -> Error {
        let found = match self.text.get(self.at) {
            None => "T_END",
            Some(b'{') => "T_OBJ_BEGIN",
            Some(b'}') => "T_OBJ_END",
            Some(b'[') => "T_ARR_BEGIN",
            Some(b']') => "T_ARR_END",
            Some(b',') => "T_COMMA",
            Some(b':') => "T_COLON",
            Some(b'"') => "T_STRING",
            Some(_) => "invalid token",
        };
        fault(format!("Expected {wanted} but found {found} at character {}", self.at + 1))
    }

    fn space(&mut self) {
        while self.text.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value> {
        if depth > DEPTH {
            return Err(fault(format!("Found too many nested data structures ({depth})")));
        }
        match self.text.get(self.at) {
            Some(b'"') => {
                let text = self.string()?;
                self.lua.create_string(text).map(Value::String)
            }
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'-' | b'+' | b'0'..=b'9' | b'i' | b'I' | b'N') => self.number(),
            Some(_) => {
                for (word, value) in
                    [("true", Value::Boolean(true)), ("false", Value::Boolean(false)), ("null", Value::NULL)]
                {
                    if self.text[self.at..].starts_with(word.as_bytes()) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.unexpected("value"))
            }
            None => Err(self.unexpected("value")),
        }
    }

    fn number(&mut self) -> Result<Value> {
        let rest = &self.text[self.at..];
        let length = rest
            .iter()
            .position(|byte| !matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'x' | b'X' | b'0'..=b'9' | b'a'..=b'd' | b'f' | b'A'..=b'D' | b'F'))
            .unwrap_or(rest.len());
        let number = crate::number::parse_double(&rest[..length]).ok_or_else(|| self.unexpected("value"))?;
        self.at += length;
        Ok(Value::Number(number))
    }

    fn object(&mut self, depth: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        self.at += 1;
        self.space();
        if self.text.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        loop {
            self.space();
            if self.text.get(self.at) != Some(&b'"') {
                return Err(self.unexpected("object key string"));
            }
            let key = self.string()?;
            let key = self.lua.create_string(key)?;
            self.space();
            if self.text.get(self.at) != Some(&b':') {
                return Err(self.unexpected("colon"));
            }
            self.at += 1;
            self.space();
            table.raw_set(key, self.value(depth + 1)?)?;
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Table(table));
                }
                _ => return Err(self.unexpected("comma or object end")),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        self.at += 1;
        self.space();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            self.space();
            table.raw_set(index, self.value(depth + 1)?)?;
            self.space();
            match self.text.get(self.at) {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.unexpected("comma or array end")),
            }
        }
        self.at += 1;
        Ok(Value::Table(table))
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.text.get(self.at..self.at + 4)?).ok()?;
        self.at += 4;
        u32::from_str_radix(digits, 16).ok()
    }

    fn string(&mut self) -> Result<Vec<u8>> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            let rest = &self.text[self.at..];
            let plain =
                rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=31)).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            self.at += plain;
            let bad = |reader: &Self, what: &str| {
                fault(format!("Expected value but found {what} at character {}", reader.at + 1))
            };
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    let escape = self.text.get(self.at + 1).copied();
                    self.at += 2;
                    match escape {
                        Some(byte @ (b'"' | b'\\' | b'/')) => out.push(byte),
                        Some(b'b') => out.push(8),
                        Some(b'f') => out.push(12),
                        Some(b'n') => out.push(b'\n'),
                        Some(b'r') => out.push(b'\r'),
                        Some(b't') => out.push(b'\t'),
                        Some(b'u') => {
                            let mut code =
                                self.hex().ok_or_else(|| bad(self, "invalid unicode escape code"))?;
                            if (0xd800..0xdc00).contains(&code) {
                                let low = match self.text.get(self.at..self.at + 2) {
                                    Some(b"\\u") => {
                                        self.at += 2;
                                        self.hex()
                                    }
                                    _ => None,
                                };
                                let low = low.filter(|low| (0xdc00..0xe000).contains(low));
                                let low = low.ok_or_else(|| bad(self, "invalid unicode escape code"))?;
                                code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                            }
                            let letter = char::from_u32(code)
                                .ok_or_else(|| bad(self, "invalid unicode escape code"))?;
                            out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        _ => return Err(bad(self, "invalid escape code")),
                    }
                }
                Some(_) => return Err(bad(self, "invalid token")),
                None => return Err(bad(self, "unexpected end of string")),
            }
        }
    }
}
