//! The table of programs that follows from a configuration. Pure: what runs and with which words, and which sockets
//! must be open for it. [`crate::commands::up`] opens them and starts the supervisor.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use regie_config::settings::{Config, Pool, Program as Own};
use regie_config::values::{
    CommandLine, Count, Framework, IniValue, Listen, Mode, Ready, Restart as When, Signal as Word,
};
use regie_core::handoff::names::{HTTP_PREFIX, STATUS_PREFIX};
use regie_lane::Lane;
use regie_supervisor::{Output, Program, Readiness, Reload, Restart, RunAs, Scale, Signal, Stop};

use crate::own_workers;
use crate::roles::schedule;
use crate::roles::sentinel as sentinel_role;
use crate::roles::store as store_role;
use crate::shipped;
use crate::side_pool;
use crate::site::Site;
use crate::store;
use crate::workers;

/// The programs of this release, side by side in one folder.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    /// This program.
    pub(crate) regie: PathBuf,
    /// The one that embeds PHP.
    pub(crate) regie_php: PathBuf,
}

/// A socket that must be open before the programs start and outlives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The name under which it is handed on.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) listen: Listen,
}

/// The gateway's listeners.
pub(crate) fn http_sockets(config: &Config) -> Vec<Socket> {
    let name = |listen: &Listen| format!("{HTTP_PREFIX}-{listen}").replace([':', '/'], "-");
    config.gateway.listen.iter().map(|listen| Socket { name: name(listen), listen: listen.clone() }).collect()
}

/// The listeners on which the gateway tells about itself: one beside the pools' sockets, and what the configuration says.
pub(crate) fn status_sockets(site: &Site) -> Vec<Socket> {
    let name = |listen: &Listen| format!("{STATUS_PREFIX}-{listen}").replace([':', '/'], "-");
    let own = Listen::Unix(socket_path(site, "gateway.status"));
    let told = site.loaded.config.gateway.status_listen.iter().cloned();
    std::iter::once(own).chain(told).map(|listen| Socket { name: name(&listen), listen }).collect()
}

/// The sockets of the pools that are ours.
pub(crate) fn pool_sockets(site: &Site) -> Vec<Socket> {
    let web = own_pools(site).map(|(name, _)| [pool_socket_name(name), status_socket_name(name)]);
    let groups = workers::groups(site).into_keys().map(|group| {
        let name = workers::pool_name(&group);
        [name.clone(), format!("{name}.status")]
    });
    let listen = |name: &str| Listen::Unix(socket_path(site, name));
    web.chain(groups).flatten().map(|name| Socket { listen: listen(&name), name }).collect()
}

/// Where a pool of ours is asked about itself.
pub(crate) fn status_path(site: &Site, name: &str) -> PathBuf {
    socket_path(site, &status_socket_name(name))
}

fn status_socket_name(name: &str) -> String {
    format!("php.{name}.status")
}

/// The pools of `[php.NAME]` that run as such.
fn own_pools(site: &Site) -> impl Iterator<Item = (&String, &Pool)> {
    let lenders = workers::lenders(site);
    site.loaded.config.pools.iter().filter(move |(name, pool)| pool.url.is_none() && !lenders.contains(name))
}

/// A lane that must be made before the programs start and outlives both of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneRow {
    /// Workers on the other side, where the configuration says how many at most.
    pub(crate) workers: Option<u32>,
    /// Requests that may wait for them.
    pub(crate) waiting: u32,
}

/// All lanes by their names.
pub(crate) fn lanes(site: &Site) -> BTreeMap<String, LaneRow> {
    let waiting = site.loaded.config.gateway.queue_length;
    let web = gateway_pools(site).filter(|(_, pool)| has_lane(pool)).map(|(name, pool)| {
        let workers = match pool.workers {
            Count::Auto => None,
            Count::Exactly(most) | Count::Between(_, most) => Some(most),
        };
        (lane_name(name), LaneRow { workers, waiting })
    });
    // The runner has a job in the lane for each worker, and none that waits but at the change of a worker.
    let groups = workers::groups(site)
        .into_iter()
        .map(|(name, group)| (workers_lane(&name), LaneRow { workers: Some(group.max), waiting: group.max }));
    web.chain(groups).collect()
}

/// The lane between the runner and a group's workers.
pub(crate) fn workers_lane(group: &str) -> String {
    format!("{}.lane", workers::pool_name(group))
}

/// The pools that the gateway asks. Any other `[php.NAME]` is asked by foreign clients, over FastCGI.
fn gateway_pools(site: &Site) -> impl Iterator<Item = (&String, &Pool)> {
    site.loaded.config.pools.iter().filter(|(name, _)| [WEB, side_pool::NAME].contains(&name.as_str()))
}

/// The lanes between the gateway and pools of ours.
fn web_lanes(site: &Site) -> Vec<String> {
    gateway_pools(site).filter(|(_, pool)| has_lane(pool)).map(|(name, _)| lane_name(name)).collect()
}

/// Whether a pool that the gateway asks has a lane.
pub(crate) fn has_lane(pool: &Pool) -> bool {
    pool.lane && pool.url.is_none()
}

/// The application's store.
const STORE: &str = "store";

/// The pool that serves the gateway.
const WEB: &str = "web";

/// The name under which a lane's parts are handed on.
pub(crate) fn lane_name(pool: &str) -> String {
    format!("php.{pool}.lane")
}

/// Where a pool of ours listens.
pub(crate) fn pool_path(site: &Site, name: &str) -> PathBuf {
    socket_path(site, &pool_socket_name(name))
}

/// Where a socket with this name lies.
pub(crate) fn socket_path(site: &Site, name: &str) -> PathBuf {
    site.run_dir().join(format!("{name}.sock"))
}

fn pool_socket_name(name: &str) -> String {
    format!("php.{name}")
}

/// Every program, in the order of `regie status`.
pub(crate) fn table(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Vec<Program> {
    let config = &site.loaded.config;
    let mut programs: Vec<Program> = store(site, binaries, run_as).into_iter().collect();
    programs.extend(sentinel(site, binaries, run_as));
    programs.push(gateway(site, binaries, run_as));
    programs.extend(own_pools(site).map(|(name, pool)| php(site, binaries, run_as, name, pool)));
    programs.extend(jobs(site, binaries, run_as));
    programs.extend(own_workers::programs(site, run_as));
    programs.extend(config.programs.iter().map(|(name, own)| program(site, run_as, name, own)));
    programs.extend(dev_server(site, run_as));
    programs.extend(scheduler(site, binaries, run_as));
    programs.extend(watcher(site, binaries, run_as));
    programs
}

/// The pool whose settings jobs and commands have: `[php.jobs]`, else the web pool's.
pub(crate) fn jobs_pool(site: &Site) -> &Pool {
    site.loaded.config.pools.get("jobs").unwrap_or_else(|| site.loaded.web())
}

/// What every child of the application gets on top of the inherited environment.
pub(crate) fn child_environment(site: &Site) -> Vec<(String, String)> {
    site.loaded.child_environment.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn gateway(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Program {
    let config = &site.loaded.config;
    let drain = config.gateway.drain_timeout.0 + Duration::from_secs(2);
    Program {
        cwd: Some(site.folder.clone()),
        // The gateway reads the configuration itself; a new one makes this row, and so the process, another.
        env: vec![("REGIE_CONFIGURATION".to_owned(), fingerprint(config))],
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        ready_timeout: Duration::from_secs(20),
        stop: Stop::new(Signal::SIGTERM, drain),
        scale: Scale::Fixed,
        reload: Reload::Overlap,
        descriptors: http_sockets(config)
            .into_iter()
            .chain(status_sockets(site))
            .map(|socket| socket.name)
            .chain(web_lanes(site).iter().flat_map(|lane| Lane::names(lane)))
            .collect(),
        ..Program::new("gateway", role_command(site, binaries, "gateway"))
    }
}

/// The application's store. New code never restarts it; a reload tells it to look at `[store]` again. Another password
/// or address restarts it; its sockets stay open meanwhile, so clients wait for the new one instead of failing.
fn store(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Option<Program> {
    store::is_embedded(site).then(|| Program {
        cwd: Some(site.folder.clone()),
        env: vec![("REGIE_CONFIGURATION".to_owned(), store::fingerprint(site))],
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        umask: Some(0o077),
        // As long as reading the data takes.
        ready_timeout: Duration::from_secs(3600),
        stop: Stop::new(Signal::SIGTERM, Duration::from_secs(60)),
        scale: Scale::Fixed,
        reload: Reload::Signal(store_role::RELOAD),
        holds_code: true,
        descriptors: store::sockets(site).into_iter().map(|socket| socket.name).collect(),
        ..Program::new(STORE, role_command(site, binaries, STORE))
    })
}

/// What follows the sentinels, where the store has some. Its row holds which master the others were led to, so that it
/// knows, and is another row when they have been led to another.
fn sentinel(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Option<Program> {
    store::sentinels(site)?;
    let master = site.loaded.store.as_ref().map(|store| format!("{}:{}", store.host, store.port));
    Some(Program {
        cwd: Some(site.folder.clone()),
        env: vec![(sentinel_role::LED_TO.to_owned(), master.unwrap_or_default())],
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        scale: Scale::Fixed,
        ..Program::new("sentinel", role_command(site, binaries, "sentinel"))
    })
}

/// A number that changes with what the gateway reads.
fn fingerprint(config: &Config) -> String {
    let mut hasher = DefaultHasher::new();
    format!("{:?}{:?}{:?}", config.app, config.gateway, config.pools).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// What a pool is called in the different places.
struct Named {
    pool: String,
    program: String,
    group: &'static str,
    socket: String,
    status: String,
    lane: Option<String>,
}

fn php(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>, name: &str, pool: &Pool) -> Program {
    let named = Named {
        pool: name.to_owned(),
        program: format!("php:{name}"),
        group: "php",
        socket: pool_socket_name(name),
        status: status_socket_name(name),
        lane: web_lanes(site).into_iter().find(|lane| *lane == lane_name(name)),
    };
    pool_program(site, binaries, run_as, &named, pool)
}

/// The groups of workers, and the runner that hands them jobs. The runner goes first when all stops.
fn jobs(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Vec<Program> {
    let groups = workers::groups(site);
    if groups.is_empty() {
        return Vec::new();
    }
    let mut programs: Vec<Program> = groups
        .iter()
        .map(|(name, group)| {
            let pool = workers::pool(site, group);
            let named = Named {
                pool: workers::pool_name(name),
                program: workers::program_name(name),
                group: "workers",
                socket: workers::pool_name(name),
                status: format!("{}.status", workers::pool_name(name)),
                lane: Some(workers_lane(name)),
            };
            let mut program = pool_program(site, binaries, run_as, &named, &pool);
            program.command.extend(["--sapi-name".to_owned(), "cli".to_owned()]);
            program
        })
        .collect();
    let longest = groups.values().map(|group| group.timeout.0).max().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    format!("{:?}{groups:?}", site.loaded.config.app).hash(&mut hasher);
    programs.push(Program {
        cwd: Some(site.folder.clone()),
        env: child_environment(site)
            .into_iter()
            .chain([("REGIE_CONFIGURATION".to_owned(), format!("{:016x}", hasher.finish()))])
            .collect(),
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        ready_timeout: Duration::from_secs(20),
        stop: Stop::new(Signal::SIGTERM, drain_limit(longest) + Duration::from_secs(5)),
        scale: Scale::Fixed,
        depends_on: groups.keys().map(|name| workers::program_name(name)).collect(),
        descriptors: groups.keys().flat_map(|name| Lane::names(&workers_lane(name))).collect(),
        ..Program::new("jobs", role_command(site, binaries, "jobs"))
    });
    programs
}

/// How long the jobs that run may go on after a stop.
pub(crate) fn drain_limit(timeout: Duration) -> Duration {
    const MOST: Duration = Duration::from_secs(60);
    if timeout.is_zero() { MOST } else { timeout.min(MOST) }
}

fn pool_program(
    site: &Site,
    binaries: &Binaries,
    run_as: Option<&RunAs>,
    named: &Named,
    pool: &Pool,
) -> Program {
    let command = php_command(site, binaries, named, pool);
    let workers_at = command.iter().position(|word| word == "--workers").map(|at| at + 1);
    let mut env = child_environment(site);
    // The shipped scripts lie elsewhere.
    if pool.mode() == Mode::Rewind || is_shipped_worker(site, pool) {
        env.push(("REGIE_APP_BASE".to_owned(), text(&site.root())));
    }
    env.extend(pool.env.iter().map(|(name, value)| (name.clone(), value.0.clone())));
    Program {
        group: Some(named.group.to_owned()),
        env,
        cwd: Some(site.root()),
        run_as: pool_user(run_as, pool),
        ready: Readiness::Notify,
        ready_timeout: pool.boot_timeout.0 + Duration::from_secs(5),
        // The pool keeps its own limit; this is for one that does not.
        stop: Stop::new(Signal::SIGTERM, longest_request(pool) + Duration::from_secs(5)),
        scale: workers_at.map_or(Scale::Fixed, Scale::Argument),
        reload: Reload::Overlap,
        holds_code: true,
        depends_on: store::is_embedded(site).then(|| STORE.to_owned()).into_iter().collect(),
        descriptors: [named.socket.clone(), named.status.clone()]
            .into_iter()
            .chain(named.lane.iter().flat_map(|lane| Lane::names(lane)))
            .collect(),
        ..Program::new(named.program.clone(), command)
    }
}

/// How long a drain may take: as long as a request, where that has a limit.
fn longest_request(pool: &Pool) -> Duration {
    const UNLIMITED: Duration = Duration::from_secs(60);
    if pool.request_timeout.0.is_zero() { UNLIMITED } else { pool.request_timeout.0 + pool.request_grace.0 }
}

fn pool_user(run_as: Option<&RunAs>, pool: &Pool) -> Option<RunAs> {
    match (&pool.user, run_as) {
        (Some(user), _) => Some(RunAs { user: user.clone(), group: pool.group.clone() }),
        (None, Some(app)) => Some(RunAs { user: app.user.clone(), group: pool.group.clone() }),
        (None, None) => None,
    }
}

fn php_command(site: &Site, binaries: &Binaries, named: &Named, pool: &Pool) -> Vec<String> {
    let mut words = Words(vec![text(&binaries.regie_php)]);
    words.pair("--pool", &named.pool);
    words.pair("--listen-fd", &named.socket);
    words.pair("--status-fd", &named.status);
    if let Some(lane) = &named.lane {
        words.pair("--lane-fd", lane);
    }
    words.pair("--mode", pool.mode().as_str());
    if let Some(script) = script(site, pool) {
        words.pair("--script", text(&script));
    }
    if pool.mode() == Mode::Rewind && named.program == "php:web" && site.loaded.web_mode_is_detected {
        words.0.push("--or-classic".to_owned());
    }
    words.pair("--workers", pool.workers.to_string());
    if matches!(pool.workers, Count::Between(..)) {
        words.pair("--idle-timeout", span(pool.idle_timeout.0));
    }
    words.pair("--max-requests", pool.max_requests().to_string());
    if let Some(limit) = pool.max_memory {
        words.pair("--max-memory", limit.0.to_string());
    }
    words.pair("--request-timeout", span(pool.request_timeout.0));
    words.pair("--request-grace", span(pool.request_grace.0));
    if !pool.slow_request.0.is_zero() {
        words.pair("--slow-request", span(pool.slow_request.0));
    }
    words.pair("--boot-timeout", span(pool.boot_timeout.0));
    if let Some(folder) = pool.ini_dir.as_ref().or(site.loaded.config.php.ini_dir.as_ref()) {
        words.pair("--ini-dir", text(&site.folder.join(folder)));
    }
    for (key, value) in ini(site, pool) {
        words.pair("--ini", format!("{key}={value}"));
    }
    for (flag, path) in [("--status-path", &pool.status_path), ("--ping-path", &pool.ping_path)] {
        if let Some(path) = path {
            words.pair(flag, path);
        }
    }
    words.pair("--limit-extensions", pool.limit_extensions.join(","));
    let reset: Vec<&str> = pool.reset.iter().map(|reset| reset.as_str()).collect();
    words.pair("--reset", if reset.is_empty() { "none".to_owned() } else { reset.join(",") });
    words.pair("--stop-timeout", span(longest_request(pool)));
    if pool.paranoid {
        words.0.push("--paranoid".to_owned());
    }
    words.0
}

/// Whether a pool in worker mode runs the script that Régie ships: the application has none, and no Octane.
pub(crate) fn is_shipped_worker(site: &Site, pool: &Pool) -> bool {
    pool.mode() == Mode::Worker
        && pool.script.is_none()
        && pool.url.is_none()
        && site.loaded.application.framework == Framework::Laravel
}

/// What a pool boots: its own script, or the one that Régie ships for the framework and the mode.
fn script(site: &Site, pool: &Pool) -> Option<PathBuf> {
    let own = pool.script.as_ref().map(|script| site.root().join(script));
    let shipped = |name: &str| Some(shipped::folder(&site.run_dir()).join(name));
    match (pool.mode(), site.loaded.application.framework) {
        (Mode::Classic, _) => None,
        (Mode::Worker, _) if is_shipped_worker(site, pool) => shipped("laravel/worker.php"),
        (Mode::Worker, _) => own,
        (Mode::Rewind, _) if own.is_some() => own,
        (Mode::Rewind, Framework::Laravel) => shipped("laravel/boot.php"),
        (Mode::Rewind, Framework::Symfony) => shipped("symfony/boot.php"),
        // Its front controller calls regie_checkpoint() itself.
        (Mode::Rewind, _) => Some(front_controller(site)),
    }
}

/// The file that answers what no other file does.
pub(crate) fn front_controller(site: &Site) -> PathBuf {
    let written = site.loaded.config.gateway.front_controller.as_deref().filter(|script| !script.is_empty());
    site.public().join(written.unwrap_or("index.php").trim_start_matches('/'))
}

/// The ini values of a pool: what follows from development or production, then `[php] ini`, then the pool's own.
pub(crate) fn ini(site: &Site, pool: &Pool) -> Vec<(String, String)> {
    // WordPress updates its own files, so even in production they are looked at on change.
    let fixed_code = site.is_production() && site.loaded.application.framework != Framework::Wordpress;
    let mut values: Vec<(String, String)> = if fixed_code {
        vec![("opcache.validate_timestamps".into(), "0".into())]
    } else {
        vec![
            ("opcache.validate_timestamps".into(), "1".into()),
            ("opcache.revalidate_freq".into(), "0".into()),
        ]
    };
    let written = site.loaded.config.php.ini.iter().chain(&pool.ini);
    for (key, IniValue(value)) in written {
        values.retain(|(name, _)| name != key);
        values.push((key.clone(), value.clone()));
    }
    values
}

fn program(site: &Site, run_as: Option<&RunAs>, name: &str, own: &Own) -> Program {
    let command = match &own.command {
        CommandLine::Shell(line) => vec!["sh".to_owned(), "-c".to_owned(), shell_line(line)],
        CommandLine::Arguments(words) => words.clone(),
    };
    let mut env = child_environment(site);
    env.extend(own.environment.iter().map(|(name, value)| (name.clone(), value.0.clone())));
    let user = own.user.as_ref().map(|user| RunAs { user: user.clone(), group: None });
    Program {
        env,
        cwd: Some(site.root().join(&own.directory)),
        run_as: user.or_else(|| run_as.cloned()),
        nice: own.nice,
        memory_limit: own.memory_limit.map(|limit| limit.0),
        autostart: own.autostart,
        restart: match own.restart {
            When::Always => Restart::Always,
            When::Unexpected => {
                Restart::Unexpected(own.exit_codes.iter().map(|code| i32::from(*code)).collect())
            }
            When::Never => Restart::Never,
        },
        ready: readiness(own),
        ready_timeout: own.ready_timeout.0,
        start_retries: own.retries,
        stop: Stop { group: true, ..Stop::new(signal(own.stop_signal), own.stop_timeout.0) },
        depends_on: own.depends_on.iter().map(|other| full_name(&site.loaded.config, other)).collect(),
        processes: own.processes,
        output: Output::Capture {
            file: own.log.as_ref().map(|file| site.folder.join(file)),
            max_bytes: own.log_size.0,
            keep: own.log_files + 1,
        },
        ..Program::new(format!("program:{name}"), command)
    }
}

/// In development, the browser side's own server, where package.json has one and its packages are installed.
fn dev_server(site: &Site, run_as: Option<&RunAs>) -> Option<Program> {
    const NAME: &str = "vite";
    let server = site.loaded.application.dev_server.as_ref()?;
    if site.is_production() || !server.installed || site.loaded.config.programs.contains_key(NAME) {
        return None;
    }
    let command = vec!["sh".to_owned(), "-c".to_owned(), shell_line(&server.command)];
    Some(Program {
        env: child_environment(site),
        cwd: Some(site.root()),
        run_as: run_as.cloned(),
        restart: Restart::Unexpected(vec![0]),
        stop: Stop { group: true, ..Stop::default() },
        ..Program::new(format!("program:{NAME}"), command)
    })
}

/// The pools that hold the application in memory, and so must be started anew when its code changes.
pub(crate) fn pools_with_code(site: &Site) -> Vec<String> {
    let pools = site.loaded.config.pools.iter();
    let held = pools.filter(|(_, pool)| pool.url.is_none() && pool.mode() != Mode::Classic);
    let groups = workers::groups(site).into_keys().map(|group| workers::program_name(&group));
    held.map(|(name, _)| format!("php:{name}")).chain(groups).collect()
}

/// In development, what reloads the pools that hold code when a file changes.
fn watcher(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Option<Program> {
    if site.is_production() || pools_with_code(site).is_empty() {
        return None;
    }
    Some(Program {
        cwd: Some(site.folder.clone()),
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        scale: Scale::Fixed,
        ..Program::new("watch", role_command(site, binaries, "watch"))
    })
}

/// What runs scheduled tasks, where there can be any.
fn scheduler(site: &Site, binaries: &Binaries, run_as: Option<&RunAs>) -> Option<Program> {
    let config = &site.loaded.config;
    if !config.schedule.enabled || (config.schedule_entries.is_empty() && !site.has_own_schedule()) {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    format!("{:?}{:?}{:?}", config.schedule, config.schedule_entries, config.pools).hash(&mut hasher);
    Some(Program {
        cwd: Some(site.folder.clone()),
        // As with the gateway: a new configuration makes this row another.
        env: vec![("REGIE_CONFIGURATION".to_owned(), format!("{:016x}", hasher.finish()))],
        run_as: run_as.cloned(),
        ready: Readiness::Notify,
        ready_timeout: Duration::from_secs(90),
        stop: Stop::new(Signal::SIGTERM, schedule::DRAIN + Duration::from_secs(15)),
        scale: Scale::Fixed,
        reload: Reload::Signal(schedule::RELOAD),
        holds_code: true,
        ..Program::new("schedule", role_command(site, binaries, "schedule"))
    })
}

/// This program as a role, on the same configuration.
fn role_command(site: &Site, binaries: &Binaries, role: &str) -> Vec<String> {
    let mut command = vec![text(&binaries.regie), "-C".to_owned(), text(&site.folder)];
    if let Some(name) = &site.config_name {
        command.extend(["--config".to_owned(), name.clone()]);
    }
    command.extend(["role".to_owned(), role.to_owned()]);
    command
}

/// A line that is one plain command replaces its shell, which saves a process and lets signals reach it directly.
pub(crate) fn shell_line(line: &str) -> String {
    // Words that mean something to the shell itself, so that there is no such program.
    const KEYWORDS: [&str; 20] = [
        "while", "until", "for", "if", "case", "exec", "cd", "export", "set", "trap", "ulimit", "umask", ".",
        ":", "alias", "command", "eval", "exit", "read", "unset",
    ];
    let first = line.split_whitespace().next().unwrap_or_default();
    let plain = !line.contains([';', '|', '&', '(', ')', '{', '}', '<', '>', '`', '\n', '!'])
        && !first.contains('=')
        && !KEYWORDS.contains(&first);
    if plain { format!("exec {line}") } else { line.to_owned() }
}

fn readiness(own: &Own) -> Readiness {
    match &own.ready {
        Ready::Running => Readiness::Time(own.start_time.0),
        Ready::Notify => Readiness::Notify,
        Ready::Tcp(address) => Readiness::Socket(address.clone()),
        Ready::Unix(path) => Readiness::Socket(format!("unix:{}", path.display())),
        Ready::Http(url) => Readiness::Http(url.clone()),
        Ready::Command(line) => Readiness::Command(vec!["sh".to_owned(), "-c".to_owned(), line.clone()]),
    }
}

const fn signal(word: Word) -> Signal {
    match word {
        Word::Term => Signal::SIGTERM,
        Word::Hup => Signal::SIGHUP,
        Word::Int => Signal::SIGINT,
        Word::Quit => Signal::SIGQUIT,
        Word::Kill => Signal::SIGKILL,
        Word::Usr1 => Signal::SIGUSR1,
        Word::Usr2 => Signal::SIGUSR2,
    }
}

/// `depends_on` may say `vite`, `php.web` or `gateway`; the table says `program:vite`, `php:web`, `gateway`.
fn full_name(config: &Config, name: &str) -> String {
    if config.programs.contains_key(name) {
        return format!("program:{name}");
    }
    name.replacen("php.", "php:", 1)
}

/// Words of a command line.
struct Words(Vec<String>);

impl Words {
    fn pair(&mut self, flag: &str, value: impl Into<String>) {
        self.0.extend([flag.to_owned(), value.into()]);
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A length of time as regie-php reads it.
fn span(length: Duration) -> String {
    format!("{}ms", length.as_millis())
}

#[cfg(test)]
mod tests {
    use super::shell_line;

    #[test]
    fn only_a_plain_command_replaces_its_shell() {
        for (line, expected) in [
            ("npm run dev", "exec npm run dev"),
            (
                "php artisan queue:work --queue=\"high default\"",
                "exec php artisan queue:work --queue=\"high default\"",
            ),
            ("while :; do sleep 1; done", "while :; do sleep 1; done"),
            ("cd frontend && npm run dev", "cd frontend && npm run dev"),
            ("PORT=1 node server.js", "PORT=1 node server.js"),
            ("exec node server.js", "exec node server.js"),
            ("exit 3", "exit 3"),
            (". ./environment", ". ./environment"),
        ] {
            assert_eq!(shell_line(line), expected);
        }
    }
}
