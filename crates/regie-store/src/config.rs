//! The settings that CONFIG GET and CONFIG SET know: one table, from which names, checks and defaults are read.

use crate::glob;
use crate::notify::Class;
use crate::protect::{self, Protected};
use crate::structures::hash::Bounds;
use std::collections::{BTreeMap, BTreeSet};

/// What a setting may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Yes,
    /// From and to, both included.
    Number(i64, i64),
    /// Bytes with a unit, from and to.
    Memory(i64, i64),
    /// Bytes with a unit, or a percentage of `maxmemory`.
    Share,
    Choice(&'static [&'static str]),
    Text,
    /// `notify-keyspace-events`.
    Events,
    /// `save`: pairs of seconds and changes.
    Save,
    /// `client-output-buffer-limit`.
    OutputLimits,
    /// Percentiles from 0 to 100.
    Percentiles,
    /// `protected-keys`: see `protect`.
    Protected,
}

/// Whether CONFIG SET may change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Any time.
    Free,
    /// Only at the start.
    AtStart,
    /// Any time, and it changes nothing here: it steers something that this server does not have.
    Inert,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// An older name, or none.
    pub(crate) alias: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) change: Change,
}

const fn row(name: &'static str, kind: Kind, default: &'static str) -> Row {
    Row { name, alias: "", kind, default, change: Change::Free }
}

const fn alias(name: &'static str, alias: &'static str, kind: Kind, default: &'static str) -> Row {
    Row { name, alias, kind, default, change: Change::Free }
}

const fn fixed(name: &'static str, kind: Kind, default: &'static str) -> Row {
    Row { name, alias: "", kind, default, change: Change::AtStart }
}

const fn inert(name: &'static str, kind: Kind, default: &'static str) -> Row {
    Row { name, alias: "", kind, default, change: Change::Inert }
}

const COUNT: Kind = Kind::Number(0, i64::MAX);
const INT: Kind = Kind::Number(0, i32::MAX as i64);
const BYTES: Kind = Kind::Memory(0, i64::MAX);
/// The policies of `maxmemory-policy`, in Redis's order.
pub(crate) const POLICIES: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const FSYNC: &[&str] = &["everysec", "always", "no"];
const PROTECTION: &[&str] = &["no", "yes", "local"];

/// Every setting.
pub(crate) static SETTINGS: &[Row] = &[
    row("maxmemory", BYTES, "0"),
    row("maxmemory-policy", Kind::Choice(POLICIES), "noeviction"),
    row("maxmemory-samples", Kind::Number(1, i32::MAX as i64), "5"),
    row("maxmemory-eviction-tenacity", Kind::Number(0, 100), "10"),
    row("protected-keys", Kind::Protected, protect::DEFAULT),
    row("lfu-log-factor", INT, "10"),
    row("lfu-decay-time", INT, "1"),
    row("requirepass", Kind::Text, ""),
    row("timeout", INT, "0"),
    row("maxclients", Kind::Number(1, u32::MAX as i64), "10000"),
    row(
        "client-output-buffer-limit",
        Kind::OutputLimits,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    row("client-query-buffer-limit", Kind::Memory(1 << 20, i64::MAX), "1073741824"),
    row("proto-max-bulk-len", Kind::Memory(1 << 20, i64::MAX), "536870912"),
    row("notify-keyspace-events", Kind::Events, ""),
    row("slowlog-log-slower-than", Kind::Number(-1, i64::MAX), "10000"),
    row("slowlog-max-len", COUNT, "128"),
    row("latency-monitor-threshold", COUNT, "0"),
    row("latency-tracking", Kind::Yes, "yes"),
    row("latency-tracking-info-percentiles", Kind::Percentiles, "50 99 99.9"),
    row("acllog-max-len", COUNT, "128"),
    row("acl-pubsub-default", Kind::Choice(&["allchannels", "resetchannels"]), "resetchannels"),
    row("tracking-table-max-keys", COUNT, "1000000"),
    row("active-expire-effort", Kind::Number(1, 10), "1"),
    row("hz", INT, "10"),
    alias("busy-reply-threshold", "lua-time-limit", COUNT, "5000"),
    alias("hash-max-listpack-entries", "hash-max-ziplist-entries", COUNT, "512"),
    alias("hash-max-listpack-value", "hash-max-ziplist-value", BYTES, "64"),
    row("set-max-intset-entries", COUNT, "512"),
    alias("zset-max-listpack-entries", "zset-max-ziplist-entries", COUNT, "128"),
    alias("zset-max-listpack-value", "zset-max-ziplist-value", BYTES, "64"),
    row("stream-node-max-entries", COUNT, "100"),
    row("stream-node-max-bytes", BYTES, "4096"),
    row("appendonly", Kind::Yes, "no"),
    row("appendfsync", Kind::Choice(FSYNC), "everysec"),
    row("auto-aof-rewrite-percentage", INT, "100"),
    row("auto-aof-rewrite-min-size", BYTES, "67108864"),
    row("save", Kind::Save, ""),
    row("stop-writes-on-bgsave-error", Kind::Yes, "yes"),
    row("loglevel", Kind::Choice(&["debug", "verbose", "notice", "warning"]), "notice"),
    row("lazyfree-lazy-user-del", Kind::Yes, "no"),
    row("lazyfree-lazy-user-flush", Kind::Yes, "no"),
    fixed("databases", Kind::Number(1, i32::MAX as i64), "16"),
    fixed("port", Kind::Number(0, 65535), "6379"),
    fixed("bind", Kind::Text, "127.0.0.1 -::1"),
    fixed("unixsocket", Kind::Text, ""),
    fixed("dir", Kind::Text, "."),
    fixed("dbfilename", Kind::Text, "dump.rdb"),
    fixed("appendfilename", Kind::Text, "appendonly.aof"),
    fixed("appenddirname", Kind::Text, "appendonlydir"),
    fixed("aclfile", Kind::Text, ""),
    fixed("daemonize", Kind::Yes, "no"),
    fixed("enable-debug-command", Kind::Choice(PROTECTION), "no"),
    fixed("enable-protected-configs", Kind::Choice(PROTECTION), "no"),
    fixed("cluster-enabled", Kind::Yes, "no"),
    fixed("io-threads", Kind::Number(1, 128), "1"),
    fixed("supervised", Kind::Choice(&["upstart", "systemd", "auto", "no"]), "no"),
    fixed("logfile", Kind::Text, ""),
    fixed("pidfile", Kind::Text, ""),
    fixed("syslog-facility", Kind::Choice(&["user", "local0", "local1", "local2", "local3"]), "local0"),
    fixed("tcp-backlog", INT, "511"),
    Row { alias: "slaveof", ..fixed("replicaof", Kind::Text, "") },
    inert("protected-mode", Kind::Yes, "yes"),
    inert("tcp-keepalive", INT, "300"),
    Row {
        alias: "list-max-ziplist-size",
        ..inert("list-max-listpack-size", Kind::Number(i32::MIN as i64, i32::MAX as i64), "-2")
    },
    inert("list-compress-depth", INT, "0"),
    row("hll-sparse-max-bytes", BYTES, "3000"),
    inert("rdbcompression", Kind::Yes, "yes"),
    inert("rdbchecksum", Kind::Yes, "yes"),
    inert("sanitize-dump-payload", Kind::Choice(&["no", "yes", "clients"]), "no"),
    inert("activerehashing", Kind::Yes, "yes"),
    inert("activedefrag", Kind::Yes, "no"),
    inert("dynamic-hz", Kind::Yes, "yes"),
    inert("lazyfree-lazy-eviction", Kind::Yes, "no"),
    inert("lazyfree-lazy-expire", Kind::Yes, "no"),
    inert("lazyfree-lazy-server-del", Kind::Yes, "no"),
    inert("no-appendfsync-on-rewrite", Kind::Yes, "no"),
    inert("aof-use-rdb-preamble", Kind::Yes, "yes"),
    inert("aof-load-truncated", Kind::Yes, "yes"),
    inert("aof-rewrite-incremental-fsync", Kind::Yes, "yes"),
    inert("rdb-save-incremental-fsync", Kind::Yes, "yes"),
    inert("rdb-key-save-delay", Kind::Number(i32::MIN as i64, i32::MAX as i64), "0"),
    inert("key-load-delay", Kind::Number(i32::MIN as i64, i32::MAX as i64), "0"),
    inert("repl-backlog-size", BYTES, "1048576"),
    inert("repl-diskless-sync", Kind::Yes, "yes"),
    inert("repl-diskless-sync-delay", INT, "5"),
    row("replica-read-only", Kind::Yes, "yes"),
    row("replica-serve-stale-data", Kind::Yes, "yes"),
    alias("min-replicas-to-write", "min-slaves-to-write", INT, "0"),
    alias("min-replicas-max-lag", "min-slaves-max-lag", INT, "10"),
    row("masterauth", Kind::Text, ""),
    row("masteruser", Kind::Text, ""),
    row("repl-timeout", INT, "60"),
    Row { alias: "repl-ping-slave-period", ..row("repl-ping-replica-period", INT, "10") },
    inert("always-show-logo", Kind::Yes, "no"),
    inert("set-proc-title", Kind::Yes, "yes"),
    inert("propagation-error-behavior", Kind::Choice(&["ignore", "panic", "panic-on-replicas"]), "ignore"),
    row("maxmemory-clients", Kind::Share, "0"),
    inert("jemalloc-bg-thread", Kind::Yes, "yes"),
    inert("oom-score-adj", Kind::Choice(&["no", "yes", "relative", "absolute"]), "no"),
    inert("shutdown-timeout", INT, "10"),
    inert("crash-log-enabled", Kind::Yes, "yes"),
];

/// Settings that a database may have for itself, as `db.1.maxmemory-policy`. Without a database, `maxmemory` is the
/// limit of all databases together and leaves each one's own limit as it is; the others then hold for every database.
pub(crate) const PER_DATABASE: [&str; 4] =
    ["maxmemory", "maxmemory-policy", "maxmemory-samples", "appendfsync"];

/// When the log is synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fsync {
    /// The system decides.
    No,
    /// Each second.
    EverySecond,
    /// Before the reply.
    Always,
}

/// What holds for one database.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of its own data; 0: no limit of its own.
    pub(crate) maxmemory: u64,
    /// Index into [`POLICIES`].
    pub(crate) policy: usize,
    pub(crate) samples: usize,
    pub(crate) fsync: Fsync,
}

/// Databases that the settings have room for.
pub(crate) const MOST_DATABASES: usize = 64;

/// The values of all settings, and those that are read often in a form that is quick to read.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    values: Vec<String>,
    /// What CONFIG SET has changed, by database (`None`: for all) and setting: CONFIG REWRITE keeps it.
    changed: BTreeSet<(Option<usize>, usize)>,
    /// What is set for one database alone: by database and setting.
    own: BTreeMap<(usize, usize), String>,
    /// What holds for each database.
    pub(crate) limits: [Limits; MOST_DATABASES],
    /// Whether any limit of memory is set.
    pub(crate) is_limited: bool,
    /// The limit of everything together; 0: none.
    pub(crate) maxmemory: u64,
    pub(crate) protected: Protected,
    pub(crate) lfu_log_factor: u32,
    pub(crate) lfu_decay_time: u32,
    pub(crate) hash: Bounds,
    pub(crate) sorted_set: Bounds,
    pub(crate) set_integers: usize,
    pub(crate) stream_block: usize,
    pub(crate) bulk: usize,
    pub(crate) events: Class,
    pub(crate) slowlog_slower_than: i64,
    pub(crate) slowlog_length: usize,
    pub(crate) latency_threshold: i64,
    pub(crate) script_limit_ms: i64,
    pub(crate) journal: bool,
    /// How many replicas must have been heard of lately for writes to be accepted.
    pub(crate) min_replicas: usize,
    /// Clients of a replica may not write.
    pub(crate) replica_read_only: bool,
    /// A replica without its leader goes on showing what it has.
    pub(crate) serves_stale_data: bool,
}

/// Shown by CONFIG GET only to who asks for them by name, as in Redis.
const HIDDEN: [&str; 1] = ["key-load-delay"];

/// The row of a setting, by name or older name.
pub(crate) fn find(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|row| {
        row.name.eq_ignore_ascii_case(name) || (!row.alias.is_empty() && row.alias.eq_ignore_ascii_case(name))
    })
}

impl Default for Config {
    fn default() -> Self {
        let bounds = Bounds { entries: 0, value: 0 };
        let mut config = Self {
            values: SETTINGS.iter().map(|row| row.default.to_owned()).collect(),
            changed: BTreeSet::new(),
            own: BTreeMap::new(),
            limits: [Limits { maxmemory: 0, policy: 0, samples: 0, fsync: Fsync::No }; MOST_DATABASES],
            is_limited: false,
            maxmemory: 0,
            protected: Protected::default(),
            lfu_log_factor: 0,
            lfu_decay_time: 0,
            hash: bounds,
            sorted_set: bounds,
            set_integers: 0,
            stream_block: 0,
            bulk: 0,
            events: Class::default(),
            slowlog_slower_than: 0,
            slowlog_length: 0,
            latency_threshold: 0,
            script_limit_ms: 0,
            journal: false,
            min_replicas: 0,
            replica_read_only: true,
            serves_stale_data: true,
        };
        config.refresh();
        config
    }
}

impl Config {
    /// The value of a setting as CONFIG GET shows it.
    pub(crate) fn get(&self, name: &str) -> &str {
        find(name).map_or("", |index| &self.values[index])
    }

    pub(crate) fn value(&self, index: usize) -> &str {
        &self.values[index]
    }

    fn number(&self, name: &str) -> i64 {
        self.get(name).parse().unwrap_or(0)
    }

    /// Checks `text` and gives the form in which it is kept.
    pub(crate) fn check(index: usize, text: &str) -> Result<String, String> {
        normalise(SETTINGS[index].kind, text)
    }

    /// Sets a value that was checked, for all databases.
    pub(crate) fn set(&mut self, index: usize, text: String) {
        self.values[index] = text;
        self.changed.insert((None, index));
        if SETTINGS[index].name != "maxmemory" {
            self.changed.retain(|(db, setting)| db.is_none() || *setting != index);
            self.own.retain(|(_, setting), _| *setting != index);
        }
        self.refresh();
    }

    /// Sets a value by its name, which may name a database; an error names what is wrong.
    pub(crate) fn set_by_name(&mut self, name: &str, text: &str) -> Result<(), String> {
        let own = find_own(name);
        let index = own
            .map(|(_, index)| index)
            .or_else(|| find(name))
            .ok_or_else(|| format!("unknown setting '{name}'"))?;
        let wrong = |why: String| format!("setting '{name}': {why}");
        let text = match SETTINGS[index].kind {
            Kind::OutputLimits => merge_output_limits(&self.values[index], text)
                .ok_or_else(|| wrong("not groups of class, hard limit, soft limit and seconds".into()))?,
            _ => Self::check(index, text).map_err(wrong)?,
        };
        match own {
            Some((db, index)) if db < self.number("databases") as usize => self.set_own(db, index, text),
            Some((db, _)) => return Err(wrong(format!("there is no database {db}"))),
            None => self.set(index, text),
        }
        Ok(())
    }

    /// Sets a value that was checked, for one database.
    pub(crate) fn set_own(&mut self, db: usize, index: usize, text: String) {
        self.own.insert((db, index), text);
        self.changed.insert((Some(db), index));
        self.refresh();
    }

    /// What was set until now came from the configuration: CONFIG REWRITE does not keep it.
    pub(crate) fn settle_changes(&mut self) {
        self.changed.clear();
    }

    /// Lowers a setting that the system does not allow, which is no change of the operator's.
    pub(crate) fn lower(&mut self, name: &str, value: u64) {
        if let Some(index) = find(name) {
            self.values[index] = value.to_string();
            self.refresh();
        }
    }

    /// Sets what the configuration says of one setting: for all databases, and for those that have their own. What
    /// CONFIG SET has changed of it is forgotten.
    pub(crate) fn set_from_file(&mut self, index: usize, text: String, own: Vec<(usize, String)>) {
        self.values[index] = text;
        self.changed.retain(|(_, setting)| *setting != index);
        self.own.retain(|(_, setting), _| *setting != index);
        self.own.extend(own.into_iter().map(|(db, text)| ((db, index), text)));
        self.refresh();
    }

    /// Keeps what a command has set, which CONFIG REWRITE keeps too.
    pub(crate) fn note(&mut self, name: &str, value: &str) {
        if let Some(index) = find(name) {
            self.values[index] = value.to_owned();
            self.changed.insert((None, index));
        }
    }

    /// What CONFIG SET has changed, a line each: the name, and the value in quotes.
    pub(crate) fn changed_lines(&self) -> Vec<u8> {
        let mut text = Vec::new();
        // Those for all databases come first: they would take away what is set for one.
        for (db, index) in &self.changed {
            let (name, value) = match db {
                None => (SETTINGS[*index].name.to_owned(), self.value(*index)),
                Some(db) => (own_name(*db, *index), self.value_of(*db, *index)),
            };
            text.extend_from_slice(name.as_bytes());
            text.push(b' ');
            crate::commands::server::quote(&mut text, value.as_bytes());
            text.push(b'\n');
        }
        text
    }

    /// What is set for one database alone, with names as CONFIG SET takes them.
    pub(crate) fn own(&self) -> impl Iterator<Item = (String, &str)> {
        self.own.iter().map(|((db, index), text)| (own_name(*db, *index), text.as_str()))
    }

    /// The value that holds for a database.
    pub(crate) fn value_of(&self, db: usize, index: usize) -> &str {
        match self.own.get(&(db, index)) {
            Some(text) => text,
            None if SETTINGS[index].name == "maxmemory" => "0",
            None => &self.values[index],
        }
    }

    fn limits_of(&self, db: usize) -> Limits {
        let value = |name: &str| find(name).map_or("", |index| self.value_of(db, index));
        let policy = value("maxmemory-policy");
        Limits {
            maxmemory: value("maxmemory").parse().unwrap_or(0),
            policy: POLICIES.iter().position(|name| *name == policy).unwrap_or(7),
            samples: value("maxmemory-samples").parse().unwrap_or(5),
            fsync: match value("appendfsync") {
                "always" => Fsync::Always,
                "everysec" => Fsync::EverySecond,
                _ => Fsync::No,
            },
        }
    }

    /// The strictest rule of the databases whose bits are set.
    pub(crate) fn fsync(&self, databases: u64) -> Fsync {
        let chosen = |(db, limits): (usize, &Limits)| (databases >> db & 1 == 1).then_some(limits.fsync);
        self.limits.iter().enumerate().filter_map(chosen).max().unwrap_or(Fsync::No)
    }

    fn refresh(&mut self) {
        let bounds = |config: &Self, kind: &str| Bounds {
            entries: config.number(&format!("{kind}-max-listpack-entries")) as usize,
            value: config.number(&format!("{kind}-max-listpack-value")) as usize,
        };
        self.maxmemory = self.number("maxmemory") as u64;
        self.limits = std::array::from_fn(|db| self.limits_of(db));
        self.is_limited = self.maxmemory > 0 || self.limits.iter().any(|limits| limits.maxmemory > 0);
        self.protected = Protected::parse(self.get("protected-keys")).unwrap_or_default();
        self.lfu_log_factor = self.number("lfu-log-factor") as u32;
        self.lfu_decay_time = self.number("lfu-decay-time") as u32;
        self.hash = bounds(self, "hash");
        self.sorted_set = bounds(self, "zset");
        self.set_integers = self.number("set-max-intset-entries") as usize;
        self.stream_block = match self.number("stream-node-max-entries") {
            0 => usize::MAX,
            entries => entries as usize,
        };
        self.bulk = self.number("proto-max-bulk-len") as usize;
        self.events = Class::parse(self.get("notify-keyspace-events")).unwrap_or_default();
        self.slowlog_slower_than = self.number("slowlog-log-slower-than");
        self.slowlog_length = self.number("slowlog-max-len") as usize;
        self.latency_threshold = self.number("latency-monitor-threshold");
        self.script_limit_ms = self.number("busy-reply-threshold");
        self.journal = self.get("appendonly") == "yes";
        self.replica_read_only = self.get("replica-read-only") == "yes";
        self.serves_stale_data = self.get("replica-serve-stale-data") == "yes";
        let counts = self.number("min-replicas-max-lag") > 0;
        self.min_replicas = if counts { self.number("min-replicas-to-write") as usize } else { 0 };
    }

    /// Whether a database's policy counts uses instead of times.
    pub(crate) fn is_lfu(&self, db: usize) -> bool {
        POLICIES[self.limits[db].policy].ends_with("lfu")
    }

    /// Names and values that match one of the patterns, for CONFIG GET.
    pub(crate) fn matching(&self, patterns: &[&[u8]]) -> Vec<(String, &str)> {
        let mut found: Vec<(String, &str)> = Vec::new();
        for (index, row) in SETTINGS.iter().enumerate() {
            for name in [row.name, row.alias] {
                if !name.is_empty()
                    && patterns.iter().any(|pattern| match HIDDEN.contains(&name) {
                        true => pattern.eq_ignore_ascii_case(name.as_bytes()),
                        false => glob::matches(pattern, name.as_bytes(), true),
                    })
                {
                    found.push((name.to_owned(), &self.values[index]));
                }
            }
        }
        for (name, value) in self.own() {
            if patterns.iter().any(|pattern| glob::matches(pattern, name.as_bytes(), true)) {
                found.push((name, value));
            }
        }
        // One that is asked for by its whole name is shown even if the database has no value of its own.
        for pattern in patterns {
            if let Some((db, index)) = find_own(&String::from_utf8_lossy(pattern))
                && !self.own.contains_key(&(db, index))
            {
                found.push((own_name(db, index), self.value_of(db, index)));
            }
        }
        found
    }
}

fn own_name(db: usize, index: usize) -> String {
    format!("db.{db}.{}", SETTINGS[index].name)
}

/// The database and the setting of a name like `db.1.maxmemory-policy`.
pub(crate) fn find_own(name: &str) -> Option<(usize, usize)> {
    let (db, setting) = name.strip_prefix("db.")?.split_once('.')?;
    let db = db.parse().ok().filter(|db| *db < MOST_DATABASES)?;
    find(setting).filter(|index| PER_DATABASE.contains(&SETTINGS[*index].name)).map(|index| (db, index))
}

fn normalise(kind: Kind, text: &str) -> Result<String, String> {
    let within = |value: i64, low: i64, high: i64| {
        if (low..=high).contains(&value) {
            Ok(value.to_string())
        } else {
            Err(format!("argument must be between {low} and {high} inclusive"))
        }
    };
    match kind {
        Kind::Yes => match text.to_ascii_lowercase().as_str() {
            "yes" => Ok("yes".into()),
            "no" => Ok("no".into()),
            _ => Err("argument must be 'yes' or 'no'".into()),
        },
        Kind::Number(low, high) => {
            let value = text.parse().map_err(|_| "argument couldn't be parsed into an integer".to_owned())?;
            within(value, low, high)
        }
        Kind::Memory(low, high) => {
            let value = parse_memory(text).ok_or("argument must be a memory value")?;
            within(value, low, high)
        }
        Kind::Share => match text.strip_suffix('%').map(str::parse::<u64>) {
            Some(Ok(percent)) if percent <= 100 => Ok(format!("{percent}%")),
            Some(Ok(_)) => Err("percentage argument must be less or equal to 100".into()),
            Some(Err(_)) => Err("argument must be a memory or percent value".into()),
            None => Ok(parse_memory(text).ok_or("argument must be a memory or percent value")?.to_string()),
        },
        Kind::Choice(choices) => choices
            .iter()
            .find(|choice| choice.eq_ignore_ascii_case(text))
            .map(|choice| (*choice).to_owned())
            .ok_or_else(|| format!("argument(s) must be one of the following: {}", choices.join(", "))),
        Kind::Text => Ok(text.to_owned()),
        Kind::Events => Class::parse(text)
            .map(Class::letters)
            .ok_or_else(|| "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
        Kind::Save => {
            let words: Vec<&str> = text.split_whitespace().collect();
            let fits = words.len().is_multiple_of(2)
                && words.chunks(2).all(|pair| {
                    pair[0].parse::<i64>().is_ok_and(|s| s >= 1)
                        && pair[1].parse::<i64>().is_ok_and(|c| c >= 0)
                });
            if fits { Ok(words.join(" ")) } else { Err("Invalid save parameters".into()) }
        }
        Kind::OutputLimits => Ok(text.to_owned()),
        Kind::Protected => {
            let text = protect::written_out(text);
            Protected::parse(&text).map(|_| text)
        }
        Kind::Percentiles => {
            let fits = text
                .split_whitespace()
                .all(|word| word.parse::<f64>().is_ok_and(|value| (0.0..=100.0).contains(&value)));
            if fits {
                Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
            } else {
                Err("latency-tracking-info-percentiles parameters must be between 0.0 and 100.0".into())
            }
        }
    }
}

/// `100mb` and its like; units of a thousand without the `b`.
pub(crate) fn parse_memory(text: &str) -> Option<i64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: i64 = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    digits.parse::<i64>().ok().filter(|value| *value >= 0)?.checked_mul(unit)
}

/// Joins several `class hard soft seconds` groups given to CONFIG SET into the current value; `None` if malformed.
pub(crate) fn merge_output_limits(current: &str, text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || !words.len().is_multiple_of(4) {
        return None;
    }
    let mut limits: Vec<[String; 4]> = current
        .split_whitespace()
        .collect::<Vec<_>>()
        .chunks(4)
        .filter_map(|group| {
            <[String; 4]>::try_from(group.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).ok()
        })
        .collect();
    for group in words.chunks(4) {
        let class = match group[0].to_ascii_lowercase().as_str() {
            "replica" | "slave" => "slave",
            "normal" => "normal",
            "pubsub" => "pubsub",
            _ => return None,
        };
        let (hard, soft) = (parse_memory(group[1])?, parse_memory(group[2])?);
        let seconds = group[3].parse::<i64>().ok().filter(|s| *s >= 0)?;
        let found = limits.iter_mut().find(|limit| limit[0] == class)?;
        *found = [class.into(), hard.to_string(), soft.to_string(), seconds.to_string()];
    }
    Some(limits.iter().map(|limit| limit.join(" ")).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_passes_its_own_check() {
        for (index, row) in SETTINGS.iter().enumerate() {
            assert_eq!(Config::check(index, row.default).as_deref(), Ok(row.default), "{}", row.name);
        }
    }

    #[test]
    fn memory_has_units() {
        for (text, expect) in [("1kb", Some(1024)), ("1k", Some(1000)), ("2GB", Some(2 << 30)), ("x", None)] {
            assert_eq!(parse_memory(text), expect);
        }
    }

    #[test]
    fn a_share_is_bytes_or_a_percentage() {
        let index = find("maxmemory-clients").unwrap();
        for (text, expect) in
            [("5%", Ok("5%")), ("1kb", Ok("1024")), ("200%", Err("percentage")), ("%", Err("memory"))]
        {
            match (Config::check(index, text), expect) {
                (Ok(kept), Ok(expect)) => assert_eq!(kept, expect),
                (Err(why), Err(word)) => assert!(why.contains(word), "{text}: {why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_hidden_is_shown_by_name_only() {
        let config = Config::default();
        assert!(!config.matching(&[b"*"]).iter().any(|(name, _)| name == "key-load-delay"));
        assert_eq!(config.matching(&[b"Key-Load-Delay"]), [("key-load-delay".to_owned(), "0")]);
        let names: Vec<String> = config.matching(&[b"*of"]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["replicaof", "slaveof"]);
    }

    #[test]
    fn the_policy_is_read() {
        let mut config = Config::default();
        assert!(!config.is_lfu(0));
        config.set(find("maxmemory-policy").unwrap(), "allkeys-lfu".into());
        assert!(config.is_lfu(0));
    }

    #[test]
    fn a_database_may_have_its_own_settings() {
        let mut config = Config::default();
        let (db, index) = find_own("db.1.appendfsync").unwrap();
        config.set_own(db, index, "always".into());
        assert_eq!((config.fsync(0b01), config.fsync(0b11)), (Fsync::EverySecond, Fsync::Always));
        assert_eq!(config.matching(&[b"db.1.*"]), [("db.1.appendfsync".to_owned(), "always")]);
        assert_eq!(config.matching(&[b"db.2.appendfsync"]), [("db.2.appendfsync".to_owned(), "everysec")]);
        config.set(index, "no".into());
        assert_eq!((config.fsync(u64::MAX), config.own().count()), (Fsync::No, 0));
        for name in ["db.1.port", "db.99.maxmemory", "db.x.maxmemory", "db.1"] {
            assert_eq!(find_own(name), None, "{name}");
        }
    }

    #[test]
    fn the_limit_of_all_is_none_of_one() {
        let mut config = Config::default();
        let (db, index) = find_own("db.1.maxmemory").unwrap();
        config.set_own(db, index, "1000".into());
        config.set(index, "5000".into());
        assert_eq!(
            (config.maxmemory, config.limits[0].maxmemory, config.limits[1].maxmemory),
            (5000, 0, 1000)
        );
    }
}
