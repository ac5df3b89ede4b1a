//! The master: starts the engine once, forks the workers, and looks after them. It has one thread and no part in any
//! request, so nothing that PHP does can hurt it.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{
    ForkResult, Gid, Pid, Uid, fork, initgroups, pipe2, read, setgid, setgroups, setuid, write,
};
use regie_core::handoff::Handoff;
use regie_php_sys as sys;
use regie_php_sys::{STAGE_FATAL, STAGE_GIVE_UP, Text};

use super::area::Area;
use super::log::Level;
use super::notify::Notify;
use super::{clock, engine, listen, log, nudge, worker};
use crate::machine::{Effect, Ending, Limits, Machine, View, spare_seats};
use crate::options::{Listen, Mode, Options};
use crate::scoreboard::{Board, Slot, State};

/// Exit code of a worker whose script did not reach its loop.
const EXIT_BOOT_FAILED: i32 = 70;

/// What master and workers share. Made before the fork, never changed after it.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) options: Options,
    pub(crate) board: &'static Board,
    pub(crate) slots: &'static [Slot],
    /// Workers; there are spare slots beyond.
    pub(crate) workers: usize,
    /// Waited on by the workers.
    pub(crate) listener: i32,
    pub(crate) is_tcp: bool,
    pub(crate) worker_script: Text,
    pub(crate) master_pid: u32,
    /// Whether somebody may ask for CPU times.
    pub(crate) wants_cpu: bool,
    /// Wakes the master.
    bell: OwnedFd,
}

// SAFETY: the texts that it points to live as long as the process, and nobody writes them.
unsafe impl Sync for Pool {}

impl Pool {
    /// Makes the master look at the scoreboard. A full pipe means that it will anyway.
    pub(crate) fn tell_master(&self) {
        let _ = write(&self.bell, b"!");
    }

    /// Asks for a new generation of the pool.
    pub(crate) fn want_generation(&self, why: &[u8]) {
        log::worker(Level::Notice, why);
        self.board.generation_wanted.fetch_add(1, Relaxed);
        self.tell_master();
    }
}

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
    fn system(what: &'static str) -> impl FnOnce(Errno) -> Self {
        move |error| Self::System { what, error }
    }
}

/// The user and group that workers become.
#[derive(Debug, Clone)]
struct Identity {
    user: Option<(Uid, Gid, CString)>,
    group: Option<Gid>,
}

/// Runs the pool until it is told to stop.
pub(crate) fn run(options: Options) -> Result<(), Fatal> {
    log::name_pool(&options.pool);
    let handoff = Handoff::parse(|name| std::env::var(name).ok(), std::process::id());
    // Before the engine starts: it takes what is ours out of the environment, so that no script sees it.
    let notify = Notify::new(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let identity = find_identity(&options)?;
    let (listener, is_tcp) = open_listener(&options, &handoff, &identity)?;
    let script = find_script(&options)?;
    let start = engine::settings(&options, script.as_deref(), Uid::effective().is_root());
    let signals = block_signals()?;
    // SAFETY: the settings live as long as the process, and there is no other thread.
    if unsafe { sys::regie_php_startup(start.settings) } != 1 {
        return Err(Fatal::Engine);
    }
    let count = options.workers.resolve(cpus());
    let (board, slots) = scoreboard(count + spare_seats(count)).map_err(Fatal::system("shared memory"))?;
    let (bell_hears, bell) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(Fatal::system("cannot make a pipe"))?;
    let pool: &'static Pool = Box::leak(Box::new(Pool {
        board,
        slots,
        workers: count,
        listener: listen::keep(listener),
        is_tcp,
        worker_script: start.worker_script,
        master_pid: std::process::id(),
        wants_cpu: options.status_path.is_some() || options.status_listen.is_some(),
        bell,
        options,
    }));
    title(&format!("regie-php: master {}", pool.options.pool));
    let limits = limits(&pool.options);
    let machine = Machine::new(count, limits, pool.options.mode == Mode::Worker);
    // SAFETY: the descriptor was handed to us alone.
    let lifeline =
        handoff.get(regie_core::handoff::names::LIFELINE).map(|fd| unsafe { listen::take_over(fd) });
    let mut master = Master {
        pool,
        machine,
        pids: vec![None; slots.len()],
        identity,
        signals,
        lifeline,
        bell: bell_hears,
        notify,
        stopped: false,
    };
    log::master(
        Level::Notice,
        format_args!(
            "PHP {} ({}), {} workers, {} mode, on {}",
            version(),
            pool.options.sapi_name,
            count,
            mode_name(pool.options.mode),
            place(&pool.options)
        ),
    );
    master.serve();
    Ok(())
}

struct Master {
    pool: &'static Pool,
    machine: Machine,
    pids: Vec<Option<Pid>>,
    identity: Identity,
    signals: SignalFd,
    lifeline: Option<OwnedFd>,
    bell: OwnedFd,
    notify: Notify,
    stopped: bool,
}

impl Master {
    fn serve(&mut self) {
        while !self.stopped {
            let now_us = clock::monotonic_us();
            let views: Vec<View> = self.pool.slots.iter().map(view).collect();
            let (effects, next_us) = self.machine.look(now_us, &views);
            let acted = !effects.is_empty();
            for effect in effects {
                self.apply(effect);
            }
            if !acted {
                self.wait(next_us);
            }
        }
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Fork(seat) => self.fork(seat),
            Effect::AskToLeave(seat) => self.with_pid(seat, |pid| nudge::ask_to_leave(pid.as_raw())),
            Effect::RaiseLimit(seat, sequence) => self.raise_limit(seat, sequence),
            Effect::GiveUp(seat, sequence) => {
                self.with_pid(seat, |pid| nudge::send_time_limit(pid.as_raw(), sequence, STAGE_GIVE_UP));
            }
            Effect::Kill(seat, why) => self.kill(seat, why),
            Effect::Ready => self.announce(),
            Effect::Replaced => log::master(Level::Notice, format_args!("all workers have been replaced")),
            Effect::Stopped => self.stopped = true,
        }
    }

    fn with_pid(&self, seat: usize, act: impl FnOnce(Pid)) {
        if let Some(pid) = self.pids[seat] {
            act(pid);
        }
    }

    fn raise_limit(&self, seat: usize, sequence: u32) {
        let slot = &self.pool.slots[seat];
        self.pool.board.timed_out.fetch_add(1, Relaxed);
        log::master(
            Level::Warning,
            format_args!(
                "worker {}: {} {} ({}) has run longer than {}, ending it",
                slot.pid.load(Relaxed),
                slot.method.get(),
                slot.uri.get(),
                slot.script.get(),
                self.pool.options.request_timeout
            ),
        );
        self.with_pid(seat, |pid| nudge::send_time_limit(pid.as_raw(), sequence, STAGE_FATAL));
    }

    fn kill(&self, seat: usize, why: &str) {
        self.with_pid(seat, |pid| {
            if !why.is_empty() {
                log::master(Level::Warning, format_args!("worker {pid} is killed: {why}"));
            }
            let _ = kill(pid, Signal::SIGKILL);
        });
    }

    fn announce(&self) {
        log::master(Level::Notice, format_args!("ready"));
        self.notify.say("READY=1\nSTATUS=serving\n");
    }

    // --- waiting ------------------------------------------------------------------------------------------------

    fn wait(&mut self, next_us: Option<u64>) {
        let timeout = match next_us {
            None => PollTimeout::NONE,
            Some(at_us) => {
                let wait_us = at_us.saturating_sub(clock::monotonic_us());
                PollTimeout::try_from(wait_us.div_ceil(1000)).unwrap_or(PollTimeout::MAX)
            }
        };
        let mut fds = vec![
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.bell.as_fd(), PollFlags::POLLIN),
        ];
        if let Some(lifeline) = &self.lifeline {
            fds.push(PollFd::new(lifeline.as_fd(), PollFlags::POLLIN));
        }
        let _ = poll(&mut fds, timeout);
        let lifeline_ended = fds.get(2).is_some_and(|fd| fd.any().unwrap_or(false));
        drop(fds);
        if lifeline_ended {
            log::master(Level::Warning, format_args!("the supervisor is gone, stopping"));
            self.lifeline = None;
            self.machine.stop(clock::monotonic_us());
        }
        let mut drain = [0; 256];
        while read(&self.bell, &mut drain).is_ok_and(|len| len > 0) {}
        while let Ok(Some(signal)) = self.signals.read_signal() {
            self.on_signal(signal.ssi_signo.cast_signed());
        }
    }

    fn on_signal(&mut self, signal: i32) {
        let now_us = clock::monotonic_us();
        match signal {
            libc::SIGCHLD => self.reap(),
            libc::SIGTERM | libc::SIGQUIT => {
                if !self.machine.is_stopping() {
                    log::master(Level::Notice, format_args!("stopping: requests in hand are finished"));
                    self.notify.say("STOPPING=1\n");
                }
                self.machine.stop(now_us);
            }
            libc::SIGINT => {
                log::master(Level::Notice, format_args!("stopping now"));
                for effect in self.machine.stop_fast(now_us) {
                    self.apply(effect);
                }
            }
            libc::SIGUSR2 => {
                log::master(Level::Notice, format_args!("replacing all workers"));
                self.machine.replace_all();
            }
            _ => {}
        }
    }

    fn reap(&mut self) {
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => self.on_exit(pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => self.on_exit(pid, None, Some(signal)),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn on_exit(&mut self, pid: Pid, code: Option<i32>, signal: Option<Signal>) {
        let Some(seat) = self.pids.iter().position(|held| *held == Some(pid)) else { return };
        let slot = &self.pool.slots[seat];
        let now_us = clock::monotonic_us();
        let ending = match code {
            Some(0) => Ending::Clean,
            Some(EXIT_BOOT_FAILED) => Ending::BootFailed,
            _ => Ending::Crashed,
        };
        if ending == Ending::Crashed {
            report_crash(slot, pid, code, signal, now_us);
        }
        self.pids[seat] = None;
        slot.set_state(State::Empty);
        slot.pid.store(0, Relaxed);
        slot.began_us.store(0, Relaxed);
        self.machine.exited(now_us, seat, ending);
    }

    // --- forking ------------------------------------------------------------------------------------------------

    fn fork(&mut self, seat: usize) {
        let slot = &self.pool.slots[seat];
        let now_us = clock::monotonic_us();
        slot.renew(now_us);
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => {
                self.pids[seat] = Some(child);
                slot.pid.store(child.as_raw(), Relaxed);
                self.machine.forked(now_us, seat);
            }
            Ok(ForkResult::Child) => {
                let code = self.be_worker(seat);
                // SAFETY: a worker has nothing of its own to write; the engine's state dies with it.
                unsafe { sys::regie_exit(code) };
            }
            Err(error) => {
                slot.set_state(State::Empty);
                log::master(Level::Error, format_args!("cannot fork a worker: {}", error.desc()));
                self.machine.fork_failed(now_us, seat);
            }
        }
    }

    fn be_worker(&self, seat: usize) -> i32 {
        let slot = &self.pool.slots[seat];
        slot.pid.store(std::process::id().cast_signed(), Relaxed);
        title(&format!("regie-php: pool {} worker", self.pool.options.pool));
        nudge::listen_to_nudges();
        let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
        if let Err(error) = become_user(&self.identity) {
            log::master(Level::Error, format_args!("cannot become the pool's user: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        // After the change of user, which clears it.
        let _ = set_parent_death_signal();
        if let Err(error) = worker::install(self.pool, slot) {
            log::master(Level::Error, format_args!("no memory for a worker: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        let mut script_status = 0;
        // SAFETY: the engine runs, the trace lies in shared memory for the process's life, and the callbacks work since
        // `install`.
        let ended = unsafe {
            sys::regie_php_child((&raw const slot.trace).cast_mut(), nudge::time_limit());
            if self.pool.options.mode == Mode::Classic {
                slot.set_state(State::Idle);
                self.pool.tell_master();
            }
            sys::regie_php_run(&raw mut script_status)
        };
        match ended {
            sys::ENDED_SCRIPT => {
                log::worker(
                    Level::Error,
                    format!("the worker script ended before its loop, with exit status {script_status}")
                        .as_bytes(),
                );
                EXIT_BOOT_FAILED
            }
            sys::ENDED_ENGINE => EXIT_BOOT_FAILED,
            _ => 0,
        }
    }
}

fn view(slot: &Slot) -> View {
    View { state: slot.state(), sequence: slot.sequence.load(Relaxed), began_us: slot.began_us.load(Relaxed) }
}

fn report_crash(slot: &Slot, pid: Pid, code: Option<i32>, signal: Option<Signal>, now_us: u64) {
    let how = match (code, signal) {
        (_, Some(signal)) => format!("was ended by signal {} ({signal})", signal as i32),
        (code, None) => format!("exited with code {}", code.unwrap_or(-1)),
    };
    let age_ms = now_us.saturating_sub(slot.born_us.load(Relaxed)) / 1000;
    let doing = if slot.began_us.load(Relaxed) > 0 {
        format!("in {} {} ({})", slot.method.get(), slot.uri.get(), slot.script.get())
    } else {
        format!("while {}", slot.state().as_str().to_lowercase())
    };
    log::master(Level::Warning, format_args!("worker {pid} {how} {doing}, {age_ms} ms after its start"));
}

fn set_parent_death_signal() -> Result<(), Errno> {
    // SAFETY: sets an attribute of this process.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, nudge::nudge()) };
    let _ = prctl::get_dumpable();
    Errno::result(done).map(drop)
}

fn block_signals() -> Result<SignalFd, Fatal> {
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

fn scoreboard(seats: usize) -> nix::Result<(&'static Board, &'static [Slot])> {
    let mut area = Area::new(size_of::<Board>() + seats * size_of::<Slot>() + 256)?;
    // SAFETY: both are made of atomics and arrays of bytes, for which zeroes are a value.
    unsafe { Ok((&area.zeroed::<Board>(1)[0], area.zeroed::<Slot>(seats))) }
}

fn limits(options: &Options) -> Limits {
    let us = |span: regie_core::units::Span| u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX);
    Limits {
        request_us: us(options.request_timeout),
        grace_us: us(options.request_grace),
        boot_us: us(options.boot_timeout),
        stop_us: us(options.stop_timeout),
    }
}

fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn title(text: &str) {
    let text = CString::new(text.replace('\0', "")).unwrap_or_default();
    // SAFETY: the text ends in a NUL, and there is one thread.
    unsafe { sys::regie_title(text.as_ptr()) };
}

fn version() -> String {
    // SAFETY: a static text.
    unsafe { std::ffi::CStr::from_ptr(sys::regie_php_version()) }.to_string_lossy().into_owned()
}

fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Classic => "classic",
        Mode::Worker => "worker",
    }
}

fn place(options: &Options) -> String {
    match (&options.listen, &options.listen_fd) {
        (Some(Listen::Unix(path)), _) => format!("unix:{}", path.display()),
        (Some(Listen::Tcp(address)), _) => address.to_string(),
        (None, name) => format!("the socket {}", name.as_deref().unwrap_or("?")),
    }
}

fn find_script(options: &Options) -> Result<Option<PathBuf>, Fatal> {
    let Some(script) = options.script.as_ref().filter(|_| options.mode == Mode::Worker) else {
        return Ok(None);
    };
    std::path::absolute(script)
        .ok()
        .filter(|path| path.is_file())
        .map(Some)
        .ok_or_else(|| Fatal::Usage(format!("--script {}: there is no such file", script.display())))
}

fn find_identity(options: &Options) -> Result<Identity, Fatal> {
    use nix::unistd::{Group, User};
    let user = match &options.user {
        None => None,
        Some(name) => {
            let user = User::from_name(name).ok().flatten();
            let user = user.ok_or_else(|| Fatal::Usage(format!("--user {name}: there is no such user")))?;
            let name = CString::new(name.as_str()).map_err(|_| Fatal::Usage("--user has a NUL".into()))?;
            Some((user.uid, user.gid, name))
        }
    };
    let group = match &options.group {
        None => None,
        Some(name) => {
            let group = Group::from_name(name).ok().flatten();
            Some(group.ok_or_else(|| Fatal::Usage(format!("--group {name}: there is no such group")))?.gid)
        }
    };
    Ok(Identity { user, group })
}

fn become_user(identity: &Identity) -> nix::Result<()> {
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

fn open_listener(
    options: &Options,
    handoff: &Handoff,
    identity: &Identity,
) -> Result<(OwnedFd, bool), Fatal> {
    let failed = |error| Fatal::Listen { place: place(options), error };
    let socket = match (&options.listen_fd, &options.listen) {
        (Some(name), _) => {
            let fd = handoff.get(name);
            let fd = fd.ok_or_else(|| {
                Fatal::Usage(format!("--listen-fd {name}: LISTEN_FDNAMES does not name it"))
            })?;
            // SAFETY: the descriptor was handed to us alone.
            unsafe { listen::take_over(fd) }
        }
        (None, Some(address)) => {
            let owner = identity.user.as_ref().map(|(uid, ..)| *uid);
            let group = identity.group.or(identity.user.as_ref().map(|(_, gid, _)| *gid));
            listen::open(address, options.listen_mode, owner, group).map_err(failed)?
        }
        (None, None) => return Err(Fatal::Usage("--listen or --listen-fd is needed".into())),
    };
    listen::prepare(socket.as_fd()).map_err(failed)?;
    let is_tcp = is_tcp(socket.as_fd());
    Ok((socket, is_tcp))
}

fn is_tcp(socket: BorrowedFd<'_>) -> bool {
    use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
    getsockname::<SockaddrStorage>(socket.as_raw_fd())
        .is_ok_and(|address| matches!(address.family(), Some(AddressFamily::Inet | AddressFamily::Inet6)))
}
