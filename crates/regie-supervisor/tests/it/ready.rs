//! Readiness in each of its forms.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use regie_supervisor::{NameResult, Reply, Request, State};

use crate::world::{World, names, until};

#[test]
fn each_kind_of_readiness_is_waited_for() {
    use std::io::{Read, Write};
    let world = World::start("ready");
    let port: u16 = std::fs::read_to_string(world.path("port")).unwrap().parse().unwrap();
    for name in ["tcp", "http", "unix", "command", "line"] {
        world.until_state(name, State::Starting);
    }
    until("refusals were seen", || world.row("tcp").description.contains("refused"));

    let _unix = UnixListener::bind(world.path("unix.sock")).unwrap();
    world.until_state("unix", State::Running);
    std::fs::write(world.path("flag"), "").unwrap();
    world.until_state("command", State::Running);
    world.until_state("line", State::Running);

    // Somebody accepts, but answers 503 at first.
    let tcp = TcpListener::bind(("127.0.0.1", port)).unwrap();
    // Open until both have been seen, whoever comes last.
    let _open = tcp.try_clone().unwrap();
    let answering = std::thread::spawn(move || {
        let mut asked = 0;
        while asked < 3 {
            let (mut stream, _) = tcp.accept().unwrap();
            let mut request = [0u8; 512];
            // The probe of `tcp` says nothing and leaves.
            let Ok(length @ 1..) = stream.read(&mut request) else { continue };
            assert!(request[..length].starts_with(b"GET /ping HTTP/1.0\r\n"));
            asked += 1;
            let status = if asked < 3 { "503 Busy" } else { "204 No Content" };
            // Who has waited for too long is gone, and asks again.
            if write!(stream, "HTTP/1.1 {status}\r\n\r\n").is_err() {
                asked -= 1;
            }
        }
    });
    world.until_state("tcp", State::Running);
    world.until_row("http", "refused with 503", |row| {
        row.description == "answers 503" || row.state == State::Running
    });
    world.until_state("http", State::Running);
    answering.join().unwrap();
}

#[test]
fn a_message_makes_ready_and_dependants_wait_for_it() {
    let world = World::start("notify");
    world.until_state("slow", State::Starting);
    assert_eq!(world.row("after").description, "waits for slow");
    assert_eq!(world.row("after").pid, None);
    let mut client = world.client();
    let waiting = std::thread::spawn(move || client.ask(&Request::Wait { names: vec![] }).unwrap());
    let both = ["after", "slow"]
        .map(|name| NameResult { name: name.into(), ok: true, detail: "running".into() })
        .to_vec();
    std::fs::write(world.path("go"), "").unwrap();
    world.until_state("after", State::Running);
    assert_eq!(world.row("slow").description, "all well");
    assert_eq!(waiting.join().unwrap(), Reply::Done { results: both });
    // A start that waits is answered when it has come true.
    assert_eq!(world.done(&Request::Start { names: names(&["after"]), wait: true }), ["running"]);
}

#[test]
fn what_is_never_ready_is_fatal_and_says_why() {
    let world = World::start("never-ready");
    let row = world.until_state("mute", State::Fatal);
    assert!(row.description.starts_with("not ready within 8s: No such file"), "{row:?}");
    assert!(matches!(world.ask(&Request::Ping {}), Reply::Pong { protocol: 1, .. }));
}
