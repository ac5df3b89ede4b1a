//! The workers of a pool, each by its own name: `workers:default_00`, `php:web_03`.
//!
//! A group of workers is one program with a pool, so the supervisor knows the group and the pool knows its workers. A
//! worker's number is its seat in the pool: the process that follows it there has the same name. `regie status`, `regie
//! logs` and `regie restart` take these names; who is started and stopped is the program.

use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use regie_core::Exit;
use regie_queue::shell::control::Question;
use regie_supervisor::{Overview, State, pattern};
use serde_json::{Value, json};

use crate::commands::{opcache, queue, rewind};
use crate::output;
use crate::roles::jobs::CONTROL;

/// Between two looks at a worker that is being replaced.
const LOOK: Duration = Duration::from_millis(50);

/// For how many looks a command waits for it; a job may take longer.
const LOOKS: u32 = 200;

/// What a pool says of itself and of each of its workers.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) program: String,
    pub(crate) page: Value,
}

/// One worker.
#[derive(Debug, PartialEq)]
pub(crate) struct Worker {
    pub(crate) name: String,
    pub(crate) pid: u64,
    pub(crate) state: String,
    pub(crate) uptime_ms: u64,
    /// Requests or jobs of this process.
    pub(crate) served: u64,
    /// What it is doing.
    pub(crate) task: Option<Task>,
    /// Whether its pool is a group's.
    has_jobs: bool,
}

/// What a worker has in hand.
#[derive(Debug, PartialEq)]
pub(crate) struct Task {
    /// A job's class, or the method and address of a request.
    pub(crate) what: String,
    /// The job's id.
    pub(crate) id: Option<String>,
    /// The job's queue.
    pub(crate) queue: Option<String>,
    pub(crate) ms: u64,
}

/// Where a pool is asked, if there is one of this name.
fn socket(run_dir: &Path, program: &str) -> Option<PathBuf> {
    Some(run_dir.join(rewind::socket_of(program)?)).filter(|socket| socket.exists())
}

/// The program and the seat that `name` means, when it is a worker's.
pub(crate) fn parse(run_dir: &Path, name: &str) -> Option<(String, usize)> {
    let (program, _) = pattern::worker(name)?;
    let seat = name.rsplit_once('_')?.1.parse().ok()?;
    // Only pools have such a socket, and one may be called so itself.
    let is_worker = socket(run_dir, program).is_some() && socket(run_dir, name).is_none();
    is_worker.then(|| (program.to_owned(), seat))
}

/// Asks those pools that run. One that does not answer is left out.
pub(crate) fn ask_pools(run_dir: &Path, overview: &Overview) -> Vec<Pool> {
    let running = overview.rows.iter().filter(|row| row.state == State::Running);
    running
        .filter_map(|row| {
            let page = opcache::inspect(&socket(run_dir, &row.program)?, "workers").ok()?;
            Some(Pool { program: row.program.clone(), page })
        })
        .collect()
}

/// The workers of these pools, in the order of their names.
pub(crate) fn workers(run_dir: &Path, pools: &[Pool]) -> Vec<(String, Vec<Worker>)> {
    let is_busy = |pool: &Pool| has_jobs(&pool.program) && processes(&pool.page).any(is_busy);
    let jobs = if pools.iter().any(is_busy) {
        // Where the role does not answer, the lease's name is shown.
        queue::exchange(&run_dir.join(CONTROL), &Question::Work).unwrap_or_default()
    } else {
        Value::Null
    };
    let workers = |pool: &Pool| {
        let mut workers: Vec<(u64, Worker)> = processes(&pool.page)
            .filter_map(|process| Some((process["seat"].as_u64()?, worker(&pool.program, process, &jobs)?)))
            .collect();
        workers.sort_by_key(|(seat, _)| *seat);
        (pool.program.clone(), workers.into_iter().map(|(_, worker)| worker).collect())
    };
    pools.iter().map(workers).collect()
}

fn has_jobs(program: &str) -> bool {
    program.starts_with("workers:")
}

fn processes(page: &Value) -> impl Iterator<Item = &Value> {
    page["processes"].as_array().into_iter().flatten()
}

fn is_busy(process: &Value) -> bool {
    matches!(process["state"].as_str(), Some("Running" | "Finishing" | "Reading headers"))
}

fn name_of(program: &str, seat: u64) -> String {
    format!("{program}_{seat:02}")
}

fn worker(program: &str, process: &Value, jobs: &Value) -> Option<Worker> {
    let number = |name: &str| process[name].as_u64();
    let busy = is_busy(process);
    Some(Worker {
        name: name_of(program, number("seat")?),
        pid: number("pid")?,
        state: match process["state"].as_str()? {
            _ if busy => "BUSY".to_owned(),
            "Failed to boot" => "FAILED".to_owned(),
            other => other.to_uppercase(),
        },
        uptime_ms: number("start since")?.saturating_mul(1000),
        served: number("requests")?,
        task: busy.then(|| task(process, jobs)),
        has_jobs: has_jobs(program),
    })
}

fn task(process: &Value, jobs: &Value) -> Task {
    let text = |name: &str| process[name].as_str().unwrap_or_default();
    let (method, uri) = (text("request method"), text("request uri"));
    let ms = process["request duration"].as_u64().unwrap_or_default() / 1000;
    let is_it = |job: &&Value| job["lease"].as_str().is_some_and(|lease| queue::is_shown_as(lease, uri));
    let job = jobs["jobs"].as_array().into_iter().flatten().find(is_it);
    let of_job = |name: &str| job.and_then(|job| job[name].as_str()).map(str::to_owned);
    let (id, queue) = (of_job("id"), of_job("queue"));
    let what = match (of_job("class").or_else(|| id.clone()), method) {
        (Some(class), _) => class,
        // The runner asks what the application says to its workers.
        (None, "message") if uri == "-" => "a question of jobs".to_owned(),
        (None, "message") => uri.to_owned(),
        (None, method) => format!("{method} {uri}"),
    };
    Task { what, id, queue, ms }
}

impl Worker {
    /// `12 jobs; App\Jobs\Report for 3s`.
    pub(crate) fn description(&self, span: fn(u64) -> String) -> String {
        let unit = match (self.has_jobs, self.served) {
            (true, 1) => "job",
            (true, _) => "jobs",
            (false, 1) => "request",
            (false, _) => "requests",
        };
        let task = self.task.as_ref().map(|task| format!("; {} for {}", task.what, span(task.ms)));
        format!("{} {unit}{}", self.served, task.unwrap_or_default())
    }

    fn to_json(&self) -> Value {
        let task = self
            .task
            .as_ref()
            .map(|task| json!({ "what": task.what, "id": task.id, "queue": task.queue, "ms": task.ms }));
        json!({
            "name": self.name,
            "state": self.state,
            "pid": self.pid,
            "uptime_ms": self.uptime_ms,
            "served": self.served,
            "task": task,
        })
    }
}

/// A member `workers` of each row of a pool.
pub(crate) fn add_to(status: &mut Value, workers: &[(String, Vec<Worker>)]) {
    for row in status["rows"].as_array_mut().into_iter().flatten() {
        if let Some((_, workers)) = workers.iter().find(|(program, _)| row["program"] == program.as_str()) {
            row["workers"] = workers.iter().map(Worker::to_json).collect();
        }
    }
}

/// Says why one worker is not started or stopped, when that was asked for.
pub(crate) fn refuse(run_dir: &Path, what: &str, names: &[String]) -> Option<Exit> {
    let (name, (program, _)) =
        names.iter().find_map(|name| parse(run_dir, name).map(|found| (name, found)))?;
    output::error(format_args!(
        "{name} is one of the workers of {program}, which are started and stopped together: regie {what} {program}. \
         One alone is replaced by: regie restart {name}. How many there are: min and max of its section, or regie scale"
    ));
    Some(Exit::Usage)
}

/// Has a new process take the place of each of these workers, when it has ended its job or request.
pub(crate) fn restart(run_dir: &Path, workers: &[(String, usize)]) -> Exit {
    let mut exit = Exit::Done;
    let mut asked = Vec::new();
    for (program, seat) in workers {
        let name = name_of(program, *seat as u64);
        let Some(socket) = socket(run_dir, program) else { continue };
        match opcache::inspect_with(&socket, &[("REGIE_INSPECT", "renew"), ("REGIE_SEAT", &seat.to_string())])
        {
            Ok(answer) => asked.push((name, socket, *seat, answer["pid"].as_u64())),
            Err(fault) => {
                output::error(format_args!("{name}: {}", explain(&socket, program, &fault)));
                exit = Exit::Failed;
            }
        }
    }
    for (name, socket, seat, before) in asked {
        let (well, said) = replaced(&socket, seat, before);
        output::line(format_args!("{name}: {said}"));
        if !well {
            exit = Exit::Failed;
        }
    }
    exit
}

fn explain(socket: &Path, program: &str, fault: &io::Error) -> String {
    let there: Vec<String> = opcache::inspect(socket, "workers")
        .map(|page| processes(&page).filter_map(|process| process["seat"].as_u64()).collect::<Vec<_>>())
        .unwrap_or_default()
        .into_iter()
        .map(|seat| name_of(program, seat))
        .collect();
    if there.is_empty() {
        return format!("its pool does not answer: {fault}");
    }
    format!("there is no such worker now; there is {}", there.join(", "))
}

/// Whether another process than `before` sits there, and what is to be said.
fn replaced(socket: &Path, seat: usize, before: Option<u64>) -> (bool, String) {
    let mut seen = None;
    for _ in 0..LOOKS {
        let page = opcache::inspect(socket, "workers").unwrap_or_default();
        seen =
            processes(&page).find(|process| process["seat"].as_u64() == Some(seat as u64)).map(|process| {
                (process["pid"].as_u64(), process["state"].as_str().unwrap_or_default().to_owned())
            });
        if let Some((pid, state)) = &seen
            && *pid != before
            && state != "Starting"
        {
            let pid = pid.unwrap_or_default();
            return match state.as_str() {
                "Failed to boot" => (false, "the new one failed to boot; see: regie logs".to_owned()),
                _ => (true, format!("replaced, process {pid}")),
            };
        }
        sleep(LOOK);
    }
    match seen {
        Some((pid, _)) if pid == before => {
            (true, "replaced when it has ended what it has in hand".to_owned())
        }
        _ => (true, "the old one has left, the new one still starts".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_named_by_its_seat_and_tells_its_job() {
        let page = json!({ "processes": [
            { "pid": 12, "seat": 1, "state": "Running", "start since": 90, "requests": 7, "request method": "message",
              "request uri": "redis/default/a-1/1", "request duration": 3_100_000 },
            { "pid": 11, "seat": 0, "state": "Idle", "start since": 5, "requests": 1, "request method": "-",
              "request uri": "-", "request duration": 200 },
        ] });
        let jobs = json!({ "jobs": [
            { "lease": "redis/default/b-1/1", "id": "b-1", "class": "App\\Other" },
            { "lease": "redis/default/a-1/1", "queue": "redis:default", "id": "a-1", "class": "App\\Report" },
        ] });
        let span = |ms: u64| format!("{}s", ms / 1000);
        let shown: Vec<String> = processes(&page)
            .filter_map(|process| worker("workers:default", process, &jobs))
            .map(|worker| format!("{} {} {}", worker.name, worker.state, worker.description(span)))
            .collect();
        assert_eq!(
            shown,
            ["workers:default_01 BUSY 7 jobs; App\\Report for 3s", "workers:default_00 IDLE 1 job"]
        );
        let unknown = worker("workers:default", &page["processes"][0], &Value::Null).unwrap();
        assert_eq!(unknown.task.unwrap().what, "redis/default/a-1/1", "where jobs does not answer");
        let web = worker("php:web", &page["processes"][1], &Value::Null).unwrap();
        assert_eq!((web.name.as_str(), web.description(span).as_str()), ("php:web_00", "1 request"));
    }

    #[test]
    fn only_what_a_pool_has_is_a_worker() {
        let folder = tempfile::tempdir().unwrap();
        for pool in ["workers.default", "php.web", "php.web_01"] {
            std::fs::write(folder.path().join(format!("{pool}.status.sock")), "").unwrap();
        }
        for (name, expected) in [
            ("workers:default_00", Some(("workers:default", 0))),
            ("php:web_12", Some(("php:web", 12))),
            ("php:web_01", None),
            ("queue_00", None),
            ("workers:default", None),
            ("workers:default_1", None),
            ("workers:*_00", None),
        ] {
            let expected = expected.map(|(program, seat)| (program.to_owned(), seat));
            assert_eq!(parse(folder.path(), name), expected, "{name}");
        }
    }
}
