//! The master: starts the engine once, forks the workers, and looks after them. It has one thread and no part in any
//! request, so nothing that PHP does can hurt it.

mod exits;
mod slow;

use std::ffi::CString;
use std::fmt::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst, fence};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{ForkResult, Pid, Uid, fork, pipe2, read};
use regie_core::handoff::Handoff;
use regie_core::units::Span;
use regie_lane::{Janitor, Lane};
use regie_php_sys::{self as sys, STAGE_FATAL, STAGE_GIVE_UP};

use super::generation::{self, Inherited, Origin};
use super::log::{Level, Line};
use super::notify::Notify;
use super::pool::Pool;
use super::setup::{self, Fatal, Identity};
use super::template::{self, Desk, Template, Turn, Why};
use super::{callbacks, clock, engine, listen, log, nudge, report, worker};
use crate::crew::{Crew, Demand};
use crate::machine::{Effect, Ending, Machine, Source, View, spare_seats};
use crate::options::{Mode, Options};
use crate::scoreboard::{Slot, State};

/// Exit code of a worker whose script did not reach its loop.
const EXIT_BOOT_FAILED: i32 = 70;
/// The same, after it has answered for the pool for a while.
const EXIT_APOLOGIZED: i32 = 71;
/// Exit code of a process that cannot be in rewind mode, where the pool has a way out; the board says why.
const EXIT_UNPARKED: i32 = 72;
const UNFINISHED: &[u8] = b"the application ended before its checkpoint; its messages are above";

/// Runs the pool until it is told to stop.
pub(crate) fn run(mut options: Options) -> Result<(), Fatal> {
    let (origin, mut inherited) = (Origin::remember(), Inherited::from_env());
    log::name_pool(&options.pool);
    log::reopen(options.log.as_deref());
    let handoff = Handoff::parse(|name| std::env::var(name).ok(), std::process::id());
    // Before the engine starts: it takes what is ours out of the environment, so that no script sees it.
    let notify = Notify::new(std::env::var("NOTIFY_SOCKET").ok().as_deref());
    let identity = setup::find_identity(&options)?;
    let script = setup::find_script(&options)?;
    let classic_because = setup::mode_that_works(&mut options, inherited.classic_because.take());
    let script = script.filter(|_| options.script.is_some());
    let start = engine::settings(&options, script.as_deref(), Uid::effective().is_root());
    if generation::is_trial() {
        // SAFETY: the settings live as long as the process, and there is no other thread.
        return if unsafe { sys::regie_php_startup(start.settings) } == 1 {
            Ok(())
        } else {
            Err(Fatal::Engine)
        };
    }
    let (listener, is_tcp) = setup::open_listener(&options, &handoff, &identity, inherited.listener)?;
    let status_listener = setup::open_status_listener(&options, &handoff, inherited.status)?;
    let lane = setup::open_lane(&options, &handoff)?;
    let janitor =
        lane.map(Janitor::new).transpose().map_err(|error| Fatal::Usage(format!("the lane: {error}")))?;
    let signals = setup::block_signals()?;
    // Workers inherit the handlers: a nudge that comes in a worker's first moments must not end it.
    nudge::listen_to_nudges(std::process::id());
    // SAFETY: the settings live as long as the process, and there is no other thread.
    if unsafe { sys::regie_php_startup(start.settings) } != 1 {
        return Err(Fatal::Engine);
    }
    let (fewest, count) = options.workers.resolve(setup::cpus());
    let (board, slots) =
        setup::scoreboard(count + spare_seats(count) + 2).map_err(Fatal::system("shared memory"))?;
    let (status_slot, slots) = slots.split_last().expect("there are two more than there are seats");
    let (template_slot, slots) = slots.split_last().expect("as above");
    let (bell_hears, bell) =
        pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).map_err(Fatal::system("cannot make a pipe"))?;
    let pool: &'static Pool = Box::leak(Box::new(Pool {
        board,
        slots,
        workers: count,
        listener: listen::keep(listener),
        is_tcp,
        is_dynamic: fewest < count,
        lane,
        worker_script: start.worker_script,
        started_us: clock::monotonic_us(),
        request_us: u64::try_from(options.request_timeout.0.as_micros()).unwrap_or(u64::MAX),
        slow_us: setup::micros(options.slow_request),
        is_watched: options.status_path.is_some() || options.status_listen.is_some(),
        bell,
        classic_because,
        options,
    }));
    title(&format!("regie-php: master {}", pool.options.pool));
    let limits = setup::limits(&pool.options);
    let crew = Crew::new(fewest, count, setup::micros(pool.options.idle_timeout));
    let source = if pool.options.mode == Mode::Rewind { Source::NoTemplate } else { Source::Master };
    let machine = Machine::new(crew, limits, pool.options.mode != Mode::Classic, source);
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
        handed: handoff.iter().map(|(_, fd)| fd).collect(),
        origin,
        predecessors: inherited.old.into_iter().map(Pid::from_raw).collect(),
        status: StatusDesk { listener: status_listener.map(listen::keep), slot: status_slot, pid: None },
        template: None,
        retired: None,
        crashes: 0,
        template_slot,
        generation: Generation::Current,
        janitor,
        shown: None,
        stopped: false,
    };
    log::master(
        Level::Notice,
        format_args!(
            "PHP {} ({}), {} workers, {} mode, on {}",
            version(),
            pool.options.sapi_name,
            if fewest < count { format!("{fewest} to {count}") } else { count.to_string() },
            setup::mode_name(pool.options.mode),
            setup::place(&pool.options)
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
    /// Descriptors that the supervisor handed to us; they go on to a successor.
    handed: Vec<i32>,
    origin: Origin,
    /// Workers of the generation before, until they have left.
    predecessors: Vec<Pid>,
    status: StatusDesk,
    /// Rewind mode: what workers are made of; and the one before, until its successor is ready.
    template: Option<Template>,
    retired: Option<Template>,
    /// Workers that have crashed.
    crashes: u64,
    template_slot: &'static Slot,
    generation: Generation,
    /// Answers what workers had taken from the lane when they died.
    janitor: Option<Janitor<&'static Lane>>,
    /// The number of workers that was last told of.
    shown: Option<usize>,
    stopped: bool,
}

/// The process that answers `--status-listen`.
struct StatusDesk {
    listener: Option<i32>,
    slot: &'static Slot,
    pid: Option<Pid>,
}

/// How far a new generation of the pool is.
#[derive(Debug)]
enum Generation {
    /// None was asked for.
    Current,
    /// The supervisor has been told.
    Asked,
    /// A child tries whether the engine starts.
    Trial(Pid),
    /// It does not start with what is on the disk now; nothing more is done.
    Refused,
}

impl Master {
    fn serve(&mut self) {
        if !self.status_is_on_demand() {
            self.fork_status_desk();
        }
        while !self.stopped {
            let now_us = clock::monotonic_us();
            self.look_for_renewals();
            let views: Vec<View> = self.pool.slots.iter().map(view).collect();
            let demand = if self.pool.is_dynamic { self.pool.demand() } else { Demand::default() };
            let (effects, next_us) = self.machine.look(now_us, &views, demand);
            self.tell_number();
            let acted = !effects.is_empty();
            for effect in effects {
                self.apply(effect);
            }
            if !acted {
                self.wait(&views, next_us);
            }
        }
    }

    fn look_for_renewals(&mut self) {
        for (seat, slot) in self.pool.slots.iter().enumerate() {
            if slot.renewal_wanted.swap(0, Relaxed) == 1 && self.machine.renew(seat) {
                let pid = slot.pid.load(Relaxed);
                log::master(
                    Level::Notice,
                    format_args!("worker {pid} ({}) is renewed", log::Name(Some(seat))),
                );
            }
        }
    }

    /// Says how many workers there shall be, when that has changed.
    fn tell_number(&mut self) {
        let (wanted, before) = (self.machine.wanted(), self.shown);
        if before == Some(wanted) {
            return;
        }
        self.shown = Some(wanted);
        self.pool.board.wanted.store(u32::try_from(wanted).unwrap_or(u32::MAX), Relaxed);
        let Some(before) = before.filter(|_| self.pool.is_dynamic) else { return };
        let is_wished = self.pool.lane.is_some_and(|lane| lane.wished().is_some());
        let why = match wanted > before {
            true if is_wished => "so many are wished for",
            true => "requests wait",
            false => "some were idle",
        };
        log::master(Level::Notice, format_args!("{wanted} workers in place of {before}: {why}"));
        self.notify.say(&format!("STATUS={}\n", self.status_line()));
        if wanted == self.pool.workers {
            log::master(Level::Warning, format_args!("that is the most that --workers allows"));
        }
    }

    fn status_line(&self) -> String {
        let mut line = "serving".to_owned();
        if self.pool.is_dynamic {
            let _ = write!(line, " with {} workers of at most {}", self.machine.wanted(), self.pool.workers);
        }
        if let Some(why) = &self.pool.classic_because {
            let _ = write!(line, " in classic mode, not in rewind mode: {why}");
        }
        match self.crashes {
            0 => {}
            1 => line.push_str(", 1 worker has crashed"),
            count => drop(write!(line, ", {count} workers have crashed")),
        }
        line
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::ForkTemplate => self.fork_template(),
            Effect::KillTemplate(why) => self.kill_template(why),
            Effect::Fork(seat) if self.pool.options.mode == Mode::Rewind => self.make_worker(seat),
            Effect::Fork(seat) => self.fork(seat),
            Effect::AskToLeave(seat) => self.with_pid(seat, |pid| nudge::ask_to_leave(pid.as_raw())),
            Effect::RaiseLimit(seat, sequence) => self.raise_limit(seat, sequence),
            Effect::ShowStack(seat, sequence) => self.show_stack(seat, sequence),
            Effect::TellSlow(seat, sequence) => self.tell_slow(seat, sequence),
            Effect::GiveUp(seat, sequence) => {
                self.with_pid(seat, |pid| nudge::send_time_limit(pid.as_raw(), sequence, STAGE_GIVE_UP));
            }
            Effect::Kill(seat, why) => self.kill(seat, why),
            Effect::Ready => self.announce(),
            Effect::Replaced => log::master(Level::Notice, format_args!("all workers have been replaced")),
            Effect::Stopped => self.finish(),
        }
    }

    fn with_pid(&self, seat: usize, act: impl FnOnce(Pid)) {
        if let Some(pid) = self.pids[seat] {
            act(pid);
        }
    }

    fn raise_limit(&self, seat: usize, sequence: u32) {
        let slot = &self.pool.slots[seat];
        let limit_us = slot.due_us.load(Relaxed).saturating_sub(slot.began_us.load(Relaxed));
        self.pool.board.timed_out.fetch_add(1, Relaxed);
        log::master(
            Level::Warning,
            format_args!(
                "worker {} ({}): {} {} ({}) has run longer than {}, ending it",
                slot.pid.load(Relaxed),
                log::Name(Some(seat)),
                slot.method.get(),
                slot.uri.get(),
                slot.script.get(),
                Span(Duration::from_micros(limit_us))
            ),
        );
        self.with_pid(seat, |pid| nudge::send_time_limit(pid.as_raw(), sequence, STAGE_FATAL));
    }

    fn show_stack(&self, seat: usize, sequence: u32) {
        let slot = &self.pool.slots[seat];
        match slot.stack(sequence) {
            Some(stack) => log::master(Level::Warning, format_args!("its PHP stack:\n{}", stack.trim_end())),
            None => log::master(Level::Warning, format_args!("its PHP stack could not be read")),
        }
    }

    fn kill(&self, seat: usize, why: &str) {
        self.with_pid(seat, |pid| {
            if !why.is_empty() {
                log::master(
                    Level::Warning,
                    format_args!("worker {pid} ({}) is killed: {why}", log::Name(Some(seat))),
                );
            }
            let _ = kill(pid, Signal::SIGKILL);
        });
    }

    fn announce(&self) {
        log::master(Level::Notice, format_args!("ready"));
        self.notify.say(&format!("READY=1\nSTATUS={}\n", self.status_line()));
        for pid in &self.predecessors {
            nudge::ask_to_leave(pid.as_raw());
        }
    }

    /// Everything has ended but what serves us ourselves.
    fn finish(&mut self) {
        self.stopped = true;
        let templates = self.template.take().into_iter().chain(self.retired.take());
        for pid in templates.map(|template| template.pid).chain(self.status.pid.take()) {
            let _ = kill(pid, Signal::SIGKILL);
        }
        for pid in self.predecessors.drain(..) {
            let _ = kill(pid, Signal::SIGKILL);
        }
    }

    // --- a new generation ---------------------------------------------------------------------------------------

    fn look_for_generation(&mut self) {
        let wanted = self.pool.board.generation_wanted.load(Relaxed) > 0;
        if !wanted || self.machine.is_stopping() || !matches!(self.generation, Generation::Current) {
            return;
        }
        if self.lifeline.is_some() && self.notify.is_heard() {
            log::master(
                Level::Notice,
                format_args!("asking the supervisor for a new generation of the pool"),
            );
            self.notify.say("X_REGIE_GENERATION=1\n");
            self.generation = Generation::Asked;
            return;
        }
        match self.origin.try_out() {
            Ok(child) => self.generation = Generation::Trial(Pid::from_raw(child.id().cast_signed())),
            Err(error) => self.refuse_generation(format_args!("{error}")),
        }
    }

    /// The pool leaves rewind mode, for which the application is not made: this process becomes its own successor, in classic
    /// mode. Whoever waits in the listener's queue or in the lane is answered by that.
    fn fall_back(&mut self, ended: &str) {
        let told = self.pool.board.unparked_why.get();
        let why = if told.is_empty() { ended } else { told.as_str() };
        if self.machine.is_stopping() || matches!(self.generation, Generation::Trial(_)) {
            return;
        }
        log::master(
            Level::Warning,
            format_args!(
                "rewind mode does not work for this application, it is served in classic mode: {why}"
            ),
        );
        self.succeed(Some(why));
    }

    /// An application that leaves in most requests what cannot be put back, or that crashes when it is, is served slowly in
    /// rewind mode.
    fn look_at_losses(&mut self) {
        let (board, options) = (self.pool.board, &self.pool.options);
        if options.mode != Mode::Rewind || !options.or_classic {
            return;
        }
        let replaced = board.replaced.load(Relaxed);
        if template::loses_too_many(replaced + self.crashes, board.accepted.load(Relaxed)) {
            let what = "of its requests, too many end with their worker";
            let last = if replaced > 0 { board.replaced_why.get() } else { "it crashes".to_owned() };
            self.fall_back(&format!("{what}, the last time for: {last}"));
        }
    }

    fn refuse_generation(&mut self, why: std::fmt::Arguments<'_>) {
        log::master(Level::Error, format_args!("no new generation, the pool goes on as it is: {why}"));
        self.generation = Generation::Refused;
    }

    fn after_trial(&mut self, succeeded: bool) {
        if self.machine.is_stopping() {
            return;
        }
        if !succeeded {
            return self.refuse_generation(format_args!("PHP does not start any more"));
        }
        log::master(Level::Notice, format_args!("starting a new generation of the pool"));
        self.succeed(None);
    }

    /// Becomes its own successor, beside the workers that there are. Returns only when that failed.
    fn succeed(&mut self, classic_because: Option<&str>) {
        if let Some(pid) = self.status.pid.take() {
            let _ = kill(pid, Signal::SIGKILL);
        }
        let old: Vec<Pid> = self.pids.iter().flatten().chain(&self.predecessors).copied().collect();
        let (listener, status) = (self.pool.listener, self.status.listener);
        let error = self.origin.succeed(listener, status, &self.handed, &old, classic_because);
        self.refuse_generation(format_args!("{error}"));
        self.fork_status_desk();
    }

    // --- the status desk ----------------------------------------------------------------------------------------

    fn status_is_on_demand(&self) -> bool {
        self.pool.options.status_fd.is_some()
    }

    fn fork_status_desk(&mut self) {
        let Some(listener) = self.status.listener else { return };
        // SAFETY: this process has one thread.
        match unsafe { fork() } {
            Ok(ForkResult::Parent { child }) => self.status.pid = Some(child),
            Ok(ForkResult::Child) => {
                title(&format!("regie-php: pool {} status", self.pool.options.pool));
                let ready = self.settle().is_ok();
                let once = self.status_is_on_demand();
                let _ = ready && report::serve(self.pool, self.status.slot, listener, once).is_ok();
                // SAFETY: nothing is left to write.
                unsafe { sys::regie_exit(0) };
            }
            Err(error) => {
                log::master(Level::Error, format_args!("cannot fork the status process: {}", error.desc()));
            }
        }
    }

    // --- waiting ------------------------------------------------------------------------------------------------

    fn wait(&mut self, seen: &[View], next_us: Option<u64>) {
        // Workers tell of a limit that passes before `looks_us`, unless they have noted it before this; see
        // `Worker::watch_limit`.
        let looks_us = next_us.unwrap_or(u64::MAX);
        self.pool.board.looks_us.store(looks_us, Relaxed);
        fence(SeqCst);
        let noted_since = self.pool.slots.iter().zip(seen).any(|(slot, seen)| {
            let at_us = slot.looked_at_us();
            at_us != seen.looked_at_us() && (1..looks_us).contains(&at_us)
        });
        let next_us = if noted_since { Some(0) } else { next_us };
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
        let lifeline_at = fds.len() - 1;
        let asks = self.status.listener.filter(|_| {
            self.status_is_on_demand() && self.status.pid.is_none() && !self.machine.is_stopping()
        });
        let asks_at = fds.len();
        if let Some(listener) = asks {
            // SAFETY: it stays open for the life of the process.
            fds.push(PollFd::new(unsafe { BorrowedFd::borrow_raw(listener) }, PollFlags::POLLIN));
        }
        if let Some(booting) = self.template.as_ref().and_then(Template::waits_on) {
            fds.push(PollFd::new(booting, PollFlags::POLLIN));
        }
        let _ = poll(&mut fds, timeout);
        let is_ready = |at: usize| fds.get(at).is_some_and(|fd| fd.any().unwrap_or(false));
        let lifeline_ended = self.lifeline.is_some() && is_ready(lifeline_at);
        let is_asked = asks.is_some() && is_ready(asks_at);
        drop(fds);
        self.look_at_template();
        if is_asked {
            self.fork_status_desk();
        }
        if lifeline_ended {
            log::master(Level::Warning, format_args!("the supervisor is gone, stopping"));
            self.lifeline = None;
            self.machine.stop(clock::monotonic_us());
        }
        let mut drain = [0; 256];
        while read(&self.bell, &mut drain).is_ok_and(|len| len > 0) {}
        self.look_for_generation();
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
            libc::SIGUSR1 => {
                log::reopen(self.pool.options.log.as_deref());
                self.pool.board.log_epoch.fetch_add(1, Relaxed);
                log::master(Level::Notice, format_args!("log opened anew"));
            }
            _ => {}
        }
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

    /// What every child does first.
    fn settle(&self) -> nix::Result<()> {
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        setup::become_user(&self.identity)?;
        // After the change of user, which clears it.
        set_parent_death_signal()?;
        nudge::look_for_master();
        Ok(())
    }

    fn be_worker(&self, seat: usize) -> i32 {
        let slot = &self.pool.slots[seat];
        slot.pid.store(std::process::id().cast_signed(), Relaxed);
        log::name_seat(seat);
        title(&format!("regie-php: pool {} worker {seat:02}", self.pool.options.pool));
        if let Err(error) = self.settle() {
            log::master(Level::Error, format_args!("cannot become the pool's user: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        if let Err(error) = worker::install(self.pool, slot, self.pool.lane) {
            log::master(Level::Error, format_args!("no memory for a worker: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        callbacks::watch_forks();
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
            sys::ENDED_SCRIPT => self.after_failed_boot(script_status),
            sys::ENDED_ENGINE => EXIT_BOOT_FAILED,
            _ => 0,
        }
    }

    // --- rewind mode --------------------------------------------------------------------------------------------

    fn fork_template(&mut self) {
        let now_us = clock::monotonic_us();
        // A parked one makes no more workers, but stays until the new one is ready; one that boots is given up.
        match self.template.take() {
            Some(parked) if parked.is_ready => self.retired = Some(parked),
            Some(booting) => drop(kill(booting.pid, Signal::SIGKILL)),
            None => {}
        }
        self.template_slot.renew(now_us);
        let forked = template::pair().and_then(|(socket, desk)| {
            // SAFETY: this process has one thread.
            Ok((unsafe { fork() }?, socket, desk))
        });
        match forked {
            Ok((ForkResult::Parent { child }, socket, _)) => {
                self.template = Some(Template::new(child, socket));
                self.machine.template_forked(now_us);
            }
            Ok((ForkResult::Child, socket, desk)) => {
                drop(socket);
                let code = self.be_template(&desk);
                // SAFETY: nothing is left to write; the engine's state dies with the process.
                unsafe { sys::regie_exit(code) };
            }
            Err(error) => {
                log::master(Level::Error, format_args!("cannot fork the template: {}", error.desc()));
                self.machine.template_exited(now_us, Ending::BootFailed);
            }
        }
    }

    fn kill_template(&self, why: &str) {
        if let Some(template) = &self.template {
            log::master(Level::Warning, format_args!("the template {} is killed: {why}", template.pid));
            let _ = kill(template.pid, Signal::SIGKILL);
        }
    }

    fn look_at_template(&mut self) {
        if self.template.as_mut().is_some_and(Template::has_become_ready) {
            self.machine.template_ready();
            if let Some(retired) = self.retired.take() {
                let _ = kill(retired.pid, Signal::SIGKILL);
            }
        }
    }

    fn make_worker(&mut self, seat: usize) {
        let slot = &self.pool.slots[seat];
        let now_us = clock::monotonic_us();
        let Some(template) = &self.template else { return };
        slot.renew(now_us);
        match template.make_worker(seat) {
            Ok(child) => {
                self.pids[seat] = Some(child);
                slot.pid.store(child.as_raw(), Relaxed);
                self.machine.forked(now_us, seat);
            }
            Err(error) => {
                slot.set_state(State::Empty);
                log::master(Level::Error, format_args!("the template makes no worker: {}", error.desc()));
                let _ = kill(template.pid, Signal::SIGKILL);
                self.machine.fork_failed(now_us, seat);
            }
        }
    }

    /// Boots up to the checkpoint and makes workers of it. Returns in the template and in each worker.
    fn be_template(&self, desk: &Desk) -> i32 {
        title(&format!("regie-php: pool {} template", self.pool.options.pool));
        if let Err(error) = self.settle() {
            log::master(Level::Error, format_args!("cannot become the pool's user: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        if let Err(error) = worker::install(self.pool, self.template_slot, None) {
            log::master(Level::Error, format_args!("no memory for the template: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        let (mut script_status, mut why) = (0, Why::new());
        let (room, size) = why.room();
        // Before the snapshot, which its workers begin with; they are cloned past libc, so none is taken for a copy.
        callbacks::watch_forks();
        // SAFETY: the engine runs, the trace lies in shared memory for the process's life, and the callbacks work since
        // `install`.
        let ended = unsafe {
            sys::regie_php_child((&raw const self.template_slot.trace).cast_mut(), nudge::time_limit());
            sys::regie_php_run(&raw mut script_status)
        };
        let has_way_out = self.pool.options.or_classic;
        match ended {
            sys::ENDED_CHECKPOINT => {}
            sys::ENDED_SCRIPT if has_way_out => return self.unparked(UNFINISHED),
            sys::ENDED_SCRIPT => return self.after_failed_boot(script_status),
            _ => return EXIT_BOOT_FAILED,
        }
        // SAFETY: called in the template; a text that ends with a NUL and stays.
        let doubt = unsafe { std::ffi::CStr::from_ptr(sys::regie_rewind_doubt()) }.to_bytes();
        if !doubt.is_empty() {
            if has_way_out {
                return self.unparked(doubt);
            }
            log::worker(Level::Warning, doubt);
            log::worker(
                Level::Warning,
                b"what it has found there holds for all visitors, until the next reload",
            );
        }
        // SAFETY: the script is parked; `why` has room.
        if unsafe { sys::regie_rewind_snapshot(room, size) } == 0 {
            if has_way_out {
                return self.unparked(why.text());
            }
            log::worker(Level::Error, why.text());
            return self.after_failed_boot(script_status);
        }
        match desk.serve(nudge::told_to_leave) {
            Turn::Over => 0,
            Turn::Worker(seat) => self.be_rewound_worker(seat),
        }
    }

    fn be_rewound_worker(&self, seat: usize) -> i32 {
        let slot = &self.pool.slots[seat];
        slot.pid.store(std::process::id().cast_signed(), Relaxed);
        log::name_seat(seat);
        title(&format!("regie-php: pool {} worker {seat:02}", self.pool.options.pool));
        let (mut why, stats) = (Why::new(), slot.rewind_stats());
        let (room, size) = why.room();
        if let Err(error) = self.settle().and_then(|()| worker::install(self.pool, slot, self.pool.lane)) {
            log::master(Level::Error, format_args!("cannot begin as a worker: {}", error.desc()));
            return EXIT_BOOT_FAILED;
        }
        // SAFETY: as in `be_template`; the counts lie in the slot, and nothing of ours is on the heap.
        let ended = unsafe {
            sys::regie_php_child((&raw const slot.trace).cast_mut(), nudge::time_limit());
            sys::regie_rewind_serve(stats, room, size)
        };
        if ended == sys::ENDED_ENGINE {
            if self.pool.options.or_classic {
                return self.unparked(why.text());
            }
            log::worker(Level::Error, why.text());
            return EXIT_BOOT_FAILED;
        }
        0
    }

    /// In the template, or in a worker that cannot begin: tells the master.
    fn unparked(&self, why: &[u8]) -> i32 {
        self.pool.board.unparked_why.set(why);
        EXIT_UNPARKED
    }

    /// In the worker: the script did not reach its loop. Where no other worker can answer, this one does until the next
    /// attempt.
    fn after_failed_boot(&self, status: i32) -> i32 {
        let pause = Duration::from_micros(Machine::pause_us(self.pool.board.failures.load(Relaxed) + 1));
        let mut line = Line::<512>::default();
        let _ = write!(
            line,
            "the worker script ended before {}, with exit status {status}; next attempt in {} ms",
            match self.pool.options.mode {
                Mode::Rewind => "its checkpoint (regie_checkpoint)",
                _ => "its loop (frankenphp_handle_request)",
            },
            pause.as_millis()
        );
        log::worker(Level::Error, line.bytes());
        if self.pool.slots.iter().any(|slot| slot.state() == State::Idle || slot.state().is_busy()) {
            return EXIT_BOOT_FAILED;
        }
        nudge::leave_after(pause);
        // In rewind mode it was the template that failed, which does not sit at the lane.
        let _ = self.pool.options.mode == Mode::Rewind
            && worker::install(self.pool, self.template_slot, self.pool.lane).is_ok();
        // SAFETY: the engine's loop has ended, so no callback is under way.
        unsafe { worker::current() }.apologize();
        EXIT_APOLOGIZED
    }
}

fn view(slot: &Slot) -> View {
    View {
        state: slot.state(),
        sequence: slot.sequence.load(Relaxed),
        began_us: slot.began_us.load(Relaxed),
        due_us: slot.due_us.load(Relaxed),
        slow_us: slot.slow_us.load(Relaxed),
    }
}

fn set_parent_death_signal() -> Result<(), Errno> {
    // SAFETY: sets an attribute of this process.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, nudge::nudge()) };
    Errno::result(done).map(drop)
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
