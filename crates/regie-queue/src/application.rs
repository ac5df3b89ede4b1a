//! What the application says of its own queues: the answer of the job script to `describe`, and which of its queues a
//! group of workers serves, and how.
//!
//! Régie drives what it knows; for everything else it names the framework's own worker, so that no queue is left
//! without one silently.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The application's framework.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Framework {
    /// Laravel: connections with queues.
    Laravel,
    /// Symfony: Messenger's transports.
    Symfony,
}

/// The answer to `describe`.
#[derive(Debug, Clone, Deserialize)]
pub struct Application {
    /// The framework.
    pub framework: Framework,
    /// Laravel's default connection.
    #[serde(default)]
    pub default: Option<String>,
    /// Laravel's connections.
    #[serde(default)]
    pub connections: BTreeMap<String, Connection>,
    /// Symfony's transports.
    #[serde(default)]
    pub transports: BTreeMap<String, Transport>,
    /// Symfony's failure transport.
    #[serde(default)]
    pub failure_transport: Option<String>,
    /// Where Laravel keeps the jobs that have failed.
    #[serde(default)]
    pub failed: Option<Failed>,
    /// Horizon, where Laravel has it.
    #[serde(default)]
    pub horizon: Option<Horizon>,
    /// Changes when anything of this does.
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// PHP's time zone.
    #[serde(default)]
    pub timezone: Option<String>,
}

/// Where failed jobs are kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Failed {
    /// `database-uuids`, `database`, `file`, `dynamodb`, `null`.
    pub driver: String,
    /// The table of the first two.
    #[serde(default)]
    pub table: Option<String>,
    /// The database of it.
    #[serde(default)]
    pub database: Option<Database>,
}

/// Horizon.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Horizon {
    /// Whether it is there.
    #[serde(default)]
    pub installed: bool,
    /// Its supervisors in this environment.
    #[serde(default)]
    pub supervisors: BTreeMap<String, HorizonSupervisor>,
}

impl Horizon {
    /// Whether it has anything to work on: without supervisors for the environment, it idles.
    #[must_use]
    pub fn works(&self) -> bool {
        self.installed && !self.supervisors.is_empty()
    }
}

/// A supervisor of config/horizon.php, as it is written there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct HorizonSupervisor {
    /// Its connection.
    pub connection: Option<String>,
    /// Its queues: a list, or names joined by commas.
    pub queue: serde_json::Value,
    /// `simple`, `auto`, or false: the queues in their order.
    pub balance: serde_json::Value,
    /// The fewest workers, for each queue where they are balanced.
    pub min_processes: serde_json::Value,
    /// The most workers.
    pub max_processes: serde_json::Value,
    /// An older name of the most workers.
    pub processes: serde_json::Value,
    /// How often a job is tried; 0 for ever.
    pub tries: serde_json::Value,
    /// Seconds that a job may take.
    pub timeout: serde_json::Value,
    /// Megabytes that PHP may have after a job.
    pub memory: serde_json::Value,
    /// Seconds before the next try: a number, a list, or numbers joined by commas.
    pub backoff: serde_json::Value,
    /// Seconds after which a worker begins anew.
    pub max_time: serde_json::Value,
    /// Jobs after which a worker begins anew.
    pub max_jobs: serde_json::Value,
    /// The workers' priority.
    pub nice: serde_json::Value,
    /// Whether jobs run in maintenance mode.
    pub force: serde_json::Value,
}

impl HorizonSupervisor {
    /// Its connection; `redis` where it names none.
    #[must_use]
    pub fn connection(&self) -> &str {
        self.connection.as_deref().unwrap_or("redis")
    }

    /// Its queues, in their order; `default` where it names none.
    #[must_use]
    pub fn queues(&self) -> Vec<&str> {
        match &self.queue {
            serde_json::Value::Array(names) => names.iter().filter_map(serde_json::Value::as_str).collect(),
            serde_json::Value::String(names) => names.split(',').map(str::trim).collect(),
            _ => vec!["default"],
        }
    }

    fn has(&self, connection: &str, queue: &str) -> bool {
        self.connection() == connection && self.queues().contains(&queue)
    }
}

/// One of Laravel's connections.
#[derive(Debug, Clone, Deserialize)]
pub struct Connection {
    /// `redis`, `database`, `sync` …
    pub driver: String,
    /// The queue of jobs that name none.
    #[serde(default)]
    pub queue: Option<String>,
    /// How long a lease lasts, in seconds.
    #[serde(default)]
    pub retry_after: Option<u64>,
    /// The Redis server.
    #[serde(default)]
    pub server: Option<Server>,
    /// The table of a `database` connection.
    #[serde(default)]
    pub table: Option<String>,
    /// The database of one.
    #[serde(default)]
    pub database: Option<Database>,
}

/// A database, as the framework's client reaches it: with Laravel's names of the values, or Doctrine's.
#[derive(Debug, Clone, Deserialize, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Database {
    /// `sqlite`, `mysql`, `mariadb`, `pgsql`, or PDO's and Doctrine's names of these.
    pub driver: String,
    /// The host. Several, for reading and writing, are left to the framework.
    pub host: serde_json::Value,
    /// The port, as number or text.
    pub port: serde_json::Value,
    /// The database; of SQLite its file.
    #[serde(alias = "dbname", alias = "path")]
    pub database: Option<String>,
    /// The user.
    #[serde(alias = "user")]
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// A socket in the file system.
    pub unix_socket: Option<String>,
    /// What Laravel puts before the names of tables.
    pub prefix: Option<String>,
    /// Whether PostgreSQL is spoken to over TLS.
    pub sslmode: Option<String>,
}

/// Which database servers are driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file.
    Sqlite,
    /// MySQL or MariaDB.
    Mysql,
    /// PostgreSQL.
    Postgres,
}

impl Database {
    /// Which it is; none when it is none of these.
    #[must_use]
    pub fn engine(&self) -> Option<Engine> {
        match self.driver.as_str() {
            "sqlite" | "pdo_sqlite" | "sqlite3" => Some(Engine::Sqlite),
            "mysql" | "mariadb" | "pdo_mysql" | "mysqli" => Some(Engine::Mysql),
            "pgsql" | "pdo_pgsql" => Some(Engine::Postgres),
            _ => None,
        }
    }

    /// The port that was named.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match &self.port {
            serde_json::Value::Number(number) => number.as_u64().and_then(|port| port.try_into().ok()),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Why it cannot be driven from here; none when it can.
    fn obstacle(&self) -> Option<String> {
        let Some(engine) = self.engine() else {
            return Some(format!("Régie does not speak to \"{}\"", self.driver));
        };
        let is_file = self.database.as_deref().is_some_and(|path| path.starts_with('/'));
        match (engine, &self.host) {
            (Engine::Sqlite, _) if !is_file => Some("its database is no file".to_owned()),
            (Engine::Sqlite, _) => None,
            (_, serde_json::Value::Array(_) | serde_json::Value::Object(_)) => {
                Some("its database has several hosts".to_owned())
            }
            _ if matches!(self.sslmode.as_deref(), Some("require" | "verify-ca" | "verify-full")) => {
                Some("its database is spoken to over TLS".to_owned())
            }
            _ => None,
        }
    }
}

/// One of Symfony's transports.
#[derive(Debug, Clone, Deserialize)]
pub struct Transport {
    /// `redis`, `doctrine`, `sync`, `in-memory` …
    pub driver: String,
    /// The Redis server.
    #[serde(default)]
    pub server: Option<Server>,
    /// The stream.
    #[serde(default)]
    pub stream: Option<String>,
    /// The consumer group.
    #[serde(default)]
    pub group: Option<String>,
    /// Whether a message is removed when it is done.
    #[serde(default = "yes")]
    pub delete_after_ack: bool,
    /// The same for one that has failed.
    #[serde(default = "yes")]
    pub delete_after_reject: bool,
    /// After how many seconds a message of another consumer is taken over.
    #[serde(default)]
    pub redeliver_timeout: Option<u64>,
    /// The key of delayed messages.
    #[serde(default)]
    pub delayed: Option<String>,
    /// How many entries the stream may have; 0 for no limit.
    #[serde(default)]
    pub stream_max_entries: u64,
    /// How often, in milliseconds, entries of consumers that are gone are looked for.
    #[serde(default)]
    pub claim_interval: Option<u64>,
    /// The table of a Doctrine transport.
    #[serde(default)]
    pub table_name: Option<String>,
    /// The name by which its messages are told from those of other transports.
    #[serde(default)]
    pub queue_name: Option<String>,
    /// The database of one.
    #[serde(default)]
    pub database: Option<Database>,
}

const fn yes() -> bool {
    true
}

impl Transport {
    /// Whether values are written in PHP's serialization, which is what the transport does by default; none when they
    /// are written in a way of their own.
    #[must_use]
    pub fn is_serialized(&self) -> Option<bool> {
        match self.server.as_ref().and_then(|server| server.serializer.as_ref()?.as_u64()) {
            Some(0) => Some(false),
            Some(1) | None => Some(true),
            Some(_) => None,
        }
    }
}

/// A Redis server, as the application's client reaches it.
#[derive(Debug, Clone, Deserialize, Default, PartialEq, Eq)]
#[serde(default)]
pub struct Server {
    /// `tcp`, `tls` or `unix`.
    pub scheme: Option<String>,
    /// The host; a path for `unix`.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The socket's path.
    pub path: Option<String>,
    /// The user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<String>,
    /// The database.
    pub database: Option<u32>,
    /// What the client puts before each key.
    pub prefix: Option<String>,
    /// Whether it is a cluster.
    pub cluster: bool,
    /// How the client writes values, when not as they are: phpredis's `serializer` option, by name in Laravel and by
    /// number in Symfony.
    pub serializer: Option<serde_json::Value>,
    /// How it compresses them.
    pub compression: Option<String>,
}

/// A queue that a group serves, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The connection or transport.
    pub connection: String,
    /// The queue; of a transport, its name again.
    pub queue: String,
    /// Who fetches its jobs.
    pub how: How,
}

/// Who fetches the jobs of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum How {
    /// Régie.
    Ours,
    /// The framework's own worker, for this reason.
    Foreign(String),
    /// Horizon, by its own configuration.
    Horizon,
}

/// A queue that was asked for and does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted}: the application has no {kind} \"{name}\"; it has {known}")]
pub struct Unknown {
    wanted: String,
    kind: &'static str,
    name: String,
    known: String,
}

impl Application {
    /// The queues of a group: those that `wanted` names (`redis:high`, `redis`, `async`), or without any the default
    /// connection's default queue, or every transport but those for failures.
    ///
    /// # Errors
    /// When one does not exist.
    pub fn sources(&self, wanted: &[String]) -> Result<Vec<Source>, Unknown> {
        match self.framework {
            Framework::Laravel => self.laravel(wanted),
            Framework::Symfony => self.symfony(wanted),
        }
    }

    fn laravel(&self, wanted: &[String]) -> Result<Vec<Source>, Unknown> {
        let default = self.default.clone().into_iter().collect::<Vec<_>>();
        let wanted = if wanted.is_empty() { &default } else { wanted };
        let mut out = Vec::new();
        for name in wanted {
            let (connection, queue) = match name.split_once(':') {
                Some((connection, queue)) => (connection, Some(queue)),
                None => (name.as_str(), None),
            };
            let Some(found) = self.connections.get(connection) else {
                return Err(unknown(name, "queue connection", connection, self.connections.keys()));
            };
            if matches!(found.driver.as_str(), "sync" | "null" | "deferred" | "background") {
                continue;
            }
            let queue = queue.or(found.queue.as_deref()).unwrap_or("default").to_owned();
            let horizon = self.horizon.as_ref().filter(|horizon| horizon.installed);
            let is_horizon_s = horizon
                .is_some_and(|horizon| horizon.supervisors.values().any(|one| one.has(connection, &queue)));
            let how = match found.driver.as_str() {
                "redis" if is_horizon_s => How::Horizon,
                "redis" => in_braces(redis(found.server.as_ref()), found.server.as_ref(), &queue),
                "database" => database(found.database.as_ref()),
                other => How::Foreign(format!("Régie does not drive \"{other}\" itself")),
            };
            out.push(Source { connection: connection.to_owned(), queue, how });
        }
        Ok(out)
    }

    fn symfony(&self, wanted: &[String]) -> Result<Vec<Source>, Unknown> {
        let all: Vec<String> = self
            .transports
            .keys()
            .filter(|name| self.failure_transport.as_ref() != Some(*name))
            .cloned()
            .collect();
        let wanted = if wanted.is_empty() { &all } else { wanted };
        let mut out = Vec::new();
        for name in wanted {
            let Some(found) = self.transports.get(name) else {
                return Err(unknown(name, "transport", name, self.transports.keys()));
            };
            if matches!(found.driver.as_str(), "sync" | "in-memory") {
                continue;
            }
            let how = match found.driver.as_str() {
                "doctrine" => database(found.database.as_ref()),
                "redis" if found.is_serialized().is_none() => {
                    How::Foreign("its client stores values in a way of its own".to_owned())
                }
                "redis" => {
                    let server = found.server.clone().map(|server| Server { serializer: None, ..server });
                    redis(server.as_ref())
                }
                other => How::Foreign(format!("Régie does not drive \"{other}\" itself")),
            };
            out.push(Source { connection: name.clone(), queue: name.clone(), how });
        }
        Ok(out)
    }
}

/// The keys of one queue lie on one node only where a part of its name stands in braces.
fn in_braces(how: How, server: Option<&Server>, queue: &str) -> How {
    match how {
        How::Foreign(why) if server.is_some_and(|server| server.cluster) && !queue.contains('{') => {
            How::Foreign(format!(
                "{why}. Its keys would lie on several nodes, which Laravel's scripts cannot work on: name the queue \
                 {{{queue}}} in config/queue.php"
            ))
        }
        how => how,
    }
}

fn redis(server: Option<&Server>) -> How {
    let Some(server) = server else { return How::Foreign("its server is not known".to_owned()) };
    let option = |value: &Option<String>| {
        value.as_deref().filter(|value| !matches!(*value, "" | "none" | "0")).map(str::to_owned)
    };
    if server.cluster {
        return How::Foreign("its server is a cluster".to_owned());
    }
    if matches!(server.scheme.as_deref(), Some("tls" | "rediss" | "ssl")) {
        return How::Foreign("its server is spoken to over TLS".to_owned());
    }
    let serializer = server.serializer.as_ref().map(|value| match value {
        serde_json::Value::String(name) => name.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    });
    if let Some(name) = option(&serializer).or_else(|| option(&server.compression)) {
        return How::Foreign(format!("its client stores values as {name}"));
    }
    How::Ours
}

fn database(database: Option<&Database>) -> How {
    let Some(database) = database else { return How::Foreign("its database is not known".to_owned()) };
    database.obstacle().map_or(How::Ours, How::Foreign)
}

fn unknown<'a>(
    wanted: &str,
    kind: &'static str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> Unknown {
    let known: Vec<&str> = known.map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Unknown { wanted: wanted.to_owned(), kind, name: name.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARAVEL: &str = r#"{"framework":"laravel","version":"8.83","default":"redis","connections":{
        "redis":{"driver":"redis","queue":"default","retry_after":90,"block_for":null,"server":{"scheme":"tcp","host":"127.0.0.1","port":6379,"path":null,"username":null,"password":null,"database":0,"prefix":"p_","cluster":false}},
        "wrapped":{"driver":"redis","queue":"w","server":{"serializer":"igbinary"}},
        "sync":{"driver":"sync"},"sqs":{"driver":"sqs","queue":"mail"}},"horizon":{"installed":false}}"#;

    fn check(json: &str, wanted: &[&str], expected: &str) {
        let application: Application = serde_json::from_str(json).unwrap();
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let told = match application.sources(&wanted) {
            Err(fault) => fault.to_string(),
            Ok(sources) => {
                let line = |source: &Source| match &source.how {
                    How::Ours => format!("{}:{}", source.connection, source.queue),
                    How::Foreign(why) => format!("{}:{} ({why})", source.connection, source.queue),
                    How::Horizon => format!("{}:{} (Horizon)", source.connection, source.queue),
                };
                sources.iter().map(line).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(told, expected, "{wanted:?}");
    }

    #[test]
    fn horizon_keeps_its_queues() {
        let with = |supervisors: &str| {
            let installed = format!(r#""horizon":{{"installed":true,"supervisors":{supervisors}}}"#);
            LARAVEL.replace(r#""horizon":{"installed":false}"#, &installed)
        };
        let one = with(r#"{"a":{"connection":"redis","queue":["default","mail"]},"b":{"queue":"x, y"}}"#);
        check(&one, &[], "redis:default (Horizon)");
        check(
            &one,
            &["redis:mail", "redis:y", "redis:high"],
            "redis:mail (Horizon), redis:y (Horizon), redis:high",
        );
        check(&with("{}"), &[], "redis:default");
        check(&with(r#"{"a":{}}"#), &["redis", "redis:z"], "redis:default (Horizon), redis:z");
    }

    #[test]
    fn queues_of_laravel() {
        check(LARAVEL, &[], "redis:default");
        check(LARAVEL, &["redis:high", "redis"], "redis:high, redis:default");
        check(LARAVEL, &["sync"], "");
        check(LARAVEL, &["sqs"], "sqs:mail (Régie does not drive \"sqs\" itself)");
        check(LARAVEL, &["wrapped"], "wrapped:w (its client stores values as igbinary)");
        check(
            LARAVEL,
            &["rediss:high"],
            "rediss:high: the application has no queue connection \"rediss\"; it has redis, sqs, sync, wrapped",
        );
    }

    #[test]
    fn transports_of_symfony() {
        let json = r#"{"framework":"symfony","failure_transport":"failed","transports":{
            "async":{"driver":"redis","stream":"messages","group":"symfony","server":{"host":"r"}},
            "failed":{"driver":"doctrine"},"mail":{"driver":"amqp"},"now":{"driver":"sync"},
            "scheduler_default":{"driver":"scheduler"},"odd":{"driver":"redis","server":{"serializer":2}},
            "plain":{"driver":"redis","server":{"serializer":1}}}}"#;
        check(
            json,
            &[],
            "async:async, mail:mail (Régie does not drive \"amqp\" itself), \
             odd:odd (its client stores values in a way of its own), plain:plain, \
             scheduler_default:scheduler_default (Régie does not drive \"scheduler\" itself)",
        );
        check(
            json,
            &["x"],
            "x: the application has no transport \"x\"; it has async, failed, mail, now, odd, plain, scheduler_default",
        );
    }
}
