//! The pool's process management, as a pure machine: what happened and what the time is go in, what to do comes out.
//!
//! ```text
//!             fork                 reached its loop / waits for a connection
//!   empty ───────────▶ starting ───────────────────────────────▶ ready
//!     ▲                   │ boot limit: kill                       │ time limits, rolling replacement, stop
//!     │                   ▼                                        ▼
//!     └──────────────── exited ◀────────────────────────────── leaving ── stop limit: kill
//! ```
//!
//! - A worker that dies is replaced at once. Only one that fails to boot waits: failures² × 100 ms, at most 1 s.
//! - A rolling replacement forks the new worker first, into one of the spare seats, and asks an old one to leave when
//!   the new one is ready.
//! - A single worker that is to be renewed leaves when its request is over, and the next one takes its seat, so that the
//!   name of a worker stays with its seat.
//! - How many workers there shall be is the [`Crew`]'s to say. One too many is asked to leave when it is idle.
//! - Time limit of a request, which it brings along or has of the pool: at T the signal that raises a fatal error; at T + grace the one that answers in PHP's
//!   place; [`LAST_WORD_US`] later the kill.

use crate::crew::{Crew, Demand, Load};
use crate::scoreboard::State;

/// Between answering in place of a stuck PHP and the kill: on a busy machine the worker has to have its turn in it.
const LAST_WORD_US: u64 = 500_000;
/// What a worker is given to write down its stack.
const SHOW_US: u64 = 20_000;
/// How often a worker that shall leave is told so again; a signal may come a moment before a wait begins.
const REPEAT_US: u64 = 100_000;
const BACKOFF_STEP_US: u64 = 100_000;
const BACKOFF_MAX_US: u64 = 1_000_000;

/// The limits, in microseconds; 0 means none.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) grace_us: u64,
    pub(crate) boot_us: u64,
    pub(crate) stop_us: u64,
}

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) sequence: u32,
    pub(crate) began_us: u64,
    /// When the limit of the request in hand passes; 0 for never.
    pub(crate) due_us: u64,
    /// When it is slow; 0 for never.
    pub(crate) slow_us: u64,
}

impl View {
    /// The earliest of both; 0 for never.
    pub(crate) fn looked_at_us(&self) -> u64 {
        [self.due_us, self.slow_us].into_iter().filter(|at_us| *at_us > 0).min().unwrap_or(0)
    }
}

/// How a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it should.
    Clean,
    /// Its script did not reach the loop, or the engine did not start a request.
    BootFailed,
    /// As above; the process has answered for the pool meanwhile, so the next one need not wait.
    BootFailedAndWaited,
    /// By a signal, or with an exit code of PHP's.
    Crashed,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Fork the template, of which workers are made.
    ForkTemplate,
    /// SIGKILL the template; the text says why.
    KillTemplate(&'static str),
    /// Fork a worker into this seat.
    Fork(usize),
    /// Ask it to leave.
    AskToLeave(usize),
    /// Raise a fatal error in this request.
    RaiseLimit(usize, u32),
    /// Write down where PHP stood when that limit was raised.
    ShowStack(usize, u32),
    /// Write down where PHP stands in this request, which runs on.
    TellSlow(usize, u32),
    /// Answer for it.
    GiveUp(usize, u32),
    /// SIGKILL; the text says why.
    Kill(usize, &'static str),
    /// Requests can be taken (in classic mode by all workers, in worker mode by one).
    Ready,
    /// All workers of the rolling replacement are new.
    Replaced,
    /// Nothing is left to wait for.
    Stopped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    None,
    Raised(u32),
    /// When.
    GivenUp(u32, u64),
}

#[derive(Debug, Clone, Copy)]
struct Seat {
    alive: bool,
    born_us: u64,
    ready: bool,
    leaving: bool,
    told_us: u64,
    /// The next worker is to sit here: the one that leaves, or has left, was to be renewed.
    again: bool,
    /// Forked before the rolling replacement began.
    old: bool,
    limit: Limit,
    /// When to write down the stack of which request.
    show: Option<(u64, u32)>,
    /// The last request that was found slow.
    slow: Option<u32>,
    killed: bool,
}

const EMPTY: Seat = Seat {
    alive: false,
    born_us: 0,
    ready: false,
    leaving: false,
    told_us: 0,
    again: false,
    old: false,
    limit: Limit::None,
    show: None,
    slow: None,
    killed: false,
};

/// What workers are forked from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The master.
    Master,
    /// A template, which is not there.
    NoTemplate,
    /// A template, which boots since then.
    Booting(u64),
    /// A template, parked at its checkpoint.
    Template,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Machine {
    source: Source,
    seats: Vec<Seat>,
    crew: Crew,
    limits: Limits,
    /// In worker mode one worker that has booted makes the pool ready.
    one_is_enough: bool,
    announced: bool,
    failures: u32,
    no_fork_before_us: u64,
    replacing: bool,
    stopping_since_us: Option<u64>,
    stopped: bool,
}

/// Seats beyond the number of workers, for those that replace others.
pub(crate) fn spare_seats(workers: usize) -> usize {
    workers.div_ceil(4)
}

impl Machine {
    pub(crate) fn new(crew: Crew, limits: Limits, one_is_enough: bool, source: Source) -> Self {
        let most = crew.max();
        Self {
            source,
            seats: vec![EMPTY; most + spare_seats(most)],
            crew,
            limits,
            one_is_enough,
            announced: false,
            failures: 0,
            no_fork_before_us: 0,
            replacing: false,
            stopping_since_us: None,
            stopped: false,
        }
    }

    /// A worker is there.
    pub(crate) fn forked(&mut self, now_us: u64, seat: usize) {
        self.seats[seat] = Seat { alive: true, born_us: now_us, ..EMPTY };
    }

    /// The fork failed.
    pub(crate) fn fork_failed(&mut self, now_us: u64, seat: usize) {
        self.seats[seat] = EMPTY;
        self.back_off(now_us);
    }

    /// A worker has ended. Returns the request whose stack is still to be written down.
    pub(crate) fn exited(&mut self, now_us: u64, seat: usize, ending: Ending) -> Option<u32> {
        let was = std::mem::replace(&mut self.seats[seat], EMPTY);
        self.seats[seat].again = was.again;
        match ending {
            Ending::BootFailed => self.back_off(now_us),
            Ending::BootFailedAndWaited => self.failures = self.failures.saturating_add(1),
            // One that crashed before it was ready would be forked in a tight loop.
            Ending::Crashed if !was.ready && !was.leaving => self.back_off(now_us),
            Ending::Crashed | Ending::Clean => {}
        }
        was.show.map(|(_, sequence)| sequence)
    }

    fn back_off(&mut self, now_us: u64) {
        self.failures = self.failures.saturating_add(1);
        self.no_fork_before_us = now_us + Self::pause_us(self.failures);
    }

    /// Boots that have failed in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// How long to wait after that many failures in a row.
    pub(crate) fn pause_us(failures: u32) -> u64 {
        let squared = u64::from(failures).saturating_mul(u64::from(failures));
        squared.saturating_mul(BACKOFF_STEP_US).min(BACKOFF_MAX_US)
    }

    /// Drain: those in a request finish it, nobody takes another.
    pub(crate) fn stop(&mut self, now_us: u64) {
        self.stopping_since_us.get_or_insert(now_us);
    }

    /// Ends everything now.
    pub(crate) fn stop_fast(&mut self, now_us: u64) -> Vec<Effect> {
        self.stop(now_us);
        let alive = self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.alive);
        alive
            .map(|(index, seat)| {
                seat.killed = true;
                Effect::Kill(index, "")
            })
            .collect()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping_since_us.is_some()
    }

    /// Replaces all workers, one after the other.
    pub(crate) fn replace_all(&mut self) {
        for seat in self.seats.iter_mut().filter(|seat| seat.alive) {
            (seat.old, seat.again) = (true, false);
        }
        self.replacing = true;
        if self.source != Source::Master {
            self.source = Source::NoTemplate;
        }
    }

    /// This worker is to leave when its request is over, and a new one to take its seat. Whether there is one that stays.
    pub(crate) fn renew(&mut self, seat: usize) -> bool {
        let stopping = self.is_stopping();
        let Some(seat) = self.seats.get_mut(seat).filter(|seat| seat.alive && !stopping) else {
            return false;
        };
        if !seat.leaving {
            (seat.leaving, seat.told_us, seat.again) = (true, 0, true);
        }
        true
    }

    /// A template was forked.
    pub(crate) fn template_forked(&mut self, now_us: u64) {
        self.source = Source::Booting(now_us);
    }

    /// It has reached its checkpoint: workers can be made of it.
    pub(crate) fn template_ready(&mut self) {
        self.source = Source::Template;
    }

    /// The template has ended. Its workers live on; the next ones need another.
    pub(crate) fn template_exited(&mut self, now_us: u64, ending: Ending) {
        self.source = Source::NoTemplate;
        match ending {
            Ending::BootFailedAndWaited => self.failures = self.failures.saturating_add(1),
            Ending::BootFailed | Ending::Crashed | Ending::Clean => self.back_off(now_us),
        }
    }

    /// Workers that there shall be.
    pub(crate) fn wanted(&self) -> usize {
        self.crew.wanted()
    }

    /// Looks at all seats. Returns what to do, and when to look again at the latest.
    pub(crate) fn look(&mut self, now_us: u64, views: &[View], demand: Demand) -> (Vec<Effect>, Option<u64>) {
        let mut effects = Vec::new();
        let mut next = Next { now_us, at_us: None };
        for (index, view) in views.iter().enumerate() {
            self.look_at(index, *view, now_us, &mut effects, &mut next);
        }
        match self.stopping_since_us {
            Some(since) => self.look_at_stop(now_us, since, &mut effects, &mut next),
            None => {
                self.look_at_load(now_us, views, demand, &mut next);
                self.look_at_source(&mut effects, &mut next);
                self.look_at_numbers(now_us, views, &mut effects, &mut next);
            }
        }
        (effects, next.at_us)
    }

    fn look_at(&mut self, index: usize, view: View, now_us: u64, effects: &mut Vec<Effect>, next: &mut Next) {
        let limits = self.limits;
        let seat = &mut self.seats[index];
        if !seat.alive || seat.killed {
            return;
        }
        if !seat.ready && !matches!(view.state, State::Starting | State::Empty | State::Failed) {
            seat.ready = true;
            self.failures = 0;
        }
        if !seat.ready && view.state == State::Starting && limits.boot_us > 0 {
            if next.is_due(seat.born_us + limits.boot_us) {
                seat.killed = true;
                effects.push(Effect::Kill(index, "it did not boot within --boot-timeout"));
            }
            return;
        }
        if let Some((at_us, sequence)) = seat.show
            && next.is_due(at_us)
        {
            seat.show = None;
            effects.push(Effect::ShowStack(index, sequence));
        }
        if seat.leaving && next.is_due(seat.told_us + REPEAT_US) {
            seat.told_us = now_us;
            next.is_due(now_us + REPEAT_US);
            effects.push(Effect::AskToLeave(index));
        }
        if view.began_us > 0
            && view.slow_us > 0
            && seat.slow != Some(view.sequence)
            && next.is_due(view.slow_us)
        {
            seat.slow = Some(view.sequence);
            effects.push(Effect::TellSlow(index, view.sequence));
        }
        if view.began_us == 0 || view.due_us == 0 || !seat.ready {
            seat.limit = Limit::None;
            return;
        }
        let due_us = view.due_us;
        seat.limit = match seat.limit {
            Limit::Raised(sequence) | Limit::GivenUp(sequence, _) if sequence != view.sequence => Limit::None,
            same => same,
        };
        seat.limit = match seat.limit {
            Limit::None if next.is_due(due_us) => {
                effects.push(Effect::RaiseLimit(index, view.sequence));
                seat.show = Some((now_us + SHOW_US, view.sequence));
                next.is_due(now_us + SHOW_US);
                Limit::Raised(view.sequence)
            }
            Limit::Raised(sequence) if next.is_due(due_us + limits.grace_us) => {
                effects.push(Effect::GiveUp(index, sequence));
                next.is_due(now_us + LAST_WORD_US);
                Limit::GivenUp(sequence, now_us)
            }
            Limit::GivenUp(_, at_us) if next.is_due(at_us + LAST_WORD_US) => {
                seat.killed = true;
                effects.push(Effect::Kill(index, "its request did not end within --request-grace"));
                seat.limit
            }
            same => same,
        };
    }

    fn look_at_stop(&mut self, now_us: u64, since_us: u64, effects: &mut Vec<Effect>, next: &mut Next) {
        let cut = self.limits.stop_us > 0 && next.is_due(since_us + self.limits.stop_us);
        let mut alive = false;
        for (index, seat) in self.seats.iter_mut().enumerate().filter(|(_, seat)| seat.alive) {
            alive = true;
            if cut && !seat.killed {
                seat.killed = true;
                effects.push(Effect::Kill(index, "it did not leave within --stop-timeout"));
            } else if !seat.leaving {
                (seat.leaving, seat.told_us) = (true, now_us);
                next.is_due(now_us + REPEAT_US);
                effects.push(Effect::AskToLeave(index));
            }
        }
        if !alive && !self.stopped {
            self.stopped = true;
            effects.push(Effect::Stopped);
        }
    }

    fn look_at_source(&mut self, effects: &mut Vec<Effect>, next: &mut Next) {
        match self.source {
            Source::NoTemplate if next.is_due(self.no_fork_before_us) => effects.push(Effect::ForkTemplate),
            Source::Booting(since_us)
                if self.limits.boot_us > 0 && next.is_due(since_us.saturating_add(self.limits.boot_us)) =>
            {
                self.source = Source::Booting(u64::MAX);
                effects.push(Effect::KillTemplate("it did not boot within --boot-timeout"));
            }
            _ => {}
        }
    }

    fn look_at_load(&mut self, now_us: u64, views: &[View], demand: Demand, next: &mut Next) {
        let ready = || self.seats.iter().zip(views).filter(|(seat, _)| seat.ready && !seat.leaving);
        let idle = ready().filter(|(_, view)| view.state == State::Idle).count();
        let load = Load { ready: ready().count(), idle, demand };
        if let Some(at_us) = self.crew.look(now_us, load) {
            next.is_due(at_us);
        }
    }

    fn look_at_numbers(&mut self, now_us: u64, views: &[View], effects: &mut Vec<Effect>, next: &mut Next) {
        let wanted = self.crew.wanted();
        let count = |seats: &[Seat], of: fn(&Seat) -> bool| {
            seats.iter().filter(|seat| seat.alive && of(seat)).count()
        };
        let staying = count(&self.seats, |seat| !seat.leaving || seat.again);
        let old = count(&self.seats, |seat| seat.old);
        let young = count(&self.seats, |seat| (!seat.leaving || seat.again) && !seat.old);
        let missing = if self.replacing && old > 0 {
            (wanted + spare_seats(wanted)).saturating_sub(staying).min(wanted.saturating_sub(young))
        } else {
            wanted.saturating_sub(staying)
        };
        let can_fork = matches!(self.source, Source::Master | Source::Template);
        if missing > 0 && can_fork && next.is_due(self.no_fork_before_us) {
            let mut empty: Vec<usize> =
                (0..self.seats.len()).filter(|index| !self.seats[*index].alive).collect();
            empty.sort_by_key(|index| !self.seats[*index].again);
            effects.extend(empty.into_iter().take(missing).map(Effect::Fork));
        }
        let mut ready = count(&self.seats, |seat| seat.ready && !seat.leaving);
        // Those that came last go first, and none that is in a request.
        for index in (0..self.seats.len()).rev() {
            let seat = &mut self.seats[index];
            let may_go = seat.old || (!self.replacing && views[index].state == State::Idle);
            if ready > wanted && seat.ready && may_go && !seat.leaving {
                (seat.leaving, seat.told_us) = (true, now_us);
                next.is_due(now_us + REPEAT_US);
                effects.push(Effect::AskToLeave(index));
                ready -= 1;
            }
        }
        if self.replacing && old == 0 {
            self.replacing = false;
            effects.push(Effect::Replaced);
        }
        let enough = if self.one_is_enough { wanted.min(1) } else { wanted };
        if !self.announced && ready >= enough {
            self.announced = true;
            effects.push(Effect::Ready);
        }
    }
}

/// Collects the earliest time at which something becomes due.
struct Next {
    now_us: u64,
    at_us: Option<u64>,
}

impl Next {
    /// Whether `at_us` has come; if not, it is a time to look again.
    fn is_due(&mut self, at_us: u64) -> bool {
        if at_us <= self.now_us {
            return true;
        }
        self.at_us = Some(self.at_us.map_or(at_us, |before| before.min(at_us)));
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { grace_us: 500, boot_us: 5_000, stop_us: 10_000 };

    /// A worker in a request with a limit of a millisecond.
    fn running(sequence: u32, began_us: u64) -> View {
        View { state: State::Running, sequence, began_us, due_us: began_us + 1_000, slow_us: 0 }
    }

    /// A machine with what its seats show.
    struct Rig {
        machine: Machine,
        views: Vec<View>,
        waiting: usize,
        now_us: u64,
    }

    fn rig(workers: usize) -> Rig {
        let nothing = View { state: State::Empty, sequence: 0, began_us: 0, due_us: 0, slow_us: 0 };
        Rig {
            machine: Machine::new(Crew::new(workers, workers, 0), LIMITS, false, Source::Master),
            views: vec![nothing; workers + spare_seats(workers)],
            waiting: 0,
            now_us: 1_000_000,
        }
    }

    impl Rig {
        /// Looks, lets forks succeed at once, and returns what was to be done.
        fn look(&mut self) -> Vec<Effect> {
            let demand = Demand { waiting: self.waiting, wished: None };
            let (effects, next_us) = self.machine.look(self.now_us, &self.views, demand);
            assert!(next_us.is_none_or(|at_us| at_us > self.now_us), "a time to look again lies ahead");
            for effect in &effects {
                if let Effect::Fork(seat) = effect {
                    self.machine.forked(self.now_us, *seat);
                    self.views[*seat] =
                        View { state: State::Idle, sequence: 0, began_us: 0, due_us: 0, slow_us: 0 };
                }
            }
            effects
        }

        fn exit(&mut self, seat: usize, ending: Ending) {
            self.views[seat].state = State::Empty;
            self.machine.exited(self.now_us, seat, ending);
        }

        fn alive(&self) -> usize {
            self.machine.seats.iter().filter(|seat| seat.alive).count()
        }
    }

    #[test]
    fn workers_wait_for_their_template() {
        let mut rig = rig(1);
        rig.machine.source = Source::NoTemplate;
        assert_eq!(rig.look(), [Effect::ForkTemplate]);
        rig.machine.template_forked(rig.now_us);
        assert_eq!(rig.look(), []);
        rig.now_us += 5_000;
        assert!(matches!(rig.look()[..], [Effect::KillTemplate(_)]), "a template has a boot limit too");
        rig.machine.template_exited(rig.now_us, Ending::Crashed);
        assert_eq!(rig.look(), [], "the next one waits");
        rig.now_us += BACKOFF_STEP_US;
        assert_eq!(rig.look(), [Effect::ForkTemplate]);
        rig.machine.template_forked(rig.now_us);
        rig.machine.template_ready();
        assert_eq!(rig.look(), [Effect::Fork(0)]);
        assert_eq!(rig.look(), [Effect::Ready]);
        rig.machine.replace_all();
        assert_eq!(rig.look(), [Effect::ForkTemplate], "new workers come of a new template");
        rig.machine.template_forked(rig.now_us);
        rig.machine.template_ready();
        assert_eq!(rig.look(), [Effect::Fork(1)]);
    }

    #[test]
    fn workers_are_forked_and_the_pool_is_announced_once() {
        let mut rig = rig(2);
        assert_eq!(rig.look(), [Effect::Fork(0), Effect::Fork(1)]);
        assert_eq!(rig.look(), [Effect::Ready]);
        assert_eq!(rig.look(), []);
        rig.exit(0, Ending::Crashed);
        assert_eq!(rig.look(), [Effect::Fork(0)], "a crash in service is replaced at once");
        assert_eq!(rig.look(), []);
    }

    #[test]
    fn failed_boots_wait_longer_each_time_up_to_a_second() {
        for (failures, pause_us) in
            [(1, 100_000), (2, 400_000), (3, 900_000), (4, 1_000_000), (99, 1_000_000)]
        {
            assert_eq!(Machine::pause_us(failures), pause_us, "after {failures}");
        }
        let mut rig = rig(1);
        rig.machine.look(rig.now_us, &rig.views, Demand::default());
        rig.machine.forked(rig.now_us, 0);
        rig.machine.exited(rig.now_us, 0, Ending::BootFailed);
        let (effects, next_us) = rig.machine.look(rig.now_us, &rig.views, Demand::default());
        assert_eq!((effects, next_us), (vec![], Some(rig.now_us + 100_000)));
        rig.now_us += 100_000;
        assert_eq!(rig.look(), [Effect::Fork(0)]);
        rig.look();
        assert_eq!(rig.machine.failures(), 0, "one that serves ends the row");
    }

    #[test]
    fn the_number_follows_the_load_and_only_the_idle_go() {
        let mut rig = rig(1);
        rig.machine = Machine::new(Crew::new(1, 3, 500_000), LIMITS, false, Source::Master);
        rig.views = vec![
            View { state: State::Empty, sequence: 0, began_us: 0, due_us: 0, slow_us: 0 };
            3 + spare_seats(3)
        ];
        assert_eq!(rig.look(), [Effect::Fork(0)]);
        rig.look();
        rig.waiting = 2;
        let busy = View { state: State::Running, sequence: 1, began_us: rig.now_us, due_us: 0, slow_us: 0 };
        rig.views[0] = busy;
        assert_eq!(rig.look(), []);
        rig.now_us += 50_000;
        assert_eq!(rig.look(), [Effect::Fork(1)]);
        rig.views[1] = busy;
        rig.look();
        rig.now_us += 50_000;
        assert_eq!(rig.look(), [Effect::Fork(2)]);
        (rig.views[2], rig.waiting) = (busy, 0);
        rig.look();
        rig.views[0].state = State::Idle;
        rig.views[1].state = State::Idle;
        // The first idle time began under load, the second did not.
        for (after_us, expected) in
            [(500_000, vec![]), (499_999, vec![]), (1, vec![Effect::AskToLeave(1), Effect::AskToLeave(0)])]
        {
            rig.now_us += after_us;
            assert_eq!(rig.look(), expected, "after {after_us} µs");
        }
        assert_eq!(rig.machine.wanted(), 1, "the one in a request is the one that stays");
    }

    #[test]
    fn a_worker_that_is_renewed_leaves_its_seat_to_the_next() {
        let mut rig = rig(3);
        rig.look();
        rig.look();
        rig.exit(0, Ending::Crashed);
        rig.views[1] = running(7, rig.now_us);
        rig.views[1].due_us = 0;
        assert!(rig.machine.renew(1) && rig.machine.renew(1), "twice is once");
        assert_eq!(rig.look(), [Effect::AskToLeave(1), Effect::Fork(0)]);
        assert_eq!(rig.look(), [], "its request goes on, and nobody comes before it has left");
        rig.now_us += REPEAT_US;
        assert_eq!(rig.look(), [Effect::AskToLeave(1)]);
        rig.exit(1, Ending::Clean);
        assert_eq!(rig.look(), [Effect::Fork(1)], "not into the spare seat");
        assert_eq!(rig.look(), []);
        rig.exit(2, Ending::Clean);
        assert!(!rig.machine.renew(2), "nobody sits there");
        rig.machine.stop(rig.now_us);
        assert!(!rig.machine.renew(0), "all leave");
    }

    #[test]
    fn a_request_past_its_limit_goes_through_the_stages() {
        let mut rig = rig(1);
        rig.look();
        rig.look();
        rig.views[0] = running(7, rig.now_us);
        assert_eq!(rig.look(), []);
        let began_us = rig.now_us;
        for (after_us, expected) in [
            (999, vec![]),
            (1_000, vec![Effect::RaiseLimit(0, 7)]),
            (1_499, vec![]),
            (1_500, vec![Effect::GiveUp(0, 7)]),
            (21_000, vec![Effect::ShowStack(0, 7)]),
            (1_500 + LAST_WORD_US, vec![Effect::Kill(0, "its request did not end within --request-grace")]),
            (900_000, vec![]),
        ] {
            rig.now_us = began_us + after_us;
            assert_eq!(rig.look(), expected, "after {after_us} µs");
        }
    }

    #[test]
    fn a_slow_request_is_told_of_once_and_runs_on() {
        let mut rig = rig(1);
        rig.look();
        rig.look();
        let began_us = rig.now_us;
        rig.views[0] = View { slow_us: began_us + 300, ..running(7, began_us) };
        for (after_us, expected) in [
            (299, vec![]),
            (300, vec![Effect::TellSlow(0, 7)]),
            (999, vec![]),
            (1_000, vec![Effect::RaiseLimit(0, 7)]),
        ] {
            rig.now_us = began_us + after_us;
            assert_eq!(rig.look(), expected, "after {after_us} µs");
        }
        let began_us = rig.now_us;
        rig.views[0] = View { slow_us: began_us + 300, due_us: 0, ..running(8, began_us) };
        let (_, next_us) = rig.machine.look(rig.now_us, &rig.views, Demand::default());
        assert_eq!(next_us, Some(began_us + 300), "without a limit it is looked at all the same");
        rig.now_us += 300;
        assert!(rig.look().contains(&Effect::TellSlow(0, 8)));
        rig.views[0] = View { slow_us: 0, ..running(9, rig.now_us) };
        rig.now_us += 900;
        assert_eq!(rig.look(), [], "the next one is told of only where it has such a time");
    }

    #[test]
    fn a_limit_is_for_one_request_only() {
        let mut rig = rig(1);
        rig.look();
        rig.look();
        rig.views[0] = running(7, rig.now_us);
        rig.now_us += 1_000;
        assert_eq!(rig.look(), [Effect::RaiseLimit(0, 7)]);
        rig.views[0] = running(8, rig.now_us);
        rig.now_us += 600;
        assert_eq!(rig.look(), [], "the next request has its own time");
        rig.now_us += 400;
        assert_eq!(rig.look(), [Effect::RaiseLimit(0, 8)]);
    }

    #[test]
    fn a_boot_has_its_limit() {
        let mut rig = rig(1);
        rig.machine.look(rig.now_us, &rig.views, Demand::default());
        rig.machine.forked(rig.now_us, 0);
        rig.views[0].state = State::Starting;
        assert_eq!(rig.look(), []);
        rig.now_us += 5_000;
        assert_eq!(rig.look(), [Effect::Kill(0, "it did not boot within --boot-timeout")]);
        assert_eq!(rig.look(), [], "once");
    }

    #[test]
    fn a_stop_asks_waits_and_cuts() {
        let mut rig = rig(2);
        rig.look();
        rig.look();
        rig.machine.stop(rig.now_us);
        assert_eq!(rig.look(), [Effect::AskToLeave(0), Effect::AskToLeave(1)]);
        rig.exit(0, Ending::Clean);
        assert_eq!(rig.look(), []);
        rig.now_us += 10_000;
        assert_eq!(rig.look(), [Effect::Kill(1, "it did not leave within --stop-timeout")]);
        rig.exit(1, Ending::Crashed);
        assert_eq!(rig.look(), [Effect::Stopped]);
        assert_eq!(rig.look(), []);
    }

    /// Whatever crashes meanwhile, a replacement ends with the wanted number of workers, all of them new, and never
    /// with fewer in service than wanted but for what has crashed.
    #[test]
    fn a_rolling_replacement_ends_whatever_happens() {
        for seed in 1..200_u64 {
            let mut state = seed;
            let mut random = |below: usize| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                usize::try_from(state % below as u64).unwrap()
            };
            let workers = 1 + random(9);
            let mut rig = rig(workers);
            rig.look();
            rig.look();
            rig.machine.replace_all();
            let mut leaving = Vec::new();
            for round in 0.. {
                assert!(round < 1_000, "seed {seed}: no end");
                let effects = rig.look();
                leaving.extend(effects.iter().filter_map(|effect| match effect {
                    Effect::AskToLeave(seat) => Some(*seat),
                    _ => None,
                }));
                if effects.contains(&Effect::Replaced) {
                    break;
                }
                if !leaving.is_empty() && random(2) == 0 {
                    rig.exit(leaving.swap_remove(random(leaving.len())), Ending::Clean);
                } else if random(20) == 0 {
                    let seat = random(rig.views.len());
                    if rig.machine.seats[seat].alive && !rig.machine.seats[seat].leaving {
                        rig.exit(seat, Ending::Crashed);
                    }
                }
                rig.now_us += 1_000;
            }
            // One that crashed before it was ready is replaced after a pause.
            rig.now_us += BACKOFF_MAX_US;
            rig.look();
            assert_eq!(rig.alive(), workers, "seed {seed}");
            assert!(rig.machine.seats.iter().all(|seat| !seat.alive || !seat.old), "seed {seed}");
        }
    }
}
