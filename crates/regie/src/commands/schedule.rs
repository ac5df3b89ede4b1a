//! `regie schedule …`: what is scheduled, when it is due, what became of it, and running one now.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::Command;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};
use regie_config::settings::ScheduleEntry;
use regie_config::values::CommandLine;
use regie_core::Exit;
use regie_core::cron::Expression;
use regie_core::nearest::nearest;
use regie_schedule::shell::application::{Events, Scheduled, read_description};
use regie_schedule::shell::clock::now;
use regie_schedule::shell::files::Files;
use regie_schedule::shell::process::{self, Ended};
use regie_schedule::{Outcome, Reading, Run, When};
use serde_json::json;

use crate::cli::Schedule;
use crate::commands::run;
use crate::output::{self, Paint, Table, Tone};
use crate::programs;
use crate::roles::schedule::{finished, sentence};
use crate::shipped;
use crate::site::{Place, Site};

/// How long the application may take to say what it has scheduled.
const DESCRIBE_LIMIT: Duration = Duration::from_secs(60);

/// How much it may say.
const DESCRIPTION_MAX: usize = 16 << 20;

/// `regie schedule …`.
pub(crate) fn schedule(place: &Place, asked: &Schedule) -> Exit {
    // An expression needs no application.
    if let Schedule::Test(test) = asked
        && let Some(expression) = &test.expression
    {
        return explain(expression, test.timezone.as_deref(), test.from.as_deref(), test.count, test.json);
    }
    let site = match place.load(None) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    if let Err(fault) = site.make_folders().and_then(|()| run::become_user(&site)) {
        output::error(fault);
        return Exit::Failed;
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            output::error(fault);
            return Exit::Failed;
        }
    };
    runtime.block_on(async {
        match asked {
            Schedule::List(list) => self::list(&site, list.json).await,
            Schedule::Run(run) => run_now(&site, &run.name).await,
            Schedule::History(history) => past(&site, history.name.as_deref(), history.count, history.json),
            Schedule::Test(test) => coming(&site, test.from.as_deref(), test.json).await,
        }
    })
}

/// A task of either kind, as `list` shows it.
struct Row {
    name: String,
    expression: String,
    zone: String,
    when: Option<When>,
    from: &'static str,
}

/// Every task: the entries first.
async fn rows(site: &Site) -> Result<Vec<Row>, String> {
    let mut rows: Vec<Row> = Vec::new();
    for (name, entry) in &site.loaded.config.schedule_entries {
        let when = entry_when(site, entry);
        rows.push(Row {
            name: name.clone(),
            expression: entry.cron.as_ref().map(ToString::to_string).unwrap_or_default(),
            zone: when.as_ref().map(|when| zone_name(&when.zone)).unwrap_or_default(),
            when,
            from: "regie.toml",
        });
    }
    if site.has_own_schedule() {
        rows.extend(describe(site).await?.into_iter().map(|task| Row {
            when: task.when(),
            name: task.name,
            expression: task.expression,
            zone: task.timezone,
            from: "application",
        }));
    }
    Ok(rows)
}

async fn list(site: &Site, as_json: bool) -> Exit {
    let rows = match rows(site).await {
        Ok(rows) => rows,
        Err(why) => return unanswered(&why),
    };
    let at = now();
    let history = Files::new(site.schedule_dir()).runs(usize::MAX, |_| true).unwrap_or_default();
    let last = |name: &str| history.iter().find(|run| run.task == name);
    let next = |row: &Row| row.when.as_ref().and_then(|when| Some((when.next(at)?, when.zone.clone())));
    if as_json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "expression": row.expression, "timezone": row.zone, "from": row.from,
                    "next": next(row).map(|(at, _)| at.to_string()), "last": last(&row.name),
                })
            })
            .collect();
        output::line(json!(rows));
        return Exit::Done;
    }
    if rows.is_empty() {
        output::line("nothing is scheduled");
        return Exit::Done;
    }
    let mut table = Table::new(&["NAME", "EXPRESSION", "NEXT", "LAST", "FROM"], &[]);
    for row in &rows {
        let next = next(row).map_or("unknown".to_owned(), |(at, zone)| shown(at, zone));
        let (tone, last) = last(&row.name).map_or((Tone::Quiet, "never".to_owned()), |run| summary(run, at));
        table.row(vec![
            (Tone::Strong, row.name.clone()),
            (Tone::Plain, row.expression.clone()),
            (Tone::Plain, next),
            (tone, last),
            (Tone::Quiet, row.from.to_owned()),
        ]);
    }
    print(&table);
    Exit::Done
}

/// `done 5m ago`.
fn summary(run: &Run, at: Timestamp) -> (Tone, String) {
    let (tone, word) = match run.outcome {
        Outcome::Done => (Tone::Good, "done"),
        Outcome::Detached => (Tone::Plain, "started"),
        Outcome::Failed { .. } => (Tone::Bad, "failed"),
        Outcome::Skipped { .. } => (Tone::Quiet, "skipped"),
    };
    let started = i64::try_from(run.started_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let ago = started.map_or(0, |started| at.duration_since(started).as_secs().max(0));
    let ago = match ago {
        0..60 => format!("{ago}s"),
        60..3600 => format!("{}m", ago / 60),
        3600..86_400 => format!("{}h", ago / 3600),
        _ => format!("{}d", ago / 86_400),
    };
    (tone, format!("{word} {ago} ago"))
}

/// Runs one task now, whether it is due or not, and tells what became of it.
async fn run_now(site: &Site, name: &str) -> Exit {
    let files = Files::new(site.schedule_dir());
    let runs = match site.loaded.config.schedule_entries.get(name) {
        Some(entry) => {
            let started = now();
            match entry_command(site, entry) {
                Ok(command) => {
                    let limit = Some(entry.timeout.0).filter(|limit| !limit.is_zero());
                    vec![finished(name, started, foreground(command, limit).await)]
                }
                Err(fault) => return unanswered(&fault.to_string()),
            }
        }
        None => match run_application(site, &files, name).await {
            Ok(runs) => runs,
            Err(exit) => return exit,
        },
    };
    for run in &runs {
        output::note(sentence(run));
        if let Err(fault) = files.record(run) {
            output::warning(format_args!("{} cannot be written: {fault}", files.folder().display()));
        }
    }
    let is_done = runs.iter().all(|run| matches!(run.outcome, Outcome::Done | Outcome::Detached));
    if is_done { Exit::Done } else { Exit::Failed }
}

async fn run_application(site: &Site, files: &Files, name: &str) -> Result<Vec<Run>, Exit> {
    let tasks = rows(site).await.map_err(|why| unanswered(&why))?;
    if !tasks.iter().any(|row| row.name == name) {
        let meant = nearest(name, tasks.iter().map(|row| row.name.as_str()));
        let hint =
            meant.map_or("see: regie schedule list".to_owned(), |name| format!("did you mean \"{name}\"?"));
        output::error(format_args!("there is no scheduled task \"{name}\"; {hint}"));
        return Err(Exit::Usage);
    }
    files.make().map_err(|fault| unanswered(&fault.to_string()))?;
    let events = Events::new(files.folder());
    let command = script_command(site).map(|command| events.one(command, name));
    let command = command.map_err(|fault| unanswered(&fault.to_string()))?;
    let started = now();
    let ended = foreground(command, None).await;
    let runs = events.read().map_err(|fault| unanswered(&fault.to_string()))?;
    if runs.is_empty() {
        return Ok(vec![finished(name, started, ended)]);
    }
    // The framework keeps a task's output from the terminal.
    for run in &runs {
        let _ = std::io::stdout().lock().write_all(run.output.as_bytes());
    }
    Ok(runs)
}

async fn foreground(command: Command, limit: Option<Duration>) -> Ended {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    process::run(command, limit, interrupted, |bytes| drop(std::io::stdout().lock().write_all(bytes))).await
}

fn past(site: &Site, name: Option<&str>, count: usize, as_json: bool) -> Exit {
    let files = Files::new(site.schedule_dir());
    let runs = match files.runs(count, |run| name.is_none_or(|name| run.task == name)) {
        Ok(runs) => runs,
        Err(fault) => return unanswered(&format!("{} cannot be read: {fault}", files.folder().display())),
    };
    if as_json {
        output::line(json!(runs));
        return Exit::Done;
    }
    let mut table = Table::new(&["STARTED", "NAME", "TOOK", "OUTCOME"], &[2]);
    for run in &runs {
        let started = i64::try_from(run.started_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        let (tone, outcome) = match &run.outcome {
            Outcome::Done => (Tone::Good, "done".to_owned()),
            Outcome::Detached => (Tone::Plain, "in the background".to_owned()),
            Outcome::Failed { why } => (Tone::Bad, format!("failed: {why}")),
            Outcome::Skipped { why } => (Tone::Quiet, format!("skipped: {why}")),
        };
        table.row(vec![
            (Tone::Plain, started.map(|at| shown(at, TimeZone::system())).unwrap_or_default()),
            (Tone::Strong, run.task.clone()),
            (Tone::Plain, took(run.took_ms)),
            (tone, outcome),
        ]);
    }
    print(&table);
    // One task's last run is shown whole.
    if let (Some(_), Some(run)) = (name, runs.first().filter(|run| !run.output.is_empty())) {
        output::line("");
        output::line(run.output.trim_end());
    }
    Exit::Done
}

/// What runs in the next day, without running it.
async fn coming(site: &Site, from: Option<&str>, as_json: bool) -> Exit {
    const ROWS_MAX: usize = 200;
    let from = match moment(from, &TimeZone::system()) {
        Ok(from) => from,
        Err(exit) => return exit,
    };
    let rows = match rows(site).await {
        Ok(rows) => rows,
        Err(why) => return unanswered(&why),
    };
    let end = from + SignedDuration::from_hours(24);
    let mut dues: Vec<(Timestamp, &Row)> = Vec::new();
    for row in &rows {
        let times = std::iter::successors(row.when.as_ref().and_then(|when| when.next(from)), |at| {
            row.when.as_ref().and_then(|when| when.next(*at))
        });
        dues.extend(times.take_while(|at| *at <= end).take(ROWS_MAX).map(|at| (at, row)));
    }
    dues.sort_by_key(|(at, _)| *at);
    if as_json {
        let rows: Vec<_> =
            dues.iter().map(|(at, row)| json!({"at": at.to_string(), "name": row.name})).collect();
        output::line(json!(rows));
        return Exit::Done;
    }
    let mut table = Table::new(&["AT", "NAME"], &[]);
    for (at, row) in dues.iter().take(ROWS_MAX) {
        let zone = row.when.as_ref().map_or(TimeZone::UTC, |when| when.zone.clone());
        table.row(vec![(Tone::Plain, shown(*at, zone)), (Tone::Strong, row.name.clone())]);
    }
    print(&table);
    if dues.len() > ROWS_MAX {
        output::line(format_args!(
            "and {} more until {}",
            dues.len() - ROWS_MAX,
            shown(end, TimeZone::system())
        ));
    }
    Exit::Done
}

/// The next times of an expression.
fn explain(expression: &str, zone: Option<&str>, from: Option<&str>, count: usize, as_json: bool) -> Exit {
    let parsed: Expression = match expression.parse() {
        Ok(parsed) => parsed,
        Err(fault) => return bad(&format!("\"{expression}\" is no cron expression: {fault}")),
    };
    let zone = match zone.map(TimeZone::get).transpose() {
        Ok(zone) => zone.unwrap_or_else(TimeZone::system),
        Err(fault) => return bad(&fault.to_string()),
    };
    let mut at = match moment(from, &zone) {
        Ok(from) => from,
        Err(exit) => return exit,
    };
    let when = When { expression: parsed, zone, reading: Reading::Once };
    let mut dues = Vec::new();
    while dues.len() < count
        && let Some(next) = when.next(at)
    {
        dues.push(next);
        at = next;
    }
    if as_json {
        output::line(json!(dues.iter().map(ToString::to_string).collect::<Vec<_>>()));
    } else {
        for due in dues {
            output::line(shown(due, when.zone.clone()));
        }
    }
    Exit::Done
}

/// `2026-03-29 02:30` on the clock of `zone`, or an instant with its distance from UTC; now when nothing was asked.
fn moment(text: Option<&str>, zone: &TimeZone) -> Result<Timestamp, Exit> {
    let Some(text) = text else { return Ok(now()) };
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let civil = text.parse::<jiff::civil::DateTime>();
    civil.and_then(|civil| zone.to_timestamp(civil)).map_err(|_| {
        bad(&format!("\"{text}\" is no moment; write it as \"2026-03-29 02:30\" or \"2026-03-29T00:30:00Z\""))
    })
}

/// Asks the application for its tasks.
pub(crate) async fn describe(site: &Site) -> Result<Vec<Scheduled>, String> {
    let mut command = script_command(site).map_err(|fault| fault.to_string())?;
    command.arg("describe");
    let mut said = Vec::new();
    let listen = |bytes: &[u8]| {
        if said.len() < DESCRIPTION_MAX {
            said.extend_from_slice(bytes);
        }
    };
    let ended = process::run(command, Some(DESCRIBE_LIMIT), std::future::pending(), listen).await;
    match ended.outcome {
        Outcome::Failed { why } => {
            let last = ended.output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(format!("{why}: {}", last.trim()))
        }
        _ => Ok(read_description(&String::from_utf8_lossy(&said))),
    }
}

/// The script that Régie ships for the framework's schedule, up to its first argument.
pub(crate) fn script_command(site: &Site) -> std::io::Result<Command> {
    shipped::write(&site.run_dir(), None)?;
    let script = shipped::folder(&site.run_dir()).join("laravel/schedule.php");
    let words = ["php".to_owned(), script.display().to_string(), site.root().display().to_string()];
    run::command(site, programs::jobs_pool(site), &words)
}

/// The command of an entry of regie.toml.
pub(crate) fn entry_command(site: &Site, entry: &ScheduleEntry) -> std::io::Result<Command> {
    let words = match &entry.command {
        CommandLine::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), programs::shell_line(line)],
        CommandLine::Arguments(words) => words.clone(),
    };
    let mut command = run::command(site, programs::jobs_pool(site), &words)?;
    command
        .current_dir(site.root().join(&entry.directory))
        .envs(entry.environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(&value.0))));
    Ok(command)
}

/// When an entry of regie.toml is due.
pub(crate) fn entry_when(site: &Site, entry: &ScheduleEntry) -> Option<When> {
    let zone = entry.timezone.as_ref().or(site.loaded.config.schedule.timezone.as_ref());
    let zone = zone.map_or_else(TimeZone::system, |zone| zone.0.clone());
    Some(When { expression: entry.cron.clone()?, zone, reading: Reading::Once })
}

/// `Sat 2026-11-21 10:13:00 +01:00`.
fn shown(at: Timestamp, zone: TimeZone) -> String {
    Zoned::new(at, zone).strftime("%a %Y-%m-%d %H:%M:%S %:z").to_string()
}

fn zone_name(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("the machine's").to_owned()
}

/// `12ms`, `3.4s`, `2m 05s`.
pub(crate) fn took(ms: u64) -> String {
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ => format!("{}m {:02}s", ms / 60_000, ms / 1000 % 60),
    }
}

fn print(table: &Table) {
    for line in table.render(Paint::stdout()) {
        output::line(line);
    }
}

fn bad(what: &str) -> Exit {
    output::error(what);
    Exit::Usage
}

fn unanswered(why: &str) -> Exit {
    output::error(why);
    Exit::Failed
}

#[cfg(test)]
mod tests {
    use super::took;

    #[test]
    fn times_are_short() {
        for (ms, expected) in [(0, "0ms"), (999, "999ms"), (3456, "3.4s"), (125_000, "2m 05s")] {
            assert_eq!(took(ms), expected);
        }
    }
}
