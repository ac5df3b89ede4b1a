//! What the master does before it has workers: finds its socket, its script, the user of its workers, and makes what they
//! share.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::{Gid, Group, Uid, User, initgroups, setgid, setgroups, setuid};
use regie_core::handoff::Handoff;
use regie_lane::Lane;

use super::area::Area;
use super::listen;
use super::log::{self, Level};
use super::template::Why;
use crate::machine::Limits;
use crate::options::{Listen, Mode, Options, Tracker};
use crate::scoreboard::{Board, Slot};

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fatal {
    #[error("{0}")]
    Usage(String),
    #[error("cannot listen on {place}: {error}")]
    Listen { place: String, error: io::Error },
    #[error("PHP did not start; its messages are above")]
    Engine,
    #[error("{what}: {error}")]
    System { what: &'static str, error: Errno },
}

impl Fatal {
    pub(crate) fn system(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |error| Self::System { what, error }
    }
}

/// The user and group that workers become.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    user: Option<(Uid, Gid, CString)>,
    group: Option<Gid>,
}

/// The signals that the master reads.
pub(crate) fn block_signals() -> Result<SignalFd, Fatal> {
    let mut mask = SigSet::empty();
    for signal in [
        Signal::SIGCHLD,
        Signal::SIGTERM,
        Signal::SIGQUIT,
        Signal::SIGINT,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGHUP,
    ] {
        mask.add(signal);
    }
    mask.thread_block().map_err(Fatal::system("cannot block signals"))?;
    SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        .map_err(Fatal::system("cannot make a signalfd"))
}

/// Shared memory for that many slots.
pub(crate) fn scoreboard(seats: usize) -> nix::Result<(&'static Board, &'static [Slot])> {
    let mut area = Area::new(size_of::<Board>() + seats * size_of::<Slot>() + 256)?;
    // SAFETY: both are made of atomics and arrays of bytes, for which zeroes are a value.
    unsafe { Ok((&area.zeroed::<Board>(1)[0], area.zeroed::<Slot>(seats))) }
}

pub(crate) fn micros(span: regie_core::units::Span) -> u64 {
    u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX)
}

/// The limits of `options`, as the machine counts. That of a request is the worker's to tell.
pub(crate) fn limits(options: &Options) -> Limits {
    Limits {
        grace_us: micros(options.request_grace),
        boot_us: micros(options.boot_timeout),
        stop_us: micros(options.stop_timeout),
    }
}

pub(crate) fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

pub(crate) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Classic => "classic",
        Mode::Worker => "worker",
        Mode::Rewind => "rewind",
    }
}

pub(crate) fn place(options: &Options) -> String {
    match (&options.listen, &options.listen_fd) {
        (Some(Listen::Unix(path)), _) => format!("unix:{}", path.display()),
        (Some(Listen::Tcp(address)), _) => address.to_string(),
        (None, name) => format!("the socket {}", name.as_deref().unwrap_or("?")),
    }
}

/// Rewind mode needs to know which pages were written, and an application that can be parked. Where the kernel does not
/// tell, or the predecessor has tried in vain, the pool runs in classic mode: with `--or-classic` as if nobody had spoken of
/// rewind mode, else its script for each request. The text says why.
pub(crate) fn mode_that_works(options: &mut Options, inherited: Option<String>) -> Option<String> {
    if options.mode != Mode::Rewind {
        return None;
    }
    let because = inherited.or_else(|| no_tracker(options))?;
    options.mode = Mode::Classic;
    if options.or_classic {
        options.script = None;
    }
    Some(because)
}

/// Why there is none.
fn no_tracker(options: &Options) -> Option<String> {
    let said = match options.tracker {
        Tracker::None => "--tracker none".to_owned(),
        tracker => match choose_tracker(tracker) {
            Ok(name) => {
                log::master(Level::Notice, format_args!("written pages are found by {name}"));
                return None;
            }
            Err(why) => why,
        },
    };
    let because = format!("memory cannot be put back here: {said}");
    log::master(
        Level::Warning,
        format_args!("{because}; each request boots the application, as in classic mode"),
    );
    Some(because)
}

/// The name of the tracker that will be used, or why there is none.
fn choose_tracker(tracker: Tracker) -> Result<String, String> {
    let mut why = Why::new();
    let (room, size) = why.room();
    let wanted = tracker.wanted().map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: `wanted` is absent or a static text, and `why` has room; there is no template yet.
    let name = unsafe { regie_php_sys::regie_rewind_tracker(wanted, room, size) };
    if name.is_null() {
        return Err(String::from_utf8_lossy(why.text()).into_owned());
    }
    // SAFETY: the name is a static text.
    Ok(unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
}

/// `userfaultfd: ` and `works`, or what is missing; a line for each tracker.
pub(crate) fn tell_trackers(out: &mut impl io::Write) -> io::Result<()> {
    for tracker in Tracker::ALL {
        let name = tracker.wanted().unwrap_or_default().to_string_lossy();
        let found = choose_tracker(tracker).map_or_else(|why| why, |_| "works".to_owned());
        writeln!(out, "{name}: {found}")?;
    }
    Ok(())
}

pub(crate) fn find_script(options: &Options) -> Result<Option<PathBuf>, Fatal> {
    let Some(script) = options.script.as_ref().filter(|_| options.mode != Mode::Classic) else {
        return Ok(None);
    };
    std::path::absolute(script)
        .ok()
        .filter(|path| path.is_file())
        .map(Some)
        .ok_or_else(|| Fatal::Usage(format!("--script {}: there is no such file", script.display())))
}

pub(crate) fn find_identity(options: &Options) -> Result<Identity, Fatal> {
    let user = match &options.user {
        None => None,
        Some(name) => {
            let user = find_user("--user", name)?;
            let name = CString::new(name.as_str()).map_err(|_| Fatal::Usage("--user has a NUL".into()))?;
            Some((user.uid, user.gid, name))
        }
    };
    let group = match &options.group {
        None => None,
        Some(name) => Some(find_group("--group", name)?),
    };
    Ok(Identity { user, group })
}

pub(crate) fn become_user(identity: &Identity) -> nix::Result<()> {
    if !Uid::effective().is_root() {
        return Ok(());
    }
    match &identity.user {
        Some((uid, own_group, name)) => {
            let gid = identity.group.unwrap_or(*own_group);
            initgroups(name, gid)?;
            setgid(gid)?;
            setuid(*uid)
        }
        None => match identity.group {
            Some(gid) => {
                setgroups(&[gid])?;
                setgid(gid)
            }
            None => Ok(()),
        },
    }
}

pub(crate) fn open_listener(
    options: &Options,
    handoff: &Handoff,
    identity: &Identity,
    inherited: Option<i32>,
) -> Result<(OwnedFd, bool), Fatal> {
    let failed = |error| Fatal::Listen { place: place(options), error };
    let socket = match (&options.listen_fd, &options.listen) {
        // SAFETY: our predecessor, whose process this is, left it open for us.
        _ if inherited.is_some() => unsafe { listen::take_over(inherited.unwrap_or(-1)) },
        (Some(name), _) => {
            let fd = handoff.get(name);
            let fd = fd.ok_or_else(|| {
                Fatal::Usage(format!("--listen-fd {name}: LISTEN_FDNAMES does not name it"))
            })?;
            // SAFETY: the descriptor was handed to us alone.
            unsafe { listen::take_over(fd) }
        }
        (None, Some(address)) => {
            let (owner, group) = socket_owner(options, identity)?;
            listen::open(address, options.listen_mode, owner, group).map_err(failed)?
        }
        (None, None) => return Err(Fatal::Usage("--listen or --listen-fd is needed".into())),
    };
    listen::prepare(socket.as_fd()).map_err(failed)?;
    if options.lane_fd.is_some() {
        listen::never_block(socket.as_fd()).map_err(failed)?;
    }
    let is_tcp = is_tcp(socket.as_fd());
    Ok((socket, is_tcp))
}

/// Whose the socket is: `--listen-owner` and `--listen-group`, else those of the workers.
fn socket_owner(options: &Options, identity: &Identity) -> Result<(Option<Uid>, Option<Gid>), Fatal> {
    let owner = match &options.listen_owner {
        Some(name) => Some(find_user("--listen-owner", name)?.uid),
        None => identity.user.as_ref().map(|(uid, ..)| *uid),
    };
    let group = match &options.listen_group {
        Some(name) => Some(find_group("--listen-group", name)?),
        None => identity.group.or(identity.user.as_ref().map(|(_, gid, _)| *gid)),
    };
    Ok((owner, group))
}

fn find_user(flag: &str, name: &str) -> Result<User, Fatal> {
    let user = User::from_name(name).ok().flatten();
    user.ok_or_else(|| Fatal::Usage(format!("{flag} {name}: there is no such user")))
}

fn find_group(flag: &str, name: &str) -> Result<Gid, Fatal> {
    let group = Group::from_name(name).ok().flatten();
    Ok(group.ok_or_else(|| Fatal::Usage(format!("{flag} {name}: there is no such group")))?.gid)
}

/// The lane that was handed on, for the life of the process.
pub(crate) fn open_lane(options: &Options, handoff: &Handoff) -> Result<Option<&'static Lane>, Fatal> {
    let Some(name) = &options.lane_fd else { return Ok(None) };
    let lane = Lane::open(name, |part| handoff.get(part));
    let lane = lane.map_err(|error| Fatal::Usage(format!("--lane-fd {name}: {error}")))?;
    Ok(Some(Box::leak(Box::new(lane))))
}

pub(crate) fn open_status_listener(
    options: &Options,
    handoff: &Handoff,
    inherited: Option<i32>,
) -> Result<Option<OwnedFd>, Fatal> {
    if let Some(name) = &options.status_fd {
        let fd = handoff.get(name);
        let fd =
            fd.ok_or_else(|| Fatal::Usage(format!("--status-fd {name}: LISTEN_FDNAMES does not name it")))?;
        // SAFETY: the descriptor was handed to us alone.
        let socket = unsafe { listen::take_over(fd) };
        let failed = |error| Fatal::Listen { place: format!("the socket {name}"), error };
        listen::prepare(socket.as_fd()).map_err(failed)?;
        return Ok(Some(socket));
    }
    let Some(address) = &options.status_listen else { return Ok(None) };
    let place = || match address {
        Listen::Unix(path) => path.display().to_string(),
        Listen::Tcp(address) => address.to_string(),
    };
    let failed = |error| Fatal::Listen { place: place(), error };
    let socket = match inherited {
        // SAFETY: our predecessor, whose process this is, left it open for us.
        Some(fd) => unsafe { listen::take_over(fd) },
        None => listen::open(address, options.listen_mode, None, None).map_err(failed)?,
    };
    listen::prepare(socket.as_fd()).map_err(failed)?;
    Ok(Some(socket))
}

fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
    getsockname::<SockaddrStorage>(socket.as_raw_fd())
        .is_ok_and(|address| matches!(address.family(), Some(AddressFamily::Inet | AddressFamily::Inet6)))
}
