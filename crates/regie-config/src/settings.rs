//! The sections of regie.toml and their keys: the one table. What is written here is what is read, suggested,
//! shown and documented.

mod read;

use std::collections::BTreeMap;
use std::path::PathBuf;

use regie_core::cron::Expression;
use regie_core::{ByteSize, Secret, Span};

use crate::schema::{Key, Section, section};
use crate::values::{
    AccessLog, AppEnv, Appendfsync, Coding, CommandLine, Count, EnvValue, Framework, IniValue, Listen,
    MaxmemoryPolicy, MissedRun, Mode, Network, Ready, Reset, Restart, Signal, Upstream, Zone,
};
use crate::workers::{AllWorkers, ClassLimit, Workers};

pub(crate) use read::{read, table, unserved};

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
        /// Addresses on which the gateway tells about itself: `/healthz`, `/readyz` and `/metrics`, and nothing of the site.
        status_listen: Vec<Listen> = "[]", "[\"127.0.0.1:9180\"]";
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
        /// How long a request goes on waiting for a worker when its client has hung up meanwhile, as WordPress does when it
        /// calls its own `wp-cron.php`; `"0s"` gives it up at once.
        hangup_grace: Span = "\"1s\"", "\"0s\"";
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
        /// After how long a request is slow: where PHP stands then goes to the log, and the request runs on; 0 for never.
        slow_request: Span = "\"0s\"", "\"5s\"";
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

impl Store {
    /// The memory that a database with these settings may take, where that is less than the store's.
    #[must_use]
    pub fn database_memory(&self, own: &StoreDatabase) -> Option<ByteSize> {
        let evicts = own.maxmemory_policy.is_some_and(|policy| policy != MaxmemoryPolicy::Noeviction);
        own.maxmemory.or_else(|| evicts.then_some(ByteSize(self.maxmemory.0 / 2)))
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
