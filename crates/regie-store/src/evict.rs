//! Which key goes when memory is short: the eight policies of Redis, by sampling.
//!
//! LRU keeps the second of the last use in a key's 32 bits. LFU keeps a logarithmic count of uses (8 bits) and the
//! minute of its last decay (16 bits), as Redis does, so that OBJECT FREQ means the same.

use crate::config::{Config, POLICIES};
use crate::engine::Engine;
use crate::failure::{OUT_OF_MEMORY, Outcome};
use crate::notify::Class;
use crate::random::Random;

/// What a new key's count of uses is.
const LFU_FIRST: u32 = 5;

/// The state of a key that has just been made. `clock` is [`Engine::access_clock`].
pub(crate) fn first_use(config: &Config, clock: u32) -> u32 {
    if config.is_lfu() { (minutes(clock) << 8) | LFU_FIRST } else { clock }
}

fn minutes(clock: u32) -> u32 {
    (clock / 60) & 0xffff
}

/// The count of uses after the decay that is due by now.
pub(crate) fn decayed_count(config: &Config, access: u32, clock: u32) -> u32 {
    let passed = minutes(clock).wrapping_sub(access >> 8) & 0xffff;
    let decay = passed.checked_div(config.lfu_decay_time).unwrap_or(0);
    (access & 0xff).saturating_sub(decay)
}

/// The state after one more use: the more there were, the less likely it is counted.
pub(crate) fn count_use(config: &Config, access: u32, clock: u32, random: &mut Random) -> u32 {
    let mut count = decayed_count(config, access, clock);
    if count < 255 {
        let base = f64::from(count.saturating_sub(LFU_FIRST));
        if random.unit() < 1.0 / (base * f64::from(config.lfu_log_factor) + 1.0) {
            count += 1;
        }
    }
    (minutes(clock) << 8) | count
}

impl Engine {
    /// The second that marks a use.
    pub(crate) fn access_clock(&self) -> u32 {
        (self.now / 1000) as u32
    }

    /// Bytes of everything that counts against `maxmemory`.
    pub(crate) fn memory(&self) -> usize {
        let data: usize = self.databases.iter().map(crate::database::Database::memory).sum();
        data + self.shell_memory + self.scripts.memory()
    }

    /// Makes room if there is too little; an error if that is not possible.
    pub(crate) fn make_room(&mut self) -> Outcome {
        let limit = self.config.maxmemory;
        if limit == 0 || self.is_loading {
            return Ok(());
        }
        self.settle();
        while self.memory() as u64 > limit {
            if !self.evict_one() {
                return Err(OUT_OF_MEMORY);
            }
        }
        Ok(())
    }

    /// Evicts the best of a sample over all databases; false if there is nothing that may go.
    fn evict_one(&mut self) -> bool {
        let policy = POLICIES[self.config.policy];
        let Some((scope, how)) = policy.split_once('-') else { return false };
        let volatile_only = scope == "volatile";
        let clock = self.access_clock();
        let mut best: Option<(u64, usize, Vec<u8>)> = None;
        for db in 0..self.databases.len() {
            for _ in 0..self.config.samples {
                let Self { databases, random, config, .. } = self;
                let entry = if volatile_only {
                    databases[db].random_volatile(random)
                } else {
                    databases[db].table.random(random)
                };
                let Some(entry) = entry else { break };
                let score = match how {
                    "lru" => u64::from(clock.wrapping_sub(entry.access.get())),
                    "lfu" => u64::from(255 - decayed_count(config, entry.access.get(), clock)),
                    "ttl" => u64::MAX - databases[db].deadline(entry).unwrap_or(i64::MAX) as u64,
                    _ => random.next() >> 1,
                };
                if best.as_ref().is_none_or(|(best, ..)| score > *best) {
                    best = Some((score, db, entry.key.to_vec()));
                }
            }
        }
        let Some((_, db, key)) = best else { return false };
        if let Some(entry) = self.take_key(db, &key) {
            self.free(entry.value);
        }
        self.stats.evicted += 1;
        self.log(db, &[b"DEL", &key]);
        self.key_changed(db, &key, 0);
        self.notify(Class::EVICTED, "evicted", db, &key);
        true
    }
}
