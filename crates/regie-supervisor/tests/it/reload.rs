//! Reload, scale, and new tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use regie_supervisor::{ErrorKind, Reply, Request, State};

use crate::testbed::knock;
use crate::world::{World, names};

fn reload(names: Vec<String>) -> Request {
    Request::Reload { names, wait: true }
}

#[test]
fn no_connection_is_refused_or_cut_while_generations_change() {
    let world = World::start("overlap");
    world.until_state("web", State::Running);
    let port: u16 = std::fs::read_to_string(world.path("port")).unwrap().parse().unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let over = over.clone();
            std::thread::spawn(move || {
                let (mut answered, mut failed) = (0u32, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    match knock(port) {
                        Ok(generation) if !generation.is_empty() => answered += 1,
                        other => failed.push(format!("{other:?}")),
                    }
                }
                (answered, failed)
            })
        })
        .collect();
    for generation in 2..=21 {
        // By name, and as a whole: it holds code.
        let which = if generation % 2 == 0 { names(&["web"]) } else { vec![] };
        assert_eq!(world.done(&reload(which)), ["running"]);
        assert_eq!(world.row("web").generation, generation);
    }
    over.store(true, Ordering::Relaxed);
    let results: Vec<(u32, Vec<String>)> = callers.into_iter().map(|c| c.join().unwrap()).collect();
    let answered: u32 = results.iter().map(|(answered, _)| answered).sum();
    let failed: Vec<&String> = results.iter().flat_map(|(_, failed)| failed).collect();
    assert!(failed.is_empty(), "{} of {answered} failed: {:?}", failed.len(), &failed[..failed.len().min(3)]);
    assert!(answered > 200, "only {answered} connections");
    world.until_row("web", "alone", |row| row.draining.is_empty());
    assert_eq!(knock(port).unwrap(), "21");
    assert_eq!(world.row("web").restarts, 0);
}

#[test]
fn a_broken_generation_leaves_the_old_one() {
    let world = World::start("broken-generation");
    let before = world.until_state("web", State::Running);
    std::fs::write(world.path("broken"), "").unwrap();
    match world.ask(&reload(names(&["web"]))) {
        Reply::Done { results } => {
            assert!(!results[0].ok);
            assert!(
                results[0].detail.contains("did not get ready: ended before it was ready (exit 9)"),
                "{results:?}"
            );
        }
        other => panic!("{other:?}"),
    }
    let after = world.row("web");
    assert_eq!((after.pid, after.state, after.generation), (before.pid, State::Running, 1));
    std::fs::remove_file(world.path("broken")).unwrap();
    world.done(&reload(names(&["web"])));
    assert_ne!(world.row("web").pid, before.pid);
}

#[test]
fn a_signal_reloads_and_several_are_reloaded_one_by_one() {
    let world = World::start("signalled");
    let pid = world.until_state("hup", State::Running).pid;
    world.until_log("hup", "started");
    world.done(&reload(names(&["hup"])));
    world.until_log("hup", "reread");
    assert_eq!(world.row("hup").pid, pid);

    world.until_state("rolled_02", State::Running);
    let pids =
        |world: &World| -> Vec<_> { world.rows().iter().skip(1).map(|row| row.pid.unwrap()).collect() };
    let before = pids(&world);
    assert_eq!(world.done(&reload(names(&["rolled"]))), ["running"; 3]);
    let after = pids(&world);
    assert!(before.iter().zip(&after).all(|(b, a)| b != a), "{before:?} {after:?}");
    // The log tells that never two were away.
    let order: Vec<String> = world
        .logs(&["rolled"])
        .into_iter()
        .filter(|line| line.text == "ready" || line.text.starts_with("stopped"))
        .map(|line| format!("{} {}", line.name, line.text.split(' ').next().unwrap_or_default()))
        .skip(3)
        .collect();
    let expected: Vec<String> =
        (0..3).flat_map(|n| [format!("rolled_0{n} stopped"), format!("rolled_0{n} ready")]).collect();
    assert_eq!(order, expected);
}

#[test]
fn a_program_asks_for_its_own_next_generation() {
    let world = World::start("generation");
    std::fs::write(world.path("go"), "").unwrap();
    let row =
        world.until_row("web", "of generation 2", |row| row.generation == 2 && row.state == State::Running);
    assert_eq!(row.restarts, 0);
    world.until_row("web", "alone", |row| row.draining.is_empty());
}

#[test]
fn scale_goes_up_and_down() {
    let world = World::start("scaled");
    world.until_state("queue_01", State::Running);
    let scale = |name: &str, to| Request::Scale { name: name.into(), to, wait: true };
    world.done(&scale("queue", 4));
    let queues = |world: &World| world.rows().iter().filter(|row| row.program == "queue").count();
    assert_eq!(queues(&world), 4);
    let kept = world.row("queue_00").pid;
    world.done(&scale("queue", 1));
    world.until_row("queue", "alone", |_| queues(&world) == 1);
    assert_eq!(world.row("queue").pid, kept, "the first one stayed as it was");
    world.done(&scale("queue", 0));
    assert_eq!(world.done(&scale("queue", 2)).len(), 2);

    assert_eq!(world.done(&scale("pool", 9)), ["running"]);
    world.until_log("pool", "workers 9");
    for (name, to, kind) in [
        ("single", 2, ErrorKind::CannotScale),
        ("pool", 0, ErrorKind::CannotScale),
        ("queue", 100_000, ErrorKind::CannotScale),
        ("queu", 2, ErrorKind::NoSuchName),
    ] {
        match world.ask(&scale(name, to)) {
            Reply::Error { kind: found, .. } => assert_eq!(found, kind, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    // By group.
    assert_eq!(world.done(&Request::Stop { names: names(&["jobs:*"]), wait: true }), ["stopped"; 2]);
}

#[test]
fn a_new_table_is_applied_and_a_faulty_one_is_not() {
    let world = World::start("reread");
    assert!(world.rows().is_empty());
    world.done(&reload(vec![]));
    let (a, b) = (world.row("a"), world.row("b"));
    assert_eq!((a.state, b.state), (State::Running, State::Running));

    std::fs::write(world.path("table"), "a=1\nb=2\nc=1\n").unwrap();
    world.done(&reload(vec![]));
    assert_eq!(world.row("a").pid, a.pid, "unchanged");
    assert_ne!(world.row("b").pid, b.pid, "changed");
    world.until_log("b", "version 2");
    world.until_state("c", State::Running);

    std::fs::write(world.path("table"), "fault\n").unwrap();
    match world.ask(&reload(vec![])) {
        Reply::Error { kind: ErrorKind::InvalidConfiguration, message } => {
            assert_eq!(message, "regie.toml:3: unknown key \"fault\"");
        }
        other => panic!("{other:?}"),
    }
    std::fs::write(world.path("table"), "a=1\na=1\n").unwrap();
    match world.ask(&reload(vec![])) {
        Reply::Error { message, .. } => assert_eq!(message, "there are two programs named \"a\""),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.rows().len(), 3, "nothing was changed");

    std::fs::write(world.path("table"), "c=1\n").unwrap();
    world.signal(regie_supervisor::Signal::SIGHUP);
    let left = || world.rows().iter().map(|row| row.name.clone()).collect::<Vec<_>>();
    crate::world::until("removed programs are gone", || left() == ["c"]);
}

#[test]
fn while_the_configuration_is_read_everything_goes_on() {
    let world = World::start("reread");
    world.done(&reload(vec![]));
    let before = world.row("a").pid;
    nix::unistd::mkfifo(&world.path("answer"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::fs::write(world.path("table"), "slow\na=2\nb=1\n").unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| world.done(&reload(vec![])));
        crate::world::until("it is being read", || world.path("reading").exists());
        assert_eq!(world.rows().len(), 2, "the loop answers");
        std::fs::write(world.path("table"), "a=3\nb=1\n").unwrap();
        let second = scope.spawn(|| world.done(&reload(vec![])));
        assert_eq!(world.row("a").pid, before, "nothing is applied yet");
        std::fs::write(world.path("answer"), "").unwrap();
        first.join().unwrap();
        second.join().unwrap();
    });
    world.until_log("a", "version 3");
}
