//! How long a lease lasts beside how long a job may run: the most frequent way in which Laravel's jobs run twice.

use super::{Finding, Severity};
use crate::dotenv::DotEnv;
use crate::facts::{Facts, QueueConnection};
use crate::load::Loaded;
use crate::php_config::{Value, value, values};
use crate::values::CommandLine;

/// What queue:work has where nothing is said.
const TIMEOUT: u64 = 60;

/// The connections of Laravel's config/queue.php, as far as it can be read without running it.
pub(crate) fn connections(text: &str, env: &DotEnv) -> Vec<QueueConnection> {
    let values = values(text);
    let read = |path: &str| match value(&values, path)? {
        Value::Literal(text) => Some(text.clone()),
        Value::Env(name, default) => env.get(name).map(str::to_owned).or_else(|| default.clone()),
        Value::Code => None,
    };
    let default = read("default");
    let mut names: Vec<&str> = Vec::new();
    for (path, _) in &values {
        let name = path.strip_prefix("connections.").and_then(|rest| rest.split('.').next());
        names.extend(name.filter(|name| !names.contains(name)));
    }
    let connection = |name: &str| QueueConnection {
        name: name.to_owned(),
        is_default: default.as_deref() == Some(name),
        retry_after: read(&format!("connections.{name}.retry_after")).and_then(|text| text.parse().ok()),
    };
    names.into_iter().map(connection).collect()
}

/// Leases that end while the job may still run.
pub(super) fn leases(loaded: &Loaded, facts: &Facts, out: &mut Vec<Finding>) {
    for connection in &facts.queue_connections {
        let Some(retry_after) = connection.retry_after else { continue };
        let name = &connection.name;
        for (program, section) in &loaded.config.programs {
            let words = words(&section.command);
            let Some(timeout) = worker(&words, connection).filter(|t| *t == 0 || *t >= retry_after) else {
                continue;
            };
            let runs = if timeout == 0 { "for ever".to_owned() } else { format!("for {timeout} s") };
            out.push(Finding::new(
                Severity::Warning,
                format!("[program.{program}]"),
                format!(
                    "a job may run {runs}, but on {name} it is started a second time after retry_after, {retry_after} s"
                ),
                format!(
                    "--timeout={}, or a retry_after in config/queue.php that is longer",
                    retry_after.saturating_sub(10).max(1)
                ),
            ));
        }
        for (group, section) in &loaded.config.workers {
            let timeout = section.timeout.0.as_secs();
            let serves = |queue: &String| queue.split(':').next() == Some(name);
            let served = if section.queues.is_empty() {
                connection.is_default
            } else {
                section.queues.iter().any(serves)
            };
            if served && (timeout == 0 || timeout >= retry_after) {
                out.push(Finding::new(
                    Severity::Note,
                    format!("[workers.{group}]"),
                    format!(
                        "jobs of {name} may run longer than its retry_after, {retry_after} s: Régie keeps their lease, \
                         but a queue:work or Horizon beside it would start them a second time"
                    ),
                    format!("a retry_after in config/queue.php above {timeout}, or leave it"),
                ));
            }
        }
    }
}

fn words(command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(line) => line.split_whitespace().map(str::to_owned).collect(),
        CommandLine::Arguments(words) => words.clone(),
    }
}

/// The time limit of a `queue:work` for this connection; none when it is something else.
fn worker(words: &[String], connection: &QueueConnection) -> Option<u64> {
    let at = words.iter().position(|word| word == "queue:work")?;
    let after = &words[at + 1..];
    let named = after.iter().find(|word| !word.starts_with('-'));
    if !named.map_or(connection.is_default, |named| *named == connection.name) {
        return None;
    }
    let timeout = after.iter().find_map(|word| word.strip_prefix("--timeout="));
    Some(timeout.and_then(|text| text.parse().ok()).unwrap_or(TIMEOUT))
}
