//! What master and workers know of each other. It lies in memory that all of them share; each field has one writer.
//!
//! A slot belongs to one worker process at a time. The worker writes what it does, the master reads it for time limits
//! and status, and writes only what it knows of the process. A slot outlives its process, so the
//! master can say what a crashed worker was doing.

use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering::Relaxed};

use regie_php_sys::{RewindStats, Trace};

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum State {
    /// No process.
    Empty = 0,
    /// Forked; in worker mode, the script has not reached its loop.
    Starting = 1,
    /// Waits for a request.
    Idle = 2,
    /// Reads the head of a request.
    Reading = 3,
    /// Runs PHP.
    Running = 4,
    /// The response is over, the script goes on.
    Finishing = 5,
    /// The script failed to boot; the process answers 503 until it is its turn to try again.
    Failed = 6,
}

impl State {
    fn from_number(number: u32) -> Self {
        match number {
            1 => Self::Starting,
            2 => Self::Idle,
            3 => Self::Reading,
            4 => Self::Running,
            5 => Self::Finishing,
            6 => Self::Failed,
            _ => Self::Empty,
        }
    }

    /// Whether a request is in hand.
    pub(crate) fn is_busy(self) -> bool {
        matches!(self, Self::Reading | Self::Running | Self::Finishing)
    }

    /// As php-fpm names it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Starting => "Starting",
            Self::Idle => "Idle",
            Self::Reading => "Reading headers",
            Self::Running => "Running",
            Self::Finishing => "Finishing",
            Self::Failed => "Failed to boot",
        }
    }
}

/// For the whole pool.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Board {
    /// Requests taken.
    pub(crate) accepted: AtomicU64,
    /// Boots that have failed in a row. Written by the master.
    pub(crate) failures: AtomicU32,
    /// Counts the wishes for a new generation.
    pub(crate) generation_wanted: AtomicU32,
    /// Requests that went past their time limit.
    pub(crate) timed_out: AtomicU64,
    /// Requests whose stack was written to the log since they were slow.
    pub(crate) slow: AtomicU64,
    /// Counts SIGUSR1: a worker whose count is older reopens its log.
    pub(crate) log_epoch: AtomicU32,
    /// Workers that there shall be now. Written by the master.
    pub(crate) wanted: AtomicU32,
    /// Most requests in hand at once.
    pub(crate) max_active: AtomicU64,
    /// Requests that took the last free worker.
    pub(crate) all_busy: AtomicU64,
    /// Highest use of PHP's memory in a request.
    pub(crate) memory_peak: AtomicU64,
    /// When the master looks again by itself; a worker whose limit passes before that tells it.
    pub(crate) looks_us: AtomicU64,
    /// Most requests that waited at a look. Written by the master, and by who shows the status.
    pub(crate) max_waiting: AtomicU64,
    /// Rewind mode: workers that were replaced since they could not be put back, and why the last one was.
    pub(crate) replaced: AtomicU64,
    pub(crate) replaced_why: SharedText<16>,
    /// Rewind mode: why the application could not be parked. Written by the template, and by a worker that cannot begin.
    pub(crate) unparked_why: SharedText<64>,
}

/// For one worker.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot {
    /// Written by the master.
    pub(crate) pid: AtomicI32,
    /// Somebody wishes a new process in its place. Written by who answers about the pool, taken by the master.
    pub(crate) renewal_wanted: AtomicU32,
    state: AtomicU32,
    /// Counts requests; a time limit names the one it is for.
    pub(crate) sequence: AtomicU32,
    /// When the process was forked; monotonic microseconds.
    pub(crate) born_us: AtomicU64,
    /// When the request in hand began; 0 when there is none.
    pub(crate) began_us: AtomicU64,
    /// When its time limit passes; 0 for never.
    pub(crate) due_us: AtomicU64,
    /// When it is slow; 0 for never.
    pub(crate) slow_us: AtomicU64,
    /// How long the last one took.
    pub(crate) took_us: AtomicU64,
    /// Requests served by this process.
    pub(crate) requests: AtomicU64,
    /// Bytes of the request's body.
    pub(crate) content_length: AtomicI64,
    /// Highest use of PHP's memory in the last request.
    pub(crate) memory: AtomicU64,
    /// CPU time of the last request.
    pub(crate) cpu_us: AtomicU64,
    pub(crate) method: SharedText<2>,
    pub(crate) user: SharedText<4>,
    pub(crate) uri: SharedText<64>,
    pub(crate) script: SharedText<32>,
    /// Rewind mode; written by C.
    rewind: RewindStats,
    /// Written by C in a signal handler.
    pub(crate) trace: Trace,
}

impl Slot {
    /// What the worker is doing.
    pub(crate) fn state(&self) -> State {
        State::from_number(self.state.load(Relaxed))
    }

    /// Says what the worker is doing.
    pub(crate) fn set_state(&self, state: State) {
        self.state.store(state as u32, Relaxed);
    }

    /// Where PHP stood when the time limit of that request was raised.
    pub(crate) fn stack(&self, sequence: u32) -> Option<String> {
        let trace = &raw const self.trace;
        // SAFETY: the trace lies in shared memory and is written by another process; it is plain bytes, read as such, and
        // the worst of a race is a mixed text.
        unsafe {
            let about = (&raw const (*trace).sequence).read_volatile();
            let len = (&raw const (*trace).len).read_volatile() as usize;
            let text = (&raw const (*trace).text).read_volatile();
            (about == sequence & 0x3fff_ffff && len > 0)
                .then(|| String::from_utf8_lossy(&text[..len.min(text.len())]).into_owned())
        }
    }

    /// The earliest time at which the master has to look at the request in hand; 0 for never.
    pub(crate) fn looked_at_us(&self) -> u64 {
        let times = [self.due_us.load(Relaxed), self.slow_us.load(Relaxed)];
        times.into_iter().filter(|at_us| *at_us > 0).min().unwrap_or(0)
    }

    /// Where C counts what rewinding costs this worker.
    pub(crate) fn rewind_stats(&self) -> *mut RewindStats {
        (&raw const self.rewind).cast_mut()
    }

    /// What it has cost.
    pub(crate) fn rewind(&self) -> RewindStats {
        // SAFETY: plain numbers in shared memory that another process writes; the worst of a race is a mixture.
        unsafe { self.rewind_stats().read_volatile() }
    }

    /// Makes the slot that of a process which is about to be forked.
    pub(crate) fn renew(&self, now_us: u64) {
        self.set_state(State::Starting);
        self.born_us.store(now_us, Relaxed);
        for field in [
            &self.began_us,
            &self.due_us,
            &self.slow_us,
            &self.took_us,
            &self.requests,
            &self.memory,
            &self.cpu_us,
        ] {
            field.store(0, Relaxed);
        }
        self.method.set(b"");
        self.uri.set(b"");
        self.script.set(b"");
        self.user.set(b"");
    }
}

/// A short text of up to `WORDS` × 8 bytes; longer ones are cut. A reader may see a mixture while it is written, never
/// anything else.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SharedText<const WORDS: usize> {
    len: AtomicU32,
    reserved: u32,
    words: [AtomicU64; WORDS],
}

impl<const WORDS: usize> SharedText<WORDS> {
    /// Writes the text.
    pub(crate) fn set(&self, text: &[u8]) {
        let text = &text[..text.len().min(WORDS * 8)];
        for (word, chunk) in self.words.iter().zip(text.chunks(8)) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_ne_bytes(bytes), Relaxed);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most WORDS * 8")]
        self.len.store(text.len() as u32, Relaxed);
    }

    /// Reads the text; bytes that are no UTF-8 are replaced.
    pub(crate) fn get(&self) -> String {
        let mut bytes = Vec::with_capacity(WORDS * 8);
        for word in &self.words {
            bytes.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        bytes.truncate(self.len.load(Relaxed) as usize);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_and_are_cut() {
        let text = SharedText::<2> { len: 0.into(), reserved: 0, words: [const { AtomicU64::new(0) }; 2] };
        for (given, expected) in [
            ("", ""),
            ("GET", "GET"),
            ("0123456789abcdef", "0123456789abcdef"),
            ("0123456789abcdefX", "0123456789abcdef"),
        ] {
            text.set(given.as_bytes());
            assert_eq!(text.get(), expected);
        }
    }

    #[test]
    fn states_survive() {
        for state in [
            State::Empty,
            State::Starting,
            State::Idle,
            State::Reading,
            State::Running,
            State::Finishing,
            State::Failed,
        ] {
            assert_eq!(State::from_number(state as u32), state);
        }
    }
}
