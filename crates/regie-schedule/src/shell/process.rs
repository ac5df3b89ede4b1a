//! Runs a command to its end, keeps the end of what it writes, and ends it when it takes too long.

use std::io::{self, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::history::{Outcome, Tail};

/// How long a command may take to end after SIGTERM before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// How long what a command started may hold its output open after the command has ended.
const AFTER: Duration = Duration::from_millis(200);

/// How a command ended, and the end of what it wrote to both of its outputs.
#[derive(Debug)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// What it wrote.
    pub output: String,
}

/// Starts `command` as a process group of its own and waits for it. Past `limit`, and when `stop` ends first, the
/// group gets SIGTERM, and SIGKILL ten seconds later.
pub async fn run(
    command: Command,
    limit: Option<Duration>,
    stop: impl Future<Output = ()>,
    mut seen: impl FnMut(&[u8]),
) -> Ended {
    let program = command.get_program().to_string_lossy().into_owned();
    match start(command) {
        Ok((child, output)) => watch(child, output, limit, stop, &mut seen).await,
        Err(fault) => {
            let why = format!("{program} cannot be started: {fault}");
            Ended { outcome: Outcome::Failed { why }, output: String::new() }
        }
    }
}

fn start(command: Command) -> io::Result<(Child, Receiver)> {
    let (read, write) = pipe()?;
    // The command holds our ends of the pipe's other side: it must be gone before the output can end.
    let mut command = tokio::process::Command::from(command);
    command.stdin(Stdio::null()).stdout(write.try_clone()?).stderr(write).process_group(0);
    Ok((command.spawn()?, Receiver::from_owned_fd(OwnedFd::from(read))?))
}

async fn watch(
    mut child: Child,
    mut output: Receiver,
    limit: Option<Duration>,
    stop: impl Future<Output = ()>,
    seen: &mut impl FnMut(&[u8]),
) -> Ended {
    let group = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
    let mut tail = Tail::default();
    let mut buffer = vec![0; 16 << 10];
    let mut is_open = true;
    let mut cut: Option<&str> = None;
    tokio::pin!(stop);
    let deadline = sleep(limit.unwrap_or(Duration::from_secs(u64::from(u32::MAX))));
    tokio::pin!(deadline);
    let status = loop {
        tokio::select! {
            read = output.read(&mut buffer), if is_open => match read {
                Ok(0) | Err(_) => is_open = false,
                Ok(count) => {
                    tail.push(&buffer[..count]);
                    seen(&buffer[..count]);
                }
            },
            status = child.wait() => break status,
            () = &mut deadline => {
                signal(group, if cut.is_none() { Signal::SIGTERM } else { Signal::SIGKILL });
                cut.get_or_insert("it took longer than its limit");
                deadline.as_mut().reset(tokio::time::Instant::now() + GRACE);
            },
            () = &mut stop, if cut.is_none() => {
                cut = Some("Régie was stopped");
                signal(group, Signal::SIGTERM);
                deadline.as_mut().reset(tokio::time::Instant::now() + GRACE);
            },
        }
    };
    // What is in the pipe still belongs to it. A child that it left behind may hold the pipe for ever.
    while is_open && let Ok(Ok(count @ 1..)) = timeout(AFTER, output.read(&mut buffer)).await {
        tail.push(&buffer[..count]);
        seen(&buffer[..count]);
    }
    Ended { outcome: outcome(status, cut), output: tail.into_text() }
}

fn outcome(status: io::Result<ExitStatus>, cut: Option<&str>) -> Outcome {
    let why = match (status, cut) {
        (_, Some(cut)) => cut.to_owned(),
        (Ok(status), None) if status.success() => return Outcome::Done,
        (Ok(status), None) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(number)) => match Signal::try_from(number) {
                Ok(signal) => format!("killed by {signal}"),
                Err(_) => format!("killed by signal {number}"),
            },
            (None, None) => "it ended without an exit code".to_owned(),
        },
        (Err(fault), None) => format!("its end was not seen: {fault}"),
    };
    Outcome::Failed { why }
}

/// A group that has ended meanwhile is what was wanted.
fn signal(group: Option<Pid>, signal: Signal) {
    match group.map(|group| killpg(group, signal)) {
        None | Some(Ok(()) | Err(Errno::ESRCH | Errno::EPERM)) => {}
        Some(Err(fault)) => debug_assert!(false, "killpg: {fault}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(line: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", line]);
        command
    }

    async fn to_end(line: &str, limit: Option<Duration>) -> Ended {
        run(shell(line), limit, std::future::pending(), |_| {}).await
    }

    fn why(ended: &Ended) -> &str {
        match &ended.outcome {
            Outcome::Failed { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_command_is_run_to_its_end() {
        let ended = to_end("echo out; echo err >&2", None).await;
        assert_eq!((ended.outcome, ended.output.as_str()), (Outcome::Done, "out\nerr\n"));
        let ended = to_end("echo no; exit 3", None).await;
        assert_eq!((why(&ended), ended.output.as_str()), ("exit code 3", "no\n"));
        assert_eq!(why(&to_end("kill -SEGV $$", None).await), "killed by SIGSEGV");
        let ended = run(Command::new("/nowhere/at-all"), None, std::future::pending(), |_| {}).await;
        assert!(why(&ended).starts_with("/nowhere/at-all cannot be started:"), "{ended:?}");
    }

    #[tokio::test]
    async fn its_children_end_with_it_at_the_limit() {
        let ended = to_end("sleep 600 & echo $!; wait", Some(Duration::from_secs(3))).await;
        assert_eq!(why(&ended), "it took longer than its limit");
        let child = Pid::from_raw(ended.output.trim().parse().unwrap());
        let gone = async {
            while nix::sys::signal::kill(child, None).is_ok() && !is_zombie(child) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(60), gone).await.unwrap();
    }

    /// It is nobody's child here, so it may lie unreaped for a while where PID 1 is slow.
    fn is_zombie(pid: Pid) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    #[tokio::test]
    async fn it_ends_when_the_scheduler_stops() {
        let ended = run(shell("exec sleep 600"), None, std::future::ready(()), |_| {}).await;
        assert_eq!(why(&ended), "Régie was stopped");
    }

    #[tokio::test]
    async fn a_daemon_that_it_leaves_behind_holds_up_nothing() {
        let ended = to_end("sleep 5 & echo started", None).await;
        assert_eq!((ended.outcome, ended.output.as_str()), (Outcome::Done, "started\n"));
    }
}
