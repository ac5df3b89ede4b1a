//! What INFO, SLOWLOG and LATENCY tell.

use std::collections::{BTreeMap, VecDeque};

/// Counts of one command.
#[derive(Debug, Clone, Default)]
pub(crate) struct CommandStats {
    pub(crate) calls: u64,
    pub(crate) us: u64,
    pub(crate) rejected: u64,
    pub(crate) failed: u64,
    /// Calls by duration: bucket n holds those below 2^n microseconds.
    pub(crate) histogram: [u64; 32],
}

/// Counts since the start, or since CONFIG RESETSTAT.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    pub(crate) connections: u64,
    pub(crate) rejected_connections: u64,
    pub(crate) commands: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) expired: u64,
    pub(crate) evicted: u64,
    pub(crate) lazily_freed: u64,
    pub(crate) errors: u64,
    pub(crate) unexpected_errors: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) ops_per_second: u64,
    pub(crate) input_kbps: f64,
    pub(crate) output_kbps: f64,
    pub(crate) full_syncs: u64,
    /// Copies of a leader's data that were taken.
    pub(crate) copies_taken: u64,
    pub(crate) evicted_clients: u64,
    /// Microseconds spent on looking for keys whose time has passed.
    pub(crate) expiry_us: u64,
    pub(crate) by_command: Vec<CommandStats>,
    pub(crate) by_error: BTreeMap<String, u64>,
    last_sample: (i64, u64, u64, u64),
}

impl Stats {
    pub(crate) fn new(commands: usize) -> Self {
        Self { by_command: vec![CommandStats::default(); commands], ..Self::default() }
    }

    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.by_command.len());
    }

    pub(crate) fn count_error(&mut self, text: &str) {
        self.errors += 1;
        let code = text.split(' ').next().unwrap_or("ERR").to_owned();
        *self.by_error.entry(code).or_default() += 1;
    }

    /// Once a second or so: how many commands there were per second.
    pub(crate) fn sample(&mut self, now: i64, _peak: usize) {
        let (at, commands, bytes_in, bytes_out) = self.last_sample;
        let passed = now - at;
        if passed >= 1000 {
            self.ops_per_second = (self.commands.saturating_sub(commands)) * 1000 / passed.max(1) as u64;
            let kbps = |bytes: u64, before: u64| {
                bytes.saturating_sub(before) as f64 / 1024.0 * 1000.0 / passed as f64
            };
            self.input_kbps = kbps(self.bytes_in, bytes_in);
            self.output_kbps = kbps(self.bytes_out, bytes_out);
            self.last_sample = (now, self.commands, self.bytes_in, self.bytes_out);
        }
    }
}

/// A command that took long.
#[derive(Debug, Clone)]
pub(crate) struct SlowEntry {
    pub(crate) id: u64,
    pub(crate) at: i64,
    pub(crate) us: u64,
    pub(crate) arguments: Vec<Vec<u8>>,
    pub(crate) address: String,
    pub(crate) client_name: Vec<u8>,
}

/// The last commands that took long, newest first.
#[derive(Debug, Default)]
pub(crate) struct Slowlog {
    pub(crate) entries: VecDeque<SlowEntry>,
    next_id: u64,
}

/// Arguments and bytes of each that an entry keeps.
const SLOW_ARGUMENTS: usize = 32;
const SLOW_BYTES: usize = 128;

impl Slowlog {
    pub(crate) fn push(
        &mut self,
        at: i64,
        us: u64,
        arguments: &[&[u8]],
        (address, client_name): (String, Vec<u8>),
        limit: usize,
    ) {
        let shown = if arguments.len() > SLOW_ARGUMENTS { SLOW_ARGUMENTS - 1 } else { arguments.len() };
        let mut kept: Vec<Vec<u8>> = arguments[..shown]
            .iter()
            .map(|argument| {
                if argument.len() <= SLOW_BYTES {
                    return argument.to_vec();
                }
                let more = format!("... ({} more bytes)", argument.len() - SLOW_BYTES);
                [&argument[..SLOW_BYTES], more.as_bytes()].concat()
            })
            .collect();
        if shown < arguments.len() {
            kept.push(format!("... ({} more arguments)", arguments.len() - shown).into_bytes());
        }
        self.entries.push_front(SlowEntry {
            id: self.next_id,
            at,
            us,
            arguments: kept,
            address,
            client_name,
        });
        self.next_id += 1;
        self.entries.truncate(limit);
    }
}

/// Events that took longer than the threshold: time in seconds and milliseconds of each, the last 160.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    pub(crate) events: BTreeMap<String, VecDeque<(i64, u64)>>,
    pub(crate) worst: BTreeMap<String, u64>,
}

impl Latency {
    pub(crate) fn add(&mut self, event: &str, at: i64, ms: u64) {
        let samples = self.events.entry(event.to_owned()).or_default();
        let worst = self.worst.entry(event.to_owned()).or_default();
        *worst = (*worst).max(ms);
        match samples.back_mut() {
            Some((last, longest)) if *last == at => *longest = (*longest).max(ms),
            _ => samples.push_back((at, ms)),
        }
        if samples.len() > 160 {
            samples.pop_front();
        }
    }
}
