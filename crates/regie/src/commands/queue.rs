//! `regie queue`: asks the running jobs role. What has failed is the framework's to keep, so its own commands are run
//! for that.

mod search;

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use regie_config::values::Framework;
use regie_core::{Exit, Span};
use regie_queue::record::Wanted;
use regie_queue::shell::control::Question;
use regie_queue::shell::driver::Change;
use serde_json::Value;

use crate::cli::Queue;
use crate::commands::moving::script;
use crate::commands::run;
use crate::output::{self, Paint, Table, Tone};
use crate::roles::jobs::CONTROL;
use crate::site::Place;
use crate::time;

/// An answer comes from a process that has others to serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// `regie queue …`.
pub(crate) fn queue(place: &Place, asked: &Queue) -> Exit {
    match act(place, asked) {
        Ok(exit) | Err(exit) => exit,
    }
}

fn act(place: &Place, asked: &Queue) -> Result<Exit, Exit> {
    match asked {
        Queue::Stats { openmetrics: true, .. } => {
            let answer = ask(place, &Question::Metrics)?;
            output::line(answer["page"].as_str().unwrap_or_default().trim_end());
        }
        Queue::Stats { json, .. } => {
            let answer = ask(place, &Question::Stats)?;
            show(&answer, *json, stats_lines);
        }
        Queue::List { queue, state, limit, filter, json } => {
            show(&search::list(place, queue, state, &search::sought(filter), *limit)?, *json, list_lines);
        }
        Queue::Runs { failed, grep, class, tag, queue, since, limit, json } => {
            let wanted = Wanted {
                failed: *failed,
                text: grep.clone(),
                class: class.clone(),
                tag: tag.clone(),
                queue: queue.clone(),
                since_ms: since.as_deref().map(since_ms).transpose()?.unwrap_or_default(),
            };
            show(&ask(place, &Question::Runs { wanted, limit: *limit })?, *json, run_lines);
        }
        Queue::Batches { limit, json } => show(&batches(place, *limit)?, *json, batch_lines),
        Queue::Failed { json: true } => {
            let wanted = Wanted { failed: true, ..Wanted::default() };
            let answer = ask(place, &Question::Runs { wanted, limit: 1000 })?;
            show(&answer, true, run_lines);
        }
        Queue::Failed { json: false } => {
            return framework(place, &["queue:failed"], &["messenger:failed:show"]);
        }
        Queue::Show { id, json } => {
            let wanted = Wanted { text: Some(id.clone()), ..Wanted::default() };
            let answer = ask(place, &Question::Runs { wanted, limit: 20 })?;
            if answer["runs"].as_array().is_none_or(Vec::is_empty) {
                output::error(format_args!("no run of {id} is remembered; jobs that wait: regie queue list"));
                return Err(Exit::Failed);
            }
            show(&answer, *json, detail_lines);
        }
        Queue::Retry { filter, yes, parked: None, .. } if search::is_given(filter) => {
            let ids = search::failed(place, filter, "put back into their queue", *yes)?;
            let symfony = ["messenger:failed:retry", "--force"];
            return search::in_parts(&ids, |ids| {
                framework(place, &[&["queue:retry"], ids].concat(), &[&symfony, ids].concat())
            });
        }
        Queue::Forget { filter, yes, parked: None, .. } if search::is_given(filter) => {
            let ids = search::failed(place, filter, "dropped for ever", *yes)?;
            for id in &ids {
                framework(place, &["queue:forget", id], &["messenger:failed:remove", "--force", id])?;
            }
        }
        Queue::Retry { ids, parked: None, .. } => {
            let mut laravel = vec!["queue:retry"];
            let mut symfony = vec!["messenger:failed:retry", "--force"];
            laravel.extend(ids.iter().map(String::as_str));
            symfony.extend(ids.iter().map(String::as_str).filter(|id| *id != "all"));
            return framework(place, &laravel, &symfony);
        }
        Queue::Forget { id: Some(id), parked: None, .. } => {
            return framework(place, &["queue:forget", id], &["messenger:failed:remove", "--force", id]);
        }
        Queue::Flush { parked: None } => {
            return framework(place, &["queue:flush"], &["messenger:failed:remove", "--force", "--all"]);
        }
        Queue::Retry { filter, yes, parked: Some(queue), .. } if search::is_given(filter) => {
            search::change(place, queue, &["parked".to_owned()], filter, Change::Ready, *yes)?;
        }
        Queue::Forget { filter, yes, parked: Some(queue), .. } if search::is_given(filter) => {
            search::change(place, queue, &["parked".to_owned()], filter, Change::Drop, *yes)?;
        }
        Queue::Forget { id: None, .. } => unreachable!("an id, or filters"),
        Queue::Release { queue, state, filter, yes } => {
            search::change(place, queue, std::slice::from_ref(state), filter, Change::Ready, *yes)?;
        }
        Queue::Cancel { id, json } => return search::cancel(place, id, *json),
        Queue::Clear { queue, filter, state, force } if search::is_given(filter) || !state.is_empty() => {
            let usual = ["waiting".to_owned(), "delayed".to_owned()];
            let states = if state.is_empty() { &usual[..] } else { state };
            search::change(place, queue, states, filter, Change::Drop, *force)?;
        }
        Queue::Retry { ids, parked: Some(queue), .. } => {
            for id in ids {
                parked(place, queue, Some(id).filter(|id| *id != "all"), true)?;
            }
        }
        Queue::Forget { id: Some(id), parked: Some(queue), .. } => parked(place, queue, Some(id), false)?,
        Queue::Flush { parked: Some(queue) } => parked(place, queue, None, false)?,
        Queue::Clear { queue, force, .. } => return clear(place, queue, *force),
        Queue::Pause { queue } => pause(place, queue, true)?,
        Queue::Resume { queue } => pause(place, queue, false)?,
        Queue::Work { queue, once, stop_when_empty } => {
            return work(place, queue.as_deref(), *once, *stop_when_empty);
        }
        Queue::Monitor { queues, max, age, json } => return monitor(place, queues, *max, *age, *json),
    }
    Ok(Exit::Done)
}

/// The application is asked itself: where batches are kept is its own affair.
fn batches(place: &Place, most: usize) -> Result<Value, Exit> {
    let site = place.load(None)?;
    if site.loaded.application.framework != Framework::Laravel {
        output::error("batches are Laravel's, and this is no Laravel application");
        return Err(Exit::Usage);
    }
    let ready = site.make_folders().and_then(|()| run::become_user(&site));
    ready.map_err(|fault| fault.to_string()).and_then(|()| script::batches(&site, most)).map_err(|fault| {
        output::error(fault);
        Exit::Failed
    })
}

/// Runs the framework's own command, which keeps the failed jobs.
fn framework(place: &Place, laravel: &[&str], symfony: &[&str]) -> Result<Exit, Exit> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    match place.load(None)?.loaded.application.framework {
        Framework::Laravel => Ok(run::artisan(place, words(laravel))),
        Framework::Symfony => Ok(run::console(place, words(symfony))),
        _ => {
            output::error("failed jobs are kept by Laravel or Symfony, and this application is neither");
            Err(Exit::Usage)
        }
    }
}

/// The framework's own worker in the foreground: it shares the queue with whoever works on it.
fn work(place: &Place, queue: Option<&str>, once: bool, stop_when_empty: bool) -> Result<Exit, Exit> {
    let refuse = |why: &str| {
        output::error(why);
        Err(Exit::Usage)
    };
    let names: Vec<&str> = queue.into_iter().flat_map(|names| names.split(',')).map(str::trim).collect();
    match place.load(None)?.loaded.application.framework {
        Framework::Laravel => {
            let mut words = vec!["queue:work".to_owned(), "-v".to_owned()];
            let parts: Vec<(&str, Option<&str>)> = names
                .iter()
                .map(|name| name.split_once(':').map_or((*name, None), |(of, queue)| (of, Some(queue))))
                .collect();
            if let Some((connection, _)) = parts.first() {
                if parts.iter().any(|(other, _)| other != connection) {
                    return refuse("these queues are on several connections: run it once for each");
                }
                words.push((*connection).to_owned());
                let queues: Vec<&str> = parts.iter().filter_map(|(_, queue)| *queue).collect();
                words.extend((!queues.is_empty()).then(|| format!("--queue={}", queues.join(","))));
            }
            words.extend(once.then(|| "--once".to_owned()));
            words.extend(stop_when_empty.then(|| "--stop-when-empty".to_owned()));
            Ok(run::artisan(place, words))
        }
        Framework::Symfony if stop_when_empty => {
            refuse("messenger:consume cannot stop when nothing waits; --once ends after one message")
        }
        Framework::Symfony => {
            let mut words = vec!["messenger:consume".to_owned(), "-vv".to_owned()];
            words.extend(names.into_iter().map(str::to_owned));
            words.extend(once.then(|| "--limit=1".to_owned()));
            Ok(run::console(place, words))
        }
        _ => refuse("queues are Laravel's or Symfony's, and this application is neither"),
    }
}

fn ask(place: &Place, question: &Question) -> Result<Value, Exit> {
    let path = place.run_dir().join(CONTROL);
    let answer = exchange(&path, question).map_err(|fault| {
        output::error(format_args!(
            "the jobs role does not answer at {}: {fault}; start it with: regie up",
            path.display()
        ));
        Exit::Unavailable
    })?;
    if let Some(fault) = answer["error"].as_str() {
        output::error(fault);
        return Err(Exit::Failed);
    }
    Ok(answer)
}

/// Whether a pool shows this lease so.
pub(crate) fn is_shown_as(lease: &str, uri: &str) -> bool {
    uri.starts_with(lease.get(..search::SHOWN).unwrap_or(lease))
}

/// Asks the jobs role at this socket.
pub(crate) fn exchange(path: &std::path::Path, question: &Question) -> std::io::Result<Value> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(question)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(serde_json::from_slice(&answer)?)
}

fn show(answer: &Value, json: bool, lines: fn(&Value, Paint) -> Vec<String>) {
    if json {
        output::line(serde_json::to_string_pretty(answer).expect("plain data"));
    } else {
        lines(answer, Paint::stdout()).iter().for_each(output::line);
    }
}

fn items<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The millisecond that lies so long ago.
fn since_ms(text: &str) -> Result<u64, Exit> {
    match text.parse::<Span>() {
        Ok(span) => Ok(time::now_ms().saturating_sub(u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX))),
        Err(fault) => {
            output::error(format_args!("--since {text}: {fault}"));
            Err(Exit::Usage)
        }
    }
}

/// Microseconds for people.
fn span(value: &Value) -> String {
    match value.as_u64() {
        None => "–".to_owned(),
        Some(us) if us < 1_000 => format!("{us} µs"),
        Some(us) if us < 1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        Some(us) => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn quantiles(value: &Value) -> String {
    if value["p50_us"].is_null() {
        return "–".to_owned();
    }
    format!("{} / {} / {}", span(&value["p50_us"]), span(&value["p95_us"]), span(&value["p99_us"]))
}

fn stats_lines(answer: &Value, paint: Paint) -> Vec<String> {
    let mut table = Table::new(
        &[
            "QUEUE",
            "WORKERS",
            "WAITING",
            "DELAYED",
            "RESERVED",
            "PARKED",
            "DONE",
            "FAILED",
            "JOBS/S",
            "WAIT p50/95/99",
            "RUN p50/95/99",
            "",
        ],
        &[2, 3, 4, 5, 6, 7, 8],
    );
    for group in items(answer, "groups") {
        for queue in items(group, "queues") {
            let plain = |value: &Value| (Tone::Plain, text(value));
            let failed = queue["totals"]["failed"].as_u64().unwrap_or_default();
            let state = match (queue["trouble"].as_str(), queue["paused"].as_bool()) {
                (Some(why), _) => (Tone::Bad, why.to_owned()),
                (None, Some(true)) => (Tone::Warning, "paused".to_owned()),
                _ => (Tone::Plain, String::new()),
            };
            table.row(vec![
                (Tone::Strong, text(&queue["queue"])),
                (
                    Tone::Plain,
                    format!("{} ({} of {} busy)", text(&group["name"]), group["busy"], group["workers"]),
                ),
                plain(&queue["waiting"]),
                plain(&queue["delayed"]),
                plain(&queue["reserved"]),
                plain(&queue["parked"]),
                plain(&queue["totals"]["done"]),
                (if failed > 0 { Tone::Warning } else { Tone::Plain }, failed.to_string()),
                (Tone::Plain, format!("{:.1}", queue["jobs_per_second"].as_f64().unwrap_or_default())),
                (Tone::Plain, quantiles(&queue["wait"])),
                (Tone::Plain, quantiles(&queue["run"])),
                state,
            ]);
        }
    }
    let mut lines = table.render(paint);
    for limit in items(answer, "groups").iter().flat_map(|group| items(group, "limits")) {
        let at_a_time = limit["concurrency"].as_u64().map(|most| format!(" of {most} at a time"));
        let rate = limit["rate"][0].as_u64().map(|most| format!(", {most} in {} s", limit["rate"][1]));
        lines.push(format!(
            "{}: {}{} running{}",
            text(&limit["class"]),
            limit["running"],
            at_a_time.unwrap_or_default(),
            rate.unwrap_or_default()
        ));
    }
    for foreign in items(answer, "foreign") {
        lines.push(format!(
            "{} runs on the framework's own worker: {}",
            text(&foreign[0]),
            text(&foreign[1])
        ));
    }
    lines
}

fn list_lines(answer: &Value, paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["ID", "CLASS", "ATTEMPTS", "AT", ""], &[2, 3]);
    for job in items(answer, "jobs") {
        let reason = if job["reason"].is_null() { String::new() } else { text(&job["reason"]) };
        table.row(vec![
            (Tone::Strong, text(&job["id"])),
            (Tone::Plain, text(&job["class"])),
            (Tone::Plain, text(&job["attempts"])),
            (Tone::Plain, text(&job["at"])),
            (Tone::Quiet, reason),
        ]);
    }
    table.render(paint)
}

fn batch_lines(answer: &Value, paint: Paint) -> Vec<String> {
    let mut table =
        Table::new(&["CREATED", "ID", "NAME", "JOBS", "TO COME", "FAILED", "PROGRESS", ""], &[3, 4, 5, 6]);
    for batch in items(answer, "batches") {
        let count = |name: &str| batch[name].as_u64().unwrap_or_default();
        // Laravel counts the failed ones among those that are to come, as they may be retried.
        let to_come = count("pending").saturating_sub(count("failed"));
        let (tone, what) = match (&batch["cancelled"], &batch["finished"]) {
            (Value::Number(_), _) => (Tone::Warning, "cancelled"),
            (_, Value::Number(_)) => (Tone::Good, "finished"),
            _ if to_come == 0 && count("failed") > 0 => (Tone::Bad, "waits for the failed ones"),
            _ => (Tone::Plain, ""),
        };
        let failed = if count("failed") > 0 { Tone::Bad } else { Tone::Plain };
        table.row(vec![
            (Tone::Quiet, time::local_day(count("created") * 1000)),
            (Tone::Strong, text(&batch["id"])),
            (Tone::Plain, text(&batch["name"])),
            (Tone::Plain, text(&batch["total"])),
            (Tone::Plain, to_come.to_string()),
            (failed, text(&batch["failed"])),
            (Tone::Plain, format!("{} %", count("progress"))),
            (tone, what.to_owned()),
        ]);
    }
    table.render(paint)
}

fn run_lines(answer: &Value, paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["ENDED", "ID", "QUEUE", "CLASS", "ATTEMPT", "END", "RAN", ""], &[4, 6]);
    for run in items(answer, "runs") {
        let why = match (&run["exception"]["message"], &run["evidence"]) {
            (Value::String(message), _) => message.lines().next().unwrap_or_default().to_owned(),
            (_, Value::String(evidence)) => evidence.lines().next().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        let tone = match run["end"].as_str() {
            Some("done") => Tone::Good,
            Some("released") => Tone::Warning,
            _ => Tone::Bad,
        };
        table.row(vec![
            (Tone::Quiet, time::local_day(run["ended_ms"].as_u64().unwrap_or_default())),
            (Tone::Strong, text(&run["id"])),
            (Tone::Plain, text(&run["queue"])),
            (Tone::Plain, text(&run["class"])),
            (Tone::Plain, text(&run["attempts"])),
            (tone, text(&run["end"])),
            (Tone::Plain, span(&run["ran_us"])),
            (Tone::Quiet, why),
        ]);
    }
    let mut lines = table.render(paint);
    if let Some(count) = answer["left_out"].as_u64().filter(|count| *count > 0) {
        lines.push(format!("{count} runs came faster than the disk takes them and are not in this record"));
    }
    lines
}

fn detail_lines(answer: &Value, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    for run in items(answer, "runs") {
        let title = format!("{} {}", text(&run["class"]), text(&run["id"]));
        lines.push(paint.text(Tone::Strong, title));
        for (name, value) in [
            ("queue", text(&run["queue"])),
            ("attempt", text(&run["attempts"])),
            ("end", text(&run["end"])),
            ("waited", span(&run["waited_us"])),
            ("ran", span(&run["ran_us"])),
            ("evidence", text(&run["evidence"])),
            ("output", text(&run["output"])),
            ("payload", text(&run["payload"])),
        ] {
            if value != "–" {
                lines.push(format!("  {name:<10}{value}"));
            }
        }
        if let Value::Object(thrown) = &run["exception"] {
            let of = |name: &str| thrown.get(name).map(text).unwrap_or_default();
            lines.push(format!("  exception {}: {}", of("class"), of("message")));
            lines.push(format!("            {}:{}", of("file"), of("line")));
            lines.extend(of("trace").lines().map(|line| format!("            {line}")));
        }
    }
    lines
}

fn parked(place: &Place, queue: &str, id: Option<&String>, retry: bool) -> Result<(), Exit> {
    let question = Question::Parked { queue: queue.to_owned(), id: id.cloned(), retry };
    let answer = ask(place, &question)?;
    let what = if retry { "put back" } else { "dropped" };
    output::line(format_args!("{queue}: {} {what}", answer["count"]));
    Ok(())
}

fn pause(place: &Place, queue: &str, paused: bool) -> Result<(), Exit> {
    ask(place, &Question::Pause { queue: queue.to_owned(), paused })?;
    output::line(format_args!("{queue}: {}", if paused { "paused" } else { "goes on" }));
    Ok(())
}

fn clear(place: &Place, queue: &str, force: bool) -> Result<Exit, Exit> {
    search::confirm(&format!("Drop every job of {queue}, waiting, delayed and reserved?"), force)?;
    let answer = ask(place, &Question::Clear { queue: queue.to_owned() })?;
    output::line(format_args!("{queue}: {} dropped", answer["count"]));
    Ok(Exit::Done)
}

fn monitor(place: &Place, queues: &[String], max: u64, age: Option<u64>, json: bool) -> Result<Exit, Exit> {
    let answer = ask(place, &Question::Stats)?;
    let mut found = Vec::new();
    for queue in items(&answer, "groups").iter().flat_map(|group| items(group, "queues")) {
        let name = text(&queue["queue"]);
        let short = name.split_once(':').map(|(_, short)| short);
        if !queues.is_empty()
            && !queues.iter().any(|wanted| *wanted == name || Some(wanted.as_str()) == short)
        {
            continue;
        }
        let waiting = queue["waiting"].as_u64().unwrap_or_default();
        let oldest = queue["oldest_s"].as_u64();
        let well = waiting <= max && age.is_none_or(|age| oldest.unwrap_or_default() <= age);
        found.push(serde_json::json!({ "queue": name, "waiting": waiting, "oldest_s": oldest, "ok": well }));
    }
    if let Some(missing) = queues.iter().find(|wanted| {
        !found.iter().any(|row| {
            text(&row["queue"]) == **wanted || text(&row["queue"]).ends_with(&format!(":{wanted}"))
        })
    }) {
        output::error(format_args!("there is no queue \"{missing}\"; see: regie queue stats"));
        return Err(Exit::Usage);
    }
    if json {
        output::line(serde_json::to_string_pretty(&found).expect("plain data"));
    } else {
        for row in &found {
            let oldest =
                row["oldest_s"].as_u64().map(|s| format!(", the first for {s} s")).unwrap_or_default();
            let well = if row["ok"] == true { "ok" } else { "too long" };
            output::line(format_args!("{}: {} waiting{oldest}: {well}", text(&row["queue"]), row["waiting"]));
        }
    }
    Ok(if found.iter().all(|row| row["ok"] == true) { Exit::Done } else { Exit::Failed })
}
