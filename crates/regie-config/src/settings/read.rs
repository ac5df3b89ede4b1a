//! Reading the sections of a document into [`Config`], and what single keys cannot say: which of them exclude each
//! other, which names are refused, which order programs must have.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use regie_core::nearest::nearest;

use super::{
    App, Config, Gateway, Php, Pool, Program, SECTIONS, Schedule, ScheduleEntry, Store, StoreDatabase,
};
use crate::document::{Entry, Node, Table, Value};
use crate::schema::{Key, Origin, Reader, Section, Setting, did_you_mean};
use crate::store::NotServed;
use crate::values::{Listen, Mode, PROCESSES_MAX};
use crate::workers::{AllWorkers, all_workers, workers};

/// The names that may stand at the top of the file.
fn top_names() -> Vec<&'static str> {
    let mut names: Vec<&str> = SECTIONS.iter().filter_map(|row| row.name.split('.').next()).collect();
    names.dedup();
    names
}

/// The sections that are written in the document but that this version does not act on, with their places.
pub(crate) fn unserved(root: &Table) -> Vec<&Entry> {
    let served =
        |name: &str| SECTIONS.iter().any(|row| row.served && row.name.split('.').next() == Some(name));
    let known = top_names();
    root.entries.iter().filter(|entry| known.contains(&entry.name.as_str()) && !served(&entry.name)).collect()
}

/// Reads a whole document. Faults and rows are left in `reader`.
pub(crate) fn read(root: &Table, reader: &mut Reader<'_>) -> Config {
    for entry in &root.entries {
        if !top_names().contains(&entry.name.as_str()) {
            unknown_top(entry, reader);
        }
    }
    let config = Config {
        app: app(root, reader),
        hosts: hosts(root, reader),
        gateway: gateway(root, reader),
        php: php(root, reader),
        pools: pools(root, reader),
        store: store(root, reader),
        all_workers: all_workers(root, reader),
        workers: named(root, "workers", AllWorkers::keys(), reader, workers),
        schedule: schedule(root, reader),
        schedule_entries: schedule_entries(root, reader),
        programs: named(root, "program", &[], reader, program),
        mercure: plain(root, "mercure", reader),
        console: plain(root, "console", reader),
    };
    dependencies(root, &config, reader);
    config
}

/// Reports a `depends_on` that names no program and no part.
fn dependencies(root: &Table, config: &Config, reader: &mut Reader<'_>) {
    let pools = config.pools.keys().flat_map(|name| [format!("php:{name}"), format!("php.{name}")]);
    let programs = config.programs.keys().flat_map(|name| [name.clone(), format!("program:{name}")]);
    let names: Vec<String> =
        pools.chain(programs).chain(["gateway", "store", "jobs", "console"].map(str::to_owned)).collect();
    let Some(Value::Table(table)) = root.get("program").map(|entry| &entry.node.value) else { return };
    for entry in &table.entries {
        let Value::Table(program) = &entry.node.value else { continue };
        let Some(Value::List(wanted)) = program.get("depends_on").map(|key| &key.node.value) else {
            continue;
        };
        for item in wanted {
            if let Value::Text(name) = &item.value
                && !name.contains("${")
                && !names.contains(name)
            {
                let fix = did_you_mean(name, names.iter().map(String::as_str));
                reader.fault(&item.place, format!("there is no program or part \"{name}\""), fix);
            }
        }
    }
}

fn unknown_top(entry: &Entry, reader: &mut Reader<'_>) {
    if matches!(entry.node.value, Value::Table(_)) {
        let fix = did_you_mean(&entry.name, top_names());
        reader.fault(&entry.place, format!("unknown section [{}]", entry.name), fix);
        return;
    }
    let names = || SECTIONS.iter().flat_map(|row| (row.keys)().iter().map(|key| (row.name, key.name)));
    let meant = nearest(&entry.name, names().map(|(_, key)| key));
    let home = names().find(|(_, key)| Some(*key) == meant);
    let fix = home.map(|(section, key)| format!("\"{key}\" belongs in [{section}]"));
    reader.fault(&entry.place, format!("\"{}\" stands outside of any section", entry.name), fix);
}

/// The table called `name`; a fault when it is something else.
pub(crate) fn table<'t>(root: &'t Table, name: &str, reader: &mut Reader<'_>) -> Option<&'t Table> {
    let entry = root.get(name)?;
    if let Value::Table(table) = &entry.node.value {
        return Some(table);
    }
    let what = format!("\"{name}\" expects a section, found {}", entry.node.value.name());
    reader.fault(&entry.place, what, Some(format!("write [{name}] on a line of its own")));
    None
}

fn plain<T: Section>(root: &Table, name: &str, reader: &mut Reader<'_>) -> T {
    let table = table(root, name, reader);
    reader.within(name, |reader| T::read_section(table, reader, &|_| false))
}

fn app(root: &Table, reader: &mut Reader<'_>) -> App {
    let app: App = plain(root, "app", reader);
    let inside = |path: &PathBuf| {
        path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
    };
    if let Some(Value::Table(table)) = root.get("app").map(|entry| &entry.node.value)
        && let Some(entry) = table.get("public")
        && app.public.as_ref().is_some_and(|path| !inside(path))
    {
        let fix = Some("write it relative to the folder, and move the folder with root".to_owned());
        reader.fault(&entry.node.place, "the document root lies outside of the application's folder", fix);
    }
    app
}

fn gateway(root: &Table, reader: &mut Reader<'_>) -> Gateway {
    let gateway: Gateway = plain(root, "gateway", reader);
    let Some(Value::Table(table)) = root.get("gateway").map(|entry| &entry.node.value) else {
        return gateway;
    };
    for (index, item) in items(table, "listen").iter().enumerate() {
        if gateway.listen.get(index).is_some_and(|listen| gateway.listen[..index].contains(listen)) {
            reader.fault(
                &item.place,
                "the same address is listened on already",
                Some("remove it".to_owned()),
            );
        }
    }
    for (index, item) in items(table, "status_listen").iter().enumerate() {
        let Some(listen) = gateway.status_listen.get(index) else { continue };
        if gateway.listen.contains(listen) || gateway.status_listen[..index].contains(listen) {
            let fix = Some("give it an address of its own".to_owned());
            reader.fault(&item.place, "the same address is listened on already", fix);
        }
    }
    for (item, host) in items(table, "hosts").iter().zip(&gateway.hosts) {
        let name = host.strip_prefix("*.").unwrap_or(host);
        if name.is_empty() || name.contains(['/', ':', ' ', '*', '@']) {
            let fix =
                Some("write the name alone, as in \"shop.example.org\" or \"*.example.org\"".to_owned());
            reader.fault(&item.place, format!("\"{host}\" is no host name"), fix);
        }
    }
    gateway
}

/// The items of a list, where the key is there and holds one.
fn items<'t>(table: &'t Table, key: &str) -> &'t [Node] {
    match table.get(key).map(|entry| &entry.node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn hosts(root: &Table, reader: &mut Reader<'_>) -> BTreeMap<String, String> {
    let Some(table) = table(root, "hosts", reader) else { return BTreeMap::new() };
    let mut hosts = BTreeMap::new();
    reader.within("hosts", |reader| {
        for entry in &table.entries {
            reader.next_value();
            let Some(address) = String::read(&entry.node, reader) else { continue };
            if address.is_empty() || address.contains(['/', ' ', '@']) {
                let fix = Some("write an address or host name, with or without :port".to_owned());
                let shown = reader.quote(&address);
                reader.fault(&entry.node.place, format!("{shown} is no host"), fix);
                continue;
            }
            reader.row(&entry.name, address.show(), Origin::File(entry.node.place.clone()));
            hosts.insert(entry.name.to_ascii_lowercase(), address);
        }
    });
    hosts
}

/// Whether `entry` of `[php]` is a pool: a table under a name that is no slip of `ini`.
fn is_pool(entry: &Entry) -> bool {
    let known = Php::keys().iter().map(|key| key.name);
    matches!(entry.node.value, Value::Table(_))
        && (!known.clone().any(|key| key == entry.name))
        && did_you_mean(&entry.name, known).is_none()
}

fn php(root: &Table, reader: &mut Reader<'_>) -> Php {
    let table = table(root, "php", reader);
    let php: Php = reader.within("php", |reader| Php::read_section(table, reader, &is_pool));
    if let Some(version) = &php.version
        && !is_minor_version(version)
        && let Some(entry) = table.and_then(|table| table.get("version"))
    {
        let fix = Some("write major and minor version, as in \"8.2\"".to_owned());
        let literal = matches!(&entry.node.value, Value::Text(written) if written == version);
        let shown = if literal { version } else { "***" };
        reader.fault(&entry.node.place, format!("\"{shown}\" is no minor version of PHP"), fix);
    }
    php
}

fn is_minor_version(text: &str) -> bool {
    text.split_once('.').is_some_and(|(major, minor)| {
        [major, minor]
            .iter()
            .all(|part| (1..=2).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn pools(root: &Table, reader: &mut Reader<'_>) -> BTreeMap<String, Pool> {
    let mut pools = BTreeMap::new();
    let written = match root.get("php").map(|entry| &entry.node.value) {
        Some(Value::Table(php)) => php.entries.iter().filter(|entry| is_pool(entry)).collect(),
        _ => Vec::new(),
    };
    for entry in written {
        if let Value::Table(table) = &entry.node.value
            && is_name(entry, reader)
        {
            let section = format!("php.{}", entry.name);
            let pool = reader.within(&section, |reader| {
                let pool = Pool::read_section(Some(table), reader, &|_| false);
                check_pool(&pool, table, reader);
                pool
            });
            pools.insert(entry.name.clone(), pool);
        }
    }
    pools
        .entry("web".to_owned())
        .or_insert_with(|| reader.within("php.web", |reader| Pool::read_section(None, reader, &|_| false)));
    pools
}

/// What single keys cannot say of a pool.
fn check_pool(pool: &Pool, table: &Table, reader: &mut Reader<'_>) {
    if pool.mode == Some(Mode::Classic)
        && let Some(entry) = table.get("script")
    {
        let fix = Some("leave it out, or set mode = \"worker\" or \"rewind\"".to_owned());
        reader.fault(&entry.place, "classic mode has no script of its own", fix);
    }
    if pool.url.is_some() {
        // The gateway's own side of the pool stays ours; everything else is the external server's business.
        const OURS: [&str; 4] = ["url", "request_timeout", "env", "limit_extensions"];
        for entry in table.entries.iter().filter(|entry| !OURS.contains(&entry.name.as_str())) {
            if Pool::keys().iter().any(|key| key.name == entry.name) {
                let what =
                    format!("\"{}\" has no effect beside url: the external server decides it", entry.name);
                reader.fault(&entry.place, what, Some("remove one of the two".to_owned()));
            }
        }
    }
    for (item, extension) in items(table, "limit_extensions").iter().zip(&pool.limit_extensions) {
        if !extension.starts_with('.') || extension.len() < 2 || extension.contains([',', '/']) {
            let fix = Some("write it with its dot, as in \".php\"".to_owned());
            reader.fault(&item.place, format!("\"{extension}\" is no extension of a file"), fix);
        }
    }
    for key in ["status_path", "ping_path"] {
        if let Some(entry) = table.get(key)
            && let Value::Text(path) = &entry.node.value
            && !path.starts_with('/')
        {
            reader.fault(
                &entry.node.place,
                format!("{key} starts with /"),
                Some(format!("write \"/{path}\"")),
            );
        }
    }
}

/// Words of `protected_keys` that stand for more than a name.
const PROTECTED: [&str; 4] = ["@default", "@locks", "@sessions", "@streams"];

/// How many databases the store has, as Redis by default.
const DATABASES: u8 = 16;

fn store(root: &Table, reader: &mut Reader<'_>) -> Store {
    let store: Store = plain(root, "store", reader);
    let Some(Value::Table(table)) = root.get("store").map(|entry| &entry.node.value) else { return store };
    if let (Some(url), Some(entry)) = (&store.url, table.get("url")) {
        if let Err(NotServed { what, fix }) = crate::store::external(url.reveal()) {
            reader.fault(&entry.node.place, what, Some(fix.to_owned()));
        }
        for entry in table.entries.iter().filter(|entry| entry.name != "url") {
            if Store::keys().iter().any(|key| key.name == entry.name) {
                let what =
                    format!("\"{}\" has no effect beside url: the external store decides it", entry.name);
                reader.fault(&entry.place, what, Some("remove one of the two".to_owned()));
            }
        }
    }
    if matches!(store.listen, Listen::Unix(_))
        && let Some(entry) = table.get("listen")
    {
        let fix = Some("write an address and port; its own Unix socket is always there".to_owned());
        reader.fault(&entry.node.place, "the store listens on a Unix socket of its own already", fix);
    }
    if let Listen::Tcp(address) = &store.listen
        && !address.ip().is_loopback()
        && store.password.as_ref().is_some_and(|password| password.reveal().is_empty())
        && let Some(entry) = table.get("password")
    {
        let fix = Some("leave the password out and one is made, or listen on 127.0.0.1".to_owned());
        reader.fault(&entry.node.place, "without a password the store listens on loopback only", fix);
    }
    if let Some(entry) = table.get("protected_keys") {
        for word in &store.protected_keys {
            let what = match word {
                word if word.is_empty() || word.contains(char::is_whitespace) => "a name without spaces",
                word if word.starts_with('@') && !PROTECTED.contains(&word.as_str()) => {
                    "one of @default, @locks, @sessions and @streams, or a pattern of names"
                }
                _ => continue,
            };
            let fix = did_you_mean(word, PROTECTED);
            reader.fault(&entry.node.place, format!("\"{word}\": expects {what}"), fix);
        }
    }
    if let Some(Value::Table(databases)) = table.get("db").map(|entry| &entry.node.value) {
        for entry in &databases.entries {
            if entry.name.parse::<u8>().ok().is_none_or(|number| number >= DATABASES) {
                let what = format!("\"{}\" is no number of a database", entry.name);
                reader.fault(&entry.place, what, Some(format!("the store has 0 to {}", DATABASES - 1)));
            }
        }
    }
    store
}

/// A section whose entries the user names.
fn named<T>(
    root: &Table,
    name: &str,
    keys: &[Key],
    reader: &mut Reader<'_>,
    read: fn(&Table, &Entry, &mut Reader<'_>) -> T,
) -> BTreeMap<String, T> {
    let Some(table) = table(root, name, reader) else { return BTreeMap::new() };
    let mut all = BTreeMap::new();
    for entry in &table.entries {
        match &entry.node.value {
            _ if keys.iter().any(|key| key.name == entry.name) => {}
            Value::Table(own) if is_name(entry, reader) => {
                let section = format!("{name}.{}", entry.name);
                let value = reader.within(&section, |reader| read(own, entry, reader));
                all.insert(entry.name.clone(), value);
            }
            Value::Table(_) => {}
            _ => {
                let fix = Some(format!("name it: [{name}.NAME] with the key \"{}\" below", entry.name));
                let what = match keys {
                    [] => format!("[{name}] has no keys of its own"),
                    _ => format!("[{name}] has no key \"{}\" of its own", entry.name),
                };
                reader.fault(&entry.place, what, fix);
            }
        }
    }
    all
}

/// Whether the user's name for a pool or program can stand in a file name and in `regie restart NAME`.
fn is_name(entry: &Entry, reader: &mut Reader<'_>) -> bool {
    const NAME_MAX: usize = 48;
    let sound = !entry.name.is_empty()
        && entry.name.len() <= NAME_MAX
        && entry.name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if !sound {
        let what = format!("\"{}\" is no name: up to {NAME_MAX} letters, digits, - and _", entry.name);
        reader.fault(&entry.place, what, None);
    }
    sound
}

/// Whether `entry` of `[schedule]` is a task: a table under a name that is no slip of a key.
fn is_task(entry: &Entry) -> bool {
    let known = Schedule::keys().iter().map(|key| key.name);
    matches!(entry.node.value, Value::Table(_)) && !known.clone().any(|key| key == entry.name)
}

fn schedule(root: &Table, reader: &mut Reader<'_>) -> Schedule {
    let table = table(root, "schedule", reader);
    reader.within("schedule", |reader| Schedule::read_section(table, reader, &is_task))
}

fn schedule_entries(root: &Table, reader: &mut Reader<'_>) -> BTreeMap<String, ScheduleEntry> {
    let mut entries = BTreeMap::new();
    let Some(Value::Table(schedule)) = root.get("schedule").map(|entry| &entry.node.value) else {
        return entries;
    };
    for entry in schedule.entries.iter().filter(|entry| is_task(entry)) {
        let Value::Table(table) = &entry.node.value else { continue };
        if !is_name(entry, reader) {
            continue;
        }
        let section = format!("schedule.{}", entry.name);
        let read =
            reader.within(&section, |reader| ScheduleEntry::read_section(Some(table), reader, &|_| false));
        for (key, example) in [("cron", "30 3 * * *"), ("command", "php artisan report:send")] {
            if !table.entries.iter().any(|e| e.name == key || did_you_mean(&e.name, [key]).is_some()) {
                let fix = Some(format!("add {key} = \"{example}\""));
                reader.fault(&entry.place, format!("[{section}] has no {key}"), fix);
            }
        }
        entries.insert(entry.name.clone(), read);
    }
    entries
}

fn program(table: &Table, entry: &Entry, reader: &mut Reader<'_>) -> Program {
    let program = Program::read_section(Some(table), reader, &|_| false);
    let mistyped = |entry: &Entry| did_you_mean(&entry.name, ["command"]).is_some();
    if table.get("command").is_none() && !table.entries.iter().any(mistyped) {
        let fix = Some("add command = \"…\"".to_owned());
        reader.fault(&entry.place, format!("[program.{}] has no command", entry.name), fix);
    }
    if (program.processes == 0 || program.processes > PROCESSES_MAX)
        && let Some(key) = table.get("processes")
    {
        reader.fault(&key.node.place, format!("expects a number from 1 to {PROCESSES_MAX}"), None);
    }
    if program.depends_on.contains(&entry.name)
        && let Some(key) = table.get("depends_on")
    {
        reader.fault(&key.node.place, format!("\"{}\" depends on itself", entry.name), None);
    }
    program
}

impl Setting for StoreDatabase {
    fn kind() -> String {
        "a table as in [store.db.N]".to_owned()
    }

    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        let Value::Table(table) = &node.value else {
            reader.mismatch(node, "a table");
            return None;
        };
        let shown = reader.shown.len();
        let section = format!("{}.db", reader.section());
        let database = reader.within(&section, |reader| Self::read_section(Some(table), reader, &|_| false));
        // The rows are those of `[store] db`, which shows each database on one line.
        reader.shown.truncate(shown);
        Some(database)
    }

    fn show(&self) -> String {
        let part = |name: &str, value: String| (!value.is_empty()).then(|| format!("{name} = {value}"));
        let parts = [
            part("maxmemory", self.maxmemory.show()),
            part("maxmemory_policy", self.maxmemory_policy.show()),
            part("appendfsync", self.appendfsync.show()),
        ];
        format!("{{ {} }}", parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}
