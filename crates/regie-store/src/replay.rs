//! Running a log again.
//!
//! Most of the time of a start goes by with waiting for memory: each key lies somewhere else. So some commands are read
//! ahead, and where their keys are at home is looked at all at once (`Table::warm`) before they run one by one. Which
//! argument is the key is guessed, the second word: a wrong guess costs nothing but a look.

use crate::engine::Engine;
use crate::session::ClientId;
use crate::table::AHEAD;
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
                let _ = engine.execute(client, arguments, &mut self.out);
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
