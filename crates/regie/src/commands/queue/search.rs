//! Finding jobs that wait or have failed, and changing those that were found. The role walks a queue in parts, and is
//! asked again until it has come to the end, so that nothing waits for a queue of a million.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use regie_core::Exit;
use regie_queue::record::Wanted;
use regie_queue::search::Sought;
use regie_queue::shell::control::Question;
use regie_queue::shell::driver::Change;
use serde_json::{Value, json};

use super::{ask, is_shown_as};
use crate::cli::Filter;
use crate::commands::opcache;
use crate::site::Place;
use crate::workers;
use crate::{output, programs};

/// The framework's command takes so many ids at a time.
const IDS_MAX: usize = 100;

/// How often a worker is looked for that has taken a job just now.
const LOOKS: u32 = 50;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// What the pool shows of a lease's name.
pub(super) const SHOWN: usize = 60;

pub(super) fn sought(filter: &Filter) -> Sought {
    let Filter { class, tag, text } = filter.clone();
    Sought { id: None, class, tag, text }
}

pub(super) fn is_given(filter: &Filter) -> bool {
    !sought(filter).is_all()
}

/// The jobs of a shelf that were looked for, `limit` at most.
pub(super) fn list(
    place: &Place,
    queue: &str,
    state: &str,
    sought: &Sought,
    limit: usize,
) -> Result<Value, Exit> {
    let (mut jobs, mut from) = (Vec::new(), None);
    loop {
        let question = Question::List {
            queue: queue.to_owned(),
            state: state.to_owned(),
            limit: limit - jobs.len(),
            sought: sought.clone(),
            from: from.take(),
        };
        let mut answer = ask(place, &question)?;
        if let Value::Array(found) = answer["jobs"].take() {
            jobs.extend(found);
        }
        from = answer["next"].as_str().map(str::to_owned);
        if from.is_none() || jobs.len() >= limit {
            answer["jobs"] = Value::Array(jobs);
            return Ok(answer);
        }
    }
}

/// Changes the jobs of these shelves that were looked for.
pub(super) fn change(
    place: &Place,
    queue: &str,
    states: &[String],
    filter: &Filter,
    change: Change,
    yes: bool,
) -> Result<(), Exit> {
    let what = match change {
        Change::Drop => "dropped for ever",
        Change::Ready => "let run now",
    };
    let which = states.join(" and ");
    let said = if is_given(filter) { " that match" } else { "" };
    confirm(&format!("All {which} jobs of {queue}{said} are {what}."), yes)?;
    for state in states {
        let count = change_all(place, queue, state, &sought(filter), change)?;
        output::line(format_args!("{queue}: {count} {state} {what}"));
    }
    Ok(())
}

/// How many were changed.
fn change_all(place: &Place, queue: &str, state: &str, sought: &Sought, change: Change) -> Result<u64, Exit> {
    let (mut count, mut from) = (0, None);
    loop {
        let question = Question::Change {
            queue: queue.to_owned(),
            state: state.to_owned(),
            sought: sought.clone(),
            from: from.take(),
            change,
        };
        let answer = ask(place, &question)?;
        count += answer["count"].as_u64().unwrap_or_default();
        if answer["done"] == true {
            return Ok(count);
        }
        from = answer["next"].as_str().map(str::to_owned);
    }
}

/// The ids of failed jobs that the record of runs knows.
pub(super) fn failed(place: &Place, filter: &Filter, what: &str, yes: bool) -> Result<Vec<String>, Exit> {
    let Filter { class, tag, text } = filter.clone();
    let wanted = Wanted { failed: true, class, tag, text, ..Wanted::default() };
    let answer = ask(place, &Question::Runs { wanted, limit: 1000 })?;
    let runs = answer["runs"].as_array().map_or(&[][..], Vec::as_slice);
    let ids = runs.iter().filter(|run| run["end"] == "failed").filter_map(|run| run["id"].as_str());
    let ids: BTreeSet<String> = ids.map(str::to_owned).collect();
    if ids.is_empty() {
        output::error("no failed job that matches is in the record of runs; all of them: regie queue failed");
        return Err(Exit::Failed);
    }
    confirm(&format!("{} failed jobs are {what}.", ids.len()), yes)?;
    Ok(ids.into_iter().collect())
}

/// Runs a command with so many ids at a time as it takes.
pub(super) fn in_parts(ids: &[String], run: impl Fn(&[&str]) -> Result<Exit, Exit>) -> Result<Exit, Exit> {
    for part in ids.chunks(IDS_MAX) {
        let part: Vec<&str> = part.iter().map(String::as_str).collect();
        run(&part)?;
    }
    Ok(Exit::Done)
}

/// Asks whoever sits there.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Exit> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        output::error(format_args!("{what} To do that without asking, add --yes"));
        return Err(Exit::Usage);
    }
    output::line(format_args!("{what} Type yes:"));
    let mut answer = String::new();
    // What cannot be read is no yes.
    let _ = BufReader::new(std::io::stdin().take(16)).read_line(&mut answer);
    if answer.trim() == "yes" { Ok(()) } else { Err(Exit::Failed) }
}

/// `regie queue cancel`: a job that waits is taken out; one that runs has failed when its worker is ended.
pub(super) fn cancel(place: &Place, id: &str, json: bool) -> Result<Exit, Exit> {
    let tell = |what: &str, queue: &str| {
        if json {
            output::line(json!({ "id": id, "queue": queue, "cancelled": what }));
        } else {
            output::line(format_args!("{id} of {queue}: {what}"));
        }
        Ok(Exit::Done)
    };
    // A worker may take it between two looks, and it may come back: both places are looked at twice.
    for _ in 0..2 {
        let found = ask(place, &Question::Cancel { id: id.to_owned() })?;
        let queue = found["queue"].as_str().unwrap_or_default();
        if let (Some(lease), Some(group)) = (found["lease"].as_str(), found["group"].as_str()) {
            let site = place.load(None)?;
            let pool = workers::pool_name(group);
            let socket = programs::socket_path(&site, &format!("{pool}.status"));
            if end_worker(&socket, lease)? {
                return tell("its worker is ended, and it has failed", queue);
            }
            continue;
        }
        if !queue.is_empty() {
            return tell("it has failed before a worker began it", queue);
        }
        let sought = Sought { id: Some(id.to_owned()), ..Sought::default() };
        let stats = ask(place, &Question::Stats)?;
        let queues = stats["groups"].as_array().into_iter().flatten();
        let queues = queues.flat_map(|group| group["queues"].as_array().into_iter().flatten());
        for queue in queues.filter_map(|queue| queue["queue"].as_str()) {
            for state in ["waiting", "delayed"] {
                if change_all(place, queue, state, &sought, Change::Drop)? > 0 {
                    return tell("it is taken out", queue);
                }
            }
        }
    }
    output::error(format_args!("no job {id} waits or runs here; what has run: regie queue show {id}"));
    Err(Exit::Failed)
}

/// Ends the worker that has this lease. It is held still while one looks once more, so that no other job is hit.
fn end_worker(socket: &Path, lease: &str) -> Result<bool, Exit> {
    let failed = |what: String| {
        output::error(format_args!("the worker cannot be ended: {what}"));
        Exit::Failed
    };
    for _ in 0..LOOKS {
        let Some(pid) = holder(socket, lease).map_err(|fault| failed(fault.to_string()))? else {
            // The pool may not have handed it over yet, or it has ended.
            sleep(LOOK);
            continue;
        };
        kill(pid, Signal::SIGSTOP).map_err(|fault| failed(fault.to_string()))?;
        let still = holder(socket, lease);
        let signal =
            if matches!(still, Ok(Some(same)) if same == pid) { Signal::SIGKILL } else { Signal::SIGCONT };
        kill(pid, signal).map_err(|fault| failed(fault.to_string()))?;
        if signal == Signal::SIGKILL {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The worker that has this lease.
fn holder(socket: &Path, lease: &str) -> std::io::Result<Option<Pid>> {
    let page = opcache::inspect(socket, "workers")?;
    let workers = page["processes"].as_array().into_iter().flatten();
    let mut holders = workers.filter(|worker| {
        worker["state"] == "Running"
            && worker["request uri"].as_str().is_some_and(|uri| is_shown_as(lease, uri))
    });
    let pid = holders.next().and_then(|worker| worker["pid"].as_i64());
    Ok(pid.and_then(|pid| pid.try_into().ok()).filter(|pid| *pid > 1).map(Pid::from_raw))
}
