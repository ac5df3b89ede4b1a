//! The loop around the machine.
//!
//! One turn: wait in `poll(2)` until something comes or a deadline has; then, in this order, signals, notify
//! messages and output (so that what a process said is heard before its death), the dead, probes, control clients,
//! readings, the machine's own deadlines; then files and the state for the next supervisor are written.

mod children;
mod effects;
mod measure;
mod requests;
mod reread;

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::stat::{Mode as FileMode, umask};

use super::claim::{Claim, remove_state};
use super::clients::Clients;
use super::clock::Clock;
use super::logs::{Logs, SELF};
use super::probe::Probe;
use super::settings::{OnMoment, Reread, RunError, Settings, Table};
use super::spawn::identify;
use super::terminal::Terminal;
use super::{folder, sys};
use crate::machine::{Command, Event, Machine, Outcome, Policy, RunId, Ticket};
use crate::spec::{Program, RunAs};
use children::Child;
use measure::Readings;
use regie_core::StopPhase;
use reread::Reading;

/// While something must be looked at again and again (the rest of a tree that is not our child).
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// At the very end, for a terminal that is slow.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A signal that the kernel sent: the terminal was closed.
const SI_KERNEL: i32 = 0x80;

/// Everything the loop holds.
struct Driver {
    claim: Claim,
    clock: Clock,
    machine: Machine,
    children: BTreeMap<RunId, Child>,
    probes: Vec<Probe>,
    held: BTreeMap<String, OwnedFd>,
    lifeline: OwnedFd,
    /// Never written to; its closing is the message.
    _lifeline_end: OwnedFd,
    null: File,
    notify: UnixDatagram,
    notify_address: String,
    signals: SignalFd,
    /// When a signal last said to stop.
    told_at: Option<Duration>,
    clients: Clients,
    tickets: BTreeMap<Ticket, u64>,
    next_ticket: u64,
    logs: Logs,
    readings: Readings,
    reread: Option<Reread>,
    /// A configuration that is being read again.
    reading: Option<Reading>,
    on_moment: Option<OnMoment>,
    version: String,
    /// The list for the next supervisor is out of date.
    state_changed: bool,
    outcome: Option<Outcome>,
}

/// Runs the table until told to stop. To be called on the process's main thread, before any other thread was
/// started, and without other child processes: all that die are waited for here.
///
/// # Errors
/// Before anything is started: faults of the table, or of the operating system.
pub fn run(claim: Claim, settings: Settings) -> Result<Outcome, RunError> {
    let mut driver = Driver::new(claim, settings)?;
    driver.feed(Event::Tick);
    loop {
        driver.turn();
        if let Some(outcome) = driver.outcome.take() {
            driver.end();
            return Ok(outcome);
        }
    }
}

fn io_fault(what: &'static str) -> impl FnOnce(io::Error) -> RunError {
    move |source| RunError::Io { what, source }
}

fn nix_fault(what: &'static str) -> impl FnOnce(nix::Error) -> RunError {
    move |error| RunError::Io { what, source: error.into() }
}

/// The control line keeps its mode 0600, and becomes another user's.
fn give_to(run_dir: &Path, owner: &RunAs) -> io::Result<()> {
    let (identity, _) = identify(owner).map_err(io::Error::other)?;
    std::os::unix::fs::lchown(run_dir.join(folder::CONTROL), Some(identity.uid), Some(identity.gid))
}

/// Every descriptor that a program wants must be there.
fn check_descriptors<'a>(programs: &[Program], held: impl Fn(&str) -> bool + 'a) -> Result<(), RunError> {
    for program in programs {
        if let Some(missing) = program.descriptors.iter().find(|name| !held(name)) {
            return Err(RunError::NoDescriptor {
                program: program.name.clone(),
                descriptor: missing.clone(),
            });
        }
    }
    Ok(())
}

impl Driver {
    fn new(claim: Claim, settings: Settings) -> Result<Self, RunError> {
        let Table { programs, descriptors } = settings.table;
        let held: BTreeMap<String, OwnedFd> = descriptors.into_iter().collect();
        let others = settings.owner.is_some() || programs.iter().any(|p| p.run_as.is_some());
        let policy = Policy {
            stop_limit: settings.stop_limit,
            exit_on_fatal: settings.exit_on_fatal,
            seed: u64::from_str_radix(&claim.token[..16], 16).unwrap_or_default(),
        };
        let machine = Machine::new(policy, programs.clone()).map_err(RunError::Table)?;
        check_descriptors(&programs, |name| held.contains_key(name))?;

        // Blocked first: what comes from here on waits in the descriptor.
        let mut mask = SigSet::empty();
        for signal in [
            Signal::SIGCHLD,
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
        ] {
            mask.add(signal);
        }
        mask.thread_block().map_err(nix_fault("block signals"))?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
            .map_err(nix_fault("read signals"))?;
        sys::adopt_orphans().map_err(io_fault("adopt orphans"))?;

        if others {
            // Programs of other users must reach the notify socket; the control line keeps its own mode.
            let _ = fs::set_permissions(&claim.run_dir, fs::Permissions::from_mode(0o711));
        }
        let old = umask(FileMode::from_bits_truncate(0o177));
        let listener = folder::listen(&claim.run_dir, folder::CONTROL);
        umask(old);
        let listener = listener.map_err(io_fault("open the control socket"))?;
        if let Some(owner) = &settings.owner {
            give_to(&claim.run_dir, owner).map_err(io_fault("give the control socket to its owner"))?;
        }
        listener.set_nonblocking(true).map_err(io_fault("open the control socket"))?;
        let (notify, notify_address) = folder::datagram(&claim.run_dir, folder::NOTIFY, &claim.token)
            .map_err(io_fault("open the notify socket"))?;
        notify.set_nonblocking(true).map_err(io_fault("open the notify socket"))?;
        nix::sys::socket::setsockopt(&notify, nix::sys::socket::sockopt::PassCred, &true)
            .map_err(nix_fault("ask for the credentials of notify messages"))?;
        if others && !notify_address.starts_with('@') {
            let _ = fs::set_permissions(&notify_address, fs::Permissions::from_mode(0o666));
        }
        let (lifeline, lifeline_end) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(nix_fault("make the lifeline"))?;
        let null =
            File::options().read(true).write(true).open("/dev/null").map_err(io_fault("open /dev/null"))?;
        let terminal = settings.foreground.map(Terminal::new);
        Ok(Self {
            clock: Clock::start(),
            machine,
            children: BTreeMap::new(),
            probes: Vec::new(),
            held,
            lifeline,
            _lifeline_end: lifeline_end,
            null,
            notify,
            notify_address,
            signals,
            told_at: None,
            clients: Clients::new(listener),
            tickets: BTreeMap::new(),
            next_ticket: 1,
            logs: Logs::new(settings.recent_lines, settings.log_dir, terminal),
            readings: Readings::new(settings.sample_every),
            reread: settings.reread,
            reading: None,
            on_moment: settings.on_moment,
            version: settings.version,
            state_changed: true,
            outcome: None,
            claim,
        })
    }

    /// Gives an event to the machine and does what it says.
    fn feed(&mut self, event: Event) {
        let mut open = VecDeque::from([event]);
        while let Some(event) = open.pop_front() {
            let effects = self.machine.handle(self.clock.now(), event);
            // A spawn is answered before anything else is told.
            open.extend(effects.into_iter().filter_map(|effect| self.carry_out(effect)));
        }
    }

    fn turn(&mut self) {
        self.write_state();
        let ready = self.wait();
        let has = |token: &Token| ready.iter().find(|(t, _)| t == token).map(|(_, flags)| *flags);
        if has(&Token::Signals).is_some() {
            self.read_signals();
        }
        self.read_notify();
        let readable: Vec<(RunId, usize)> = ready
            .iter()
            .filter_map(
                |(token, _)| if let Token::Output(run, at) = token { Some((*run, *at)) } else { None },
            )
            .collect();
        self.read_output(&readable);
        self.reap();
        let stepped: Vec<usize> = ready
            .iter()
            .filter_map(|(token, _)| if let Token::Probe(at) = token { Some(*at) } else { None })
            .collect();
        self.step_probes(&stepped);
        if has(&Token::Listener).is_some() {
            self.clients.accept(self.clock.now());
        }
        for (token, flags) in &ready {
            if let Token::Client(id) = token
                && let Some(client) = self.clients.list.get_mut(id)
            {
                client.serve(*flags);
            }
        }
        self.serve_clients();
        if has(&Token::Reading).is_some() {
            self.end_reading();
        }
        self.measure_if_due();
        self.feed(Event::Tick);
        self.logs.flush(self.clock.now());
        self.pass_on_lines();
        if has(&Token::Terminal).is_some() && self.logs.terminal.as_mut().is_some_and(|t| !t.write()) {
            self.logs.terminal = None;
        }
    }

    /// Waits for something to happen.
    fn wait(&mut self) -> Vec<(Token, PollFlags)> {
        let now = self.clock.now();
        let deadlines = [
            self.machine.next_deadline(),
            self.clients.next_deadline(),
            self.logs.next_deadline(),
            Some(self.readings.next()),
            self.probes.iter().map(|p| p.until).min(),
            self.children.values().any(|child| !child.alive).then(|| now + LOOK_AGAIN),
        ];
        let until = deadlines.into_iter().flatten().min().unwrap_or(now + Duration::from_secs(60));
        // Rounded up, or the last millisecond would be spent in turns that find nothing due.
        let wait_ms = u32::try_from(until.saturating_sub(now).as_micros().div_ceil(1000)).unwrap_or(u32::MAX);
        let timeout = PollTimeout::try_from(wait_ms.min(60_000)).unwrap_or(PollTimeout::ZERO);

        let interests = self.interests();
        let mut fds: Vec<PollFd<'_>> =
            interests.iter().map(|(_, fd, flags)| PollFd::new(*fd, *flags)).collect();
        if poll(&mut fds, timeout).is_err() {
            return Vec::new();
        }
        let answers: Vec<PollFlags> =
            fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
        interests
            .iter()
            .zip(answers)
            .filter(|(_, a)| !a.is_empty())
            .map(|((token, _, _), a)| (*token, a))
            .collect()
    }

    fn interests(&self) -> Vec<(Token, BorrowedFd<'_>, PollFlags)> {
        let reads = PollFlags::POLLIN;
        let mut found = vec![
            (Token::Signals, self.signals.as_fd(), reads),
            (Token::Notify, self.notify.as_fd(), reads),
            (Token::Listener, self.clients.listener.as_fd(), reads),
        ];
        for (run, child) in &self.children {
            found.extend(
                child.readers.iter().enumerate().map(|(at, r)| (Token::Output(*run, at), r.as_fd(), reads)),
            );
        }
        for (at, probe) in self.probes.iter().enumerate() {
            found.extend(probe.interest().map(|(fd, flags)| (Token::Probe(at), fd, flags)));
        }
        for (id, client) in &self.clients.list {
            let (fd, flags) = client.interest();
            found.push((Token::Client(*id), fd, flags));
        }
        found.extend(self.reading.as_ref().map(|reading| (Token::Reading, reading.done(), reads)));
        if let Some(terminal) = self.logs.terminal.as_ref().filter(|t| t.wants_write()) {
            found.push((Token::Terminal, terminal.as_fd(), PollFlags::POLLOUT));
        }
        found
    }

    fn read_signals(&mut self) {
        let mut stop = None;
        while let Ok(Some(info)) = self.signals.read_signal() {
            let number = i32::try_from(info.ssi_signo).unwrap_or(0);
            let Ok(signal) = Signal::try_from(number) else { continue };
            match signal {
                Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT => stop = Some(signal),
                Signal::SIGHUP if info.ssi_code == SI_KERNEL => stop = Some(signal),
                Signal::SIGHUP => self.reload_all(None),
                Signal::SIGUSR1 => self.logs.reopen(),
                // The dead are looked for in each turn.
                _ => {}
            }
        }
        if let Some(signal) = stop {
            self.told_to_stop(signal);
        }
    }

    /// A second signal says "at once", unless it came with the first: timeout(1) and terminals signal a process and its
    /// group in one breath.
    fn told_to_stop(&mut self, signal: Signal) {
        const ONE_BREATH: Duration = Duration::from_millis(200);
        let now = self.clock.now();
        if self.told_at.is_some_and(|before| now.saturating_sub(before) < ONE_BREATH) {
            return;
        }
        let again = self.machine.phase() != StopPhase::Running;
        let how = if again { "again: stopping at once" } else { "stopping" };
        self.logs.event(SELF, format!("{signal} received, {how}"));
        self.feed(Event::Command { ticket: None, command: Command::Shutdown { fast: again } });
        // What came while the first was carried out is read only now.
        self.told_at = Some(self.clock.now());
    }

    /// The machine says that all is over.
    fn end(&mut self) {
        self.kill_orphans();
        let runs: Vec<RunId> = self.children.keys().copied().collect();
        for run in runs {
            self.last_output(run);
        }
        self.logs.event(SELF, "stopped".to_owned());
        self.logs.flush(self.clock.now());
        self.pass_on_lines();
        self.clients.list.values_mut().for_each(super::clients::Client::last_words);
        let until = self.clock.now() + LAST_WORDS;
        while let Some(terminal) = self.logs.terminal.as_mut().filter(|t| t.wants_write()) {
            let Some(rest) = until.checked_sub(self.clock.now()) else { break };
            let mut fds = [PollFd::new(terminal.as_fd(), PollFlags::POLLOUT)];
            let timeout = PollTimeout::try_from(rest).unwrap_or(PollTimeout::ZERO);
            if !poll(&mut fds, timeout).is_ok_and(|count| count > 0) || !terminal.write() {
                break;
            }
        }
        for name in [folder::CONTROL, folder::NOTIFY] {
            let _ = fs::remove_file(self.claim.run_dir.join(name));
        }
        remove_state(&self.claim);
    }
}

/// What a descriptor in the poll list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Signals,
    Notify,
    Listener,
    Output(RunId, usize),
    Probe(usize),
    Client(u64),
    Reading,
    Terminal,
}
