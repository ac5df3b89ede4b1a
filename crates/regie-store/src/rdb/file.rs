//! Whole RDB files: those of Redis 3.2 to 8 and Valkey (versions 6 to 12) are read, version 10 (Redis 7.0) is written.
//!
//! A file is `REDIS` with four digits of version, then records that begin with an opcode or with the type of a value,
//! then the CRC-64 of all before it (8 zeros: none).

use super::{Reader, crc64, crc64_on, write_length, write_string, write_value};
use crate::engine::Engine;
use std::io::{self, Write};

mod opcode {
    pub(super) const SLOT_INFO: u8 = 0xf4;
    pub(super) const FUNCTION: u8 = 0xf5;
    pub(super) const FUNCTION_OLD: u8 = 0xf6;
    pub(super) const MODULE: u8 = 0xf7;
    pub(super) const IDLE: u8 = 0xf8;
    pub(super) const FREQUENCY: u8 = 0xf9;
    pub(super) const NOTE: u8 = 0xfa;
    pub(super) const SIZES: u8 = 0xfb;
    pub(super) const DEADLINE_MS: u8 = 0xfc;
    pub(super) const DEADLINE: u8 = 0xfd;
    pub(super) const DATABASE: u8 = 0xfe;
    pub(super) const END: u8 = 0xff;
}

/// Versions that are read.
const OLDEST: u32 = 1;
const NEWEST: u32 = 12;
/// Version that is written.
const WRITTEN: u32 = 10;

/// What a file held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    pub(crate) version: u32,
    /// Which program wrote it, as far as it says so.
    pub(crate) by: String,
    pub(crate) keys: u64,
    /// Keys that were left out because their time has passed.
    pub(crate) expired: u64,
    /// Deadlines of single fields of hashes, which this store does not have.
    pub(crate) field_deadlines: u64,
    /// Libraries of functions.
    pub(crate) functions: Vec<Vec<u8>>,
    /// Bytes that the file takes: in an append-only file, commands follow.
    pub(crate) length: usize,
}

/// Whether these bytes begin an RDB file.
pub(crate) fn is_rdb(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKEY")
}

/// Puts in what a file holds, over what is there; an error says where and why it cannot be read.
pub(crate) fn load(
    bytes: &[u8],
    engine: &mut Engine,
    progress: &mut dyn FnMut(u64),
) -> Result<Loaded, String> {
    let digits = bytes.strip_prefix(b"REDIS").and_then(|rest| rest.get(..4));
    let version = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
    let version = version.ok_or("no RDB file of Redis: it does not begin with REDIS and a version")?;
    if !(OLDEST..=NEWEST).contains(&version) {
        return Err(format!(
            "RDB version {version} is not known here ({OLDEST} to {NEWEST}); import from the running server instead"
        ));
    }
    let mut file = File {
        reader: Reader::new(bytes),
        engine,
        db: 0,
        deadline: None,
        loaded: Loaded { version, ..Loaded::default() },
    };
    let _ = file.reader.take(9);
    loop {
        let at = file.reader.position();
        if file.loaded.keys.is_multiple_of(1000) {
            progress(at as u64);
        }
        match file.record() {
            Ok(Some(())) => {}
            Ok(None) => break,
            Err(why) => return Err(format!("at byte {at}: {why}")),
        }
    }
    let (body, mut reader, mut loaded) = (file.reader.position(), file.reader, file.loaded);
    if version >= 5 {
        let sum = reader.take(8).and_then(|raw| raw.try_into().ok()).map(u64::from_le_bytes);
        let sum = sum.ok_or("the checksum at its end is cut off")?;
        if sum != 0 && sum != crc64(&bytes[..body]) {
            return Err("its checksum does not fit: the file is damaged".into());
        }
    }
    loaded.field_deadlines = reader.field_deadlines;
    loaded.length = reader.position();
    progress(loaded.length as u64);
    Ok(loaded)
}

struct File<'a> {
    reader: Reader<'a>,
    engine: &'a mut Engine,
    db: usize,
    deadline: Option<i64>,
    loaded: Loaded,
}

impl File<'_> {
    /// Reads a record; `None` at the end.
    fn record(&mut self) -> Result<Option<()>, String> {
        const SHORT: &str = "the file is cut short";
        let first = self.reader.byte().ok_or(SHORT)?;
        match first {
            opcode::END => return Ok(None),
            opcode::DATABASE => {
                let db = self.reader.length().ok_or(SHORT)?;
                self.db = usize::try_from(db)
                    .ok()
                    .filter(|db| *db < self.engine.databases.len())
                    .ok_or_else(|| format!("it has a database {db}; set 'databases' higher"))?;
            }
            opcode::DEADLINE_MS => {
                let raw = self.reader.take(8).and_then(|raw| raw.try_into().ok()).ok_or(SHORT)?;
                self.deadline = Some(i64::from_le_bytes(raw));
            }
            opcode::DEADLINE => {
                let raw = self.reader.take(4).and_then(|raw| raw.try_into().ok()).ok_or(SHORT)?;
                self.deadline = Some(i64::from(i32::from_le_bytes(raw)) * 1000);
            }
            opcode::NOTE => {
                let name = self.reader.string().ok_or(SHORT)?;
                let value = self.reader.string().ok_or(SHORT)?;
                if matches!(&*name, b"redis-ver" | b"valkey-ver") {
                    self.loaded.by = String::from_utf8_lossy(&value).into_owned();
                }
            }
            opcode::SIZES => drop((self.reader.length(), self.reader.length())),
            opcode::SLOT_INFO => drop((self.reader.length(), self.reader.length(), self.reader.length())),
            opcode::FREQUENCY => drop(self.reader.byte()),
            opcode::IDLE => drop(self.reader.length()),
            opcode::FUNCTION => {
                let code = self.reader.string().ok_or(SHORT)?;
                self.loaded.functions.push(code.into_owned());
            }
            opcode::FUNCTION_OLD => return Err("functions of a release candidate of Redis 7".into()),
            opcode::MODULE => self.skip_module().ok_or("what a module has written cannot be passed over")?,
            kind => self.key(kind)?,
        }
        Ok(Some(()))
    }

    fn key(&mut self, kind: u8) -> Result<(), String> {
        let key = self.reader.string().ok_or("a key is cut short")?;
        let name = String::from_utf8_lossy(&key[..key.len().min(100)]).into_owned();
        if matches!(kind, 6 | 7) {
            return Err(format!("the key '{name}' is of a module's type, which this store does not know"));
        }
        let seed = self.engine.databases[self.db].table.seed();
        let value = self
            .reader
            .value_of(kind, &self.engine.config, seed)
            .ok_or_else(|| format!("the value of '{name}' (type {kind}) cannot be read"))?;
        let deadline = self.deadline.take();
        if deadline.is_some_and(|at| at <= self.engine.now) {
            self.loaded.expired += 1;
        } else {
            self.engine.restore_entry(self.db, &key, value, deadline);
            self.loaded.keys += 1;
        }
        Ok(())
    }

    fn skip_module(&mut self) -> Option<()> {
        let reader = &mut self.reader;
        reader.length()?;
        loop {
            match reader.length()? {
                0 => return Some(()),
                1 | 2 => drop(reader.length()?),
                3 => drop(reader.take(4)?),
                4 => drop(reader.take(8)?),
                5 => drop(reader.string()?),
                _ => return None,
            }
        }
    }
}

/// Writes everything that the engine holds; how many keys that were.
pub(crate) fn save(engine: &Engine, out: &mut dyn Write, progress: &mut dyn FnMut(u64)) -> io::Result<u64> {
    let mut writer = Writer { out, sum: 0 };
    let mut bytes = format!("REDIS{WRITTEN:04}").into_bytes();
    for (name, value) in
        [("redis-ver", crate::commands::server::REDIS_VERSION), ("regie-ver", env!("CARGO_PKG_VERSION"))]
    {
        bytes.push(opcode::NOTE);
        write_string(&mut bytes, name.as_bytes());
        write_string(&mut bytes, value.as_bytes());
    }
    let mut keys = 0;
    for (number, database) in engine.databases.iter().enumerate().filter(|(_, database)| database.len() > 0) {
        bytes.push(opcode::DATABASE);
        write_length(&mut bytes, number as u64);
        bytes.push(opcode::SIZES);
        write_length(&mut bytes, database.len() as u64);
        write_length(&mut bytes, database.volatile_len() as u64);
        for entry in database.table.iter() {
            if let Some(at) = database.deadline(entry) {
                bytes.push(opcode::DEADLINE_MS);
                bytes.extend_from_slice(&at.to_le_bytes());
            }
            let mut value = Vec::new();
            write_value(&mut value, &entry.value);
            bytes.push(value[0]);
            write_string(&mut bytes, &entry.key);
            bytes.extend_from_slice(&value[1..]);
            keys += 1;
            if bytes.len() > 1 << 16 {
                writer.put(&mut bytes)?;
                progress(keys);
            }
        }
    }
    bytes.push(opcode::END);
    writer.put(&mut bytes)?;
    progress(keys);
    let sum = writer.sum;
    out.write_all(&sum.to_le_bytes())?;
    Ok(keys)
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    sum: u64,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        self.sum = crc64_on(self.sum, bytes);
        self.out.write_all(bytes)?;
        bytes.clear();
        Ok(())
    }
}
