//! Logs: files, filters, followers.

use std::fs;

use regie_supervisor::{ErrorKind, Reply, Request, Stream};

use crate::world::{World, names, until};

#[test]
fn files_are_rotated_by_size() {
    let world = World::start("rotated");
    world.until_log("php:talks", "line 1000");
    let file = |suffix: &str| fs::read_to_string(world.path(&format!("log/php-talks.log{suffix}")));
    until("the last line is written", || file("").is_ok_and(|text| text.ends_with("line 1000\n")));
    assert!(file(".1").is_ok() && file(".2").is_ok() && file(".3").is_err());
    until("its start is written", || {
        fs::read_to_string(world.path("log/supervisor.log"))
            .is_ok_and(|text| text.contains("Z php:talks: ready\n"))
    });
    // Moved away by hand, and opened again.
    fs::rename(world.path("log/supervisor.log"), world.path("moved")).unwrap();
    world.signal(regie_supervisor::Signal::SIGUSR1);
    until("a new file is there", || {
        world.done(&Request::Restart { names: names(&["php:*"]), wait: true });
        fs::read_to_string(world.path("log/supervisor.log"))
            .is_ok_and(|text| text.contains("php:talks: stopped"))
    });
}

#[test]
fn lines_are_chosen_by_name_text_time_and_number() {
    let world = World::start("crashing");
    world.until_state("boot", regie_supervisor::State::Fatal);
    let ask = |names: Vec<String>, tail, since_ms, grep: Option<&str>| {
        let mut client = world.client();
        client
            .send(&Request::Logs { names, tail, follow: false, since_ms, grep: grep.map(Into::into) })
            .unwrap();
        let mut lines = Vec::new();
        while let Reply::Line(line) = client.next_reply().unwrap() {
            lines.push(line);
        }
        lines
    };
    let all = ask(vec![], None, None, None);
    assert!(all.iter().any(|line| line.name == "regie" && line.stream == Stream::Event), "{all:?}");
    let tried = ask(names(&["boot"]), None, None, Some("trying"));
    assert_eq!(tried.len(), 3);
    assert!(tried.iter().all(|line| line.stream == Stream::Out));
    assert_eq!(ask(names(&["b*"]), Some(2), None, Some("trying")), tried[1..]);
    assert_eq!(ask(names(&["boot"]), None, Some(u64::MAX), None), []);
    match world.ask(&Request::Logs {
        names: names(&["bot"]),
        tail: None,
        follow: false,
        since_ms: None,
        grep: None,
    }) {
        Reply::Error { kind: ErrorKind::NoSuchName, message } => {
            assert_eq!(message, "no program is called \"bot\", did you mean \"boot\"?");
        }
        other => panic!("{other:?}"),
    }
}
