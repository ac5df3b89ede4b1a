//! Clients of the control line that do not behave.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use regie_supervisor::control::{MAX_CLIENTS, MAX_REQUEST};
use regie_supervisor::{ClientError, Request, Signal};

use crate::world::{World, names, until};

fn raw(world: &World) -> UnixStream {
    let stream = UnixStream::connect(world.run_dir().join("control.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    stream
}

#[test]
fn garbage_is_answered_and_hurts_nobody() {
    let world = World::start("ordered");
    let mut stream = raw(&world);
    stream.write_all(b"\xff\xfe\0nonsense\n{\"do\":\"dance\"}\n\n{\"do\":\"ping\"}\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    for expected in ["bad_request", "bad_request", "pong"] {
        let line = lines.next().unwrap();
        assert!(line.contains(expected), "{line}");
    }

    // Too long, without an end.
    let mut stream = raw(&world);
    let _ = stream.write_all(&vec![b'x'; MAX_REQUEST + 1]);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.contains("too_much"), "{answer}");

    // Half a request, then gone.
    raw(&world).write_all(b"{\"do\":\"sta").unwrap();
    // Asks and does not stay to hear.
    raw(&world).write_all(b"{\"do\":\"status\"}\n{\"do\":\"stop\",\"names\":[\"second\"]}\n").unwrap();
    world.until_state("second", regie_supervisor::State::Stopped);
    // Only its writing half is closed: it still hears.
    let mut stream = raw(&world);
    stream.write_all(b"{\"do\":\"start\",\"names\":[\"second\"]}\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains(r#""ok":true"#), "{answer}");
}

#[test]
fn too_many_connections_are_refused_and_those_that_leave_make_room() {
    let world = World::start("ordered");
    let held: Vec<UnixStream> = (0..MAX_CLIENTS).map(|_| raw(&world)).collect();
    let mut answer = String::new();
    raw(&world).read_to_string(&mut answer).unwrap();
    assert!(answer.contains("too_much"), "{answer}");
    drop(held);
    until("there is room", || world.client().ask(&Request::Ping {}).is_ok());
}

#[test]
fn the_socket_is_the_users_own() {
    let mut world = World::start("ordered");
    let mode =
        |name: &str| std::fs::metadata(world.run_dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("control.sock"), 0o600);
    assert_eq!(std::fs::metadata(world.run_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    world.shut_down();
    match regie_supervisor::Client::connect(&world.run_dir()) {
        Err(ClientError::NotRunning(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_may_have_a_longer_path_than_a_socket() {
    let long = tempfile::Builder::new().prefix(&"long".repeat(40)).tempdir().unwrap();
    let world = World::start_in(long, "notify");
    std::fs::write(world.path("go"), "").unwrap();
    // Its programs find the notify socket under an abstract name.
    world.until_state("after", regie_supervisor::State::Running);
}

#[test]
fn answers_come_before_the_end() {
    let mut world = World::start("slow-stop");
    world.until_log("slow", "set");
    let mut client = world.client();
    let mut follower = world.client();
    follower
        .send(&Request::Logs { names: vec![], tail: None, follow: true, since_ms: None, grep: None })
        .unwrap();
    world.done(&Request::Shutdown { fast: false });
    match client.ask(&Request::Start { names: names(&["slow"]), wait: true }) {
        Ok(regie_supervisor::Reply::Error { kind: regie_supervisor::ErrorKind::ShuttingDown, .. }) => {}
        other => panic!("{other:?}"),
    }
    world.done(&Request::Shutdown { fast: true });
    client.wait_closed().unwrap();
    let mut last = String::new();
    while let Ok(regie_supervisor::Reply::Line(line)) = follower.next_reply() {
        last = line.text;
    }
    assert_eq!(last, "stopped");
    assert!(world.ended().contains(r#"cut: ["slow"]"#));
}

#[test]
fn a_signal_is_passed_on() {
    let world = World::start("signalled");
    world.until_log("hup", "started");
    let signal = |signal: &str| Request::Signal { names: names(&["hup"]), signal: signal.into() };
    world.done(&signal("hup"));
    world.until_log("hup", "reread");
    match world.ask(&signal("HUPP")) {
        regie_supervisor::Reply::Error { message, .. } => assert_eq!(message, "\"HUPP\" is not a signal"),
        other => panic!("{other:?}"),
    }
    assert_eq!(Signal::SIGHUP.as_str(), "SIGHUP");
}
