//! `cmsgpack`: MessagePack as Redis's library writes and reads it.

use mlua::{Error, Lua, MultiValue, Result, Table, Value, Variadic};

/// How deep values may be nested; deeper ones become nil.
const DEPTH: usize = 16;

pub(super) fn library(lua: &Lua) -> Result<Table> {
    let table = lua.create_table()?;
    table.raw_set(
        "pack",
        lua.create_function(|lua, values: Variadic<Value>| {
            if values.is_empty() {
                return Err(Error::RuntimeError(
                    "bad argument #0 to 'pack' (MessagePack pack needs input.)".into(),
                ));
            }
            let mut out = Vec::new();
            for value in values.iter() {
                pack(&mut out, value, 0)?;
            }
            lua.create_string(out)
        })?,
    )?;
    table.raw_set(
        "unpack",
        lua.create_function(|lua, text: mlua::LuaString| {
            let text = text.as_bytes();
            let mut reader = Reader { lua, bytes: &text, at: 0 };
            let mut values = Vec::new();
            while reader.at < reader.bytes.len() {
                values.push(reader.value()?);
            }
            Ok(MultiValue::from_vec(values))
        })?,
    )?;
    Ok(table)
}

fn pack_string(out: &mut Vec<u8>, text: &[u8]) {
    match text.len() {
        length @ 0..=31 => out.push(0xa0 | length as u8),
        length @ 32..=255 => out.extend_from_slice(&[0xd9, length as u8]),
        length @ 256..=65535 => {
            out.push(0xda);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0xdb);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
    out.extend_from_slice(text);
}

fn pack_integer(out: &mut Vec<u8>, value: i64) {
    match value {
        0..=127 => out.push(value as u8),
        -32..=-1 => out.push(value as i8 as u8),
        128..=255 => out.extend_from_slice(&[0xcc, value as u8]),
        -128..=-33 => out.extend_from_slice(&[0xd0, value as i8 as u8]),
        256..=65535 => {
            out.push(0xcd);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        -32768..=-129 => {
            out.push(0xd1);
            out.extend_from_slice(&(value as i16).to_be_bytes());
        }
        65536..=4_294_967_295 => {
            out.push(0xce);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        -2_147_483_648..=-32769 => {
            out.push(0xd2);
            out.extend_from_slice(&(value as i32).to_be_bytes());
        }
        4_294_967_296.. => {
            out.push(0xcf);
            out.extend_from_slice(&value.to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}

fn pack_length(out: &mut Vec<u8>, length: usize, small: u8, medium: u8) {
    match length {
        0..=15 => out.push(small | length as u8),
        16..=65535 => {
            out.push(medium);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            out.push(medium + 1);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
    }
}

fn pack(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<()> {
    match value {
        Value::Boolean(value) => out.push(if *value { 0xc3 } else { 0xc2 }),
        Value::Integer(number) => pack_integer(out, *number),
        Value::Number(number) if number.fract() == 0.0 && number.abs() < 9.2e18 => {
            pack_integer(out, *number as i64);
        }
        Value::Number(number) => {
            let short = *number as f32;
            if f64::from(short) == *number {
                out.push(0xca);
                out.extend_from_slice(&short.to_be_bytes());
            } else {
                out.push(0xcb);
                out.extend_from_slice(&number.to_be_bytes());
            }
        }
        Value::String(text) => pack_string(out, &text.as_bytes()),
        Value::Table(table) if depth < DEPTH => {
            let mut pairs: Vec<(Value, Value)> = Vec::new();
            table.for_each(|key: Value, value: Value| {
                pairs.push((key, value));
                Ok(())
            })?;
            let mut highest = 0.0;
            let is_array = pairs.iter().all(|(key, _)| match key {
                Value::Integer(index) if *index > 0 => {
                    highest = f64::max(highest, *index as f64);
                    true
                }
                Value::Number(index) if *index > 0.0 && index.fract() == 0.0 => {
                    highest = f64::max(highest, *index);
                    true
                }
                _ => false,
            }) && highest as usize == pairs.len();
            if is_array {
                pack_length(out, pairs.len(), 0x90, 0xdc);
                for index in 1..=pairs.len() {
                    pack(out, &table.raw_get(index)?, depth + 1)?;
                }
            } else {
                pack_length(out, pairs.len(), 0x80, 0xde);
                for (key, value) in &pairs {
                    pack(out, key, depth + 1)?;
                    pack(out, value, depth + 1)?;
                }
            }
        }
        _ => out.push(0xc0),
    }
    Ok(())
}

struct Reader<'a> {
    lua: &'a Lua,
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Result<&[u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| Error::RuntimeError("Missing bytes in input.".into()))?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn unsigned(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn text(&mut self, length: usize) -> Result<Value> {
        let lua = self.lua;
        lua.create_string(self.take(length)?).map(Value::String)
    }

    fn array(&mut self, length: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        for index in 1..=length {
            table.raw_set(index, self.value()?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, length: usize) -> Result<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..length {
            let key = self.value()?;
            table.raw_set(key, self.value()?)?;
        }
        Ok(Value::Table(table))
    }

    fn value(&mut self) -> Result<Value> {
        let number = |value: f64| Ok(Value::Number(value));
        let kind = self.unsigned(1)? as u8;
        match kind {
            0..=0x7f => number(f64::from(kind)),
            0xe0..=0xff => number(f64::from(kind as i8)),
            0xa0..=0xbf => self.text(usize::from(kind & 31)),
            0x90..=0x9f => self.array(usize::from(kind & 15)),
            0x80..=0x8f => self.map(usize::from(kind & 15)),
            0xc0 => Ok(Value::Nil),
            0xc2 | 0xc3 => Ok(Value::Boolean(kind == 0xc3)),
            0xcc..=0xcf => number(self.unsigned(1 << (kind - 0xcc))? as f64),
            0xd0 => number(f64::from(self.unsigned(1)? as i8)),
            0xd1 => number(f64::from(self.unsigned(2)? as i16)),
            0xd2 => number(f64::from(self.unsigned(4)? as i32)),
            0xd3 => number(self.unsigned(8)? as i64 as f64),
            0xca => number(f64::from(f32::from_bits(self.unsigned(4)? as u32))),
            0xcb => number(f64::from_bits(self.unsigned(8)?)),
            0xc4 | 0xd9 => {
                let length = self.unsigned(1)? as usize;
                self.text(length)
            }
            0xc5 | 0xda => {
                let length = self.unsigned(2)? as usize;
                self.text(length)
            }
            0xc6 | 0xdb => {
                let length = self.unsigned(4)? as usize;
                self.text(length)
            }
            0xdc | 0xdd => {
                let length = self.unsigned(if kind == 0xdc { 2 } else { 4 })? as usize;
                self.array(length)
            }
            0xde | 0xdf => {
                let length = self.unsigned(if kind == 0xde { 2 } else { 4 })? as usize;
                self.map(length)
            }
            _ => Err(Error::RuntimeError("Bad data format in input.".into())),
        }
    }
}
