//! What this binary is when it is started again: a supervisor, or a program that one runs.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regie_core::handoff::Handoff;
use regie_supervisor::{
    Backoff, Foreground, Output, Program, Readiness, Reload, Restart, Scale, Settings, Signal, Stop, Table,
    claim, run,
};

/// The variable that says what to be: `supervisor`, or a program below.
pub(crate) const ROLE: &str = "TESTBED_ROLE";

/// This binary again, in a role.
pub(crate) fn myself(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, role);
    command
}

/// The test harness runs tests on threads, but a supervisor belongs on the main thread: signals are blocked there,
/// and its end is what the kernel takes for the supervisor's. So a role is played before `main`.
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = play;

extern "C" fn play() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match role.as_str() {
        "supervisor" => supervisor(),
        "acceptor" => acceptor(),
        "notifier" => notifier(),
        "eater" => eater(),
        "lifeline" => lifeline(),
        other => panic!("no role {other}"),
    }
    end();
}

#[expect(clippy::disallowed_methods, reason = "this is the main function of a role")]
fn end() {
    std::process::exit(0)
}

fn dir() -> PathBuf {
    std::env::var_os("TESTBED_DIR").unwrap().into()
}

fn supervisor() {
    let dir = dir();
    let claim = match claim(&dir.join("run")) {
        Ok(claim) => claim,
        Err(error) => return fs::write(dir.join("refused"), error.to_string()).unwrap(),
    };
    let left: Vec<String> = claim.leftovers().iter().map(ToString::to_string).collect();
    fs::write(dir.join("leftovers"), left.join("\n")).unwrap();
    let terminal = File::options().append(true).create(true).open(dir.join("terminal")).unwrap();
    let settings = Settings {
        foreground: Some(Foreground::new(
            terminal.into(),
            Box::new(regie_supervisor::shell::settings::plain),
        )),
        ..settings(&std::env::var("TESTBED_CASE").unwrap(), &dir)
    };
    let outcome = run(claim, settings);
    fs::write(dir.join("outcome"), format!("{outcome:?}")).unwrap();
}

/// A shell script that is ready at once.
pub(crate) fn sh(name: &str, script: &str) -> Program {
    Program { ready: Readiness::Time(Duration::ZERO), ..Program::new(name, ["sh", "-c", script]) }
}

/// This binary in a role.
fn role(name: &str, role: &str) -> Program {
    let myself = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    Program { env: vec![(ROLE.into(), role.into())], ..Program::new(name, [myself]) }
}

fn quick() -> Backoff {
    let ms = Duration::from_millis;
    Backoff { first: ms(20), cap: ms(100), ..Backoff::default() }
}

fn on(programs: Vec<Program>) -> Settings {
    Settings { table: Table { programs, descriptors: vec![] }, ..Settings::default() }
}

/// The table of each test.
pub(crate) fn settings(case: &str, dir: &Path) -> Settings {
    let ms = Duration::from_millis;
    let stop = |signal, wait| Stop::new(signal, wait);
    let depends = |program: Program, on: &str| Program { depends_on: vec![on.into()], ..program };
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let forever = "while :; do sleep 1; done";
    match case {
        "ordered" => on(vec![
            depends(sh("second", &format!("echo second runs; {forever}")), "first"),
            Program {
                ready: Readiness::LogLine("first serves".into()),
                ..sh("first", &format!("echo first serves; {forever}"))
            },
        ]),
        "crashing" => on(vec![
            Program {
                backoff: quick(),
                start_retries: 2,
                ready: Readiness::Time(ms(60_000)),
                ..sh("boot", "echo trying; exit 7")
            },
            Program { backoff: quick(), ..sh("serve", &format!("echo $$; {forever}")) },
            Program { restart: Restart::Unexpected(vec![0]), ..sh("once", "exit 0") },
            Program {
                backoff: quick(),
                start_retries: 0,
                ..Program::new("absent", ["no-such-command-anywhere"])
            },
        ]),
        "fatal" => Settings {
            exit_on_fatal: true,
            ..on(vec![
                sh("serve", forever),
                Program {
                    backoff: quick(),
                    start_retries: 1,
                    ready: Readiness::Time(ms(60_000)),
                    ..sh("boot", "exit 7")
                },
            ])
        },
        "stubborn" => on(vec![Program {
            stop: stop(Signal::SIGTERM, ms(200)),
            ..sh("deaf", &format!("trap 'echo heard' TERM; echo deaf; {forever}"))
        }]),
        "tree" => {
            let script = format!(
                "sleep 1000 & echo $! > {0}; setsid sleep 1000 & echo $! > {1}; (trap '' TERM; while :; do sleep 1; done) & echo $! > {2}; wait",
                file("in-group"),
                file("outside"),
                file("deaf")
            );
            on(vec![Program { stop: stop(Signal::SIGTERM, ms(300)), ..sh("tree", &script) }])
        }
        "environment" => Settings {
            table: Table {
                programs: vec![Program {
                    descriptors: vec!["http0".into(), "php:web".into()],
                    env: vec![("A".into(), "b c".into())],
                    cwd: Some(dir.to_owned()),
                    umask: Some(0o027),
                    nice: 3,
                    ..sh(
                        "shown",
                        "echo fds $LISTEN_FDS $LISTEN_FDNAMES; [ $LISTEN_PID = $$ ] && echo own pid; echo A is $A; echo in $(pwd); \
                         echo umask $(umask); echo nice $(nice); echo open $(cd /proc/$$/fd; echo *); echo instance $REGIE_PROGRAM $REGIE_GENERATION; \
                         trap 2>&1; grep -E 'Sig(Blk|Ign)' /proc/self/status; sleep 1000",
                    )
                }],
                descriptors: vec![("http0".into(), listener().into()), ("php:web".into(), listener().into())],
            },
            ..Settings::default()
        },
        "user" => Settings {
            owner: nix::unistd::geteuid()
                .is_root()
                .then(|| regie_supervisor::RunAs { user: "nobody".into(), group: None }),
            ..on(vec![Program {
                run_as: Some(regie_supervisor::RunAs { user: "nobody".into(), group: None }),
                start_retries: 0,
                ..sh("other", "echo I am $(id -un) at $HOME; sleep 1000")
            }])
        },
        "ready" => ready_table(dir),
        "notify" => on(vec![
            depends(sh("after", "echo after; sleep 1000"), "slow"),
            Program { ready: Readiness::Notify, ..role("slow", "notifier") },
        ]),
        "never-ready" => on(vec![Program {
            ready: Readiness::Socket(format!("unix:{}", file("nobody-listens"))),
            ready_timeout: ms(8000),
            start_retries: 0,
            ..sh("mute", forever)
        }]),
        "overlap" => {
            let port = listener();
            fs::write(dir.join("port"), port.local_addr().unwrap().port().to_string()).unwrap();
            Settings {
                table: Table {
                    programs: vec![Program {
                        descriptors: vec!["http0".into()],
                        ready: Readiness::Notify,
                        reload: Reload::Overlap,
                        holds_code: true,
                        ..role("web", "acceptor")
                    }],
                    descriptors: vec![("http0".into(), port.into())],
                },
                ..Settings::default()
            }
        }
        "broken-generation" => on(vec![Program {
            reload: Reload::Overlap,
            ready: Readiness::LogLine("serving".into()),
            ready_timeout: ms(60_000),
            ..sh("web", &format!("[ -e {} ] && exit 9; echo serving; {forever}", file("broken")))
        }]),
        "signalled" => on(vec![
            Program {
                reload: Reload::Signal(Signal::SIGHUP),
                ..sh("hup", "trap 'echo reread' HUP; echo started; while :; do sleep 0.05; done")
            },
            Program { processes: 3, ..sh("rolled", &format!("echo up; {forever}")) },
        ]),
        "scaled" => on(vec![
            Program {
                processes: 2,
                group: Some("jobs".into()),
                ..sh("queue", "echo $REGIE_PROGRAM; sleep 1000")
            },
            Program {
                scale: Scale::Argument(3),
                command: ["sh", "-c", "echo workers $0; sleep 1000", "4"].map(Into::into).to_vec(),
                ..sh("pool", "")
            },
            Program { scale: Scale::Fixed, ..sh("single", "sleep 1000") },
        ]),
        "reread" => {
            let table = file("table");
            fs::write(&table, "a=1\nb=1\n").unwrap();
            let (reading, answer) = (file("reading"), file("answer"));
            let reread = move || {
                let text = fs::read_to_string(&table).unwrap();
                // A pipe stands for a name server that does not answer.
                if text.contains("slow") {
                    fs::write(&reading, "").unwrap();
                    drop(fs::read(&answer));
                }
                let text = text.replace("slow\n", "");
                if text.contains("fault") {
                    return Err("regie.toml:3: unknown key \"fault\"".to_owned());
                }
                let row = |line: &str| {
                    let (name, version) = line.split_once('=').unwrap();
                    sh(name, &format!("echo version {version}; sleep 1000"))
                };
                let programs = text.lines().map(row).collect();
                let finish = || Ok(Table { programs, descriptors: vec![] });
                Ok(Box::new(finish) as regie_supervisor::shell::settings::Finish)
            };
            Settings {
                reread: Some(std::sync::Arc::new(reread)),
                table: Table::default(),
                ..Settings::default()
            }
        }
        "eater" => Settings {
            sample_every: ms(500),
            ..on(vec![Program {
                memory_limit: Some(48 << 20),
                ready: Readiness::Notify,
                stop: stop(Signal::SIGTERM, ms(1000)),
                ..role("eater", "eater")
            }])
        },
        "left" => on(vec![
            Program { ready: Readiness::Notify, ..role("kind", "lifeline") },
            Program {
                stop: stop(Signal::SIGUSR1, ms(1000)),
                ..sh("deaf", &format!("trap '' TERM HUP USR1; echo deaf; {forever}"))
            },
            sh(
                "family",
                &format!("trap '' TERM; setsid sleep 1000 & echo $! > {}; wait; {forever}", file("daemon")),
            ),
        ]),
        "flood" => on(vec![
            sh(
                "flood",
                "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
            ),
            sh("quiet", &format!("echo here; {forever}")),
        ]),
        "full-disk" => {
            std::os::unix::fs::symlink("/dev/full", dir.join("a.log")).unwrap();
            let output = Output::Capture { file: Some(dir.join("a.log")), max_bytes: 0, keep: 2 };
            let counts = format!(
                "i=0; while :; do i=$((i+1)); echo line $i; echo $i > {}; sleep 0.01; done",
                file("count")
            );
            on(vec![Program { output, ..sh("talks", &counts) }])
        }
        "rotated" => Settings {
            log_dir: Some(dir.join("log")),
            ..on(vec![Program {
                output: Output::Capture { file: None, max_bytes: 2000, keep: 3 },
                ..sh("php:talks", "i=0; while [ $i -lt 1000 ]; do i=$((i+1)); echo line $i; done; sleep 1000")
            }])
        },
        "slow-stop" => Settings {
            stop_limit: ms(300_000),
            ..on(vec![Program {
                stop: stop(Signal::SIGTERM, ms(240_000)),
                ..sh("slow", &format!("trap 'echo told' TERM; echo set; {forever}"))
            }])
        },
        "generation" => on(vec![Program {
            ready: Readiness::Notify,
            reload: Reload::Overlap,
            env: vec![(ROLE.into(), "notifier".into()), ("TESTBED_ASK".into(), "1".into())],
            ..role("web", "notifier")
        }]),
        "init" => on(vec![sh(
            "orphans",
            "i=0; while [ $i -lt 50 ]; do (setsid sh -c 'exit 0' &); i=$((i+1)); done; echo made; sleep 1000",
        )]),
        other => panic!("no table for {other}"),
    }
}

fn ready_table(dir: &Path) -> Settings {
    // A probe's own port is never this one.
    let port = regie_e2e::free_port();
    fs::write(dir.join("port"), port.to_string()).unwrap();
    let socket = dir.join("unix.sock").to_str().unwrap().to_owned();
    let ready = |name: &str, ready: Readiness| Program { ready, ..sh(name, "sleep 1000") };
    on(vec![
        ready("tcp", Readiness::Socket(format!("127.0.0.1:{port}"))),
        ready("http", Readiness::Http(format!("http://127.0.0.1:{port}/ping"))),
        ready("unix", Readiness::Socket(format!("unix:{socket}"))),
        ready(
            "command",
            Readiness::Command(vec!["test".into(), "-e".into(), dir.join("flag").to_str().unwrap().into()]),
        ),
        Program {
            ready: Readiness::LogLine("Ready to accept".into()),
            ..sh(
                "line",
                &format!(
                    "while [ ! -e {}/flag ]; do sleep 0.02; done; echo '* Ready to accept connections'; sleep 1000",
                    dir.display()
                ),
            )
        },
    ])
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn handed(name: &str) -> OwnedFd {
    let handoff = Handoff::parse(|name| std::env::var(name).ok(), std::process::id());
    let fd = handoff.get(name).unwrap_or_else(|| panic!("{name} was not handed on: {handoff:?}"));
    // SAFETY: the supervisor has opened it for us, and nobody else in this process takes it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn tell(message: &str) {
    let socket = UnixDatagram::unbound().unwrap();
    let address = std::env::var("NOTIFY_SOCKET").unwrap();
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&address),
    };
    socket.send_to_addr(message.as_bytes(), &address.unwrap()).unwrap();
}

/// SIGTERM is read from a descriptor rather than caught.
fn term() -> nix::sys::signalfd::SignalFd {
    let mut mask = nix::sys::signal::SigSet::empty();
    mask.add(Signal::SIGTERM);
    mask.thread_block().unwrap();
    nix::sys::signalfd::SignalFd::new(&mask).unwrap()
}

/// Answers each connection with its generation; told to stop, serves what it has accepted and ends.
fn acceptor() {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let term = term();
    let listener = TcpListener::from(handed("http0"));
    listener.set_nonblocking(true).unwrap();
    let generation = std::env::var("REGIE_GENERATION").unwrap();
    tell("STATUS=serving\nREADY=1\n");
    loop {
        let mut fds =
            [PollFd::new(term.as_fd(), PollFlags::POLLIN), PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).unwrap();
        if fds[0].any().unwrap() {
            return;
        }
        if let Ok((mut stream, _)) = listener.accept() {
            stream.set_nonblocking(false).unwrap();
            writeln!(stream, "{generation}").unwrap();
        }
    }
}

/// Ready when the file `go` is there; told from a child of its own, as a shell wrapper's program does.
fn notifier() {
    let term = term();
    if let Some(dir) = std::env::var_os("TESTBED_DIR") {
        while !Path::new(&dir).join("go").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    tell("READY=1\nSTATUS=all well");
    if std::env::var_os("TESTBED_ASK").is_some() && std::env::var("REGIE_GENERATION").unwrap() == "1" {
        tell("X_REGIE_GENERATION=1");
    }
    term.read_signal().unwrap();
}

/// Holds too much memory, the first time that it is started.
fn eater() {
    let term = term();
    let mut held = vec![1u8; 1 << 20];
    tell("READY=1");
    if File::create_new(dir().join("eaten")).is_ok() {
        held = vec![7u8; 96 << 20];
    }
    term.read_signal().unwrap();
    assert!(held.len() > 1);
}

/// Ends by itself when the supervisor dies, and says so in a file.
fn lifeline() {
    let _term = term();
    let mut lifeline = File::from(handed("lifeline"));
    tell("READY=1");
    assert_eq!(lifeline.read(&mut [0]).unwrap(), 0, "nobody writes to it");
    fs::write(dir().join("lifeline-ended"), "").unwrap();
}

/// The generation that answers.
pub(crate) fn knock(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.trim().to_owned())
}
