//! `regie role gateway`: HTTP in; PHP pools, static files and FastCGI servers out.
//!
//! It reads the configuration itself, takes its listeners from the supervisor (or binds them when it runs alone),
//! says `READY=1` once it accepts, and drains on SIGTERM or SIGINT or when the supervisor is gone.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use regie_config::Pool;
use regie_config::values::{self, AccessLog, Listen, Mode, Upstream};
use regie_core::Patterns;
use regie_core::handoff::names;
use regie_gateway::{Coding, Gateway, Limits, Listener, LogFormat, Logs, Settings, TrustedProxies, serve};
use regie_lane::Lane;
use regie_pool::{Address, PoolSettings, QueueLimits};
use tokio::signal::unix::{SignalKind, signal};

use crate::handed::{Handed, gone, notify};
use crate::output;
use crate::programs;
use crate::side_pool;
use crate::site::Site;

/// The role.
pub(super) fn run(site: &Site) -> std::io::Result<()> {
    let mut handed = Handed::take()?;
    let lifeline = handed.lifeline();
    let lanes = lanes(site, &handed)?;
    let mut listeners = listeners(site, handed.with_prefix(names::HTTP_PREFIX))?;
    for status in handed.with_prefix(names::STATUS_PREFIX) {
        listeners.push(Listener::from_fd(status)?.for_status());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let gateway = Arc::new(Gateway::new(settings(site, &lanes), logs()));
        let stop = stop("gateway", lifeline)?;
        notify("READY=1\n")?;
        let report = serve(gateway, listeners, stop).await?;
        if report.cut > 0 {
            output::error(format_args!("gateway: {} connections were cut at the drain limit", report.cut));
        }
        Ok(())
    })
}

fn listeners(site: &Site, handed: Vec<OwnedFd>) -> std::io::Result<Vec<Listener>> {
    if !handed.is_empty() {
        return handed.into_iter().map(Listener::from_fd).collect();
    }
    let addresses = site.loaded.config.gateway.listen.iter().filter_map(|listen| match listen {
        Listen::Tcp(address) => Some(*address),
        Listen::Unix(_) => None,
    });
    addresses.map(Listener::bind).collect()
}

/// Ends when it is time to drain.
pub(super) fn stop(
    role: &'static str,
    lifeline: Option<OwnedFd>,
) -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let orphaned = gone(lifeline)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = orphaned => output::error(format_args!("{role}: the supervisor is gone; stopping")),
        }
        // Whether anybody hears it changes nothing.
        let _ = notify("STOPPING=1\n");
    })
}

/// Both logs go to the supervisor, which keeps and rotates them.
fn logs() -> Logs {
    let access = |lines: &[u8]| drop(std::io::stdout().lock().write_all(lines));
    let error = |lines: &[u8]| drop(std::io::stderr().lock().write_all(lines));
    Logs::new(Arc::new(access), Arc::new(error))
}

/// The lanes to pools that serve us, by the pools' names: those that the supervisor has made.
type Lanes = BTreeMap<&'static str, Arc<Lane>>;

fn lanes(site: &Site, handed: &Handed) -> std::io::Result<Lanes> {
    let mut lanes = Lanes::new();
    for name in ["web", side_pool::NAME] {
        let wanted = site.loaded.config.pools.get(name).is_some_and(programs::has_lane);
        if let Some(lane) = wanted.then(|| handed.lane(&programs::lane_name(name))).transpose()?.flatten() {
            lanes.insert(name, lane);
        }
    }
    Ok(lanes)
}

/// The script that all of a pool's requests run. In rewind mode and by a shipped worker script they are told what
/// they would be told in classic mode: that it is the front controller.
fn worker_script(site: &Site, web: &Pool) -> Option<PathBuf> {
    match web.mode() {
        _ if web.url.is_some() => None,
        Mode::Classic => None,
        Mode::Worker if programs::is_shipped_worker(site, web) => Some(programs::front_controller(site)),
        Mode::Worker => web.script.as_ref().map(|script| site.root().join(script)),
        Mode::Rewind => Some(programs::front_controller(site)),
    }
}

/// The gateway's own words for what the configuration says.
fn settings(site: &Site, lanes: &Lanes) -> Settings {
    let config = &site.loaded.config;
    let gateway = &config.gateway;
    let web = site.loaded.web();
    let root = site.public();
    let worker_script = worker_script(site, web);
    let side = config.pools.get(side_pool::NAME).filter(|_| worker_script.is_some());
    let front_controller = front_controller(site, worker_script.is_some());
    Settings {
        app_root: Some(site.root()),
        front_controller,
        worker_script,
        index: gateway.index.clone(),
        upload_folders: gateway.upload_folders.clone(),
        deny: Patterns::new(&gateway.deny),
        rules: site.loaded.htaccess.rules.clone(),
        pool: Some(pool(site, lanes, "web", web)),
        side_pool: side.map(|side| pool(site, lanes, side_pool::NAME, side)),
        hosts: gateway.hosts.clone(),
        trusted_proxies: TrustedProxies(gateway.trusted_proxies.clone()),
        compression: gateway.compression.iter().map(|coding| coding_of(*coding)).collect(),
        spool_dir: site.spool_dir(),
        access_log: match gateway.access_log {
            AccessLog::Off => None,
            AccessLog::Combined => Some(LogFormat::Combined),
            AccessLog::Json => Some(LogFormat::Json),
        },
        explain_errors: !site.is_production(),
        limits: limits(site),
        ..Settings::new(root)
    }
}

const fn coding_of(coding: values::Coding) -> Coding {
    match coding {
        values::Coding::Zstd => Coding::Zstd,
        values::Coding::Br => Coding::Brotli,
        values::Coding::Gzip => Coding::Gzip,
    }
}

/// What answers for paths that are no file. A worker script answers for all, whether or not there is a front
/// controller in its folder; `""` in the configuration says that nothing does.
fn front_controller(site: &Site, has_worker: bool) -> Option<String> {
    match site.loaded.config.gateway.front_controller.as_deref() {
        Some("") => None,
        Some(script) => Some(format!("/{script}")),
        None => has_worker.then(|| "/index.php".to_owned()),
    }
}

fn limits(site: &Site) -> Limits {
    let gateway = &site.loaded.config.gateway;
    Limits {
        connections: gateway.max_connections as usize,
        head: usize::try_from(gateway.header_limit.0).unwrap_or(usize::MAX),
        body: gateway.body_limit.0,
        head_timeout: gateway.header_timeout.0,
        body_timeout: gateway.body_timeout.0,
        write_timeout: gateway.send_timeout.0,
        keep_alive: gateway.keepalive_timeout.0,
        drain: gateway.drain_timeout.0,
        hangup_grace: gateway.hangup_grace.0,
        answer_spool: gateway.response_spool.0,
        answer_spools: gateway.response_spool.0.saturating_mul(4),
        ..Limits::default()
    }
}

fn pool(site: &Site, lanes: &Lanes, name: &str, web: &Pool) -> PoolSettings {
    let gateway = &site.loaded.config.gateway;
    let address = match &web.url {
        None => Address::Unix(programs::pool_path(site, name)),
        Some(Upstream::Unix(path)) => Address::Unix(path.clone()),
        Some(Upstream::Tcp(host, port)) => Address::Tcp(format!("{host}:{port}")),
    };
    PoolSettings {
        queue: QueueLimits { len: gateway.queue_length as usize, timeout: gateway.queue_timeout.0 },
        request_timeout: web.request_timeout.0,
        lane: lanes.get(name).cloned(),
        stderr: Some(Arc::new(|bytes| drop(std::io::stderr().lock().write_all(bytes)))),
        ..PoolSettings::new(address)
    }
}
