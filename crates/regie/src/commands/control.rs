//! Commands that ask the running supervisor: status, start, stop, restart, reload, scale, logs, down.

use std::path::Path;
use std::time::Duration;

use regie_core::{ByteSize, Exit, Span};
use regie_supervisor::{
    Client, ClientError, ErrorKind, LogLine, NameResult, Overview, Reply, Request, State, StatusRow, Stream,
};

use crate::cli::{Logs, Status};
use crate::commands::pool_workers::{self, Worker};
use crate::commands::rewind;
use crate::output::{self, Paint, Table, Tone};
use crate::time;

/// The supervisor drains within its own limits; past this something is wrong with it.
const DOWN_LIMIT: Duration = Duration::from_secs(300);

/// `regie status`.
pub(crate) fn status(run_dir: &Path, asked: &Status) -> Exit {
    let (programs, single) = split(run_dir, &asked.names);
    let names = programs.iter().chain(single.iter().map(|(program, _)| program)).cloned().collect();
    let reply = match ask(run_dir, &Request::Status { names }) {
        Ok(reply) => reply,
        Err(exit) => return exit,
    };
    let Reply::Status(overview) = reply else { return refused(reply) };
    let pools = pool_workers::ask_pools(run_dir, &overview);
    let rewound = rewind::read_pools(&pools);
    let workers = pool_workers::workers(run_dir, &pools);
    if asked.json {
        let mut value = serde_json::to_value(&overview).expect("plain data");
        rewind::add_to(&mut value, &rewound);
        pool_workers::add_to(&mut value, &workers);
        output::line(serde_json::to_string_pretty(&value).expect("plain data"));
    } else {
        let paint = Paint::stdout();
        let shown = Shown { names: &asked.names, programs: &programs };
        for line in status_lines(&overview, &workers, &shown, paint) {
            output::line(line);
        }
        for pool in &rewound {
            output::line(paint.text(Tone::Quiet, pool));
        }
    }
    let failed = overview.rows.iter().any(|row| matches!(row.state, State::Fatal | State::Backoff));
    if failed { Exit::Failed } else { Exit::Done }
}

/// The programs among the names, and the workers of pools, by program and seat.
fn split(run_dir: &Path, names: &[String]) -> (Vec<String>, Vec<(String, usize)>) {
    let (mut programs, mut workers) = (Vec::new(), Vec::new());
    for name in names {
        match pool_workers::parse(run_dir, name) {
            Some(worker) => workers.push(worker),
            None => programs.push(name.clone()),
        }
    }
    (programs, workers)
}

/// Which rows are wished for.
struct Shown<'a> {
    /// All that was named.
    names: &'a [String],
    /// The programs among them.
    programs: &'a [String],
}

impl Shown<'_> {
    /// Nobody who names one worker wants to see its program.
    fn row(&self) -> bool {
        self.names.is_empty() || !self.programs.is_empty()
    }

    /// Workers of a group always, those of other pools when they are asked for: there may be many.
    fn worker(&self, program: &str, worker: &Worker) -> bool {
        let of_group = self.names.is_empty() && program.starts_with("workers:");
        of_group || !self.programs.is_empty() || self.names.contains(&worker.name)
    }
}

fn status_lines(
    overview: &Overview,
    workers: &[(String, Vec<Worker>)],
    shown: &Shown<'_>,
    paint: Paint,
) -> Vec<String> {
    let mut table =
        Table::new(&["NAME", "STATE", "PID", "UPTIME", "RESTARTS", "MEMORY", "CPU", ""], &[2, 3, 4, 5, 6]);
    for row in &overview.rows {
        if shown.row() {
            table.row(status_cells(row));
        }
        let of_program = workers.iter().find(|(program, _)| *program == row.program);
        let workers = of_program.into_iter().flat_map(|(_, workers)| workers);
        for worker in workers.filter(|worker| shown.worker(&row.program, worker)) {
            table.row(worker_cells(worker));
        }
    }
    let mut lines = table.render(paint);
    let supervisor = format!(
        "supervisor {} ({}), up {}, {}",
        overview.pid,
        overview.phase,
        uptime(overview.uptime_ms),
        ByteSize(overview.memory)
    );
    lines.push(paint.text(Tone::Quiet, supervisor));
    lines
}

fn status_cells(row: &StatusRow) -> Vec<(Tone, String)> {
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "–".into());
    let tone = match row.state {
        State::Running => Tone::Good,
        State::Starting | State::Stopping => Tone::Plain,
        State::Stopped | State::Exited => Tone::Quiet,
        State::Backoff => Tone::Warning,
        State::Fatal => Tone::Bad,
    };
    vec![
        (Tone::Strong, row.name.clone()),
        (tone, row.state.as_str().to_owned()),
        (Tone::Plain, or_dash(row.pid.map(|pid| pid.to_string()))),
        (Tone::Plain, or_dash(row.uptime_ms.map(uptime))),
        (if row.restarts > 0 { Tone::Warning } else { Tone::Quiet }, row.restarts.to_string()),
        (Tone::Plain, or_dash(row.memory.map(|bytes| ByteSize(bytes).to_string()))),
        (Tone::Plain, or_dash(row.cpu_percent.map(|percent| format!("{percent:.1} %")))),
        (Tone::Quiet, description(row)),
    ]
}

fn worker_cells(worker: &Worker) -> Vec<(Tone, String)> {
    let tone = match worker.state.as_str() {
        "FAILED" => Tone::Bad,
        "IDLE" => Tone::Quiet,
        _ => Tone::Plain,
    };
    let nothing = || (Tone::Quiet, "–".to_owned());
    vec![
        (Tone::Plain, format!("  {}", worker.name)),
        (tone, worker.state.clone()),
        (Tone::Plain, worker.pid.to_string()),
        (Tone::Plain, uptime(worker.uptime_ms)),
        nothing(),
        nothing(),
        nothing(),
        (Tone::Quiet, worker.description(uptime)),
    ]
}

/// What the program says of itself, and whether older generations still drain.
fn description(row: &StatusRow) -> String {
    if row.draining.is_empty() {
        return row.description.clone();
    }
    let older: Vec<String> = row.draining.iter().map(ToString::to_string).collect();
    format!("generation {}; {} drains {}", row.generation, older.join(", "), row.description)
        .trim_end()
        .to_owned()
}

/// The two largest units of a length of time: `3d 4h`, `1h 5m`, `12s`.
fn uptime(ms: u64) -> String {
    let whole_seconds = Span::secs(ms / 1000).to_string();
    whole_seconds.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// `regie start` and `regie stop`, which are for programs as a whole.
pub(crate) fn start_or_stop(run_dir: &Path, what: &str, names: Vec<String>) -> Exit {
    if let Some(exit) = pool_workers::refuse(run_dir, what, &names) {
        return exit;
    }
    let wait = true;
    act(
        run_dir,
        &if what == "start" { Request::Start { names, wait } } else { Request::Stop { names, wait } },
    )
}

/// `regie restart` of programs, and of single workers of a pool.
pub(crate) fn restart(run_dir: &Path, names: &[String]) -> Exit {
    let (names, workers) = split(run_dir, names);
    let done = if workers.is_empty() { Exit::Done } else { pool_workers::restart(run_dir, &workers) };
    if names.is_empty() {
        return done;
    }
    match act(run_dir, &Request::Restart { names, wait: true }) {
        Exit::Done => done,
        exit => exit,
    }
}

/// `start`, `stop`, `restart`, `reload` and `scale`: one line for each program, and whether all is as was asked.
pub(crate) fn act(run_dir: &Path, request: &Request) -> Exit {
    match ask(run_dir, request) {
        Ok(Reply::Done { results }) => report(&results),
        Ok(other) => refused(other),
        Err(exit) => exit,
    }
}

fn report(results: &[NameResult]) -> Exit {
    let paint = Paint::stdout();
    for result in results {
        let tone = if result.ok { Tone::Good } else { Tone::Bad };
        output::line(format_args!("{}: {}", result.name, paint.text(tone, &result.detail)));
    }
    if results.iter().all(|result| result.ok) { Exit::Done } else { Exit::Failed }
}

/// `regie scale NAME=N …`.
pub(crate) fn scale(run_dir: &Path, targets: &[String]) -> Exit {
    let mut requests = Vec::new();
    for target in targets {
        let Some((name, to)) = target.split_once('=').and_then(|(name, n)| Some((name, n.parse().ok()?)))
        else {
            output::error(format_args!("\"{target}\" is not NAME=N, as php:web=8"));
            return Exit::Usage;
        };
        requests.push(Request::Scale { name: name.to_owned(), to, wait: true });
    }
    let exits: Vec<Exit> = requests.iter().map(|request| act(run_dir, request)).collect();
    exits.into_iter().find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
}

/// `regie down`: returns when everything has stopped.
pub(crate) fn down(run_dir: &Path) -> Exit {
    let mut client = match connect(run_dir) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    let ended = client
        .set_timeout(Some(DOWN_LIMIT))
        .and_then(|()| client.ask(&Request::Shutdown { fast: false }))
        .and_then(|_| client.wait_closed());
    match ended {
        Ok(()) | Err(ClientError::Closed) => {
            output::line("stopped");
            Exit::Done
        }
        Err(fault) => failed(&fault),
    }
}

/// `regie logs`.
pub(crate) fn logs(run_dir: &Path, asked: &Logs, now_ms: u64) -> Exit {
    let since_ms = match asked.since.as_deref().map(str::parse::<Span>).transpose() {
        Ok(span) => {
            span.map(|span| now_ms.saturating_sub(u64::try_from(span.0.as_millis()).unwrap_or(u64::MAX)))
        }
        Err(fault) => {
            output::error(format_args!("--since: {fault}"));
            return Exit::Usage;
        }
    };
    let request = Request::Logs {
        names: asked.names.clone(),
        tail: Some(asked.tail),
        follow: asked.follow,
        since_ms,
        grep: asked.grep.clone(),
    };
    let mut client = match connect(run_dir) {
        Ok(client) => client,
        Err(exit) => return exit,
    };
    if let Err(fault) = client.send(&request) {
        return failed(&fault);
    }
    let paint = Paint::stdout();
    loop {
        match client.next_reply() {
            Ok(Reply::Line(line)) if asked.json => {
                output::line(serde_json::to_string(&line).expect("plain data"));
            }
            Ok(Reply::Line(line)) => output::line(log_line(&line, asked.timestamps, paint)),
            Ok(Reply::End {}) => return Exit::Done,
            Ok(other) => return refused(other),
            Err(ClientError::Closed) if asked.follow => return Exit::Done,
            Err(fault) => return failed(&fault),
        }
    }
}

/// A line of a program as a person reads it: `gateway      | text`.
pub(crate) fn log_line(line: &LogLine, timestamps: bool, paint: Paint) -> String {
    let time = if timestamps {
        format!("{} ", paint.text(Tone::Quiet, time::local(line.time_ms)))
    } else {
        String::new()
    };
    let (bar, tone) = match line.stream {
        Stream::Out => ("|", Tone::Plain),
        Stream::Err => ("|", Tone::Plain),
        Stream::Event => ("*", Tone::Quiet),
    };
    let name = paint.text(Tone::Strong, format_args!("{:<12}", line.name));
    format!("{time}{name} {bar} {}", paint.text(tone, &line.text))
}

/// The processes of what runs in this folder; none when nothing does.
pub(crate) fn own_processes(run_dir: &Path) -> Vec<u32> {
    let overview =
        Client::connect(run_dir).and_then(|mut client| client.ask(&Request::Status { names: Vec::new() }));
    let Ok(Reply::Status(overview)) = overview else { return Vec::new() };
    overview.rows.iter().filter_map(|row| row.pid).chain([overview.pid]).collect()
}

fn connect(run_dir: &Path) -> Result<Client, Exit> {
    Client::connect(run_dir).map_err(|fault| failed(&fault))
}

fn ask(run_dir: &Path, request: &Request) -> Result<Reply, Exit> {
    connect(run_dir)?.ask(request).map_err(|fault| failed(&fault))
}

fn failed(fault: &ClientError) -> Exit {
    match fault {
        ClientError::NotRunning(_) => {
            output::error("nothing runs in this folder; start it with: regie up");
            Exit::Unavailable
        }
        ClientError::TimedOut => {
            output::error(fault);
            Exit::TryAgain
        }
        _ => {
            output::error(output::chain(fault));
            Exit::Failed
        }
    }
}

fn refused(reply: Reply) -> Exit {
    let Reply::Error { kind, message } = reply else {
        output::error("the supervisor gave an answer of another kind; is it of another version?");
        return Exit::Failed;
    };
    output::error(message);
    match kind {
        ErrorKind::BadRequest
        | ErrorKind::NoSuchName
        | ErrorKind::InvalidConfiguration
        | ErrorKind::CannotScale => Exit::Usage,
        ErrorKind::ShuttingDown | ErrorKind::TooMuch => Exit::TryAgain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptimes_show_two_units() {
        for (ms, shown) in [(0, "0s"), (12_345, "12s"), (3_900_000, "1h 5m"), (273_600_000, "3d 4h")] {
            assert_eq!(uptime(ms), shown);
        }
    }
}
