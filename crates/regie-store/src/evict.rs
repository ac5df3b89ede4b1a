//! Which key goes when memory is short: the eight policies of Redis, by sampling.
//!
//! There is a limit of everything together, and each database may have one of its own; each database has a policy.
//! Over its own limit a database gives up its own keys. Over the common limit, keys go from the databases whose policy
//! lets them; where policies differ, the database with the most data that has something to give goes first.
//!
//! LRU keeps the second of the last use in a key's 32 bits. LFU keeps a logarithmic count of uses (8 bits) and the
//! minute of its last decay (16 bits), as Redis does, so that OBJECT FREQ means the same.
//!
//! **Protected keys** (see `protect`) are never taken. A sample that holds only those is followed by a sweep: it goes
//! on where the last one ended, over a bounded number of keys, until it finds one that may go. When a sweep has been in
//! vain, the next comes [`PAUSE_MS`] later, so that reads stay quick in a store that is full of protected keys. Then
//! writes are refused with OOM, and the operator is told once.

use crate::config::{Config, POLICIES};
use crate::database::{Database, Entry};
use crate::engine::Engine;
use crate::failure::{OUT_OF_MEMORY, Outcome};
use crate::notify::Class;
use crate::protect::Protected;
use crate::random::Random;

/// What a new key's count of uses is.
const LFU_FIRST: u32 = 5;
/// Keys that are looked at for each that a sample shall hold: more than one where some are protected.
const TRIES: usize = 4;
/// Keys that a sweep looks at.
const SWEEP: usize = 50_000;
/// Milliseconds between sweeps that find nothing.
const PAUSE_MS: i64 = 100;
/// Milliseconds between two lines to the operator.
const NOTICE_MS: i64 = 10_000;

/// Why there is no room, for INFO and the operator.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shortage {
    /// Writes are being refused.
    pub(crate) is_refusing: bool,
    /// There is a policy that would let keys go, and all that it may take are protected.
    pub(crate) only_protected: bool,
    noticed_at: i64,
}

/// The state of a key that has just been made. `clock` is [`Engine::access_clock`].
pub(crate) fn first_use(is_lfu: bool, clock: u32) -> u32 {
    if is_lfu { (minutes(clock) << 8) | LFU_FIRST } else { clock }
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

/// A key that may go; the highest score goes first.
struct Candidate {
    score: u64,
    db: usize,
    key: Vec<u8>,
}

impl Engine {
    /// The second that marks a use.
    pub(crate) fn access_clock(&self) -> u32 {
        (self.now / 1000) as u32
    }

    /// Bytes of everything that counts against `maxmemory`.
    pub(crate) fn memory(&self) -> usize {
        let data: usize = self.databases.iter().map(Database::memory).sum();
        data + self.shell_memory + self.scripts.memory()
    }

    /// Makes room for a write to `db` if there is too little; an error if that is not possible.
    pub(crate) fn make_room(&mut self, db: usize) -> Outcome {
        if !self.config.is_limited || self.is_loading {
            return Ok(());
        }
        self.settle();
        let own = self.config.limits[db].maxmemory;
        while own > 0 && self.databases[db].memory() as u64 > own {
            let Some(candidate) = self.candidate_of(db) else { return self.refuse_room(&[db]) };
            self.evict(&candidate);
        }
        let all = self.config.maxmemory;
        while all > 0 && self.memory() as u64 > all {
            let Some(candidate) = self.candidate() else {
                let every: Vec<usize> = (0..self.databases.len()).collect();
                return self.refuse_room(&every);
            };
            self.evict(&candidate);
        }
        self.shortage.is_refusing = false;
        Ok(())
    }

    /// Tells the operator that there is no room, and refuses.
    fn refuse_room(&mut self, databases: &[usize]) -> Outcome {
        let gives = |db: &&usize| self.may_give(**db);
        let only_protected = databases.iter().any(|db| gives(&db));
        let begins = !self.shortage.is_refusing || self.shortage.only_protected != only_protected;
        self.shortage.is_refusing = true;
        self.shortage.only_protected = only_protected;
        if begins && self.now - self.shortage.noticed_at >= NOTICE_MS {
            self.shortage.noticed_at = self.now;
            let whose = match databases {
                [db] => format!("of database {db} ({} bytes)", self.config.limits[*db].maxmemory),
                _ => format!("({} bytes)", self.config.maxmemory),
            };
            let why = if only_protected {
                "only protected keys are left (queues, streams, locks, sessions; see protected-keys)"
            } else {
                "its policy evicts nothing that is there"
            };
            self.effects.notices.push(format!(
                "the memory limit {whose} is reached and {why}: writes are refused with OOM until it is raised or keys go"
            ));
        }
        Err(OUT_OF_MEMORY)
    }

    /// Whether the policy of a database would let any of its keys go if none were protected.
    fn may_give(&self, db: usize) -> bool {
        let database = &self.databases[db];
        match POLICIES[self.config.limits[db].policy].split_once('-') {
            Some(("volatile", _)) => database.volatile_len() > 0,
            Some(_) => database.len() > 0,
            None => false,
        }
    }

    /// The best key to evict over all databases.
    fn candidate(&mut self) -> Option<Candidate> {
        let mut givers: Vec<usize> = (0..self.databases.len()).filter(|db| self.may_give(*db)).collect();
        let how = |engine: &Self, db: usize| POLICIES[engine.config.limits[db].policy].split_once('-');
        while let Some(biggest) = givers.iter().copied().max_by_key(|db| self.databases[*db].memory()) {
            // Scores of different policies cannot be compared.
            let policy = how(self, biggest).map(|(_, how)| how);
            let (alike, others): (Vec<usize>, Vec<usize>) =
                givers.iter().partition(|db| how(self, **db).map(|(_, how)| how) == policy);
            let found = alike.into_iter().filter_map(|db| self.candidate_of(db)).max_by_key(|c| c.score);
            if found.is_some() {
                return found;
            }
            givers = others;
        }
        None
    }

    /// The best of a sample of one database; `None` if nothing of it may go.
    fn candidate_of(&mut self, db: usize) -> Option<Candidate> {
        if !self.may_give(db) {
            return None;
        }
        let limits = self.config.limits[db];
        let (scope, how) = POLICIES[limits.policy].split_once('-')?;
        let volatile_only = scope == "volatile";
        let clock = self.access_clock();
        let Self { databases, random, config, .. } = self;
        let database = &databases[db];
        let mut best: Option<(u64, &Entry)> = None;
        let mut seen = 0;
        for _ in 0..limits.samples * TRIES {
            let entry =
                if volatile_only { database.random_volatile(random) } else { database.table.random(random) };
            let Some(entry) = entry else { break };
            if config.protected.covers(entry) {
                continue;
            }
            let score = match how {
                "lru" => u64::from(clock.wrapping_sub(entry.access.get())),
                "lfu" => u64::from(255 - decayed_count(config, entry.access.get(), clock)),
                "ttl" => u64::MAX - database.deadline(entry).unwrap_or(i64::MAX) as u64,
                _ => random.next() >> 1,
            };
            if best.as_ref().is_none_or(|(best, _)| score > *best) {
                best = Some((score, entry));
            }
            seen += 1;
            if seen == limits.samples {
                break;
            }
        }
        match best {
            Some((score, entry)) => Some(Candidate { score, db, key: entry.key.to_vec() }),
            None => self.sweep(db, volatile_only).map(|key| Candidate { score: 0, db, key }),
        }
    }

    /// Goes on looking through a database for a key that may go.
    fn sweep(&mut self, db: usize, volatile_only: bool) -> Option<Vec<u8>> {
        let Self { databases, config, now, .. } = self;
        let database = &mut databases[db];
        if *now - database.swept_in_vain_at < PAUSE_MS {
            return None;
        }
        let found = if volatile_only {
            sweep_volatile(database, &config.protected)
        } else {
            sweep_all(database, &config.protected)
        };
        if found.is_none() {
            database.swept_in_vain_at = *now;
        }
        found
    }

    fn evict(&mut self, candidate: &Candidate) {
        let Candidate { db, key, .. } = candidate;
        if let Some(entry) = self.take_key(*db, key) {
            self.free(entry.value);
        }
        self.stats.evicted += 1;
        self.log(*db, &[b"DEL", key]);
        self.key_changed(*db, key, 0);
        self.notify(Class::EVICTED, "evicted", *db, key);
    }
}

fn sweep_volatile(database: &mut Database, protected: &Protected) -> Option<Vec<u8>> {
    for _ in 0..SWEEP.min(database.volatile_len()) {
        let row = if database.sweep.1 < database.volatile_len() { database.sweep.1 } else { 0 };
        database.sweep.1 = row + 1;
        if let Some(entry) = database.entry_at(row)
            && !protected.covers(entry)
        {
            return Some(entry.key.to_vec());
        }
    }
    None
}

/// At most one whole circle, in which each bucket counts as a key at least.
fn sweep_all(database: &mut Database, protected: &Protected) -> Option<Vec<u8>> {
    let (mut looked, mut ends) = (0, 0);
    while looked < SWEEP && ends < 2 {
        let (mut here, mut found) = (0, None);
        database.sweep.0 = database.table.scan(database.sweep.0, |entry| {
            here += 1;
            if found.is_none() && !protected.covers(entry) {
                found = Some(entry.key.to_vec());
            }
        });
        if found.is_some() {
            return found;
        }
        looked += here.max(1);
        ends += usize::from(database.sweep.0 == 0);
    }
    None
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine;
    use crate::session::ClientId;
    use crate::testing::{START, ask};

    const KEYS: usize = 2000;

    fn engine(policy: &str) -> (Engine, ClientId) {
        crate::testing::engine(&[("maxmemory-policy", policy)])
    }

    /// Half of the keys are used; then memory for a quarter is taken away. What goes are those that are not.
    #[test]
    fn what_is_used_stays() {
        for policy in ["allkeys-lru", "allkeys-lfu"] {
            let (mut engine, client) = engine(policy);
            for n in 0..KEYS {
                ask(&mut engine, client, &format!("SET k{n} {}", "v".repeat(200)));
            }
            for second in 1..=20 {
                engine.set_now(START * 1000 + second * 1_000_000);
                for n in (0..KEYS).step_by(2) {
                    ask(&mut engine, client, &format!("GET k{n}"));
                }
            }
            let limit = engine.memory() * 3 / 4;
            assert_eq!(ask(&mut engine, client, &format!("CONFIG SET maxmemory {limit}")), "+OK\r\n");
            let gone = |engine: &mut Engine, first: usize| {
                let keys = (first..KEYS).step_by(2);
                keys.filter(|n| ask(engine, client, &format!("EXISTS k{n}")) == ":0\r\n").count()
            };
            let (used, unused) = (gone(&mut engine, 0), gone(&mut engine, 1));
            assert!(unused > KEYS / 5, "{policy}: {unused} of those not used have gone");
            assert!(used * 8 < unused, "{policy}: {used} of those used and {unused} of the others have gone");
        }
    }

    #[test]
    fn what_ends_first_goes_first_if_wanted() {
        let (mut engine, client) = engine("volatile-ttl");
        for n in 0..KEYS {
            ask(&mut engine, client, &format!("SET k{n} {} EX {}", "v".repeat(200), 1000 + n));
        }
        ask(&mut engine, client, "SET forever v");
        let limit = engine.memory() * 3 / 4;
        ask(&mut engine, client, &format!("CONFIG SET maxmemory {limit}"));
        let there = |engine: &mut Engine, from: usize, to: usize| {
            (from..to).filter(|n| ask(engine, client, &format!("EXISTS k{n}")) == ":1\r\n").count()
        };
        let (first, last) = (there(&mut engine, 0, KEYS / 4), there(&mut engine, KEYS * 3 / 4, KEYS));
        assert!(first * 3 < last, "{first} of the first quarter and {last} of the last are there");
        assert_eq!(ask(&mut engine, client, "EXISTS forever"), ":1\r\n");
    }

    /// However many keys end at the same moment, a tick deletes a bounded number of them, and soon all are gone.
    #[test]
    fn many_keys_that_end_at_once_go_in_small_steps() {
        let (mut engine, client) = engine("noeviction");
        for n in 0..40_000 {
            ask(&mut engine, client, &format!("SET k{n} v PX 1000"));
        }
        let mut now = START * 1000 + 2_000_000;
        let (mut left, mut ticks) = (engine.keys(), 0);
        while left > 0 {
            now += 100_000;
            engine.tick(now);
            let gone = left - engine.keys();
            assert!((1..=6400).contains(&gone), "{gone} keys in a tick");
            left -= gone;
            ticks += 1;
        }
        assert!(ticks < 40, "{ticks} ticks");
    }
}
