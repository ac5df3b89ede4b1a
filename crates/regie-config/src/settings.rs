//! The sections of regie.toml and their keys: the one table. What is written here is what is read, suggested,
//! shown and documented.

use std::collections::BTreeMap;
use std::path::{Component, PathBuf};

use regie_core::cron::Expression;
use regie_core::nearest::nearest;
use regie_core::{ByteSize, Secret, Span};

use crate::document::{Entry, Node, Table, Value};
use crate::schema::{Key, Origin, Reader, Section, Setting, did_you_mean, section};
use crate::store::NotServed;
use crate::values::{
    AccessLog, AppEnv, Appendfsync, Coding, CommandLine, Count, EnvValue, Framework, IniValue, Listen,
    MaxmemoryPolicy, MissedRun, Mode, Network, PROCESSES_MAX, Ready, Reset, Restart, Signal, Upstream, Zone,
};
use crate::workers::{AllWorkers, ClassLimit, Workers, all_workers, workers};

section! {
    /// The application itself. Everything here is found by itself; a line overrides what was found.
    App {
        /// Whether this is development or production.
        env: Option<AppEnv> = (found "the application's `APP_ENV`, else development"), "\"production\"";
        /// The user that everything runs as when Régie was started as root.
        user: Option<String> = (found "the owner of the folder"), "\"deploy\"";
        /// Where sockets, logs and stored data are kept.
        state: PathBuf = "\".regie\"", "\"/var/lib/shop\"";
        /// The framework.
        framework: Option<Framework> = (found "detected"), "\"laravel\"";
        /// The application's folder, relative to regie.toml.
        root: PathBuf = "\".\"", "\"backend\"";
        /// The document root, relative to the application's folder.
        public: Option<PathBuf> = (found "detected: public, web, or the folder itself"), "\"public\"";
    }
}

section! {
    /// The HTTP side: what is listened on, what is served, and the limits of a request.
    Gateway {
        /// Addresses that are listened on. Beyond loopback only where an address here says so.
        listen: Vec<Listen> = "[\"127.0.0.1:8000\"]", "[\"0.0.0.0:80\", \"unix:/run/shop.sock\"]";
        /// Host names that are answered; any when the list is empty. `*.example.org` stands for each name below it.
        hosts: Vec<String> = "[]", "[\"shop.example.org\"]";
        /// The largest request body.
        body_limit: ByteSize = "\"200mb\"", "\"20mb\"";
        /// The largest request head, all header lines together.
        header_limit: ByteSize = "\"64kb\"", "\"16kb\"";
        /// How long a client may take to send the head of a request.
        header_timeout: Span = "\"30s\"", "\"5s\"";
        /// How long a client may pause while it sends a body.
        body_timeout: Span = "\"60s\"", "\"20s\"";
        /// How long a client may pause while it reads a response.
        send_timeout: Span = "\"60s\"", "\"20s\"";
        /// How long a connection without a request is kept open.
        keepalive_timeout: Span = "\"75s\"", "\"15s\"";
        /// How long requests in flight may take to end when the gateway stops.
        drain_timeout: Span = "\"30s\"", "\"10s\"";
        /// Proxies whose `X-Forwarded-*` and `Forwarded` headers are believed.
        trusted_proxies: Vec<Network> = "[]", "[\"10.0.0.0/8\"]";
        /// The form of the access log.
        access_log: AccessLog = "\"combined\"", "\"json\"";
        /// Codings in which dynamic responses are compressed, best first; none when the list is empty.
        compression: Vec<Coding> = "[\"zstd\", \"br\", \"gzip\"]", "[\"gzip\"]";
        /// How much of a response is kept in a file for a client that reads slowly, so that its worker is free; `"0"` for
        /// none. All such files together take four times that at most.
        response_spool: ByteSize = "\"1gb\"", "\"100mb\"";
        /// How many connections may be open; a further one waits to be accepted.
        max_connections: u32 = "16384", "2000";
        /// How many requests may wait for a free worker; past it the answer is 503 with `Retry-After`.
        queue_length: u32 = "1024", "200";
        /// How long a request may wait for a free worker; past it the answer is 503 with `Retry-After`.
        queue_timeout: Span = "\"30s\"", "\"5s\"";
        /// Files that answer for a folder, in order.
        index: Vec<String> = "[\"index.php\", \"index.html\"]", "[\"index.html\"]";
        /// The script that answers for paths that are no file, relative to the document root; `""` for none.
        front_controller: Option<String> = (found "detected: index.php for frameworks, none for a plain folder"), "\"index.php\"";
        /// Folders below the document root where people upload files: PHP in them is never run.
        upload_folders: Vec<String> = "[]", "[\"media\"]";
        /// Further paths that are never served: `*` stands for a part of a name, `**` for any number of folders, and a
        /// pattern without a slash is a name at any depth.
        deny: Vec<String> = "[]", "[\"internal/**\", \"*.log\"]";
    }
}

section! {
    /// PHP for every pool and for the commands that `regie run` starts.
    Php {
        /// The minor version.
        version: Option<String> = (found "composer.json's, else the newest that is installed"), "\"8.2\"";
        /// The command-line program, for `regie run`, `regie artisan` and alike.
        bin: Option<PathBuf> = (found "php of that version, from the PATH"), "\"/usr/bin/php8.2\"";
        /// The folder from which php.ini and conf.d are read by web pools.
        ini_dir: Option<PathBuf> = (found "the version's own fpm folder, else its embed folder"), "\"/etc/php/8.2/fpm\"";
        /// Values that override php.ini, in every pool and command.
        ini: BTreeMap<String, IniValue> = "{}", "{ memory_limit = \"512M\" }";
    }
}

section! {
    /// A pool of PHP workers. The pool `web` serves the gateway and exists without being written.
    Pool {
        /// How PHP runs. `rewind`: the application boots once, and memory is put back after each request.
        mode: Option<Mode> = (found "worker where Octane or a FrankenPHP runtime is configured; rewind for other Laravel and Symfony applications in production; else classic"), "\"worker\"";
        /// The script that boots the application in worker or rewind mode, relative to the application's folder.
        script: Option<PathBuf> = (found "Octane's and Symfony's own; else one that Régie ships: for Laravel in worker mode, for both in rewind mode"), "\"public/frankenphp-worker.php\"";
        /// How many workers. `"2-16"`: never fewer than 2, and up to 16 while requests wait.
        workers: Count = "\"auto\"", "\"2-16\"";
        /// With a range of workers: those that nobody needed for so long leave.
        idle_timeout: Span = "\"10s\"", "\"1m\"";
        /// After how many requests a worker is replaced; 0 for never.
        max_requests: Option<u64> = (found "500 in worker mode, else 0"), "1000";
        /// The resident memory past which a worker is replaced after its response.
        max_memory: Option<ByteSize> = (found "no limit"), "\"256mb\"";
        /// How long a request may take by the clock; 0 for no limit.
        request_timeout: Span = "\"60s\"", "\"300s\"";
        /// How long PHP may take to end a request that is over its time before the worker is killed.
        request_grace: Span = "\"3s\"", "\"1s\"";
        /// How long the application may take to boot.
        boot_timeout: Span = "\"30s\"", "\"2m\"";
        /// Environment variables of the workers.
        env: BTreeMap<String, EnvValue> = "{}", "{ APP_REGION = \"eu\" }";
        /// Values that override php.ini and `[php] ini`.
        ini: BTreeMap<String, IniValue> = "{}", "{ max_execution_time = 30 }";
        /// The folder from which php.ini and conf.d are read.
        ini_dir: Option<PathBuf> = (found "`[php] ini_dir`"), "\"/etc/php/8.2/cli\"";
        /// The user of the workers, when Régie was started as root.
        user: Option<String> = (found "`[app] user`"), "\"www-data\"";
        /// The group of the workers.
        group: Option<String> = (found "the user's own"), "\"www-data\"";
        /// The path that answers with the pool's status.
        status_path: Option<String> = (found "none"), "\"/status\"";
        /// The path that answers with `pong`.
        ping_path: Option<String> = (found "none"), "\"/ping\"";
        /// The only file names that are run as PHP.
        limit_extensions: Vec<String> = "[\".php\"]", "[\".php\", \".phar\"]";
        /// What is put back between two requests of a worker.
        reset: Vec<Reset> = "[\"ini\", \"cwd\", \"umask\", \"locale\", \"timezone\", \"handlers\"]", "[\"ini\", \"cwd\"]";
        /// Whether what a request left behind in statics and globals is reported.
        paranoid: bool = "false", "true";
        /// Whether the gateway hands requests to the workers through shared memory. FastCGI over a socket otherwise.
        lane: bool = "true", "false";
        /// An external FastCGI server that serves in place of Régie's own PHP.
        url: Option<Upstream> = (found "Régie's own PHP"), "\"unix:/run/php/php8.2-fpm.sock\"";
    }
}

section! {
    /// The embedded store that speaks Redis's protocol, or the address of a real one.
    Store {
        /// An external Redis or Valkey in place of the embedded store; then no other key of this section may stand.
        url: Option<Secret> = (found "the embedded store"), "\"redis://:${REDIS_PASSWORD}@10.0.0.5:6379/0\"";
        /// Whether the embedded store is started.
        enabled: Option<bool> = (found "where this section stands, or the application names a Redis that leads here"), "false";
        /// Where the embedded store listens beside its Unix socket; port 0 for a free one, which is kept over restarts.
        listen: Listen = "\"127.0.0.1:0\"", "\"127.0.0.1:6379\"";
        /// The password; `""` for none.
        password: Option<Secret> = (found "made at the first start"), "\"${file:/run/secrets/store}\"";
        /// The memory that all databases may take together.
        maxmemory: ByteSize = "\"512mb\"", "\"2gb\"";
        /// What goes when the memory is full. Queues, locks and sessions never do. With `noeviction` nothing goes: writes
        /// that need memory are refused until there is some.
        maxmemory_policy: MaxmemoryPolicy = "\"noeviction\"", "\"allkeys-lru\"";
        /// The keys that no policy evicts: patterns of names, `@locks`, `@sessions`, and `@default` for those and the
        /// names that Régie knows. Streams never go.
        protected_keys: Vec<String> = "[\"@default\"]", "[\"@default\", \"orders:*\"]";
        /// When what was written is on the disk.
        appendfsync: Appendfsync = "\"everysec\"", "\"always\"";
        /// Settings of one database, by its number. Laravel's cache is database 1.
        db: BTreeMap<String, StoreDatabase> = "{ 1 = { maxmemory_policy = \"allkeys-lru\", appendfsync = \"no\" } }", "{ 2 = { maxmemory = \"64mb\" } }";
    }
}

section! {
    /// One database of the store, `[store] db.N`.
    StoreDatabase {
        /// The memory that this database may take.
        maxmemory: Option<ByteSize> = (found "half of the store's where the policy lets keys go, else all of it"), "\"64mb\"";
        /// What goes when it is full.
        maxmemory_policy: Option<MaxmemoryPolicy> = (found "the store's"), "\"volatile-ttl\"";
        /// When what was written is on the disk.
        appendfsync: Option<Appendfsync> = (found "the store's"), "\"no\"";
    }
}

section! {
    /// Scheduled tasks: the application's own schedule, and the entries below.
    Schedule {
        /// Whether they are run.
        enabled: bool = "true", "false";
        /// Whether the application's own schedule is run, as `artisan schedule:run` does.
        application: bool = "true", "false";
        /// The time zone of entries that name none. The application's own tasks have the application's.
        timezone: Option<Zone> = (found "the machine's"), "\"Europe/Paris\"";
    }
}

section! {
    /// A scheduled task of your own.
    ScheduleEntry {
        /// When it is due, as in crontab(5): minute, hour, day, month, day of the week; with six fields, seconds come
        /// first.
        cron: Option<Expression> = (found "required"), "\"30 3 * * *\"";
        /// What is run: a line for `sh`, or a list of the program and its arguments. `php` is the application's.
        command: CommandLine = (found "required"), "\"php artisan report:send\"";
        /// The time zone in which `cron` is meant.
        timezone: Option<Zone> = (found "`[schedule] timezone`"), "\"America/New_York\"";
        /// The working directory, relative to the application's folder.
        directory: PathBuf = "\".\"", "\"tools\"";
        /// Environment variables beside those of the application.
        environment: BTreeMap<String, EnvValue> = "{}", "{ REPORT_TO = \"sales\" }";
        /// Whether it is started while a run before it has not ended.
        overlap: bool = "false", "true";
        /// What happens when it was due while Régie did not run: `skip`, or `run` it once at the next start.
        missed: MissedRun = "\"skip\"", "\"run\"";
        /// How long it may take before it is ended; 0 for no limit.
        timeout: Span = "\"0s\"", "\"2h\"";
    }
}

section! {
    /// A program of your own, started and watched beside Régie's.
    Program {
        /// What is run: a line for `sh`, or a list of the program and its arguments.
        command: CommandLine = (found "required"), "\"npm run dev\"";
        /// The working directory, relative to the application's folder.
        directory: PathBuf = "\".\"", "\"frontend\"";
        /// Environment variables beside those of the application.
        environment: BTreeMap<String, EnvValue> = "{}", "{ PORT = \"5173\" }";
        /// The user, when Régie was started as root.
        user: Option<String> = (found "`[app] user`"), "\"nobody\"";
        /// How many processes; more than one are named NAME_00, NAME_01 and so on.
        processes: u32 = "1", "3";
        /// Whether it starts with the application.
        autostart: bool = "true", "false";
        /// When it is started again.
        restart: Restart = "\"unexpected\"", "\"always\"";
        /// Exit codes that are no failure.
        exit_codes: Vec<u8> = "[0]", "[0, 2]";
        /// How long it must run to count as started.
        start_time: Span = "\"1s\"", "\"10s\"";
        /// What tells that it is ready.
        ready: Ready = "\"running\"", "\"tcp:127.0.0.1:3306\"";
        /// How long it may take to become ready.
        ready_timeout: Span = "\"60s\"", "\"5m\"";
        /// How often a start that failed is tried again before the program is given up.
        retries: u32 = "3", "10";
        /// The signal that asks it to stop.
        stop_signal: Signal = "\"TERM\"", "\"QUIT\"";
        /// How long it may take to stop before it is killed.
        stop_timeout: Span = "\"10s\"", "\"1m\"";
        /// Programs and parts that must be ready before it starts.
        depends_on: Vec<String> = "[]", "[\"php.web\", \"db\"]";
        /// The resident memory, its children included, past which it is restarted.
        memory_limit: Option<ByteSize> = (found "no limit"), "\"512mb\"";
        /// The priority, from -20 (first) to 19 (last).
        nice: i32 = "0", "10";
        /// A file for what it writes, instead of the state folder's.
        log: Option<PathBuf> = (found "log/NAME.log in the state folder"), "\"/var/log/vite.log\"";
        /// The size at which its log is rotated.
        log_size: ByteSize = "\"20mb\"", "\"100mb\"";
        /// How many rotated logs are kept.
        log_files: u32 = "10", "3";
    }
}

section! {
    /// The live-update hub, Mercure's protocol.
    Mercure {
        /// The secret that signs publishers' and subscribers' tokens.
        jwt_secret: Option<Secret> = (found "none: the hub is off"), "\"${MERCURE_JWT_SECRET}\"";
        /// Whether subscribers without a token get public updates.
        anonymous: bool = "false", "true";
        /// Origins that may subscribe from another site.
        cors_origins: Vec<String> = "[]", "[\"https://example.org\"]";
        /// How many updates are kept for subscribers that come back.
        history: u32 = "1000", "10000";
    }
}

section! {
    /// The web console.
    Console {
        /// Whether it is started.
        enabled: bool = "true", "false";
        /// Where it listens.
        listen: Listen = "\"127.0.0.1:8899\"", "\"unix:/run/console.sock\"";
        /// The password that it asks for.
        password: Option<Secret> = (found "made at the first start"), "\"${CONSOLE_PASSWORD}\"";
    }
}

/// Everything that regie.toml says, with defaults in place.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Config {
    /// `[app]`
    pub app: App,
    /// `[hosts]`: addresses for the names that the application uses.
    pub hosts: BTreeMap<String, String>,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[php]`
    pub php: Php,
    /// `[php.NAME]`; `web` is always there.
    pub pools: BTreeMap<String, Pool>,
    /// `[store]`
    pub store: Store,
    /// `[workers]`
    pub all_workers: AllWorkers,
    /// `[workers.NAME]`
    pub workers: BTreeMap<String, Workers>,
    /// `[schedule]`
    pub schedule: Schedule,
    /// `[schedule.NAME]`
    pub schedule_entries: BTreeMap<String, ScheduleEntry>,
    /// `[program.NAME]`
    pub programs: BTreeMap<String, Program>,
    /// `[mercure]`
    pub mercure: Mercure,
    /// `[console]`
    pub console: Console,
}

impl Pool {
    /// The mode, classic where nothing else was set or detected.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode.unwrap_or(Mode::Classic)
    }

    /// After how many requests a worker is replaced; 0 for never.
    #[must_use]
    pub fn max_requests(&self) -> u64 {
        self.max_requests.unwrap_or(if self.mode() == Mode::Worker { 500 } else { 0 })
    }
}

/// One row of the table of sections.
#[derive(Debug, Clone, Copy)]
pub struct SectionRow {
    /// As it is written: `php.NAME`.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys; none where the user names them.
    pub keys: fn() -> &'static [Key],
    /// Whether this version acts on it. What is not served yet is read and checked all the same.
    pub served: bool,
}

/// Every section, in the order of the reference page. The one place that says which are served.
pub const SECTIONS: [SectionRow; 15] = [
    SectionRow { name: "app", doc: App::DOC, keys: App::keys, served: true },
    SectionRow {
        name: "hosts",
        doc: "Addresses for the names that the application uses in its own settings: `db = \"10.0.0.7\"` leads every \
              variable that says `db` there. A port after a colon replaces the application's port.",
        keys: || &[],
        served: true,
    },
    SectionRow { name: "gateway", doc: Gateway::DOC, keys: Gateway::keys, served: true },
    SectionRow { name: "php", doc: Php::DOC, keys: Php::keys, served: true },
    SectionRow { name: "php.NAME", doc: Pool::DOC, keys: Pool::keys, served: true },
    SectionRow { name: "store", doc: Store::DOC, keys: Store::keys, served: true },
    SectionRow { name: "store.db.N", doc: StoreDatabase::DOC, keys: StoreDatabase::keys, served: true },
    SectionRow { name: "workers", doc: AllWorkers::DOC, keys: AllWorkers::keys, served: true },
    SectionRow { name: "workers.NAME", doc: Workers::DOC, keys: Workers::keys, served: true },
    SectionRow {
        name: "workers.NAME.limits.CLASS",
        doc: ClassLimit::DOC,
        keys: ClassLimit::keys,
        served: true,
    },
    SectionRow { name: "schedule", doc: Schedule::DOC, keys: Schedule::keys, served: true },
    SectionRow { name: "schedule.NAME", doc: ScheduleEntry::DOC, keys: ScheduleEntry::keys, served: true },
    SectionRow { name: "program.NAME", doc: Program::DOC, keys: Program::keys, served: true },
    SectionRow { name: "mercure", doc: Mercure::DOC, keys: Mercure::keys, served: false },
    SectionRow { name: "console", doc: Console::DOC, keys: Console::keys, served: false },
];

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

impl Store {
    /// The memory that a database with these settings may take, where that is less than the store's.
    #[must_use]
    pub fn database_memory(&self, own: &StoreDatabase) -> Option<ByteSize> {
        let evicts = own.maxmemory_policy.is_some_and(|policy| policy != MaxmemoryPolicy::Noeviction);
        own.maxmemory.or_else(|| evicts.then_some(ByteSize(self.maxmemory.0 / 2)))
    }
}

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
