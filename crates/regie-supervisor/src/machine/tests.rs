//! The machine step by step: what is done, in which order, at which time.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::*;
use crate::spec::{Backoff, Program, Readiness, Reload, Restart, Scale, Stop};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct Bench {
    machine: Machine,
    now: Now,
}

impl Bench {
    fn new(programs: Vec<Program>) -> Self {
        let policy = Policy { stop_limit: ms(30_000), exit_on_fatal: false, seed: 1 };
        Self { machine: Machine::new(policy, programs).unwrap(), now: Duration::ZERO }
    }

    /// The effects of an event, in short; spawns succeed with the run's number as pid.
    fn on(&mut self, event: Event) -> Vec<String> {
        let mut shown = Vec::new();
        let mut open = std::collections::VecDeque::from([event]);
        while let Some(event) = open.pop_front() {
            for effect in self.machine.handle(self.now, event) {
                shown.extend(match effect {
                    Effect::Spawn { run, name, generation, .. } => {
                        open.push_back(Event::Spawned { run, pid: u32::try_from(run.0).unwrap() });
                        Some(format!("spawn {name} #{} g{generation}", run.0))
                    }
                    Effect::Signal { run, signal, target } => Some(format!("{signal} #{} {target:?}", run.0)),
                    Effect::Probe { run } => Some(format!("probe #{}", run.0)),
                    Effect::Reply { reply: Reply::Done { results }, .. } => {
                        let each: Vec<String> =
                            results.iter().map(|r| format!("{} {} {}", r.name, r.ok, r.detail)).collect();
                        Some(format!("done: {}", each.join(", ")))
                    }
                    Effect::Reply { reply, .. } => Some(format!("{reply:?}")),
                    Effect::Moment(moment) => Some(format!("{moment:?}")),
                    Effect::Exit(outcome) => Some(format!("exit {outcome:?}")),
                    Effect::Say { .. } => None,
                });
            }
        }
        shown
    }

    fn at(&mut self, now: u64, event: Event) -> Vec<String> {
        self.now = ms(now);
        self.on(event)
    }

    fn tick(&mut self, now: u64) -> Vec<String> {
        self.at(now, Event::Tick)
    }

    fn ask(&mut self, command: Command) -> Vec<String> {
        self.on(Event::Command { ticket: Some(Ticket(1)), command })
    }

    fn deadline(&self) -> Option<u128> {
        self.machine.next_deadline().map(|at| at.as_millis())
    }

    fn row(&self, at: usize) -> crate::control::StatusRow {
        self.machine.view(self.now)[at].row.clone()
    }
}

fn notified(name: &str, depends_on: &[&str]) -> Program {
    Program {
        ready: Readiness::Notify,
        depends_on: depends_on.iter().map(|d| (*d).into()).collect(),
        backoff: Backoff { jitter: 0.0, ..Backoff::default() },
        ..Program::new(name, ["run"])
    }
}

fn ended(run: u64, code: i32) -> Event {
    Event::Exited { run: RunId(run), status: ExitStatus::Code(code), rest: false }
}

fn ready(run: u64) -> Event {
    Event::Ready { run: RunId(run) }
}

fn all() -> Vec<String> {
    vec!["all".into()]
}

#[test]
fn starts_wait_for_dependencies_and_stops_for_dependants() {
    let mut bench = Bench::new(vec![notified("c", &["b"]), notified("a", &[]), notified("b", &["a"])]);
    assert_eq!(bench.tick(0), ["spawn a #1 g1"]);
    assert_eq!(bench.row(0).description, "waits for b");
    assert_eq!(bench.on(ready(1)), ["spawn b #2 g1"]);
    assert_eq!(bench.on(ready(2)), ["spawn c #3 g1"]);
    assert_eq!(bench.on(ready(3)), ["Up { fatal: [] }"]);
    assert_eq!(bench.deadline(), None);
    assert_eq!(bench.ask(Command::Shutdown { fast: false }), ["Draining", "SIGTERM #3 Main", "done: "]);
    assert_eq!(bench.on(ended(3, 0)), ["SIGTERM #2 Main"]);
    assert_eq!(bench.on(ended(2, 0)), ["SIGTERM #1 Main"]);
    assert_eq!(bench.on(ended(1, 0)), ["exit Outcome { fatal: None, cut: [], left: [] }"]);
}

#[test]
fn a_restart_of_several_stops_all_then_starts_all() {
    let mut bench = Bench::new(vec![notified("a", &[]), notified("b", &["a"])]);
    bench.tick(0);
    bench.on(ready(1));
    bench.on(ready(2));
    assert_eq!(bench.ask(Command::Restart(all())), ["SIGTERM #2 Main"]);
    assert_eq!(bench.on(ended(2, 0)), ["SIGTERM #1 Main"], "b waits until a is down too");
    assert_eq!(bench.on(ended(1, 0)), ["spawn a #3 g2"]);
    assert_eq!(bench.on(ready(3)), ["spawn b #4 g2"]);
    assert_eq!(bench.on(ready(4)), ["done: a true running, b true running"]);
}

#[test]
fn failed_starts_back_off_then_give_up() {
    let mut bench =
        Bench::new(vec![Program { start_retries: 2, ..notified("a", &[]) }, notified("b", &["a"])]);
    bench.tick(0);
    assert_eq!(bench.on(ended(1, 3)), [""; 0]);
    assert_eq!(bench.deadline(), Some(500));
    assert_eq!(bench.tick(499), [""; 0]);
    assert_eq!(bench.tick(500), ["spawn a #2 g1"]);
    bench.on(Event::Exited { run: RunId(2), status: ExitStatus::Signal(11), rest: false });
    assert_eq!(bench.row(0).description, "ended before it was ready (SIGSEGV); next start in 1.0s");
    assert_eq!(bench.tick(1500), ["spawn a #3 g1"]);
    assert_eq!(bench.on(ended(3, 3)), [r#"Up { fatal: ["a"] }"#]);
    assert_eq!(bench.row(1).description, "waits for a, which is FATAL");
    assert_eq!(bench.deadline(), None);
    let refused = "done: b false waits for a, which is FATAL";
    assert_eq!(bench.ask(Command::Restart(vec!["b".into()])), [refused]);
    // Only a command goes on: with what is needed, too.
    assert_eq!(bench.ask(Command::Start(vec!["a".into()])), ["spawn a #4 g2"]);
    assert_eq!(bench.on(ready(4)), ["spawn b #5 g1", "done: a true running"]);
}

#[test]
fn ends_after_readiness_follow_the_policy() {
    let cases = [
        (Restart::Always, 0, 0, State::Starting),
        (Restart::Always, 9, 0, State::Starting),
        (Restart::Unexpected(vec![0, 2]), 2, 0, State::Exited),
        (Restart::Unexpected(vec![0, 2]), 1, 0, State::Starting),
        (Restart::Never, 1, 0, State::Exited),
    ];
    use crate::control::State;
    for (restart, code, at, state) in cases {
        let mut bench = Bench::new(vec![Program { restart: restart.clone(), ..notified("a", &[]) }]);
        bench.tick(at);
        bench.on(ready(1));
        bench.on(ended(1, code));
        assert_eq!(bench.row(0).state, state, "{restart:?} {code}");
    }
}

#[test]
fn a_streak_of_ends_is_slowed_down_and_forgotten_in_time() {
    let mut bench = Bench::new(vec![notified("a", &[])]);
    bench.tick(0);
    bench.on(ready(1));
    assert_eq!(bench.at(100, ended(1, 1)), ["spawn a #2 g1"], "the first at once");
    bench.on(ready(2));
    bench.at(200, ended(2, 1));
    assert_eq!(bench.deadline(), Some(700));
    bench.tick(700);
    bench.on(ready(3));
    bench.at(800, ended(3, 1));
    assert_eq!(bench.deadline(), Some(1800));
    bench.tick(1800);
    bench.on(ready(4));
    assert_eq!(bench.at(61_800, ended(4, 1)), ["spawn a #5 g1"], "forgotten after a minute");
    assert_eq!(bench.row(0).restarts, 4);
}

#[test]
fn a_stop_goes_from_signal_to_signal_to_the_whole_tree() {
    let stop = Stop { signals: vec![(Signal::SIGQUIT, ms(1000)), (Signal::SIGTERM, ms(500))], group: false };
    let mut bench = Bench::new(vec![Program { stop, ..notified("a", &[]) }]);
    bench.tick(0);
    bench.on(ready(1));
    assert_eq!(bench.ask(Command::Stop(all())), ["SIGQUIT #1 Main"]);
    assert_eq!(bench.tick(1000), ["SIGTERM #1 Main"]);
    // It ends, its children do not: they hear the same, and have the same time.
    let rest = Event::Exited { run: RunId(1), status: ExitStatus::Signal(15), rest: true };
    assert_eq!(bench.at(1100, rest), ["SIGTERM #1 Group"]);
    assert_eq!(bench.tick(1500), ["SIGKILL #1 Tree"]);
    assert_eq!(bench.tick(2500), ["SIGKILL #1 Tree"]);
    assert_eq!(bench.on(Event::Gone { run: RunId(1) }), ["done: a true stopped"]);
}

#[test]
fn what_hangs_in_the_kernel_does_not_hold_up_the_end() {
    let mut bench = Bench::new(vec![notified("a", &[])]);
    bench.tick(0);
    bench.ask(Command::Shutdown { fast: false });
    assert_eq!(bench.tick(10_000), ["SIGKILL #1 Tree"]);
    assert_eq!(bench.tick(30_000), ["Cutting", "SIGKILL #1 Tree"]);
    bench.tick(34_999);
    assert_eq!(
        bench.tick(35_000).last().unwrap(),
        r#"exit Outcome { fatal: None, cut: ["a"], left: ["a"] }"#
    );
}

#[test]
fn an_overlap_stops_the_old_when_the_new_is_ready() {
    let mut bench = Bench::new(vec![Program { reload: Reload::Overlap, ..notified("a", &[]) }]);
    bench.tick(0);
    bench.on(ready(1));
    assert_eq!(bench.ask(Command::Reload(all())), ["spawn a #2 g2"]);
    // Once more before it is ready: the code may have changed again.
    assert_eq!(bench.ask(Command::Reload(all())), [""; 0]);
    assert_eq!(bench.on(ready(2)), ["SIGTERM #1 Main", "spawn a #3 g3"]);
    assert_eq!(bench.row(0).draining, [1]);
    let done = "done: a true running";
    assert_eq!(bench.on(ready(3)), ["SIGTERM #2 Main", done, done]);
    bench.on(ended(1, 0));
    bench.on(ended(2, 0));
    assert_eq!((bench.row(0).draining, bench.row(0).generation), (vec![], 3));
    // The old one dies while the new one starts: the new one takes its place all the same.
    bench.ask(Command::Reload(all()));
    assert_eq!(bench.on(ended(3, 1)), [""; 0]);
    assert_eq!(bench.on(ready(4)), [done]);
}

#[test]
fn a_generation_that_is_not_ready_in_time_changes_nothing() {
    let mut bench = Bench::new(vec![Program { reload: Reload::Overlap, ..notified("a", &[]) }]);
    bench.tick(0);
    bench.on(ready(1));
    bench.ask(Command::Reload(all()));
    assert_eq!(bench.deadline(), Some(60_000));
    assert_eq!(bench.tick(60_000), ["SIGTERM #2 Main"]);
    let why = "done: a false the new generation did not get ready: not ready within 1m";
    assert_eq!(bench.on(ended(2, 0)), [why]);
    assert_eq!((bench.row(0).pid, bench.row(0).state.as_str()), (Some(1), "RUNNING"));
}

#[test]
fn probes_come_ever_less_often() {
    let ready = Readiness::Socket("127.0.0.1:1".into());
    let mut bench = Bench::new(vec![Program { ready, ..notified("a", &[]) }]);
    bench.tick(0);
    let mut times = Vec::new();
    while let Some(at) = bench.machine.next_deadline().filter(|at| *at < ms(8000)) {
        bench.now = at;
        assert_eq!(bench.on(Event::Tick), ["probe #1"]);
        times.push(at);
        bench.on(Event::Probed { run: RunId(1), result: Err("refused".into()) });
    }
    assert_eq!(times[..4], [ms(30), ms(60), ms(90), ms(120)]);
    assert_eq!(times[times.len() - 1] - times[times.len() - 2], ms(1000));
    assert_eq!(bench.on(Event::Probed { run: RunId(1), result: Ok(()) }), ["Up { fatal: [] }"]);
}

#[test]
fn a_scaled_number_survives_a_reload_until_the_row_says_another() {
    let row = |processes| Program { processes, ..notified("a", &[]) };
    let mut bench = Bench::new(vec![row(1)]);
    bench.tick(0);
    bench.ask(Command::Scale { name: "a".into(), to: 3 });
    let count = |bench: &Bench| bench.machine.view(bench.now).len();
    let table = |programs| Event::Table { ticket: None, programs };
    bench.on(table(vec![Program { start_retries: 7, ..row(1) }]));
    assert_eq!(count(&bench), 3);
    bench.on(table(vec![row(2)]));
    for run in 1..=3 {
        bench.on(ended(run, 0));
    }
    assert_eq!(count(&bench), 2);
    // An argument of the command.
    let pool = |workers: &str| Program {
        command: vec!["pool".into(), workers.into()],
        scale: Scale::Argument(1),
        reload: Reload::Overlap,
        ..notified("pool", &[])
    };
    let mut bench = Bench::new(vec![pool("4")]);
    bench.tick(0);
    bench.on(ready(1));
    assert_eq!(bench.ask(Command::Scale { name: "pool".into(), to: 8 }), ["spawn pool #2 g2"]);
}

#[test]
fn a_faulty_table_changes_nothing() {
    let mut bench = Bench::new(vec![notified("a", &[])]);
    bench.tick(0);
    let programs = vec![notified("b", &["nothing"])];
    let said = bench.on(Event::Table { ticket: Some(Ticket(1)), programs });
    assert!(said[0].contains("InvalidConfiguration") && said.len() == 1, "{said:?}");
    assert_eq!(bench.row(0).name, "a");
}
