//! `regie role schedule`: runs what is due.
//!
//! An entry of regie.toml is a process of its own. The application's tasks are its framework's business: in production
//! it is asked once for their times, and `schedule:run` is started only in a minute in which one is due; in
//! development, where tasks come and go with the code, in every minute.
//!
//! Where several machines share a store, the [`Leader`] runs the tasks; the others keep their timetables, so that one
//! that takes over repeats nothing.
//!
//! SIGHUP (a reload of the code) asks the application again. SIGTERM starts nothing more and gives what runs
//! [`DRAIN`] to end.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use nix::sys::signal::Signal;
use regie_config::settings::ScheduleEntry;
use regie_config::values::MissedRun;
use regie_schedule::shell::application::Events;
use regie_schedule::shell::clock::{milliseconds, now};
use regie_schedule::shell::files::Files;
use regie_schedule::shell::process::{self, Ended};
use regie_schedule::{Missed, Outcome, Reading, Run, Task, Timetable, When};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::commands::schedule::{describe, entry_command, entry_when, script_command};
use crate::handed::{Handed, gone, notify};
use crate::leader::Leader;
use crate::output;
use crate::site::Site;

/// How long running tasks may take to end when the scheduler is stopped.
pub(crate) const DRAIN: Duration = Duration::from_secs(30);

/// However far the next task is, the clock is looked at so often: it may be set, and the machine may sleep.
const LOOK: SignedDuration = SignedDuration::from_secs(20);

/// How long to wait before an application that could not be asked is asked again.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// How many `schedule:run` may go on beside each other; one that still runs after so many minutes is stuck.
const SIDE_BY_SIDE: usize = 10;

/// Task names that are not the user's: entries have no such character.
const APPLICATION: &str = "@application ";

/// The role.
pub(super) fn run(site: Site) -> std::io::Result<()> {
    let lifeline = Handed::take()?.lifeline();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let orphaned = gone(lifeline)?;
        tokio::pin!(orphaned);
        let mut scheduler = Scheduler::new(site)?;
        scheduler.ask_application().await;
        notify("READY=1\n")?;
        loop {
            let wake = scheduler.start_due().await;
            tokio::select! {
                () = sleep_until(wake) => {}
                Some(done) = scheduler.runs.join_next() => scheduler.ended(done),
                _ = hangup.recv() => scheduler.ask_application().await,
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = &mut orphaned => break,
            }
        }
        // Whether anybody hears it changes nothing.
        let _ = notify("STOPPING=1\n");
        scheduler.leader.give_back().await;
        scheduler.drain().await;
        Ok(())
    })
}

/// What a run that has ended says.
struct Finished {
    /// The row that was due.
    row: String,
    runs: Vec<Run>,
}

struct Scheduler {
    site: Site,
    files: Files,
    table: Timetable,
    /// When the application is to be asked for its tasks again.
    ask_again: Option<Timestamp>,
    runs: JoinSet<Finished>,
    /// How many runs of each row have not ended.
    running: BTreeMap<String, usize>,
    stop: watch::Sender<bool>,
    /// Of several machines with one store, one runs the tasks.
    leader: Leader,
    leads: bool,
}

impl Scheduler {
    fn new(site: Site) -> std::io::Result<Self> {
        let files = Files::new(site.schedule_dir());
        files.make()?;
        let table = Timetable::new(Vec::new(), now(), |_| None);
        let (stop, _) = watch::channel(false);
        Ok(Self {
            leader: Leader::new(&site, "schedule")?,
            leads: true,
            site,
            files,
            table,
            ask_again: None,
            runs: JoinSet::new(),
            running: BTreeMap::new(),
            stop,
        })
    }

    /// Makes the timetable: the entries, and the times of the application's own tasks.
    async fn ask_application(&mut self) {
        let mut tasks = entries(&self.site);
        let own = tasks.len();
        self.ask_again = None;
        if self.site.has_own_schedule() {
            match self.application().await {
                Ok(rows) => tasks.extend(rows),
                Err(why) => {
                    output::error(format_args!("the application cannot be asked for its schedule: {why}"));
                    self.ask_again = Some(now() + ASK_AGAIN);
                }
            }
        }
        let settled = self.files.settled();
        let known = |name: &str| settled.get(name).copied().filter(|_| !name.starts_with(APPLICATION));
        let before = std::mem::replace(&mut self.table, Timetable::new(tasks, now(), known));
        if before.rows().count() != self.table.rows().count() {
            let others = self.table.rows().count() - own;
            output::line(format_args!("{own} entries, {others} times of the application's own tasks"));
        }
    }

    /// The distinct times of the application's tasks.
    async fn application(&self) -> Result<Vec<Task>, String> {
        let every_minute = || When {
            expression: "* * * * *".parse().expect("it can be read"),
            zone: TimeZone::UTC,
            reading: Reading::AsShown,
        };
        let mut times: Vec<When> = Vec::new();
        if self.site.is_production() {
            for task in describe(&self.site).await? {
                // What is written in a way that only the framework reads is looked at by it, each minute.
                let when = task.when().unwrap_or_else(every_minute);
                if !times.contains(&when) {
                    times.push(when);
                }
            }
        } else {
            times.push(every_minute());
        }
        let task =
            |(number, when)| Task { name: format!("{APPLICATION}{number}"), when, missed: Missed::Skip };
        Ok(times.into_iter().enumerate().map(task).collect())
    }

    /// Starts what is due and says when to look again.
    async fn start_due(&mut self) -> Instant {
        let leads = self.leader.leads().await;
        if leads != std::mem::replace(&mut self.leads, leads) {
            output::line(if leads {
                "this machine runs the tasks now"
            } else {
                "another machine runs the tasks"
            });
        }
        let at = now();
        let due: Vec<(String, bool)> =
            self.table.due(at).into_iter().map(|due| (due.task.name.clone(), due.is_late)).collect();
        if !due.is_empty()
            && let Err(fault) = self.files.settle(self.table.settled())
        {
            output::error(format_args!("{} cannot be written: {fault}", self.files.folder().display()));
        }
        let (application, entries): (Vec<_>, Vec<_>) =
            due.into_iter().filter(|_| leads).partition(|(name, _)| name.starts_with(APPLICATION));
        for (name, is_late) in entries {
            if is_late {
                output::line(format_args!("{name}: it was missed, and is made up for"));
            }
            self.start_entry(name);
        }
        if !application.is_empty() {
            self.start_application();
        }
        let next = [self.table.next(), self.ask_again].into_iter().flatten().min();
        let wait = next.map_or(LOOK, |next| next.duration_since(at).clamp(SignedDuration::ZERO, LOOK));
        Instant::now() + wait.unsigned_abs()
    }

    fn start_entry(&mut self, name: String) {
        let Some(entry) = self.site.loaded.config.schedule_entries.get(&name) else { return };
        if !entry.overlap && self.running.get(&name).is_some_and(|count| *count > 0) {
            self.record(&skipped(&name, "a run before it has not ended"));
            return;
        }
        let limit = Some(entry.timeout.0).filter(|limit| !limit.is_zero());
        let command = entry_command(&self.site, entry);
        self.spawn(name.clone(), command, limit, move |started, ended| vec![finished(&name, started, ended)]);
    }

    fn start_application(&mut self) {
        const ROW: &str = APPLICATION;
        if self.running.get(ROW).is_some_and(|count| *count >= SIDE_BY_SIDE) {
            let why = format!("{SIDE_BY_SIDE} runs before it have not ended");
            self.record(&skipped("schedule:run", &why));
            return;
        }
        let events = Events::new(self.files.folder());
        let command = script_command(&self.site).map(|command| events.run(command));
        self.spawn(ROW.to_owned(), command, None, move |started, ended| {
            let mut runs = events.read().unwrap_or_default();
            // A task's own failure was told; this is the command's.
            if ended.outcome != Outcome::Done
                && !runs.iter().any(|run| matches!(run.outcome, Outcome::Failed { .. }))
            {
                runs.push(finished("schedule:run", started, ended));
            }
            runs
        });
    }

    fn spawn(
        &mut self,
        row: String,
        command: std::io::Result<Command>,
        limit: Option<Duration>,
        read: impl FnOnce(Timestamp, Ended) -> Vec<Run> + Send + 'static,
    ) {
        *self.running.entry(row.clone()).or_default() += 1;
        let mut stop = self.stop.subscribe();
        self.runs.spawn(async move {
            let started = now();
            let ended = match command {
                Ok(command) => {
                    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
                    process::run(command, limit, stopped, pass_on).await
                }
                Err(fault) => {
                    Ended { outcome: Outcome::Failed { why: fault.to_string() }, output: String::new() }
                }
            };
            Finished { row, runs: read(started, ended) }
        });
    }

    fn ended(&mut self, done: Result<Finished, tokio::task::JoinError>) {
        let done = match done {
            Ok(done) => done,
            Err(fault) => return output::error(format_args!("schedule: {fault}")),
        };
        if let Some(count) = self.running.get_mut(&done.row) {
            *count -= 1;
        }
        for run in &done.runs {
            self.record(run);
        }
    }

    fn record(&self, run: &Run) {
        output::line(sentence(run));
        if let Err(fault) = self.files.record(run) {
            output::error(format_args!("{} cannot be written: {fault}", self.files.folder().display()));
        }
    }

    /// Waits for what runs, for [`DRAIN`], then ends it.
    async fn drain(mut self) {
        let limit = sleep(DRAIN);
        tokio::pin!(limit);
        loop {
            tokio::select! {
                done = self.runs.join_next() => match done {
                    Some(done) => self.ended(done),
                    None => break,
                },
                () = &mut limit, if !*self.stop.borrow() => drop(self.stop.send(true)),
            }
        }
    }
}

/// The rows of regie.toml.
fn entries(site: &Site) -> Vec<Task> {
    let task = |(name, entry): (&String, &ScheduleEntry)| {
        let missed = match entry.missed {
            MissedRun::Skip => Missed::Skip,
            MissedRun::Run => Missed::Run,
        };
        Some(Task { name: name.clone(), when: entry_when(site, entry)?, missed })
    };
    site.loaded.config.schedule_entries.iter().filter_map(task).collect()
}

/// What a task writes goes to the log as it comes.
fn pass_on(bytes: &[u8]) {
    let _ = std::io::stdout().lock().write_all(bytes);
}

fn skipped(task: &str, why: &str) -> Run {
    let outcome = Outcome::Skipped { why: why.to_owned() };
    Run { task: task.to_owned(), started_ms: milliseconds(now()), took_ms: 0, outcome, output: String::new() }
}

/// A run that has ended just now.
pub(crate) fn finished(task: &str, started: Timestamp, ended: Ended) -> Run {
    let took = u64::try_from(now().duration_since(started).as_millis()).unwrap_or(0);
    Run {
        task: task.to_owned(),
        started_ms: milliseconds(started),
        took_ms: took,
        outcome: ended.outcome,
        output: ended.output,
    }
}

/// `report: done in 1.2s`.
pub(crate) fn sentence(run: &Run) -> String {
    let took = crate::commands::schedule::took(run.took_ms);
    match &run.outcome {
        Outcome::Done => format!("{}: done in {took}", run.task),
        Outcome::Detached => format!("{}: goes on in the background", run.task),
        Outcome::Failed { why } => format!("{}: failed after {took}: {why}", run.task),
        Outcome::Skipped { why } => format!("{}: skipped, {why}", run.task),
    }
}

/// How the supervisor tells the role that the code has changed.
pub(crate) const RELOAD: Signal = Signal::SIGHUP;
