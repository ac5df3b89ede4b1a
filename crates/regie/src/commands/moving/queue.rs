//! The two ends of a move of jobs, which queues it takes, and what has become of them.

use std::collections::BTreeSet;
use std::fmt;

use regie_queue::application::{Application, How};
use regie_queue::shell::driver::Fault as ServerFault;
use regie_queue::shell::moving::{self, Depot, Moved, Readdressing, readdress};
use regie_queue::shell::reach;
use serde_json::{Value, json};

use super::Fault;
use super::progress::Meter;
use super::record::Record;

/// The queue in which the script tries how long dispatching takes.
const TRIAL: &str = "regie-probe";

/// What was moved.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) queues: Vec<QueueMoved>,
    pub(super) failed: Failed,
}

/// What was moved of a queue.
#[derive(Debug)]
pub(super) struct QueueMoved {
    name: String,
    pub(super) moved: Moved,
}

impl QueueMoved {
    pub(super) fn json(&self) -> Value {
        let Moved { jobs, parked, reserved } = self.moved;
        json!({ "queue": self.name, "moved": jobs, "parked": parked, "reserved": reserved })
    }
}

impl fmt::Display for QueueMoved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let jobs = self.moved.jobs;
        write!(f, "{}: {jobs} job{} moved", self.name, if jobs == 1 { "" } else { "s" })?;
        match self.moved.parked {
            0 => Ok(()),
            parked => write!(f, ", {parked} rows are no jobs and were parked there"),
        }
    }
}

/// What has become of failed jobs.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) changed: u64,
    why_not: Option<String>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.why_not, self.changed) {
            (Some(why), _) => write!(f, "failed jobs: not changed: {why}"),
            (None, changed) => {
                write!(f, "failed jobs: {changed} stay in the list and are retried on the new connection")
            }
        }
    }
}

/// Both ends. They have to be ones that can be moved between, and two.
pub(super) fn depots(application: &Application, record: &Record) -> Result<(Depot, Depot), Fault> {
    let source = depot(application, &record.from)?;
    let target = depot(application, &record.to)?;
    if source.is_same(&target) {
        return Err(Fault::usage(format!(
            "{} and {} lead to the same jobs: there is nothing to move",
            record.from, record.to
        )));
    }
    Ok((source, target))
}

fn depot(application: &Application, name: &str) -> Result<Depot, Fault> {
    let sources = application.sources(&[name.to_owned()]).map_err(|fault| Fault::usage(fault.to_string()))?;
    let Some(source) = sources.first() else {
        return Err(Fault::usage(format!("{name} keeps no jobs: they run where they are dispatched")));
    };
    if let How::Foreign(why) = &source.how {
        return Err(Fault::usage(format!("the jobs of {name} cannot be moved: {why}")));
    }
    let found = application.connections.get(name).expect("it was just found");
    let retry_after = found.retry_after.map(std::time::Duration::from_secs);
    if found.driver == "database" {
        let prefix = found.database.as_ref().and_then(|database| database.prefix.clone()).unwrap_or_default();
        let table = format!("{prefix}{}", found.table.as_deref().unwrap_or("jobs"));
        return Ok(Depot::table(name, &reach::target(found.database.as_ref()), &table, retry_after));
    }
    let server = found.server.clone().unwrap_or_default();
    let prefix = server.prefix.clone().unwrap_or_default();
    Ok(Depot::redis(name, reach::endpoint(&server), &prefix, retry_after))
}

/// Which queues there are, with how many jobs. Both ends have answered then.
pub(super) async fn plan(
    source: &Depot,
    target: &Depot,
    record: &Record,
) -> Result<Vec<(String, u64)>, Fault> {
    let mut names = BTreeSet::new();
    for found in [
        source.queues().await.map_err(|fault| away(&record.from, &fault))?,
        source.unfinished(target).await.map_err(|fault| away(&record.from, &fault))?,
        target.unfinished(source).await.map_err(|fault| away(&record.to, &fault))?,
    ] {
        names.extend(found);
    }
    names.remove(TRIAL);
    if !record.queues.is_empty() {
        names.retain(|name| record.queues.contains(name));
    }
    let mut planned = Vec::new();
    for name in names {
        let (count, _) = source.counts(&name).await.map_err(|fault| away(&record.from, &fault))?;
        planned.push((name, count));
    }
    Ok(planned)
}

/// Moves them.
pub(super) async fn run(
    source: &Depot,
    target: &Depot,
    planned: &[(String, u64)],
    application: &Application,
    record: &Record,
) -> Result<Report, Fault> {
    // Queues may have come since.
    let mut planned = planned.to_vec();
    for (name, count) in plan(source, target, record).await? {
        if !planned.iter().any(|(known, _)| *known == name) {
            planned.push((name, count));
        }
    }
    let mut queues = Vec::new();
    for (name, count) in &planned {
        queues.push(move_one(source, target, name, *count).await?);
    }
    let failed = failed(application, record).await?;
    Ok(Report { queues, failed })
}

/// Moves one queue, of which `count` jobs are known.
pub(super) async fn move_one(
    source: &Depot,
    target: &Depot,
    name: &str,
    count: u64,
) -> Result<QueueMoved, Fault> {
    let mut meter = Meter::new(name);
    let moved = moving::run(source, target, (name, name), |done| meter.show(done, count.max(done))).await;
    meter.end();
    let moved = moved.map_err(|fault| {
        Fault::unavailable(format!(
            "{name}: {fault}; nothing is lost, the same command goes on where it stopped"
        ))
    })?;
    Ok(QueueMoved { name: name.to_owned(), moved })
}

async fn failed(application: &Application, record: &Record) -> Result<Failed, Fault> {
    let not = |why: &str| Ok(Failed { changed: 0, why_not: Some(why.to_owned()) });
    let Some(list) = &application.failed else { return not("the application has no list of them") };
    let table = match (list.driver.as_str(), &list.database) {
        ("database" | "database-uuids", Some(database)) if database.engine().is_some() => {
            let prefix = database.prefix.clone().unwrap_or_default();
            format!("{prefix}{}", list.table.as_deref().unwrap_or("failed_jobs"))
        }
        ("null", _) => return not("the application keeps none"),
        (other, _) => {
            return not(&format!("their list is kept by \"{other}\"; a retry leads to the old connection"));
        }
    };
    let to_redis = application.connections.get(&record.to).is_some_and(|found| found.driver == "redis");
    let asked = Readdressing {
        target: &reach::target(list.database.as_ref()),
        table: &table,
        from: &record.from,
        to: &record.to,
        to_redis,
    };
    match readdress(&asked, &record.queues).await {
        Ok(changed) => Ok(Failed { changed, why_not: None }),
        Err(ServerFault::Refused(why)) => not(&format!("the table {table} cannot be read ({why})")),
        Err(fault) => Err(away("the list of failed jobs", &fault)),
    }
}

pub(super) fn away(name: &str, fault: &ServerFault) -> Fault {
    if let ServerFault::Refused(why) = fault {
        return Fault::failed(format!(
            "{name}: {why}; nothing was moved yet. A table that is missing is made by the application's migrations, or \
             by regie console messenger:setup-transports"
        ));
    }
    Fault::unavailable(format!("{name}: {fault}; nothing was moved yet. Is it running? (regie up -d)"))
}
