//! What must be survived.

use std::fs;

use regie_supervisor::{Request, State};

use crate::world::{World, command, lives, names, until};

#[test]
fn when_the_supervisor_is_killed_children_end_and_the_next_one_cleans_up() {
    let mut world = World::start("left");
    world.until_state("kind", State::Running);
    world.until_log("deaf", "deaf");
    until("the daemon was started", || {
        fs::read_to_string(world.path("daemon")).is_ok_and(|t| t.ends_with('\n'))
    });
    let pids: Vec<i32> = world.rows().iter().map(|row| i32::try_from(row.pid.unwrap()).unwrap()).collect();
    let daemon: i32 = fs::read_to_string(world.path("daemon")).unwrap().trim().parse().unwrap();
    let supervisor = world.pid();
    // A process of somebody else, whose pid is in the old list by chance.
    let mut stranger = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let state = world.run_dir().join("state.json");
    let text = fs::read_to_string(&state).unwrap();
    world.kill();
    let listed = format!(r#""processes":[{{"name":"stranger","pid":{},"start":1}},"#, stranger.id());
    fs::write(&state, text.replace(r#""processes":["#, &listed)).unwrap();

    until("the lifeline was seen", || world.path("lifeline-ended").exists());
    until("it has ended", || !lives(pids[0]));
    assert!(lives(pids[1]) && lives(daemon), "the deaf ones live on");

    world.again("left");
    let report = fs::read_to_string(world.path("leftovers")).unwrap();
    assert!(
        report.contains(&format!(
            "killed deaf (pid {}), left by a supervisor (pid {supervisor}) that died",
            pids[1]
        )),
        "{report}"
    );
    assert!(report.contains(&format!("(pid {daemon})")), "{report}");
    assert!(!report.contains("stranger"), "{report}");
    assert!(!lives(pids[1]) && !lives(pids[2]) && !lives(daemon));
    assert!(lives(i32::try_from(stranger.id()).unwrap()));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    world.until_state("deaf", State::Running);
}

#[test]
fn a_second_supervisor_in_the_folder_is_refused() {
    let mut world = World::start("ordered");
    let pid = world.row("first").pid;
    assert!(command("ordered", world.dir.path()).status().unwrap().success());
    let refused = fs::read_to_string(world.path("refused")).unwrap();
    assert!(refused.ends_with(&format!("already (pid {})", world.pid())), "{refused}");
    assert_eq!(world.row("first").pid, pid, "the first is not disturbed");
    world.shut_down();
    world.again("ordered");
}

#[test]
fn what_grows_too_large_is_replaced() {
    let world = World::start("eater");
    world.until_state("eater", State::Running);
    world.until_log("eater", "more than its limit of 48 MB");
    let row = world.until_row("eater", "running anew", |row| row.state == State::Running && row.restarts > 0);
    assert!(row.memory.is_none_or(|bytes| bytes < 200 << 20));
}

#[test]
fn a_flood_of_output_hurts_nobody() {
    use regie_supervisor::{LogLine, Reply};
    let world = World::start("flood");
    // One who follows and does not read.
    let mut lazy = world.client();
    let follow = Request::Logs { names: vec![], tail: Some(0), follow: true, since_ms: None, grep: None };
    lazy.send(&follow).unwrap();
    let mut reader = world.client();
    reader.send(&follow).unwrap();
    let mut bytes = 0;
    while bytes < 20 << 20 {
        match reader.next_reply().unwrap() {
            Reply::Line(LogLine { text, .. }) => bytes += text.len(),
            other => panic!("{other:?}"),
        }
    }
    // Others are answered, what the quiet one said is still there, and memory has not grown by the flood.
    assert!(world.logs(&["quiet"]).iter().any(|line| line.text == "here"));
    match world.ask(&Request::Status { names: vec![] }) {
        Reply::Status(overview) => assert!(overview.memory < 30 << 20, "{} bytes", overview.memory),
        other => panic!("{other:?}"),
    }
    world.done(&Request::Stop { names: names(&["flood"]), wait: true });
    // The lazy one is told how many it has missed.
    loop {
        match lazy.next_reply().unwrap() {
            Reply::Line(line) if line.text.contains("lines were skipped") => break,
            Reply::Line(line) => {
                assert!(!line.text.starts_with("stopped"), "the end came without a word of what is missing");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_disk_loses_lines_but_stops_nobody() {
    let world = World::start("full-disk");
    world.until_log("regie", "No space left on device");
    let count = || {
        fs::read_to_string(world.path("count")).ok().and_then(|t| t.trim().parse::<u32>().ok()).unwrap_or(0)
    };
    // Between two looks of ours the file may be empty.
    until("it counts", || count() > 0);
    let at = std::iter::repeat_with(count).find(|at| *at > 0).unwrap();
    until("it goes on", || count() > at + 20);
    until("it is seen in memory all the same", || {
        world.logs(&["talks"]).iter().any(|line| line.text == format!("line {at}"))
    });
    // There is space again.
    fs::remove_file(world.path("a.log")).unwrap();
    world.done(&Request::ReopenLogs {});
    world.until_log("regie", "lines were lost");
    until("the file says so", || {
        let text = fs::read_to_string(world.path("a.log")).unwrap_or_default();
        text.starts_with("[regie] ") && text.contains("lines were lost: No space left on device")
    });
}
