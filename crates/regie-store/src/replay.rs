//! Running a log again.
//!
//! Most of the time of a start goes by with waiting for memory: each key lies somewhere else. So some commands are read
//! ahead, and where their keys are at home is looked at all at once (`Table::warm`) before they run one by one. Which
//! argument is the key is guessed, the second word: a wrong guess costs nothing but a look.
//!
//! Most commands of most logs are plain SETs. Nobody watches, waits or listens while the log is read, so they go the
//! short way, without the checks and statistics of a command ([`Engine::replay_set`]).

use crate::engine::Engine;
use crate::session::ClientId;
use crate::table::AHEAD;
use crate::value::Value;
use regie_resp::{Encoder, Limits, Parsed, RequestParser};

/// Commands that were read, and a place for replies that nobody reads; kept from frame to frame.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    parsers: Vec<RequestParser>,
    /// How many bytes the command of each parser takes.
    lengths: Vec<usize>,
    out: Encoder,
}

impl Replay {
    /// Runs the commands; an error says what is wrong with them, and those before the wrong one have run.
    pub(crate) fn run(
        &mut self,
        engine: &mut Engine,
        client: ClientId,
        mut commands: &[u8],
    ) -> Result<(), String> {
        while !commands.is_empty() {
            let fault = self.read(commands);
            self.warm(engine, client, commands);
            for (parser, length) in self.parsers.iter_mut().zip(&self.lengths) {
                let mut few: [&[u8]; 16] = [&[]; 16];
                let many: Vec<&[u8]>;
                let arguments = if parser.count() <= few.len() {
                    few.iter_mut().zip(parser.arguments(commands)).for_each(|(slot, word)| *slot = word);
                    &few[..parser.count()]
                } else {
                    many = parser.arguments(commands).collect();
                    &many[..]
                };
                match arguments {
                    [word, key, value] if word.eq_ignore_ascii_case(b"set") && engine.may_shorten(client) => {
                        engine.replay_set(client, key, value);
                    }
                    _ => drop(engine.execute(client, arguments, &mut self.out)),
                }
                if self.out.bytes.first() == Some(&b'-') {
                    return Err(String::from_utf8_lossy(&self.out.bytes).trim_end().to_owned());
                }
                self.out.bytes.clear();
                commands = &commands[*length..];
                parser.next();
            }
            fault?;
        }
        Ok(())
    }

    /// Reads some commands; an error is what is wrong with the one behind them.
    fn read(&mut self, mut commands: &[u8]) -> Result<(), String> {
        self.lengths.clear();
        while self.lengths.len() < AHEAD && !commands.is_empty() {
            let place = self.lengths.len();
            if self.parsers.len() == place {
                self.parsers.push(RequestParser::default());
            }
            self.parsers[place].next();
            match self.parsers[place].parse(commands, &Limits::DEFAULT) {
                Ok(Parsed::Command { consumed }) => {
                    self.lengths.push(consumed);
                    commands = &commands[consumed..];
                }
                Ok(Parsed::Incomplete { .. }) => return Err("a command is cut short".into()),
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    fn warm(&self, engine: &Engine, client: ClientId, commands: &[u8]) {
        if self.lengths.len() < AHEAD / 2 {
            return;
        }
        let Some(database) = engine.sessions.get(&client).and_then(|s| engine.databases.get(s.db)) else {
            return;
        };
        let mut rest = commands;
        database.table.warm(self.parsers.iter().zip(&self.lengths).filter_map(|(parser, length)| {
            let key = parser.arguments(rest).nth(1);
            rest = &rest[*length..];
            key
        }));
    }
}

impl Engine {
    /// Whether a SET of the log may go the short way: it is no part of a transaction.
    fn may_shorten(&self, client: ClientId) -> bool {
        self.is_loading && self.sessions.get(&client).is_some_and(|session| session.transaction.is_none())
    }

    /// `SET key value`, as the command does it when nobody looks.
    fn replay_set(&mut self, client: ClientId, key: &[u8], value: &[u8]) {
        let db = self.sessions.get(&client).map_or(0, |session| session.db);
        let access = crate::evict::first_use(self.config.is_lfu(db), self.access_clock());
        let database = &mut self.databases[db];
        let value = Value::text(value);
        match database.get_mut(key) {
            None => database.insert(key, value, access),
            Some(entry) => {
                entry.value = value;
                entry.access.set(access);
                let volatile = entry.is_volatile();
                database.mark_lock(key, false);
                if volatile {
                    database.set_deadline(key, None);
                }
                database.settle();
            }
        }
        self.dirty += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::testing::{ask, engine};

    /// A log that is run again has the effect of its commands run one by one.
    #[test]
    fn the_short_way_ends_where_the_long_one_does() {
        for seed in 1..30 {
            let mut random = Random::new(seed);
            let ((mut short, reader), (mut long, client)) = (engine(&[]), engine(&[]));
            let mut log = Vec::new();
            for n in 0..400 {
                let key = format!("k{}", random.below(30));
                let line = match random.below(9) {
                    0 => format!("RPUSH l{key} {n}"),
                    1 => format!("SET {key} {n} NX"),
                    2 => format!("SET {key} {n} PXAT 1800000000000"),
                    3 => format!("DEL {key}"),
                    4 => format!("SELECT {}", random.below(2)),
                    5 => format!("APPEND {key} x"),
                    6 => format!("set {key} {}", "v".repeat(random.below(100) + 1)),
                    _ => format!("SET {key} {n}"),
                };
                let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
                crate::engine::append(&mut log, &words);
                ask(&mut long, client, &line);
            }
            short.set_loading(true);
            Replay::default().run(&mut short, reader, &log).unwrap();
            short.set_loading(false);
            for db in 0..2 {
                for key in 0..30 {
                    for line in ["GET k", "TTL k", "OBJECT ENCODING k", "LRANGE lk"] {
                        let line = match line.strip_suffix("lk") {
                            Some(front) => format!("{front}lk{key} 0 -1"),
                            None => format!("{line}{key}"),
                        };
                        ask(&mut short, reader, &format!("SELECT {db}"));
                        ask(&mut long, client, &format!("SELECT {db}"));
                        let (found, expect) = (ask(&mut short, reader, &line), ask(&mut long, client, &line));
                        assert_eq!(found, expect, "seed {seed}, database {db}: {line}");
                    }
                }
                assert_eq!(short.databases[db].memory(), long.databases[db].memory(), "seed {seed}");
            }
        }
    }
}
