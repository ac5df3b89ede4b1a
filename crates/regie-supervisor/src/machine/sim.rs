//! The machine in a world made of chance: processes that crash, hang, ignore signals, fork and leave; people who give
//! commands at the worst moment. After every step the invariants below are checked. A failure prints its seed;
//! `SIM_SEED=… cargo test -p regie-supervisor sim` replays it alone, with a log;
//! `SIM_SEEDS=5000` tries more of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::*;
use crate::control::State;
use crate::spec::{Backoff, Program, Readiness, Reload, Restart, Stop};

const SEEDS: u64 = 50;
const STEPS: usize = 400;
const STOP_LIMIT: Duration = Duration::from_secs(20);

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// `SplitMix64`.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }

    fn span(&mut self, up_to_ms: u64) -> Duration {
        ms(self.below(up_to_ms + 1))
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }
}

/// A process of the world.
#[derive(Debug)]
struct Being {
    program: String,
    index: u32,
    generation: u32,
    overlap: bool,
    /// From when on it is ready.
    ready_from: Option<Now>,
    /// It itself lives; if not, others of its tree do.
    alive: bool,
    /// Has others in its tree that outlive it.
    family: bool,
    deaf: bool,
    /// Was told to stop.
    told: bool,
    /// Not even SIGKILL ends it.
    stuck: bool,
}

struct World {
    seed: u64,
    verbose: bool,
    chance: Chance,
    now: Now,
    machine: Machine,
    table: Vec<Program>,
    beings: BTreeMap<RunId, Being>,
    /// Could not be started.
    unborn: BTreeSet<RunId>,
    /// What will happen, by time and order.
    to_come: BTreeMap<(Now, u64), Event>,
    order: u64,
    next_ticket: u64,
    owed: BTreeSet<Ticket>,
    /// Nothing goes wrong any more.
    calm: bool,
    /// Nobody stops, restarts or scales; only reloads and faults: old generations stop for new ones alone.
    only_reloads: bool,
    exit: Option<Outcome>,
    shutdown_at: Option<Now>,
}

impl World {
    fn new(seed: u64, verbose: bool) -> Self {
        let mut chance = Chance(seed);
        let table = random_table(&mut chance);
        let policy = Policy { stop_limit: STOP_LIMIT, exit_on_fatal: chance.percent(10), seed };
        let machine = Machine::new(policy, table.clone()).expect("the random table has no fault");
        let only_reloads = chance.percent(40);
        Self {
            seed,
            verbose,
            chance,
            now: Duration::ZERO,
            machine,
            table,
            beings: BTreeMap::new(),
            unborn: BTreeSet::new(),
            to_come: BTreeMap::new(),
            order: 0,
            next_ticket: 1,
            owed: BTreeSet::new(),
            calm: false,
            only_reloads,
            exit: None,
            shutdown_at: None,
        }
    }

    fn states(&self) -> BTreeMap<String, State> {
        self.machine.view(self.now).into_iter().map(|view| (view.row.name, view.row.state)).collect()
    }

    fn later(&mut self, wait: Duration, event: Event) {
        self.order += 1;
        self.to_come.insert((self.now + wait, self.order), event);
    }

    #[track_caller]
    fn ensure(&self, holds: bool, what: &str) {
        assert!(holds, "{what} (SIM_SEED={}, at {:?})", self.seed, self.now);
    }

    fn feed(&mut self, event: Event) {
        let mut open = std::collections::VecDeque::from([event]);
        while let Some(event) = open.pop_front() {
            if self.verbose {
                eprintln!("{:>8?} → {event:?}", self.now);
            }
            self.note(&event);
            let before = self.states();
            let by_command = matches!(event, Event::Command { .. } | Event::Table { .. });
            let effects = self.machine.handle(self.now, event);
            for effect in effects {
                if self.verbose {
                    eprintln!("{:>8?}   ← {effect:?}", self.now);
                }
                open.extend(self.carry_out(effect, &before, by_command));
            }
        }
        self.check();
    }

    /// The world changes with what it tells.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Exited { run, rest: true, .. } => {
                if let Some(being) = self.beings.get_mut(run) {
                    being.alive = false;
                }
            }
            Event::Exited { run, .. } | Event::Gone { run } | Event::SpawnFailed { run, .. } => {
                self.beings.remove(run);
            }
            _ => {}
        }
    }

    fn carry_out(
        &mut self,
        effect: Effect,
        before: &BTreeMap<String, State>,
        by_command: bool,
    ) -> Option<Event> {
        match effect {
            Effect::Spawn { run, program, name, index, generation } => {
                self.ensure(self.machine.phase() == StopPhase::Running, "started while all stops");
                let twin = self.beings.values().any(|b| {
                    (b.program.as_str(), b.index, b.generation) == (program.name.as_str(), index, generation)
                });
                self.ensure(!twin, "two live processes of one instance and generation");
                let fatal = before.get(&name) == Some(&State::Fatal);
                self.ensure(!fatal || by_command, "a FATAL one was started without a command");
                self.check_dependencies(&program);
                return Some(self.born(run, &program, index, generation));
            }
            Effect::Signal { run, signal, target } => self.signalled(run, signal, target),
            Effect::Probe { run } => {
                let result =
                    if self.calm || self.chance.percent(40) { Ok(()) } else { Err("refused".to_owned()) };
                let wait = self.chance.span(300);
                self.later(wait, Event::Probed { run, result });
            }
            Effect::Say { .. } | Effect::Moment(_) => {}
            Effect::Reply { ticket, .. } => {
                let owed = self.owed.remove(&ticket);
                self.ensure(owed, "an answer to nobody");
            }
            Effect::Exit(outcome) => {
                self.ensure(self.exit.is_none(), "ended twice");
                let stuck = self.beings.values().all(|b| b.stuck);
                self.ensure(stuck, "ended before its processes");
                self.ensure(self.beings.is_empty() == outcome.left.is_empty(), "what is left is not named");
                self.exit = Some(outcome);
            }
        }
        None
    }

    fn check_dependencies(&self, program: &Program) {
        for view in self.machine.view(self.now) {
            // The newest row counts; an old generation may be reloaded while what it needs is away.
            if program.depends_on.contains(&view.row.program) && program.reload != Reload::Overlap {
                let fine = matches!(view.row.state, State::Running | State::Exited);
                // A retired instance, or one that has changed hands in this very step, is on its way out.
                self.ensure(
                    fine || view.row.state == State::Stopping,
                    &format!("{} started before {}", program.name, view.row.name),
                );
            }
        }
    }

    fn born(&mut self, run: RunId, program: &Program, index: u32, generation: u32) -> Event {
        if !self.calm && self.chance.percent(8) {
            self.unborn.insert(run);
            return Event::SpawnFailed { run, why: "no such file".to_owned() };
        }
        let being = Being {
            program: program.name.clone(),
            index,
            generation,
            overlap: program.reload == Reload::Overlap,
            ready_from: if let Readiness::Time(age) = program.ready { Some(self.now + age) } else { None },
            alive: true,
            family: self.chance.percent(20),
            deaf: !self.calm && self.chance.percent(15),
            told: false,
            stuck: !self.calm && self.chance.percent(1),
        };
        self.beings.insert(run, being);
        if matches!(program.ready, Readiness::Notify) && (self.calm || self.chance.percent(70)) {
            let wait = self.chance.span(1500);
            self.later(wait, Event::Ready { run });
        }
        if !self.calm && self.chance.percent(35) {
            let wait = if self.chance.percent(50) { self.chance.span(300) } else { self.chance.span(90_000) };
            self.later(wait, Event::Gone { run });
        }
        Event::Spawned { run, pid: u32::try_from(run.0).unwrap() }
    }

    fn signalled(&mut self, run: RunId, signal: Signal, target: Target) {
        let calm = self.calm;
        if self.unborn.contains(&run) {
            // Among the effects that were decided before the machine could hear of it.
            return;
        }
        self.ensure(self.beings.contains_key(&run), "a signal for a process that is dead");
        let being = &self.beings[&run];
        let now = self.now;
        let is_ready = |b: &Being| b.ready_from.is_some_and(|from| from <= now);
        let serves = is_ready(being) && being.alive && being.overlap && !being.told;
        if self.only_reloads
            && self.machine.phase() == StopPhase::Running
            && serves
            && signal != Signal::SIGHUP
        {
            let same = |b: &Being| (b.program.as_str(), b.index) == (being.program.as_str(), being.index);
            let newer = |b: &&Being| same(b) && b.generation > being.generation && is_ready(b);
            let successor = self.beings.values().any(|b| newer(&b));
            self.ensure(successor, "an old generation was told to stop before the new one was ready");
        }
        let begins = is_ready(being) && being.alive && !being.told && target != Target::Tree;
        if self.machine.phase() == StopPhase::Draining && begins {
            let needs_it = |b: &Being| {
                let row = self.table.iter().find(|p| p.name == b.program);
                row.is_some_and(|p| p.depends_on.contains(&being.program))
            };
            let needed = self.beings.values().any(needs_it);
            self.ensure(!needed, "told to stop before what depends on it was dead");
        }
        let being = self.beings.get_mut(&run).expect("ensured above");
        being.told |= signal != Signal::SIGHUP;
        let hears = signal == Signal::SIGKILL || !being.deaf;
        let alone = target == Target::Main;
        if being.stuck || !hears || (signal == Signal::SIGHUP) {
            return;
        }
        let (alive, family) = (being.alive, being.family);
        let wait = if signal == Signal::SIGKILL {
            self.chance.span(40)
        } else {
            self.chance.span(if calm { 200 } else { 3000 })
        };
        let dies = if alive && !(family && alone) {
            Event::Gone { run }
        } else if alive {
            exited(run, true)
        } else {
            Event::Gone { run }
        };
        self.later(wait, dies);
    }

    /// Something that was to come happens. Deaths come as `Gone`, and are told as the machine has to hear them.
    fn happen(&mut self, event: Event) {
        match event {
            Event::Gone { run } => match self.beings.get(&run) {
                None => {}
                Some(being) if being.alive => {
                    let rest = being.family && self.chance.percent(50);
                    let status =
                        if self.chance.percent(50) { ExitStatus::Code(0) } else { ExitStatus::Signal(11) };
                    self.feed(Event::Exited { run, status, rest });
                }
                Some(_) => self.feed(Event::Gone { run }),
            },
            Event::Exited { run, .. } => {
                if self.beings.get(&run).is_some_and(|b| b.alive) {
                    self.feed(event);
                }
            }
            Event::Ready { run } => {
                if let Some(being) = self.beings.get_mut(&run).filter(|b| b.alive) {
                    being.ready_from = Some(self.now);
                    self.feed(event);
                }
            }
            Event::Probed { run, .. } if !self.beings.contains_key(&run) => {}
            Event::Probed { run, result: Ok(()) } => {
                let now = self.now;
                self.beings.entry(run).and_modify(|b| b.ready_from = Some(now));
                self.feed(event);
            }
            other => self.feed(other),
        }
    }

    fn check(&self) {
        let deadline = self.machine.next_deadline();
        self.ensure(deadline.is_none_or(|at| at > self.now), "a deadline that has passed is not dealt with");
        for view in self.machine.view(self.now) {
            let row = view.row;
            let lives = view.run.is_some_and(|run| self.beings.contains_key(&run));
            match row.state {
                State::Running => self.ensure(lives, "RUNNING without a process"),
                State::Stopped | State::Backoff | State::Exited | State::Fatal => {
                    self.ensure(view.run.is_none(), "a process in a state without one");
                }
                State::Starting | State::Stopping => {}
            }
        }
        // What the machine knows and what lives are the same.
        let known: usize = self
            .machine
            .view(self.now)
            .iter()
            .map(|v| usize::from(v.run.is_some()) + v.row.draining.len())
            .sum();
        self.ensure(known <= self.beings.len(), "the machine believes in the dead");
        if let Some(at) = self.shutdown_at {
            let limit = at + STOP_LIMIT + KILL_GRACE;
            self.ensure(self.now <= limit || self.exit.is_some(), "stopping takes longer than its limits");
        }
    }

    /// On to the next thing that happens, at most `limit` from now.
    fn pass_time(&mut self, limit: Duration) {
        let next = self.to_come.keys().next().copied();
        let deadline = self.machine.next_deadline();
        let horizon = self.now + limit;
        let until = next.map_or(horizon, |(at, _)| at).min(deadline.unwrap_or(horizon)).min(horizon);
        self.now = self.now.max(until);
        match next.filter(|(at, _)| *at <= self.now).and_then(|key| self.to_come.remove(&key)) {
            Some(event) => self.happen(event),
            None => self.feed(Event::Tick),
        }
    }

    fn ticket(&mut self) -> Option<Ticket> {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.owed.insert(ticket);
        Some(ticket)
    }

    fn somebody_does_something(&mut self) {
        let names: Vec<String> =
            self.table.iter().map(|p| p.name.clone()).chain(["all".into(), "g:*".into()]).collect();
        let name = vec![self.chance.pick(&names).clone()];
        let dice = self.chance.below(if self.only_reloads { 45 } else { 100 });
        let command = match dice {
            0..=29 => Command::Reload(name),
            30..=34 => Command::Reload(Vec::new()),
            35..=39 => return self.said_by_a_process(),
            40..=44 => {
                if !self.only_reloads {
                    self.table = changed_table(&mut self.chance, &self.table);
                }
                let (ticket, programs) = (self.ticket(), self.table.clone());
                return self.feed(Event::Table { ticket, programs });
            }
            45..=59 => Command::Stop(name),
            60..=74 => Command::Start(name),
            75..=89 => Command::Restart(name),
            90..=95 => {
                Command::Scale { name: name[0].clone(), to: u32::try_from(self.chance.below(4)).unwrap() }
            }
            _ => Command::Signal { names: name, signal: Signal::SIGHUP },
        };
        let ticket = self.ticket();
        self.feed(Event::Command { ticket, command });
    }

    fn said_by_a_process(&mut self) {
        let runs: Vec<RunId> = self.beings.keys().copied().collect();
        if runs.is_empty() {
            return;
        }
        let run = *self.chance.pick(&runs);
        let event = match self.chance.below(3) {
            0 => Event::GenerationWanted { run },
            // Reloads of those that overlap; the others are stopped for their size.
            1 => Event::Memory { run, bytes: 200 },
            _ => Event::Said { run, text: "hello".to_owned() },
        };
        self.feed(event);
    }

    fn live(&mut self) {
        self.feed(Event::Tick);
        for _ in 0..STEPS {
            if self.exit.is_some() {
                return;
            }
            if self.shutdown_at.is_none() && self.machine.phase() != StopPhase::Running {
                self.shutdown_at = Some(self.now);
            }
            if self.chance.percent(15) { self.somebody_does_something() } else { self.pass_time(ms(2000)) }
        }
        self.calm_down();
        self.stop_all();
    }

    /// When nothing more goes wrong, everything comes to rest and every command is answered.
    fn calm_down(&mut self) {
        self.calm = true;
        let crowd: Vec<RunId> = self.beings.keys().copied().collect();
        let stuck = self.beings.values().any(|b| b.stuck);
        for run in crowd {
            let being = self.beings.get_mut(&run).expect("just listed");
            being.deaf = false;
        }
        let until = self.now + Duration::from_secs(600);
        while self.now < until
            && self.exit.is_none()
            && (!self.to_come.is_empty() || self.machine.next_deadline().is_some())
        {
            self.pass_time(Duration::from_secs(60));
        }
        if stuck || self.exit.is_some() {
            return;
        }
        self.ensure(self.owed.is_empty(), &format!("commands were never answered: {:?}", self.owed));
        let restless = |v: &InstanceView| matches!(v.row.state, State::Backoff | State::Stopping);
        let waits =
            |v: &InstanceView| v.row.state == State::Starting && !v.row.description.starts_with("waits for");
        let view = self.machine.view(self.now);
        self.ensure(
            !view.iter().any(|v| restless(v) || waits(v)),
            &format!("it does not come to rest: {view:#?}"),
        );
    }

    fn stop_all(&mut self) {
        // Once more with everybody at their worst.
        self.calm = false;
        for being in self.beings.values_mut() {
            being.deaf = self.chance.percent(30);
        }
        self.shutdown_at = self.shutdown_at.or(Some(self.now));
        let ticket = self.ticket();
        self.feed(Event::Command { ticket, command: Command::Shutdown { fast: false } });
        let fast_after = self.chance.percent(30).then(|| self.now + ms(500));
        while self.exit.is_none() {
            if fast_after.is_some_and(|at| self.now > at) {
                self.feed(Event::Command { ticket: None, command: Command::Shutdown { fast: true } });
            }
            self.pass_time(ms(500));
        }
    }
}

fn exited(run: RunId, rest: bool) -> Event {
    Event::Exited { run, status: ExitStatus::Signal(15), rest }
}

fn random_table(chance: &mut Chance) -> Vec<Program> {
    let count = 2 + chance.below(5);
    let mut table: Vec<Program> = Vec::new();
    for number in 0..count {
        let mut program = Program::new(format!("p{number}"), ["run", "1"]);
        program.group = chance.percent(50).then(|| "g".to_owned());
        program.processes = 1 + u32::try_from(chance.below(3)).unwrap();
        program.ready = match chance.below(4) {
            0 => Readiness::Time(Duration::ZERO),
            1 => Readiness::Time(ms(800)),
            2 => Readiness::Notify,
            _ => Readiness::Socket("127.0.0.1:1".into()),
        };
        program.ready_timeout = ms(2500);
        program.reload = match chance.below(4) {
            0 => Reload::Restart,
            1 => Reload::Signal(Signal::SIGHUP),
            _ => Reload::Overlap,
        };
        program.restart = match chance.below(4) {
            0 => Restart::Never,
            1 => Restart::Unexpected(vec![0]),
            _ => Restart::Always,
        };
        program.backoff = Backoff { first: ms(100), cap: ms(3000), ..Backoff::default() };
        program.start_retries = u32::try_from(chance.below(3)).unwrap();
        program.stop = match chance.below(3) {
            0 => Stop::new(Signal::SIGTERM, ms(1500)),
            1 => Stop { signals: vec![(Signal::SIGINT, ms(300)), (Signal::SIGTERM, ms(700))], group: true },
            _ => Stop { signals: vec![], group: false },
        };
        program.autostart = chance.percent(85);
        program.holds_code = chance.percent(50);
        program.memory_limit = (chance.percent(50) && program.reload == Reload::Overlap).then_some(100);
        let depends = table.iter().filter(|_| chance.percent(30)).map(|p| p.name.clone()).collect();
        program.depends_on = depends;
        table.push(program);
    }
    // The order of the table says nothing about who needs whom.
    let turn = usize::try_from(chance.below(count)).unwrap();
    table.rotate_left(turn);
    table
}

fn changed_table(chance: &mut Chance, table: &[Program]) -> Vec<Program> {
    let mut table = table.to_vec();
    let at = usize::try_from(chance.below(table.len() as u64)).unwrap();
    match chance.below(4) {
        0 => table[at].command[1] = chance.below(5).to_string(),
        1 => table[at].processes = u32::try_from(chance.below(4)).unwrap(),
        2 if table.len() > 1 => {
            let gone = table.remove(at).name;
            table.iter_mut().for_each(|p| p.depends_on.retain(|d| *d != gone));
        }
        _ => {
            let name = format!("n{}", chance.below(3));
            if !table.iter().any(|p| p.name == name) {
                table.push(Program {
                    ready: Readiness::Notify,
                    ready_timeout: ms(2500),
                    ..Program::new(name, ["run", "1"])
                });
            }
        }
    }
    table
}

#[test]
fn whatever_happens_the_invariants_hold() {
    if let Some(seed) = std::env::var("SIM_SEED").ok().and_then(|s| s.parse().ok()) {
        return World::new(seed, true).live();
    }
    let seeds = std::env::var("SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(SEEDS);
    for seed in 0..seeds {
        World::new(seed, false).live();
    }
}
