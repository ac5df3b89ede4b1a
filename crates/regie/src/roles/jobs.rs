//! `regie role jobs`: takes jobs from the application's queues and hands them to the groups of workers.
//!
//! It asks a worker what queues the application has (`describe`), starts a runner for each group, answers `regie queue`
//! over `run/jobs.sock`, and on SIGTERM lets the jobs that run end within the limit and gives the others back. Queues
//! that Régie does not drive itself are served by the framework's own workers ([`own_workers`]), or by Horizon.
//!
//! Its mark (see `regie_queue::mark`) lies in `jobs.mark` of the state folder, so that it finds after a kill what it had leased.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::fcntl::{Flock, FlockArg};
use regie_config::workers::{ClassLimit, Workers};
use regie_core::ByteSize;
use regie_pool::{Address as PoolAddress, PoolSettings, QueueLimits};
use regie_queue::application::{Application, Horizon, How, Server};
use regie_queue::limits::Limit;
use regie_queue::mark::Mark;
use regie_queue::message::Options;
use regie_queue::plan::Order;
use regie_queue::shell::archive::Archive;
use regie_queue::shell::control::{self, Desk, Served};
use regie_queue::shell::driver::Driver;
use regie_queue::shell::executor::{Inherited, PoolExecutor};
use regie_queue::shell::laravel_database::{self, LaravelDatabase};
use regie_queue::shell::laravel_redis::{self, LaravelRedis};
use regie_queue::shell::pauses::Pauses;
use regie_queue::shell::reach::{endpoint, target};
use regie_queue::shell::redis::{Address, Endpoint};
use regie_queue::shell::runner::{self, Queue};
use regie_queue::shell::symfony_doctrine::SymfonyDoctrine;
use regie_queue::shell::symfony_redis::SymfonyRedis;

use super::gateway::stop;
use super::signals::{self, Audience};
use crate::handed::{Handed, is_at_end, notify};
use crate::horizon;
use crate::output;
use crate::own_workers::{self, OwnWorker};
use crate::programs;
use crate::site::Site;
use crate::{store, transports, workers};

/// A booting application answers within this time, or is asked again.
const DESCRIBE: Duration = Duration::from_secs(30);

/// How long to wait before asking again.
const AGAIN: Duration = Duration::from_secs(2);

/// A job may run for as long as it says; the pool keeps that limit.
const FOR_EVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// How long jobs may go on when the supervisor has died.
const ORPHAN: Duration = Duration::from_secs(8);

/// Where `regie queue` asks.
pub(crate) const CONTROL: &str = "jobs.sock";

/// Where it is kept which queues are paused.
const PAUSES: &str = "paused.json";

/// Where it is kept what became of each job.
const RUNS: &str = "runs";

/// The role.
pub(super) fn run(site: &Site) -> io::Result<()> {
    let mut handed = Handed::take()?;
    let lifeline = handed.lifeline();
    let mark = claim_mark(site)?;
    let groups = workers::groups(site);
    if groups.is_empty() {
        return Err(io::Error::other(
            "there is no group of workers: write [workers.default] in regie.toml, or name a queue in .env",
        ));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let done = runtime.block_on(work(site, &handed, lifeline, groups, mark.number));
    // A step that waits in the server must not keep the process.
    runtime.shutdown_background();
    done
}

async fn work(
    site: &Site,
    handed: &Handed,
    lifeline: Option<OwnedFd>,
    groups: BTreeMap<String, Workers>,
    mark: Mark,
) -> io::Result<()> {
    let supervisor = lifeline.as_ref().map(OwnedFd::try_clone).transpose()?;
    let stop = stop("jobs", lifeline)?;
    tokio::pin!(stop);
    let mut pools = BTreeMap::new();
    for name in groups.keys() {
        let lane = handed.lane(&programs::workers_lane(name))?;
        let address = PoolAddress::Unix(programs::socket_path(site, &workers::pool_name(name)));
        let settings = PoolSettings {
            lane,
            request_timeout: FOR_EVER,
            queue: QueueLimits { timeout: FOR_EVER, ..QueueLimits::default() },
            ..PoolSettings::new(address)
        };
        pools.insert(name.clone(), PoolExecutor::start(settings));
    }
    notify("READY=1\n")?;
    let any = pools.values().next().expect("there is a group").0.clone();
    let mut application = tokio::select! {
        application = describe(&any) => application,
        () = &mut stop => return Ok(()),
    };
    let mut anew = replace_horizon(site, &mut application);
    let listener = control::bind(&site.run_dir().join(CONTROL))?;
    let (pauses, fault) = Pauses::open(&site.state_dir().join("jobs").join(PAUSES));
    if let Some(fault) = fault {
        output::warning(format_args!("jobs: which queues were paused cannot be read, none is: {fault}"));
    }
    let archive = Archive::open(&site.state_dir().join("jobs").join(RUNS)).map(Arc::new);
    if let Err(fault) = &archive {
        output::warning(format_args!(
            "jobs: runs are kept in memory only, {RUNS} cannot be written: {fault}"
        ));
    }
    let desk = Desk { pauses, archive: archive.ok(), ..Desk::default() };
    let mut started = Started { desk, left: Vec::new(), groups: Vec::new(), own: Vec::new() };
    let mut drivers = BTreeMap::new();
    // What stands in regie.toml goes first, where two groups name one queue.
    let (written, others): (Vec<_>, Vec<_>) =
        groups.iter().partition(|(name, _)| site.loaded.config.workers.contains_key(*name));
    for (name, group) in written.into_iter().chain(others) {
        let executor = pools.remove(name).expect("each group has a pool");
        start(site, name, group, &application, mark, executor, &mut drivers, &mut started);
    }
    if application.horizon.as_ref().is_some_and(Horizon::works) {
        output::note("jobs: Horizon is installed and runs as workers:horizon");
        started.own.push(OwnWorker::horizon());
    }
    let Started { desk, left, groups: listening, own } = started;
    match own_workers::write_down(&own_workers::path(site), &own) {
        Ok(changed) => anew |= changed,
        Err(fault) => {
            output::error(format_args!("jobs: the framework's own workers cannot be started: {fault}"));
        }
    }
    if anew {
        let run_dir = site.run_dir();
        // It waits for a supervisor that is still starting others.
        tokio::task::spawn_blocking(move || {
            if let Err(fault) = own_workers::apply(&run_dir) {
                output::error(format_args!("jobs: the programs cannot be changed: {fault}"));
            }
        });
    }
    let audience = Audience {
        run_dir: site.run_dir(),
        programs: groups.keys().map(|name| workers::program_name(name)).collect(),
        groups: listening,
        fingerprint: application.fingerprint.clone(),
    };
    let listening = tokio::spawn(signals::listen(audience));
    let desk = Arc::new(desk);
    let answering = tokio::spawn(control::serve(listener, desk.clone()));
    stop.await;
    answering.abort();
    listening.abort();
    // The store and the workers end soon, and the next start waits for us.
    let is_orphan = supervisor.as_ref().is_some_and(is_at_end);
    for runner in &desk.runners {
        if is_orphan { runner.stop_within(ORPHAN) } else { runner.stop() }
    }
    for left in left {
        let left = left.await;
        if left.given_back + left.cut > 0 {
            output::note(format_args!(
                "jobs: stopped; {} given back, {} left to the next start",
                left.given_back, left.cut
            ));
        }
    }
    Ok(())
}

type Leaving = std::pin::Pin<Box<dyn Future<Output = runner::Left> + Send>>;

struct Started {
    desk: Desk,
    left: Vec<Leaving>,
    groups: Vec<signals::Group>,
    own: Vec<OwnWorker>,
}

#[expect(clippy::too_many_arguments, reason = "the one place where everything of a group comes together")]
fn start(
    site: &Site,
    name: &str,
    group: &Workers,
    application: &Application,
    mark: Mark,
    (executor, inherited): (PoolExecutor, Vec<Inherited>),
    drivers: &mut BTreeMap<String, Arc<dyn Driver>>,
    started: &mut Started,
) {
    let sources = match application.sources(&group.queues) {
        Ok(sources) => sources,
        Err(fault) => {
            output::error(format_args!("jobs: [workers.{name}] {fault}"));
            return;
        }
    };
    let mut queues = Vec::new();
    for source in sources {
        let full = format!("{}:{}", source.connection, source.queue);
        match &source.how {
            How::Ours => {
                if started.desk.queues.contains_key(&full) {
                    output::warning(format_args!(
                        "jobs: {full} stands in more than one group; [workers.{name}] leaves it to the other. Take it \
                         out of one of them"
                    ));
                    continue;
                }
                let driver = drivers
                    .entry(source.connection.clone())
                    .or_insert_with(|| driver(site, application, &source.connection, mark))
                    .clone();
                let served = Served { name: source.queue.clone(), driver: driver.clone() };
                let paused = started.desk.pauses.has(&full);
                if paused {
                    output::note(format_args!(
                        "jobs: {full} is paused; go on with: regie queue resume {full}"
                    ));
                }
                started.desk.queues.insert(full, served);
                queues.push(Queue { connection: source.connection, name: source.queue, driver, paused });
            }
            How::Foreign(why) => {
                let own = OwnWorker::on(application.framework, &source, group);
                if !started.own.contains(&own) {
                    output::note(format_args!(
                        "jobs: {full} runs on the framework's own worker, {}: {why}",
                        own.program_name()
                    ));
                    started.own.push(own);
                    started.desk.foreign.push((full, why.clone()));
                }
            }
            How::Horizon => {
                if group.queues.is_empty() {
                    output::note(format_args!("jobs: {full} is left to Horizon"));
                } else {
                    output::warning(format_args!(
                        "jobs: {full} stands in [workers.{name}] and in config/horizon.php; it is left to Horizon. \
                         Take it out of one of the two"
                    ));
                }
                started.desk.foreign.push((full, "Horizon works on it".to_owned()));
            }
        }
    }
    if queues.is_empty() {
        return;
    }
    let names: Vec<String> =
        queues.iter().map(|queue| format!("{}:{}", queue.connection, queue.name)).collect();
    output::note(format_args!("jobs: {name} works on {}", names.join(", ")));
    let order = if group.weights.is_empty() { Order::Strict } else { Order::Weighted(group.weights.clone()) };
    let settings = runner::Settings {
        name: name.to_owned(),
        queues,
        order,
        options: options(group),
        limits: limits(group),
        jitter: group.jitter,
        workers_max: group.max as usize,
        workers_min: group.min as usize,
        wait_target: group.wait_target.map(|target| target.0).filter(|target| !target.is_zero()),
        timeout: group.timeout.0,
        drain: programs::drain_limit(group.timeout.0),
        deaths: Some(site.state_dir().join("jobs").join(format!("deaths-{}.json", file_name(name)))),
        archive: started.desk.archive.clone(),
        log: |line| output::note(format_args!("jobs: {line}")),
    };
    let asked = executor.clone();
    let (handle, left) = runner::start(settings, Arc::new(executor), inherited);
    let runner = handle.clone();
    started.groups.push(signals::Group { runner, asked, queues: names, maintenance: group.maintenance });
    started.desk.runners.push(handle);
    started.left.push(Box::pin(left));
}

fn options(group: &Workers) -> Options {
    let seconds: Vec<String> = group.backoff.iter().map(|wait| wait.0.as_secs().to_string()).collect();
    Options {
        tries: Some(group.tries),
        backoff: Some(seconds.join(",")).filter(|text| !text.is_empty()),
        timeout: Some(group.timeout.0.as_secs()),
        memory: group.memory.map(memory_mb),
    }
}

/// As the frameworks' workers count it; a limit that nobody reaches where none is wished.
fn memory_mb(memory: ByteSize) -> u64 {
    const NONE: u64 = 1 << 40;
    match memory.0 {
        0 => NONE,
        bytes => (bytes >> 20).max(1),
    }
}

fn limits(group: &Workers) -> Vec<(String, Limit)> {
    let limit = |limit: &ClassLimit| Limit {
        concurrency: limit.concurrency,
        rate: limit.rate.map(|rate| (rate.count, rate.span.0)),
    };
    // A class may be written with the backslash that Laravel does not write.
    let name = |name: &String| name.trim_start_matches('\\').to_owned();
    group.limits.iter().map(|(class, of)| (name(class), limit(of))).collect()
}

/// Writes down Horizon's supervisors where they are to be groups. Whether the supervisor has to look.
fn replace_horizon(site: &Site, application: &mut Application) -> bool {
    if !horizon::is_replaced(site) {
        return false;
    }
    let found = application.horizon.take().unwrap_or_default();
    if found.supervisors.is_empty() {
        output::warning(
            "jobs: [workers] horizon is \"replace\", and config/horizon.php has no supervisors for this environment",
        );
    }
    for (name, _) in found.supervisors.iter().filter(|(_, one)| one.nice.as_i64().unwrap_or_default() != 0) {
        output::note(format_args!("jobs: the priority (nice) of Horizon's {name} is not taken over"));
    }
    horizon::write_down(site, &found.supervisors).unwrap_or_else(|fault| {
        output::error(format_args!("jobs: Horizon's supervisors cannot be written down: {fault}"));
        false
    })
}

/// Asks a worker until one answers: the application may be broken for the moment.
async fn describe(executor: &PoolExecutor) -> Application {
    let mut said = String::new();
    loop {
        let body = Bytes::from_static(b"{\"kind\":\"describe\"}\n");
        let answer = executor.ask(body, DESCRIBE).await.and_then(|answer| {
            serde_json::from_slice(&answer).map_err(|fault| format!("its answer cannot be read: {fault}"))
        });
        match answer {
            Ok(application) => return application,
            Err(fault) if fault != said => {
                output::error(format_args!("jobs: the application does not tell its queues: {fault}"));
                said = fault;
            }
            Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The driver of a connection or transport that is ours.
fn driver(site: &Site, application: &Application, name: &str, mark: Mark) -> Arc<dyn Driver> {
    let journal = site.state_dir().join("jobs").join(format!("{}.leases", file_name(name)));
    if let Some(found) = application.transports.get(name).filter(|found| found.driver == "doctrine") {
        return SymfonyDoctrine::new(transports::table(application, found, journal));
    }
    if let Some(found) = application.transports.get(name) {
        let mut settings = transports::stream(found, mark);
        settings.endpoint = reached(site, &found.server.clone().unwrap_or_default());
        return Arc::new(SymfonyRedis::new(settings));
    }
    let found = application.connections.get(name);
    if let Some(found) = found.filter(|found| found.driver == "database") {
        let prefix = found.database.as_ref().and_then(|database| database.prefix.clone()).unwrap_or_default();
        return LaravelDatabase::new(laravel_database::Settings {
            target: target(found.database.as_ref()),
            table: format!("{prefix}{}", found.table.as_deref().unwrap_or("jobs")),
            retry_after: found.retry_after.map(Duration::from_secs),
            journal,
        });
    }
    let server = found.and_then(|found| found.server.clone()).unwrap_or_default();
    Arc::new(LaravelRedis::new(laravel_redis::Settings {
        endpoint: reached(site, &server),
        prefix: server.prefix.unwrap_or_default(),
        retry_after: found.and_then(|found| found.retry_after).map(Duration::from_secs),
        mark,
    }))
}

/// The server of a connection or transport. The master that sentinels name is asked for anew at each connection.
fn reached(site: &Site, server: &Server) -> Endpoint {
    let mut endpoint = endpoint(server);
    let (sentinels, store) = (store::sentinels(site), site.loaded.store.as_ref());
    if let (Some(sentinels), Some(store)) = (sentinels, store)
        && endpoint.address == Address::Tcp(store.host.clone(), store.port)
    {
        endpoint.address = store::master_of(sentinels);
    }
    endpoint
}

/// A name as a part of a file's name.
fn file_name(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).collect()
}

/// A mark that this process alone has on this machine, the same as that of its predecessor.
struct Claimed {
    number: Mark,
    _file: Flock<File>,
}

/// The file that the runner holds as long as it lives.
pub(super) fn mark_path(site: &Site) -> PathBuf {
    site.state_dir().join("jobs.mark")
}

/// Takes the mark of this folder, or makes one.
fn claim_mark(site: &Site) -> io::Result<Claimed> {
    let path = mark_path(site);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path)?;
    let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| {
        io::Error::other(format!("{} is held by another runner: {errno}", path.display()))
    })?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let known = text.trim().parse().ok().and_then(Mark::from_number);
    let number = match known {
        Some(mark) => mark,
        None => {
            let mut seed = [0_u8; 8];
            File::open("/dev/urandom")?.read_exact(&mut seed)?;
            let mark = Mark::from_seed(u64::from_ne_bytes(seed));
            file.set_len(0)?;
            file.rewind()?;
            file.write_all(mark.number().to_string().as_bytes())?;
            mark
        }
    };
    Ok(Claimed { number, _file: file })
}
