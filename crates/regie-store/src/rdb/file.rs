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
    for code in engine.scripts.library_codes() {
        bytes.push(opcode::FUNCTION);
        write_string(&mut bytes, code);
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

#[cfg(test)]
mod tests {
    use super::super::packed::ListpackWriter;
    use super::*;
    use crate::engine::Settings;
    use crate::value::Value;

    fn engine() -> Engine {
        let (seed, now_us, config) = (1, 1_000_000_000, Vec::new());
        Engine::new(Settings { seed, secret: [0; 32], now_us, config, stopwatch: || 0 }).unwrap()
    }

    fn listpack(items: &[&str]) -> Vec<u8> {
        let mut writer = ListpackWriter::new();
        for item in items {
            match item.parse() {
                Ok(number) => writer.integer(number),
                Err(_) => writer.text(item.as_bytes()),
            }
        }
        writer.finish()
    }

    /// A file of a version with records as they are given, and its checksum from version 5 on.
    fn file(version: u32, records: &[u8]) -> Vec<u8> {
        let mut bytes = format!("REDIS{version:04}").into_bytes();
        bytes.extend_from_slice(records);
        bytes.push(opcode::END);
        if version >= 5 {
            let sum = crc64(&bytes);
            bytes.extend_from_slice(&sum.to_le_bytes());
        }
        bytes
    }

    fn key(kind: u8, name: &str, value: &[u8]) -> Vec<u8> {
        let mut record = vec![kind];
        write_string(&mut record, name.as_bytes());
        record.extend_from_slice(value);
        record
    }

    fn packed(kind: u8, name: &str, pack: &[u8]) -> Vec<u8> {
        let mut value = Vec::new();
        write_string(&mut value, pack);
        key(kind, name, &value)
    }

    fn shown(engine: &Engine, name: &str) -> Option<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(match &engine.databases[0].get(name.as_bytes())?.value {
            Value::Hash(hash) => hash
                .iter()
                .map(|(field, value)| {
                    let end = hash.end_of(field).map_or(String::new(), |at| format!(" until {at}"));
                    text(field) + "=" + &text(value) + &end
                })
                .collect::<Vec<_>>()
                .join(" "),
            Value::Set(set) => set.iter().map(|member| text(&member)).collect::<Vec<_>>().join(" "),
            Value::List(list) => list.iter().map(text).collect::<Vec<_>>().join(" "),
            Value::SortedSet(set) => set
                .iter()
                .map(|member| format!("{}={}", text(&member.name), member.score))
                .collect::<Vec<_>>()
                .join(" "),
            Value::Stream(stream) => format!("{} entries, last {}", stream.len(), stream.last_id),
            value => text(&value.as_text()?),
        })
    }

    /// Forms that no server at hand writes: those of old versions, and of newer ones.
    #[test]
    fn every_version_from_6_to_12_is_read() {
        let ziplist = [16, 0, 0, 0, 13, 0, 0, 0, 2, 0, 0, 1, b'a', 3, 0xf3, 0xff];
        let mut deadlines = vec![0; 8];
        write_string(&mut deadlines, &listpack(&["f", "1", "0", "g", "2", "99999"]));
        let mut fields = 5000u64.to_le_bytes().to_vec();
        fields.extend_from_slice(&[2, 0, 1, b'f', 1, b'1', 7, 1, b'g', 1, b'2']);
        let mut stream = vec![1, 16];
        stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]);
        write_string(&mut stream, &listpack(&["1", "0", "1", "f", "0", "2", "0", "0", "v", "4"]));
        stream.extend_from_slice(&[1, 5, 1, 5, 1, 0, 0, 1, 1, 1, b'g', 5, 1, 1, 1]);
        stream
            .extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
        stream.extend_from_slice(&[1, 1, b'c', 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 1]);
        stream.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 1]);
        let cases: [(u32, Vec<u8>, &str); 12] = [
            (6, packed(9, "k", &[1, 1, b'f', 2, 0, b'v', b'w', 255]), "f=vw"),
            (6, packed(10, "k", &ziplist), "a 2"),
            (6, packed(11, "k", &[2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0]), "-1 5"),
            (6, packed(12, "k", &ziplist), "a=2"),
            (7, packed(13, "k", &ziplist), "a=2"),
            (7, key(3, "k", &[1, 1, b'm', 3, b'1', b'.', b'5']), "m=1.5"),
            (9, key(14, "k", &[&[1, 16][..], &ziplist].concat()), "a 2"),
            (10, packed(16, "k", &listpack(&["f", "-7"])), "f=-7"),
            (11, packed(20, "k", &listpack(&["a"])), "a"),
            (11, key(21, "k", &stream), "1 entries, last 5-1"),
            (12, key(25, "k", &deadlines), "f=1 g=2 until 99999"),
            (12, key(24, "k", &fields), "f=1 g=2 until 5006"),
        ];
        for (version, records, expect) in cases {
            let mut engine = engine();
            let loaded = load(&file(version, &records), &mut engine, &mut |_| {});
            let what = format!("version {version}, type {}", records[0]);
            let loaded = loaded.unwrap_or_else(|why| panic!("{what}: {why}"));
            assert_eq!((loaded.version, loaded.keys), (version, 1), "{what}");
            assert_eq!(shown(&engine, "k").as_deref(), Some(expect), "{what}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (bytes, expect) in [
            (file(13, &[]), "RDB version 13 is not known"),
            (b"REDIX0010".to_vec(), "no RDB file"),
            (file(10, &key(7, "mod", &[])), "'mod' is of a module's type"),
            (file(10, &[opcode::DATABASE, 60]), "database 60"),
            (file(10, &[1]), "cut short"),
            (file(10, &key(99, "k", &[])), "type 99"),
            (file(10, &[]).iter().map(|byte| byte ^ u8::from(*byte > 0xf0)).collect(), ""),
        ] {
            let why = load(&bytes, &mut engine(), &mut |_| {}).unwrap_err();
            assert!(why.contains(expect), "{why}");
        }
    }

    #[test]
    fn notes_deadlines_and_modules_are_read() {
        let mut records = vec![opcode::NOTE, 9];
        records.extend_from_slice(b"redis-ver\x057.4.1");
        records.extend_from_slice(&[opcode::MODULE, 1, 2, 5, 5, 2, b'h', b'i', 0]);
        records.extend_from_slice(&[opcode::DATABASE, 0, opcode::SIZES, 2, 2, opcode::DEADLINE]);
        records.extend_from_slice(&2_000_000i32.to_le_bytes());
        records.extend_from_slice(&key(0, "later", &[1, b'x']));
        records.push(opcode::DEADLINE_MS);
        records.extend_from_slice(&5i64.to_le_bytes());
        records.extend_from_slice(&[opcode::IDLE, 3]);
        records.extend_from_slice(&key(0, "gone", &[1, b'x']));
        let mut engine = engine();
        let loaded = load(&file(12, &records), &mut engine, &mut |_| {}).unwrap();
        assert_eq!((&*loaded.by, loaded.keys, loaded.expired), ("7.4.1", 1, 1));
        assert_eq!(engine.databases[0].deadline_of(b"later"), Some(2_000_000_000));
    }
}
