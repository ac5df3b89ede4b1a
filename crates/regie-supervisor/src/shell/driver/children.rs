//! Processes: started, heard, signalled, waited for.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Driver;
use crate::control::Stream;
use crate::machine::{Event, ExitStatus, RunId, Target};
use crate::notify::{MAX_DATAGRAM, Message, parse};
use crate::shell::claim::{StateProcess, write_state};
use crate::shell::logs::SELF;
use crate::shell::probe::{Kind, LIMIT, Probe, Step};
use crate::shell::proc;
use crate::shell::reader::Reader;
use crate::shell::spawn::{Common, Identified, spawn};
use crate::spec::{Output, Program, Readiness};

/// A process of the table.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: i32,
    pub(super) name: String,
    program: Arc<Program>,
    generation: u32,
    /// It itself lives. When not, others of its tree do.
    pub(super) alive: bool,
    pub(super) readers: Vec<Reader>,
    file: Option<PathBuf>,
    /// Its output was seen to contain the line that means ready.
    line_seen: bool,
}

impl Child {
    pub(super) fn memory_limit(&self) -> Option<u64> {
        self.program.memory_limit
    }
}

impl Driver {
    pub(super) fn spawn(
        &mut self,
        run: RunId,
        program: Arc<Program>,
        name: String,
        generation: u32,
    ) -> Event {
        match self.start(run, &program, &name, generation) {
            Ok((pid, readers)) => {
                let file = self.logs.file_for(&program, &name);
                let child =
                    Child { pid, name, program, generation, alive: true, readers, file, line_seen: false };
                self.children.insert(run, child);
                self.state_changed = true;
                Event::Spawned { run, pid: u32::try_from(pid).unwrap_or(0) }
            }
            Err(why) => Event::SpawnFailed { run, why },
        }
    }

    fn start(
        &mut self,
        run: RunId,
        program: &Program,
        name: &str,
        generation: u32,
    ) -> Result<(i32, Vec<Reader>), String> {
        let as_what = Identified { name, run: run.0, generation };
        let null = self.null.as_raw_fd();
        match program.output {
            Output::Inherit => Ok((spawn(program, &as_what, &self.common(), [null, 1, 2])?, Vec::new())),
            Output::Discard => {
                Ok((spawn(program, &as_what, &self.common(), [null, null, null])?, Vec::new()))
            }
            Output::Capture { .. } => {
                let pipe = || output_pipe().map_err(|e| format!("cannot make a pipe for its output: {e}"));
                let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
                let pid = spawn(
                    program,
                    &as_what,
                    &self.common(),
                    [null, out_end.as_raw_fd(), err_end.as_raw_fd()],
                )?;
                Ok((pid, vec![Reader::new(out, Stream::Out), Reader::new(err, Stream::Err)]))
            }
        }
    }

    fn common(&self) -> Common<'_> {
        Common {
            held: &self.held,
            lifeline: &self.lifeline,
            notify_address: &self.notify_address,
            token: &self.claim.token,
        }
    }

    /// Reads the output of these children, the given pipe of each.
    pub(super) fn read_output(&mut self, readable: &[(RunId, usize)]) {
        // From the last, so that taking one out does not move the others.
        for (run, at) in readable.iter().rev() {
            self.read_one(*run, *at);
        }
    }

    fn read_one(&mut self, run: RunId, at: usize) {
        let Some(child) = self.children.get_mut(&run) else { return };
        let logs = &mut self.logs;
        let (name, file) = (&child.name, child.file.as_ref());
        let awaited = match &child.program.ready {
            Readiness::LogLine(text) if !child.line_seen => Some(text.as_bytes()),
            _ => None,
        };
        let mut seen = false;
        let more = child.readers[at].read(|stream, line| {
            seen |= awaited.is_some_and(|text| contains(line, text));
            logs.output(name, stream, line, file);
        });
        if !more {
            child.readers.remove(at);
        }
        if seen {
            child.line_seen = true;
            self.feed(Event::Ready { run });
        }
    }

    /// What is still in the pipes of a dead tree.
    pub(super) fn last_output(&mut self, run: RunId) {
        let count = self.children.get(&run).map_or(0, |child| child.readers.len());
        for at in (0..count).rev() {
            self.read_one(run, at);
        }
        if let Some(child) = self.children.get_mut(&run) {
            for reader in &mut child.readers {
                let (name, file, logs) = (&child.name, child.file.as_ref(), &mut self.logs);
                reader.flush(|stream, line| logs.output(name, stream, line, file));
            }
        }
    }

    /// Notify messages, of whoever belongs to a child's process group or descends from it.
    pub(super) fn read_notify(&mut self) {
        let mut buffer = [0u8; MAX_DATAGRAM];
        loop {
            let mut space = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
            let mut slices = [IoSliceMut::new(&mut buffer)];
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
            let Ok(message) = recvmsg::<()>(self.notify.as_raw_fd(), &mut slices, Some(&mut space), flags)
            else {
                return;
            };
            let pid = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|c| {
                    if let ControlMessageOwned::ScmCredentials(c) = c { Some(c.pid()) } else { None }
                })
            });
            let length = message.bytes;
            let Some(run) = pid.and_then(|pid| self.run_of(pid)) else { continue };
            for said in parse(&buffer[..length]) {
                self.feed(match said {
                    Message::Ready => Event::Ready { run },
                    Message::Status(text) => Event::Said { run, text },
                    Message::Stopping => Event::Said { run, text: "stopping by itself".to_owned() },
                    Message::Generation => Event::GenerationWanted { run },
                });
            }
        }
    }

    /// Whose process this is. One that is dead already, and was not our own child, cannot be told.
    fn run_of(&self, pid: i32) -> Option<RunId> {
        if let Some((run, _)) = self.children.iter().find(|(_, child)| child.pid == pid) {
            return Some(*run);
        }
        let mut pid = pid;
        // A chain of parents is never this long, but a pid may be used again while we look.
        for _ in 0..64 {
            let stat = proc::stat(pid)?;
            if let Some((run, _)) =
                self.children.iter().find(|(_, c)| c.pid == stat.group || c.pid == stat.parent)
            {
                return Some(*run);
            }
            if let Some(run) = self.marked(pid) {
                return Some(run).filter(|run| self.children.contains_key(run));
            }
            pid = stat.parent;
        }
        None
    }

    /// Waits for all that have died, and tells the machine.
    pub(super) fn reap(&mut self) {
        let mut ended: Vec<(RunId, ExitStatus)> = Vec::new();
        let mut probed: Vec<(RunId, Result<(), String>)> = Vec::new();
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), ExitStatus::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), ExitStatus::Signal(signal as i32)),
                Err(Errno::EINTR) | Ok(WaitStatus::Stopped(..) | WaitStatus::Continued(_)) => continue,
                _ => break,
            };
            if let Some((run, child)) = self.children.iter_mut().find(|(_, c)| c.pid == pid && c.alive) {
                child.alive = false;
                ended.push((*run, status));
            } else if let Some(at) =
                self.probes.iter().position(|p| matches!(p.kind, Kind::Command { pid: own } if own == pid))
            {
                let probe = self.probes.swap_remove(at);
                let result = if status == ExitStatus::Code(0) { Ok(()) } else { Err(status.to_string()) };
                let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                probed.push((probe.run, result));
            }
        }
        for (run, result) in probed {
            self.feed(Event::Probed { run, result });
        }
        let newly: Vec<RunId> = ended.iter().map(|(run, _)| *run).collect();
        for (run, status) in ended {
            self.state_changed = true;
            self.last_output(run);
            let rest = self.tree_lives(run);
            if !rest {
                self.children.remove(&run);
            }
            self.feed(Event::Exited { run, status, rest });
        }
        let waiting: Vec<RunId> = self
            .children
            .iter()
            .filter(|(run, c)| !c.alive && !newly.contains(run))
            .map(|(run, _)| *run)
            .collect();
        for run in waiting {
            if !self.tree_lives(run) {
                self.last_output(run);
                self.children.remove(&run);
                self.state_changed = true;
                self.feed(Event::Gone { run });
            }
        }
    }

    /// Whether anybody of the tree of a dead process lives: in its group, or among the orphans that came to us.
    fn tree_lives(&self, run: RunId) -> bool {
        let Some(child) = self.children.get(&run) else { return false };
        // EPERM: there is somebody, who has become another user.
        killpg(Pid::from_raw(child.pid), None) != Err(Errno::ESRCH) || !self.orphans(Some(run)).is_empty()
    }

    /// Children of ours that we have not started: orphans of our children's. All, or those of one run.
    fn orphans(&self, of: Option<RunId>) -> Vec<i32> {
        let known = |pid: &i32| {
            self.children.values().any(|c| c.pid == *pid && c.alive)
                || self.probes.iter().any(|p| matches!(p.kind, Kind::Command { pid: own } if own == *pid))
        };
        let strangers = proc::children().into_iter().filter(|pid| !known(pid));
        let marked = |pid: &i32| match (self.marked(*pid), of) {
            (Some(run), Some(of)) => run == of,
            (found, None) => found.is_some(),
            (None, Some(_)) => false,
        };
        strangers.filter(|pid| proc::stat(*pid).is_some_and(|s| !s.zombie)).filter(marked).collect()
    }

    /// The run that a process was marked with at its start.
    fn marked(&self, pid: i32) -> Option<RunId> {
        (proc::variable(pid, "REGIE_TOKEN")? == self.claim.token).then_some(())?;
        proc::variable(pid, "REGIE_RUN")?.parse().ok().map(RunId)
    }

    pub(super) fn signal(&mut self, run: RunId, signal: Signal, target: Target) {
        let Some(child) = self.children.get(&run) else { return };
        let pid = Pid::from_raw(child.pid);
        let name = child.name.clone();
        let sent = match target {
            Target::Main if child.alive => kill(pid, signal),
            // A program that was stopped (SIGSTOP, Ctrl-Z) must go on to hear it.
            Target::Main | Target::Group => killpg(pid, signal),
            Target::Tree => self.kill_tree(run, child.pid),
        };
        if target != Target::Tree && !child.alive {
            for orphan in self.orphans(Some(run)) {
                let _ = kill(Pid::from_raw(orphan), signal);
            }
        }
        if let Err(error) = sent.or_else(|e| if e == Errno::ESRCH { Ok(()) } else { Err(e) }) {
            self.logs.event(&name, format!("cannot be sent {signal}: {error}"));
        }
    }

    /// The group at once, then whoever has left it.
    fn kill_tree(&self, run: RunId, leader: i32) -> nix::Result<()> {
        let all = proc::all();
        let mut roots = self.orphans(Some(run));
        roots.push(leader);
        let members = all.iter().filter(|(_, stat)| stat.group == leader).map(|(pid, _)| *pid);
        roots.extend(members.filter(|pid| *pid != leader).collect::<Vec<_>>());
        let descendants = proc::descendants(&all, &roots);
        let result = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        for pid in roots.into_iter().filter(|pid| *pid != leader).chain(descendants) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        result
    }

    /// What has slipped out of every tree ends with the supervisor.
    pub(super) fn kill_orphans(&self) {
        let roots = self.orphans(None);
        if !roots.is_empty() {
            let all = proc::all();
            for pid in proc::descendants(&all, &roots).into_iter().chain(roots) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
    }

    /// Looks once whether a child is ready.
    pub(super) fn probe(&mut self, run: RunId) -> Option<Event> {
        let child = self.children.get(&run)?;
        let until = self.clock.now() + LIMIT;
        let probe = match &child.program.ready {
            Readiness::Socket(address) => Probe::socket(run, until, address),
            Readiness::Http(url) => Probe::http(run, until, url),
            Readiness::Command(command) => {
                let program = Program { command: command.clone(), ..Program::clone(&child.program) };
                let as_what = Identified { name: &child.name, run: 0, generation: child.generation };
                let null = self.null.as_raw_fd();
                spawn(&program, &as_what, &self.common(), [null, null, null]).map(|pid| Probe {
                    run,
                    until,
                    kind: Kind::Command { pid },
                })
            }
            Readiness::Time(_) | Readiness::Notify | Readiness::LogLine(_) => return None,
        };
        match probe {
            Ok(probe) => {
                self.probes.push(probe);
                None
            }
            Err(why) => Some(Event::Probed { run, result: Err(why) }),
        }
    }

    /// Goes on with these probes, and gives up those that take too long.
    pub(super) fn step_probes(&mut self, stepped: &[usize]) {
        let now = self.clock.now();
        let mut done = Vec::new();
        for (at, probe) in self.probes.iter_mut().enumerate() {
            let step = if stepped.contains(&at) { probe.step() } else { Step::Open };
            match step {
                Step::Done(result) => done.push((at, probe.run, result)),
                Step::Open if now >= probe.until => {
                    if let Kind::Command { pid } = probe.kind {
                        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
                    }
                    done.push((at, probe.run, Err("no answer".to_owned())));
                }
                Step::Open => {}
            }
        }
        for (at, _, _) in done.iter().rev() {
            self.probes.swap_remove(*at);
        }
        for (_, run, result) in done {
            self.feed(Event::Probed { run, result });
        }
    }

    /// Writes the list for the next supervisor, when it has changed.
    pub(super) fn write_state(&mut self) {
        if !std::mem::take(&mut self.state_changed) {
            return;
        }
        let row = |child: &Child| {
            let start = proc::stat(child.pid)?.start;
            Some(StateProcess { name: child.name.clone(), pid: child.pid, start })
        };
        let rows = self.children.values().filter_map(row).collect();
        if let Err(error) = write_state(&self.claim, rows) {
            self.logs.event(
                SELF,
                format!("the list of processes for the next supervisor was not written: {error}"),
            );
        }
    }
}

/// A pipe of which only the end that we read does not block.
fn output_pipe() -> nix::Result<(OwnedFd, OwnedFd)> {
    let (reading, writing) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reading, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reading, writing))
}

fn contains(line: &[u8], text: &[u8]) -> bool {
    !text.is_empty() && line.windows(text.len()).any(|window| window == text)
}
