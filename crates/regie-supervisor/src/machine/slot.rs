//! The machine's state: entries of the table, their instances, and the processes of these.

use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::{Effect, ExitStatus, KILL_REPEAT, Now, PROBE_FIRST, PROBE_SLOWEST, RunId, Target};
use crate::control::State;
use crate::spec::{Program, Readiness, Scale};

/// A row of the table with its instances.
#[derive(Debug)]
pub(super) struct Entry {
    /// The row as it was configured.
    pub(super) base: Program,
    /// What `scale` said; holds until the configured number changes.
    pub(super) scaled: Option<u32>,
    /// The row as it counts: `base` with `scaled`.
    pub(super) program: Arc<Program>,
    pub(super) slots: Vec<Slot>,
    /// No longer in the table: dropped when its last process is dead.
    pub(super) removed: bool,
}

impl Entry {
    pub(super) fn new(base: Program) -> Self {
        let slots = (0..base.processes).map(Slot::new).collect();
        Self { program: Arc::new(base.clone()), base, scaled: None, slots, removed: false }
    }

    /// The row with the number that `scale` set.
    pub(super) fn effective(base: &Program, scaled: Option<u32>) -> Program {
        let mut program = base.clone();
        match (scaled, &base.scale) {
            (Some(n), Scale::Processes) => program.processes = n,
            (Some(n), Scale::Argument(at)) => {
                if let Some(argument) = program.command.get_mut(*at) {
                    *argument = n.to_string();
                }
            }
            _ => {}
        }
        program
    }

    pub(super) fn name_of(&self, s: usize) -> String {
        self.program.instance_name(self.slots[s].index, self.program.processes)
    }

    /// All that depend on it may start.
    pub(super) fn is_satisfied(&self) -> bool {
        self.slots.iter().filter(|s| !s.retired).all(|s| match (&s.main, s.rest) {
            (Some(main), _) => main.is_running(),
            (None, Rest::Exited) => s.ended_well(&self.program),
            _ => false,
        })
    }

    pub(super) fn is_alive(&self) -> bool {
        self.slots.iter().any(Slot::is_alive)
    }
}

/// What is wanted of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    Up,
    Down,
    /// Down, and up again when all it depends on is.
    Bounce,
}

/// What an instance without a main process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    Stopped,
    /// To be started as soon as what it depends on is ready.
    Due,
    Backoff {
        until: Now,
    },
    Exited,
    Fatal,
}

/// An instance of a program.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) index: u32,
    pub(super) goal: Goal,
    pub(super) main: Option<Process>,
    /// The next generation, not ready yet. Only beside a main process.
    pub(super) incoming: Option<Process>,
    /// Older generations, all told to stop.
    pub(super) draining: Vec<Process>,
    pub(super) rest: Rest,
    /// Failed starts in a row.
    pub(super) failures: u32,
    /// Ends in a row that came soon after it was ready.
    pub(super) streak: u32,
    pub(super) restarts: u64,
    /// The newest generation that was started.
    pub(super) generation: u32,
    /// The next process is of a new generation.
    pub(super) fresh: bool,
    pub(super) last_exit: Option<ExitStatus>,
    /// Why it is in BACKOFF or FATAL, or what it waits for.
    pub(super) reason: String,
    pub(super) reload_wanted: bool,
    /// The wish above is not granted earlier.
    pub(super) reload_after: Now,
    /// Why the last reload failed; cleared by the next.
    pub(super) reload_error: Option<String>,
    /// Scaled away: dropped when dead.
    pub(super) retired: bool,
}

impl Slot {
    pub(super) fn new(index: u32) -> Self {
        Self {
            index,
            goal: Goal::Down,
            main: None,
            incoming: None,
            draining: Vec::new(),
            rest: Rest::Stopped,
            failures: 0,
            streak: 0,
            restarts: 0,
            generation: 0,
            fresh: true,
            last_exit: None,
            reason: String::new(),
            reload_wanted: false,
            reload_after: Duration::ZERO,
            reload_error: None,
            retired: false,
        }
    }

    pub(super) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.main.iter().chain(&self.incoming).chain(&self.draining)
    }

    pub(super) fn processes_mut(&mut self) -> impl Iterator<Item = &mut Process> {
        self.main.iter_mut().chain(&mut self.incoming).chain(&mut self.draining)
    }

    pub(super) fn is_alive(&self) -> bool {
        self.processes().next().is_some()
    }

    /// It is to run, with a clean record.
    pub(super) fn want_up(&mut self) {
        self.goal = Goal::Up;
        if self.main.is_none() {
            self.rest = Rest::Due;
            self.fresh = true;
            self.failures = 0;
            self.streak = 0;
            self.reason.clear();
        }
    }

    pub(super) fn ended_well(&self, program: &Program) -> bool {
        self.last_exit.is_some_and(|status| program.restart.expects(status.code()))
    }

    pub(super) fn state(&self) -> State {
        if let Some(main) = &self.main {
            return main.state();
        }
        match self.rest {
            Rest::Stopped if self.is_alive() => State::Stopping,
            Rest::Stopped => State::Stopped,
            Rest::Due => State::Starting,
            Rest::Backoff { .. } => State::Backoff,
            Rest::Exited => State::Exited,
            Rest::Fatal => State::Fatal,
        }
    }

    /// A reload of a sibling waits for it.
    pub(super) fn is_between(&self) -> bool {
        if self.goal == Goal::Down {
            return false;
        }
        self.incoming.is_some()
            || match &self.main {
                Some(main) => !main.is_running(),
                None => matches!(self.rest, Rest::Due | Rest::Backoff { .. }),
            }
    }

    pub(super) fn next_deadline(&self, serving: bool) -> Option<Now> {
        let own = match self.rest {
            Rest::Backoff { until } if self.main.is_none() && self.goal == Goal::Up && serving => Some(until),
            _ => None,
        };
        let reload =
            Some(self.reload_after).filter(|_| self.reload_wanted && self.reload_after > Duration::ZERO);
        self.processes().filter_map(Process::next_deadline).chain(own).chain(reload).min()
    }
}

/// Why a process was told to stop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It was not: it ends by itself.
    Itself,
    /// By command, by a reload, or because all stops.
    Asked,
    /// It was not ready in time.
    NotReady(String),
    /// It held too much memory.
    TooLarge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Starting,
    Running,
    /// Signal number `step` of its list was sent; one past the list is SIGKILL.
    Stopping {
        step: usize,
        until: Now,
    },
}

/// A process that lives, or whose tree does.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) run: RunId,
    pub(super) generation: u32,
    pub(super) pid: Option<u32>,
    /// The row as it was when it was started.
    pub(super) program: Arc<Program>,
    pub(super) started: Now,
    pub(super) phase: Phase,
    /// When it became ready, if it ever did.
    pub(super) ready_at: Option<Now>,
    pub(super) verdict: Verdict,
    /// How it ended, while others of its tree live on.
    pub(super) ended: Option<ExitStatus>,
    pub(super) next_probe: Option<Now>,
    /// What the last probe said.
    pub(super) probe_said: String,
    /// What it says of itself.
    pub(super) said: String,
}

impl Process {
    pub(super) fn new(run: RunId, generation: u32, program: Arc<Program>, now: Now) -> Self {
        let probed =
            matches!(program.ready, Readiness::Socket(_) | Readiness::Http(_) | Readiness::Command(_));
        Self {
            run,
            generation,
            pid: None,
            program,
            started: now,
            phase: Phase::Starting,
            ready_at: None,
            verdict: Verdict::Itself,
            ended: None,
            next_probe: probed.then(|| now + PROBE_FIRST),
            probe_said: String::new(),
            said: String::new(),
        }
    }

    pub(super) fn state(&self) -> State {
        match self.phase {
            Phase::Starting => State::Starting,
            Phase::Running => State::Running,
            Phase::Stopping { .. } => State::Stopping,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(super) fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping { .. })
    }

    /// When a starting process is ready by age, or has failed.
    pub(super) fn start_ends(&self) -> Now {
        self.started
            + match self.program.ready {
                Readiness::Time(age) => age,
                _ => self.program.ready_timeout,
            }
    }

    pub(super) fn next_deadline(&self) -> Option<Now> {
        match self.phase {
            // Nothing counts before the driver has said that it runs.
            Phase::Starting if self.pid.is_none() || self.ended.is_some() => None,
            Phase::Starting => Some(self.next_probe.map_or(self.start_ends(), |p| p.min(self.start_ends()))),
            Phase::Running => None,
            Phase::Stopping { until, .. } => Some(until),
        }
    }

    /// When to look again after a probe that failed: often at first, less often as time goes by.
    pub(super) fn probe_again(&self, now: Now) -> Now {
        now + (now.saturating_sub(self.started) / 4).clamp(PROBE_FIRST, PROBE_SLOWEST)
    }

    /// Tells it to stop; once it is stopping, nothing more.
    pub(super) fn stop(&mut self, now: Now, verdict: Verdict, effects: &mut Vec<Effect>) {
        if !self.is_stopping() {
            self.verdict = verdict;
            self.send(now, 0, effects);
        }
    }

    /// Kills it and its tree.
    pub(super) fn kill(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.is_stopping() {
            self.verdict = Verdict::Asked;
        }
        self.send(now, usize::MAX, effects);
    }

    /// The next signal of the list, when the one before had no effect. True when that is SIGKILL.
    pub(super) fn escalate(&mut self, now: Now, effects: &mut Vec<Effect>) -> bool {
        let Phase::Stopping { step, .. } = self.phase else { return false };
        self.send(now, step.saturating_add(1), effects)
    }

    /// It has ended, others of its tree have not: they get the signal that it got, or the first.
    pub(super) fn stop_rest(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.phase {
            Phase::Stopping { step, until } => {
                let signal = self.program.stop.signals.get(step).map_or(Signal::SIGKILL, |s| s.0);
                effects.push(Effect::Signal { run: self.run, signal, target: Target::Group });
                self.phase = Phase::Stopping { step, until };
            }
            Phase::Starting | Phase::Running => {
                self.send(now, 0, effects);
            }
        }
    }

    fn send(&mut self, now: Now, step: usize, effects: &mut Vec<Effect>) -> bool {
        let stop = &self.program.stop;
        let (signal, wait, target) = match stop.signals.get(step) {
            Some((signal, wait)) if stop.group || self.ended.is_some() => (*signal, *wait, Target::Group),
            Some((signal, wait)) => (*signal, *wait, Target::Main),
            None => (Signal::SIGKILL, KILL_REPEAT, Target::Tree),
        };
        effects.push(Effect::Signal { run: self.run, signal, target });
        self.phase = Phase::Stopping { step: step.min(stop.signals.len()), until: now + wait };
        target == Target::Tree
    }

    /// SIGKILL was sent.
    pub(super) fn is_killed(&self) -> bool {
        matches!(self.phase, Phase::Stopping { step, .. } if step >= self.program.stop.signals.len())
    }
}
