//! The machine that decides: events and `now` in, effects and the next deadline out.
//!
//! It reads no clock, starts no process and draws no chance but from the seed it is given, so that a seed replays
//! any failure. The driver calls [`Machine::handle`] for everything that happens, carries out what it returns in
//! order, and calls it with [`Event::Tick`] when [`Machine::next_deadline`] has come; spurious ticks are harmless.
//!
//! # An instance
//!
//! ```text
//!             start            ready                    ends by itself, not to be restarted
//!  STOPPED ─────────▶ STARTING ─────▶ RUNNING ─────────────────────────────────────────▶ EXITED
//!     ▲                │  ▲ │            │ │
//!     │     failed     │  │ │ stop       │ │ ends by itself, to be restarted (at once; in a streak, after a delay)
//!     │   ┌────────────┘  │ └──────┐     │ │
//!     │   ▼      delay    │        ▼     │ ▼
//!     │ BACKOFF ──────────┘     STOPPING │ BACKOFF
//!     │   │ failed more than                │
//!     │   ▼ start_retries times             │ all of its tree is dead
//!     │ FATAL (only a command starts it)    │
//!     └─────────────────────────────────────┘
//! ```
//!
//! An instance has at most one *main* process. A reload by overlap adds an *incoming* one of the next generation;
//! when that is ready it becomes the main one, and the old one *drains*: it is told to stop and lives as long as it
//! needs, up to its limit. A process counts as dead when its whole tree is, not before: what a program leaves
//! behind is told to stop too, then killed.
//!
//! # Rules
//!
//! - Start: an instance starts when all it depends on is ready, or has ended as expected (a one-shot).
//! - Stop: a program is stopped when all that depend on it and are stopping too are dead.
//! - A failed start of a new generation leaves the old one as it is.
//! - Several processes of one program are reloaded one after the other; when one fails, the others are left alone.
//! - Stopping everything ends within the stop limit and [`KILL_GRACE`], whatever the processes do.

mod advance;
mod command;
mod finish;
mod slot;
mod table;
mod view;
pub use view::InstanceView;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use regie_core::StopPhase;

use crate::control::Reply;
use crate::spec::{Program, TableError, check};
pub use command::Command;
use command::Pending;
use slot::{Entry, Process, Slot};

/// Time since the supervisor's start.
pub type Now = Duration;

/// After SIGKILL to what is left at the end, a process that still does not die (it hangs in the kernel) is waited
/// for so long, then left behind and named.
pub const KILL_GRACE: Duration = Duration::from_secs(5);
/// SIGKILL is sent again so often, should a fork have slipped through.
const KILL_REPEAT: Duration = Duration::from_secs(1);
/// So many old generations of an instance may drain at a time; a further reload waits.
const MAX_DRAINING: usize = 3;
/// A program that asks for a new generation of itself gets one at most so often.
const GENERATION_GAP: Duration = Duration::from_secs(2);
/// Readiness is probed at first after this, then ever less often, at most at this.
const PROBE_FIRST: Duration = Duration::from_millis(30);
const PROBE_SLOWEST: Duration = Duration::from_secs(1);

/// One process that was started, for ever unique in a supervisor's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// Who waits for the answer to a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl ExitStatus {
    /// The exit code, if it was not a signal.
    #[must_use]
    pub const fn code(self) -> Option<i32> {
        match self {
            Self::Code(code) => Some(code),
            Self::Signal(_) => None,
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => f.write_str(signal.as_str()),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// Somebody wants something; the answer, if any, goes to `ticket`.
    Command {
        /// Who waits for the answer.
        ticket: Option<Ticket>,
        /// What is wanted.
        command: Command,
    },
    /// A new table was read. Answered like a reload.
    Table {
        /// Who waits for the answer.
        ticket: Option<Ticket>,
        /// The new table.
        programs: Vec<Program>,
    },
    /// The process of a [`Effect::Spawn`] runs.
    Spawned {
        /// Which.
        run: RunId,
        /// Its process id.
        pid: u32,
    },
    /// The process of a [`Effect::Spawn`] could not be started.
    SpawnFailed {
        /// Which.
        run: RunId,
        /// Why, for people.
        why: String,
    },
    /// The process itself has ended.
    Exited {
        /// Which.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// Others of its tree live on; [`Event::Gone`] follows when they do not.
        rest: bool,
    },
    /// After [`Event::Exited`] with `rest`: the tree is dead.
    Gone {
        /// Which.
        run: RunId,
    },
    /// It said that it is ready (or its output did).
    Ready {
        /// Which.
        run: RunId,
    },
    /// The result of a [`Effect::Probe`].
    Probed {
        /// Which.
        run: RunId,
        /// Ready, or why not yet.
        result: Result<(), String>,
    },
    /// It said this of itself.
    Said {
        /// Which.
        run: RunId,
        /// For people.
        text: String,
    },
    /// It wants to be replaced by a new generation.
    GenerationWanted {
        /// Which.
        run: RunId,
    },
    /// Its tree holds so much memory.
    Memory {
        /// Which.
        run: RunId,
        /// Bytes.
        bytes: u64,
    },
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The process itself.
    Main,
    /// Its process group.
    Group,
    /// The group, and whatever else descends from it.
    Tree,
}

/// What the driver has to do, in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Start a process, and answer with [`Event::Spawned`] or [`Event::SpawnFailed`] before anything else.
    Spawn {
        /// Its name for ever.
        run: RunId,
        /// What to start.
        program: Arc<Program>,
        /// The instance's name.
        name: String,
        /// The instance's number.
        index: u32,
        /// The generation.
        generation: u32,
    },
    /// Send a signal.
    Signal {
        /// Which.
        run: RunId,
        /// What.
        signal: Signal,
        /// To whom.
        target: Target,
    },
    /// Look once whether it is ready (its program says how); answer with [`Event::Probed`].
    Probe {
        /// Which.
        run: RunId,
    },
    /// A line of the supervisor's own about an instance.
    Say {
        /// The instance.
        name: String,
        /// For people.
        text: String,
    },
    /// The answer to a command.
    Reply {
        /// To whom.
        ticket: Ticket,
        /// What.
        reply: Reply,
    },
    /// A moment that others may want to hear of.
    Moment(Moment),
    /// All is over.
    Exit(Outcome),
}

/// A moment that whoever started the supervisor may want to speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moment {
    /// For the first time each program that was to be started is ready, has ended, is FATAL, or waits for one that
    /// is. `fatal` names the instances that are FATAL.
    Up {
        /// Instances that could not be started.
        fatal: Vec<String>,
    },
    /// Everything is being stopped.
    Draining,
    /// What is left is being killed.
    Cutting,
}

/// How it all ended.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The instance whose FATAL ended all, with why.
    pub fatal: Option<(String, String)>,
    /// Instances that did not stop within their limit and were killed.
    pub cut: Vec<String>,
    /// Instances that live on although they were killed: the kernel holds them.
    pub left: Vec<String>,
}

/// What the machine is told once.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The longest that stopping everything may take before what is left is killed.
    pub stop_limit: Duration,
    /// Stop everything as soon as one instance is FATAL.
    pub exit_on_fatal: bool,
    /// For the random part of delays.
    pub seed: u64,
}

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Machine {
    policy: Policy,
    entries: Vec<Entry>,
    phase: StopPhase,
    /// When draining becomes cutting, and when cutting ends.
    phase_until: Option<Now>,
    /// [`Moment::Up`] was told.
    up_told: bool,
    exit_told: bool,
    outcome: Outcome,
    pending: Vec<Pending>,
    next_run: u64,
    random: u64,
    effects: Vec<Effect>,
}

impl Machine {
    /// A machine for `programs`; call [`Self::handle`] with a tick to begin.
    ///
    /// # Errors
    /// Every fault of the table.
    pub fn new(policy: Policy, programs: Vec<Program>) -> Result<Self, Vec<TableError>> {
        let faults = check(&programs);
        if !faults.is_empty() {
            return Err(faults);
        }
        let mut machine = Self {
            policy,
            entries: programs.into_iter().map(Entry::new).collect(),
            phase: StopPhase::Running,
            phase_until: None,
            up_told: false,
            exit_told: false,
            outcome: Outcome::default(),
            pending: Vec::new(),
            next_run: 1,
            random: policy.seed,
            effects: Vec::new(),
        };
        let autostart: Vec<usize> =
            (0..machine.entries.len()).filter(|e| machine.entries[*e].program.autostart).collect();
        for e in autostart {
            machine.want(e);
        }
        Ok(machine)
    }

    /// Takes in what happened and says what to do about it.
    #[must_use]
    pub fn handle(&mut self, now: Now, event: Event) -> Vec<Effect> {
        match event {
            Event::Tick => {}
            Event::Command { ticket, command } => self.command(now, ticket, command),
            Event::Table { ticket, programs } => self.new_table(now, ticket, programs),
            Event::Spawned { run, pid } => self.with(run, |process| process.pid = Some(pid)),
            Event::SpawnFailed { run, why } => self.spawn_failed(now, run, why),
            Event::Exited { run, status, rest } => self.exited(now, run, status, rest),
            Event::Gone { run } => self.finish(now, run),
            Event::Ready { run } => self.ready(now, run),
            Event::Probed { run, result } => self.probed(now, run, result),
            Event::Said { run, text } => self.with(run, |process| process.said = text),
            Event::GenerationWanted { run } => self.generation_wanted(now, run),
            Event::Memory { run, bytes } => self.memory(now, run, bytes),
        }
        self.advance(now);
        std::mem::take(&mut self.effects)
    }

    /// When to call again with a tick, if nothing else happens before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Now> {
        let slots =
            self.entries.iter().flat_map(|e| &e.slots).filter_map(|s| s.next_deadline(self.is_serving()));
        slots.chain(self.phase_until.filter(|_| !self.exit_told)).min()
    }

    /// The phase of stopping.
    #[must_use]
    pub const fn phase(&self) -> StopPhase {
        self.phase
    }

    /// Every descriptor name that a program in the table, or a process that still lives, was promised.
    #[must_use]
    pub fn descriptors_in_use(&self) -> std::collections::BTreeSet<String> {
        let programs = self.entries.iter().map(|e| &e.program);
        let living = self.entries.iter().flat_map(|e| &e.slots).flat_map(Slot::processes).map(|p| &p.program);
        programs.chain(living).flat_map(|p| p.descriptors.iter().cloned()).collect()
    }

    fn is_serving(&self) -> bool {
        self.phase == StopPhase::Running
    }

    /// The place of a live process: entry and slot.
    fn find(&self, run: RunId) -> Option<(usize, usize)> {
        self.entries.iter().enumerate().find_map(|(e, entry)| {
            entry.slots.iter().position(|slot| slot.processes().any(|p| p.run == run)).map(|s| (e, s))
        })
    }

    /// Changes a live process; events of dead ones come late and are ignored.
    fn with(&mut self, run: RunId, change: impl FnOnce(&mut Process)) {
        let mut processes = self.entries.iter_mut().flat_map(|e| &mut e.slots).flat_map(Slot::processes_mut);
        if let Some(process) = processes.find(|p| p.run == run) {
            change(process);
        }
    }

    fn say(&mut self, name: String, text: impl Into<String>) {
        self.effects.push(Effect::Say { name, text: text.into() });
    }

    /// Uniform in `0.0 … 1.0` (`SplitMix64`).
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        #[expect(clippy::cast_precision_loss, reason = "31 bits fit a double")]
        let high = ((z ^ (z >> 31)) >> 33) as f64;
        high / 2_147_483_648.0
    }
}
