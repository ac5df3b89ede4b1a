//! `regie up`: looks at everything, opens what outlives the programs, and becomes the supervisor.
//!
//! ```text
//! load configuration ─ faults → 64
//!  └ claim the run folder ─ another one runs here → 75; leftovers of a dead one are ended and named
//!     └ open sockets ─ taken → 69
//!        └ supervisor: gateway, pools, the user's programs … until a signal or `regie down`
//! ```
//!
//! With `-d` a second process does this in a session of its own. It speaks through a pipe until everything is up,
//! then closes it, which is how the first one knows that it may return.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use regie_config::check::refusals;
use regie_config::values::Listen;
use regie_core::Exit;
use regie_supervisor::shell::settings::Reread;
use regie_supervisor::{Claim, ClaimError, Foreground, Moment, Outcome, RunAs, Settings, Table, claim, run};

use crate::cli::Up;
use crate::commands::check;
use crate::commands::control::log_line;
use crate::output::{self, Paint, Tone};
use crate::programs::{self, Binaries, Socket};
use crate::site::{Place, Site};
use crate::sockets::{self, Rules};
use crate::store;

/// `regie up`.
pub(crate) fn up(place: &Place, asked: &Up) -> Exit {
    if asked.detach {
        return detach(place);
    }
    if asked.detached
        && let Err(fault) = setsid()
    {
        output::error(format_args!("failed to leave the terminal: {fault}"));
        return Exit::Failed;
    }
    match start(place, asked.detached) {
        Ok(outcome) => report(&outcome),
        Err(exit) => exit,
    }
}

/// How it ended.
fn report(outcome: &Outcome) -> Exit {
    for name in &outcome.cut {
        output::warning(format_args!("{name} did not stop in time and was killed"));
    }
    for name in &outcome.left {
        output::warning(format_args!("{name} was killed, but the kernel still holds it"));
    }
    let Some((name, why)) = &outcome.fatal else { return Exit::Done };
    output::error(format_args!("{name}: {why}"));
    Exit::Failed
}

fn start(place: &Place, detached: bool) -> Result<Outcome, Exit> {
    let site = place.load(None)?;
    let paint = Paint::stdout();
    introduce(&site, paint);
    may_start(&site)?;
    let binaries = binaries()?;
    let run_as = site.run_as().and_then(|run_as| site.make_folders().map(|()| run_as)).map_err(failed)?;
    let claim = claim_folder(&site)?;
    store::keep_present_master(&site).map_err(failed)?;
    let (store, site) = open_store(place, site, run_as.as_ref())?;
    let (mut table, served) = open_table(&site, &binaries, run_as.as_ref())?;
    table.descriptors.extend(store);
    for listen in &served {
        output::line(format_args!("  {:<10}{}", "serving", paint.text(Tone::Strong, url(listen))));
    }
    complain_beside(place);
    let open = table.descriptors.iter().map(|(name, _)| name.clone()).collect();
    let settings = Settings {
        table,
        log_dir: Some(site.log_dir()),
        owner: run_as.clone(),
        foreground: (!detached).then(|| foreground(paint)),
        reread: Some(reread(place, binaries, run_as, open)),
        on_moment: Some(Box::new(move |moment| say(moment, detached, paint))),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Settings::default()
    };
    run(claim, settings).map_err(|fault| {
        output::error(output::chain(&fault));
        Exit::Failed
    })
}

/// The few calm lines.
fn introduce(site: &Site, paint: Paint) {
    let loaded = &site.loaded;
    let title = format!("Régie {}", env!("CARGO_PKG_VERSION"));
    output::line(format_args!("{}, {} ({})", paint.text(Tone::Strong, title), loaded.env, loaded.env_origin));
    let mut script = loaded.application.public.clone();
    if let Some(controller) = &loaded.application.front_controller {
        script = if script.is_empty() { controller.clone() } else { format!("{script}/{controller}") };
    }
    let root = if script.is_empty() { ".".to_owned() } else { script };
    output::line(format_args!("  {:<10}{}, {root}", "app", loaded.application.title()));
    let php = site.php_version().map(|(major, minor)| format!("PHP {major}.{minor}, ")).unwrap_or_default();
    for (name, pool) in &loaded.config.pools {
        output::line(format_args!("  {:<9} {}", format!("php:{name}"), describe_pool(pool, &php)));
    }
    if let Some(what) = store::describe(site) {
        output::line(format_args!("  {:<10}{what}", "store"));
    }
    if let Some(what) = crate::workers::unserved(site) {
        output::warning(what);
    }
    for decision in &loaded.decisions {
        output::line(format_args!("  {:<10}{decision}", "address"));
    }
}

fn describe_pool(pool: &regie_config::Pool, php: &str) -> String {
    if let Some(url) = &pool.url {
        return format!("external, {url}");
    }
    let script = pool.script.as_ref().map(|script| format!(" {}", script.display())).unwrap_or_default();
    format!("{php}{} mode{script}, {} workers", pool.mode(), pool.workers)
}

/// Whether the site may start at all. Served is whatever can be: only what [`refusals`] names keeps it from starting.
fn may_start(site: &Site) -> Result<(), Exit> {
    if refusals(&site.loaded, &regie_config::shell::user(&site.folder, &site.loaded)).is_empty() {
        return Ok(());
    }
    check::complain(site);
    output::error("not started");
    Err(Exit::Usage)
}

/// Has what a person should know said by a process of its own: asking PHP takes longer than starting everything, and
/// nobody has to wait for it. The supervisor hears of its end as of any other's.
fn complain_beside(place: &Place) {
    let checked = std::env::current_exe().and_then(|regie| {
        let mut command = Command::new(regie);
        command.arg("-C").arg(&place.folder);
        if let Some(config) = &place.config {
            command.arg("--config").arg(config);
        }
        command.args(["check", "--at-start"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    });
    if let Err(fault) = checked {
        output::warning(format_args!("regie check could not be started: {fault}"));
    }
}

pub(super) fn binaries() -> Result<Binaries, Exit> {
    let regie = std::env::current_exe().map_err(failed)?;
    let regie_php = regie.with_file_name("regie-php");
    if regie_php.is_file() {
        return Ok(Binaries { regie, regie_php });
    }
    output::error(format_args!("{} is missing; it belongs beside regie", regie_php.display()));
    Err(Exit::Unavailable)
}

fn claim_folder(site: &Site) -> Result<Claim, Exit> {
    match claim(&site.run_dir()) {
        Ok(claim) => {
            for left in claim.leftovers() {
                output::warning(left);
            }
            Ok(claim)
        }
        Err(fault @ ClaimError::AlreadyRunning { .. }) => {
            output::error(format_args!("{fault}; see it with: regie status"));
            Err(Exit::TryAgain)
        }
        Err(fault) => {
            output::error(output::chain(&fault));
            Err(Exit::Failed)
        }
    }
}

/// Opens the store's sockets. The application's addresses lead to them, so the configuration is read again where they
/// are not those that it was read with.
fn open_store(place: &Place, site: Site, run_as: Option<&RunAs>) -> Result<(Descriptors, Site), Exit> {
    let opened = store::open(&site, &BTreeSet::new(), store_rules(&site, run_as)).map_err(|fault| {
        output::error(output::chain(&fault));
        Exit::Unavailable
    })?;
    let site = if opened.is_new { place.load(None)? } else { site };
    Ok((opened.descriptors, site))
}

type Descriptors = Vec<(String, OwnedFd)>;

/// The table with all its other sockets open, and where HTTP is served.
fn open_table(
    site: &Site,
    binaries: &Binaries,
    run_as: Option<&RunAs>,
) -> Result<(Table, Vec<Listen>), Exit> {
    let mut table = Table { programs: programs::table(site, binaries, run_as), descriptors: Vec::new() };
    let mut served = Vec::new();
    let refuse = |fault: sockets::Fault| {
        output::error(output::chain(&fault));
        Exit::Unavailable
    };
    for socket in programs::http_sockets(&site.loaded.config) {
        let (fd, listen) = sockets::open(&socket, http_rules(site, run_as)).map_err(refuse)?;
        table.descriptors.push((socket.name, fd));
        served.push(listen);
    }
    for socket in internal_sockets(site) {
        let (fd, _) = sockets::open(&socket, internal_rules(run_as)).map_err(refuse)?;
        table.descriptors.push((socket.name, fd));
    }
    for (name, row) in programs::lanes(site) {
        let parts = sockets::open_lane(&name, row).map_err(|fault| {
            output::error(format_args!("failed to make the lane {name}: {fault}"));
            Exit::Unavailable
        })?;
        table.descriptors.extend(parts);
    }
    Ok((table, served))
}

fn http_rules<'a>(site: &Site, owner: Option<&'a RunAs>) -> Rules<'a> {
    // A proxy in front runs as another user, and what it may ask is what anybody may ask over TCP.
    Rules { next_free_port: !site.is_production(), owner, mode: 0o666 }
}

fn store_rules<'a>(site: &Site, owner: Option<&'a RunAs>) -> Rules<'a> {
    Rules { next_free_port: !site.is_production(), owner, mode: 0o600 }
}

/// The sockets of pools, and those on which the gateway tells about itself: who asks there wants to find what the
/// configuration says, so a port that is taken is not passed over.
fn internal_sockets(site: &Site) -> impl Iterator<Item = Socket> {
    programs::pool_sockets(site).into_iter().chain(programs::status_sockets(site))
}

const fn internal_rules(owner: Option<&RunAs>) -> Rules<'_> {
    Rules { next_free_port: false, owner, mode: 0o600 }
}

/// What `regie reload` needs beside the configuration that it reads.
struct Again {
    place: Place,
    binaries: Binaries,
    run_as: Option<RunAs>,
    /// Names of the sockets that are open.
    open: Mutex<BTreeSet<String>>,
}

/// Reads the configuration again for `regie reload`. Sockets that are open stay; only new ones are opened.
fn reread(place: &Place, binaries: Binaries, run_as: Option<RunAs>, open: BTreeSet<String>) -> Reread {
    let place = Place { folder: place.folder.clone(), config: place.config.clone() };
    let again = Arc::new(Again { place, binaries, run_as, open: Mutex::new(open) });
    Arc::new(move || {
        let site = again.place.read(None).map_err(|faults| faults.to_string())?;
        let again = Arc::clone(&again);
        Ok(Box::new(move || again.table(site)))
    })
}

impl Again {
    fn table(&self, mut site: Site) -> Result<Table, String> {
        let Self { place, binaries, run_as, open } = self;
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        let store = store::open(&site, &open, store_rules(&site, run_as.as_ref()))
            .map_err(|fault| output::chain(&fault))?;
        if store.is_new {
            site = place.read(None).map_err(|faults| faults.to_string())?;
        }
        let sockets: Vec<(Socket, Rules<'_>)> = programs::http_sockets(&site.loaded.config)
            .into_iter()
            .map(|socket| (socket, http_rules(&site, run_as.as_ref())))
            .chain(internal_sockets(&site).map(|socket| (socket, internal_rules(run_as.as_ref()))))
            .collect();
        let mut table = Table {
            programs: programs::table(&site, binaries, run_as.as_ref()),
            descriptors: store.descriptors,
        };
        for (socket, rules) in &sockets {
            if !open.contains(&socket.name) {
                let (fd, _) = sockets::open(socket, *rules).map_err(|fault| output::chain(&fault))?;
                table.descriptors.push((socket.name.clone(), fd));
            }
        }
        let lanes = programs::lanes(&site);
        for (name, row) in lanes.iter().filter(|(name, _)| !open.contains(*name)) {
            table.descriptors.extend(sockets::open_lane(name, *row).map_err(|fault| fault.to_string())?);
        }
        let names = sockets.into_iter().map(|(socket, _)| socket).chain(store::sockets(&site));
        *open = names.map(|socket| socket.name).chain(lanes.into_keys()).collect();
        Ok(table)
    }
}

fn foreground(paint: Paint) -> Foreground {
    let terminal = std::os::fd::AsFd::as_fd(&std::io::stdout()).try_clone_to_owned().expect("stdout is open");
    Foreground::new(terminal, Box::new(move |line| log_line(line, false, paint)))
}

fn say(moment: &Moment, detached: bool, paint: Paint) {
    match moment {
        Moment::Up { fatal } if fatal.is_empty() => {
            output::line(format_args!(
                "{}; {}",
                paint.text(Tone::Good, "ready"),
                if detached { "stop with: regie down" } else { "Ctrl-C stops" }
            ));
        }
        Moment::Up { fatal } => {
            output::warning(format_args!("could not be started: {}; see: regie status", fatal.join(", ")));
            output::line("ready, but for these");
        }
        Moment::Draining => output::line("stopping; a second Ctrl-C does not wait"),
        Moment::Cutting => output::line("cutting what is left"),
    }
    if detached && matches!(moment, Moment::Up { .. }) {
        hang_up();
    }
}

/// Closes the pipe to the process that waits for us to be up.
fn hang_up() {
    let Ok(null) = File::options().read(true).write(true).open("/dev/null") else { return };
    for fault in [dup2_stdout(&null), dup2_stderr(&null)].into_iter().filter_map(Result::err) {
        output::error(format_args!("failed to let go of the terminal: {fault}"));
    }
}

/// `regie up -d`: starts the same again in the background and passes on what it says until it is up.
fn detach(place: &Place) -> Exit {
    match start_detached(place) {
        Ok(exit) => exit,
        Err(fault) => failed(fault),
    }
}

fn start_detached(place: &Place) -> std::io::Result<Exit> {
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("-C").arg(&place.folder);
    if let Some(config) = &place.config {
        command.arg("--config").arg(config);
    }
    command.args(["up", "--detached"]).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // The command holds our own copies of the pipe's other end.
    drop(command);
    for line in BufReader::new(reader).lines() {
        output::line(line?);
    }
    // End of file: either it is up and has let go, or it has ended.
    let Some(status) = child.try_wait()?.or_else(|| ended_just_now(&mut child)) else {
        return Ok(Exit::Done);
    };
    Ok(match status.code() {
        Some(64) => Exit::Usage,
        Some(69) => Exit::Unavailable,
        Some(75) => Exit::TryAgain,
        _ => {
            if let Some(signal) = status.signal() {
                output::error(format_args!("it was ended by signal {signal}"));
            }
            Exit::Failed
        }
    })
}

/// A process that ends closes its pipe a moment before it can be waited for. One that is up answers instead.
fn ended_just_now(child: &mut std::process::Child) -> Option<std::process::ExitStatus> {
    let stat = PathBuf::from(format!("/proc/{}/stat", child.id()));
    let dying = std::fs::read_to_string(stat).is_ok_and(|stat| {
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
    });
    if dying { child.wait().ok() } else { None }
}

fn url(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("http://{address}"),
        Listen::Unix(path) => format!("unix:{}", path.display()),
    }
}

fn failed(fault: std::io::Error) -> Exit {
    output::error(fault);
    Exit::Failed
}
