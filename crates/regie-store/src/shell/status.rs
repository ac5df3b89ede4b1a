//! What `regie status` shows of the store.

use crate::engine::Engine;
use regie_core::ByteSize;

/// See the module's description.
pub(super) struct Status {
    say: Option<fn(&str)>,
    said: String,
    at_us: i64,
}

impl Status {
    /// Microseconds between two looks.
    const EVERY: i64 = 5_000_000;

    pub(super) fn new(say: Option<fn(&str)>) -> Self {
        Self { say, said: String::new(), at_us: 0 }
    }

    pub(super) fn tell(&mut self, engine: &Engine, now_us: i64) {
        let Some(say) = self.say.filter(|_| now_us - self.at_us >= Self::EVERY) else { return };
        self.at_us = now_us;
        let limit: u64 = engine.setting("maxmemory").parse().unwrap_or(0);
        let limit = if limit > 0 { format!(" of {limit}", limit = ByteSize(limit)) } else { String::new() };
        let memory = ByteSize(engine.memory() as u64);
        let now = format!("{} keys, {memory}{limit}, {} clients", engine.keys(), engine.clients());
        if now != self.said {
            say(&now);
            self.said = now;
        }
    }
}
