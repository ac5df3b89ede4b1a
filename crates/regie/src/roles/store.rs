//! `regie role store`: the store that speaks Redis's protocol.
//!
//! **For an application** it reads `[store]`, takes its listeners from the supervisor (or opens them when it runs
//! alone), says `READY=1` once the data is read, and ends with its log synced on SIGTERM, SIGINT, or when the
//! supervisor is gone: then a moment later, as soon as the runner of the application's jobs has left. The listeners stay
//! open in the supervisor meanwhile: clients wait until the next one accepts. SIGHUP (a reload) reads `[store]` again: what
//! has changed holds at once, and lines say what.
//!
//! **In place of redis-server** it runs when it is given options of its own: with redis-server's defaults (snapshots
//! on its schedule and at the end, no log of writes), and without a password on loopback.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;
use regie_core::Exit;
use regie_store::{Changes, Inherited, Options, RunError, run};

use super::jobs;
use crate::cli::StoreRole;
use crate::handed::{Handed, is_at_end, notify};
use crate::output;
use crate::site::{Place, Site};
use crate::store;

/// How the supervisor tells the role that the configuration is to be read again.
pub(crate) const RELOAD: Signal = Signal::SIGHUP;

/// redis-server's own schedule of snapshots, in seconds and changes.
const REDIS_SCHEDULE: &str = "3600 1 300 100 60 10000";

/// The role. Returns when it has ended.
pub(crate) fn store(place: &Place, asked: &StoreRole) -> Exit {
    let alone = !asked.listen.is_empty()
        || asked.unix.is_some()
        || asked.dir.is_some()
        || asked.password_file.is_some()
        || !asked.settings.is_empty();
    let prepared = if alone { in_place_of_redis(asked) } else { of_the_application(place) };
    let (options, inherited, orphan) = match prepared {
        Ok(prepared) => prepared,
        Err(exit) => return exit,
    };
    match serve(&options, inherited, orphan, (!alone).then_some(place)) {
        Ok(()) => Exit::Done,
        Err(fault) => {
            output::error(format_args!("store: {}", output::chain(&fault)));
            match fault {
                RunError::Setting(_) => Exit::Usage,
                RunError::Listen { .. } => Exit::Unavailable,
                _ => Exit::Failed,
            }
        }
    }
}

type Prepared = (Options, Inherited, Orphan);

/// What tells that the supervisor is gone, and who may need the store for a moment longer then.
#[derive(Default)]
struct Orphan {
    lifeline: Option<OwnedFd>,
    /// Held by the runner as long as it lives.
    runner: Option<PathBuf>,
}

fn of_the_application(place: &Place) -> Result<Prepared, Exit> {
    let site = place.load(None)?;
    if !store::is_embedded(&site) {
        output::error("this application has no store of its own: [store] url or [store] enabled says so");
        return Err(Exit::Usage);
    }
    let failed = |fault: std::io::Error| {
        output::error(format_args!("store: {fault}"));
        Exit::Failed
    };
    let mut handed = Handed::take().map_err(failed)?;
    let lifeline = handed.lifeline();
    let tcp: Vec<TcpListener> = handed.with_prefix(store::TCP).into_iter().map(Into::into).collect();
    let unix: Vec<UnixListener> = handed.with_prefix(store::UNIX).into_iter().map(Into::into).collect();
    let mut options = Options {
        dir: Some(store::data_dir(&site)),
        config: Vec::new(),
        report: Some(|line| output::note(line)),
        // Nobody hears a status without a supervisor, and nothing depends on it.
        status: Some(|text| drop(notify(&format!("STATUS={text}\n")))),
        ..Options::default()
    };
    if tcp.is_empty() && unix.is_empty() {
        site.make_folders().map_err(failed)?;
        options.listen = store::address(&site).into_iter().collect();
        options.unix = Some(store::socket_path(&site));
    }
    options.config = settings(&site, port(&tcp));
    let orphan = Orphan { lifeline, runner: Some(jobs::mark_path(&site)) };
    Ok((options, Inherited { tcp, unix, changes: None }, orphan))
}

/// The port of the listener that was handed down.
fn port(tcp: &[TcpListener]) -> Option<u16> {
    tcp.first().and_then(|socket| socket.local_addr().ok()).map(|address| address.port())
}

/// What the store is started with, or told after a reload.
fn settings(site: &Site, port: Option<u16>) -> Vec<(String, String)> {
    let mut settings = store::settings(site);
    settings.extend(port.map(|port| ("port".to_owned(), port.to_string())));
    settings
}

fn in_place_of_redis(asked: &StoreRole) -> Result<Prepared, Exit> {
    let usage = |what: String| {
        output::error(format_args!("store: {what}"));
        Exit::Usage
    };
    let mut config = vec![("save".to_owned(), REDIS_SCHEDULE.to_owned())];
    for setting in &asked.settings {
        let (name, value) = setting
            .split_once('=')
            .ok_or_else(|| usage(format!("\"{setting}\" is not NAME=VALUE, as maxmemory=1gb")))?;
        config.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    if let Some(password) = password(asked.password_file.as_deref()).map_err(usage)? {
        config.push(("requirepass".to_owned(), password));
    }
    let mut listen = asked.listen.clone();
    if listen.is_empty() && asked.unix.is_none() {
        listen.push(SocketAddr::from(([127, 0, 0, 1], 6379)));
    }
    let open = config.iter().rfind(|(name, _)| name == "requirepass").is_none_or(|(_, text)| text.is_empty());
    if let Some(address) = listen.iter().find(|address| open && !address.ip().is_loopback()) {
        return Err(usage(format!(
            "{address} can be reached by others, so it needs a password: --password-file FILE, or the variable \
             REGIE_STORE_PASSWORD"
        )));
    }
    if let Some(address) = listen.first() {
        config.push(("port".to_owned(), address.port().to_string()));
    }
    if asked.dir.is_none() {
        output::note("store: nothing is kept over a restart without --dir");
    }
    let options = Options {
        listen,
        unix: asked.unix.clone(),
        dir: asked.dir.clone(),
        config,
        report: Some(|line| output::note(format_args!("store: {line}"))),
        status: None,
    };
    Ok((options, Inherited::default(), Orphan::default()))
}

/// The password of a store that runs alone. It never stands on the command line, which every user can read.
fn password(file: Option<&Path>) -> Result<Option<String>, String> {
    let Some(file) = file else { return Ok(std::env::var("REGIE_STORE_PASSWORD").ok()) };
    let text = std::fs::read_to_string(file).map_err(|fault| format!("{}: {fault}", file.display()))?;
    let password = text.trim_end_matches(['\n', '\r']);
    if password.is_empty() {
        return Err(format!("{}: the file is empty", file.display()));
    }
    Ok(Some(password.to_owned()))
}

fn serve(
    options: &Options,
    mut inherited: Inherited,
    orphan: Orphan,
    place: Option<&Place>,
) -> Result<(), RunError> {
    let (shutdown, changes) = listen_to_signals(orphan, place.cloned(), port(&inherited.tcp))?;
    inherited.changes = Some(changes);
    let unix = options.unix.clone();
    let handed = !inherited.tcp.is_empty() || !inherited.unix.is_empty();
    let ready = move |addresses: &[SocketAddr]| {
        if !handed {
            for address in addresses {
                output::note(format_args!("store: ready on {address}"));
            }
            if let Some(path) = &unix {
                output::note(format_args!("store: ready on {}", path.display()));
            }
        }
        if let Err(fault) = notify("STATUS=\nREADY=1\n") {
            output::error(format_args!("store: cannot say that it is ready: {fault}"));
        }
    };
    run(options, inherited, &shutdown, ready)
}

/// The runner settles what its workers have ended; without the store these jobs would run again at the next start.
fn linger(runner: Option<&Path>) {
    const LOOKS: u32 = 450;
    const EACH: Duration = Duration::from_millis(20);
    for _ in 0..LOOKS {
        // Without the file there never was one.
        let Some(file) = runner.and_then(|path| File::open(path).ok()) else { return };
        if Flock::lock(file, FlockArg::LockSharedNonblock).is_ok() {
            return;
        }
        std::thread::sleep(EACH);
    }
}

/// What becomes readable when it is time to end, and where settings come from after a reload. To be called before any
/// thread is started: each takes over which signals are blocked.
fn listen_to_signals(
    orphan: Orphan,
    place: Option<Place>,
    port: Option<u16>,
) -> std::io::Result<(OwnedFd, Changes)> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, RELOAD]);
    signals.thread_block()?;
    let asked = SignalFd::new(&signals)?;
    let (ends, ended) = std::io::pipe()?;
    let (heard, mut tell) = std::io::pipe()?;
    let (sender, changed) = mpsc::channel();
    std::thread::Builder::new().name("store-signals".into()).spawn(move || {
        while !is_end(&asked, orphan.lifeline.as_ref()) {
            let Some(place) = &place else { continue };
            match place.read(None) {
                // Nobody hears it when the store has ended.
                Ok(site) => drop(sender.send(settings(&site, port)).map(|()| tell.write_all(b"1"))),
                Err(faults) => output::error(format_args!("store: its settings stay as they are: {faults}")),
            }
        }
        // A supervisor that dies closes the lifeline before its children get their signal.
        if orphan.lifeline.as_ref().is_some_and(is_at_end) {
            output::error("store: the supervisor is gone; stopping");
            linger(orphan.runner.as_deref());
        }
        // Whether anybody hears it changes nothing.
        let _ = notify("STOPPING=1\n");
        drop(ended);
    })?;
    Ok((ends.into(), Changes { heard: heard.into(), settings: changed }))
}

/// Waits for a signal or the end of the supervisor; false if only a reload was asked for.
fn is_end(asked: &SignalFd, lifeline: Option<&OwnedFd>) -> bool {
    let mut waits = vec![PollFd::new(asked.as_fd(), PollFlags::POLLIN)];
    waits.extend(lifeline.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    while let Err(nix::errno::Errno::EINTR) = poll(&mut waits, PollTimeout::NONE) {}
    if waits[0].any() != Some(true) {
        return true;
    }
    match asked.read_signal() {
        Ok(Some(signal)) => i32::try_from(signal.ssi_signo) != Ok(RELOAD as i32),
        Ok(None) => false,
        Err(_) => true,
    }
}
