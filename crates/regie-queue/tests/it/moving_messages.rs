//! Messenger's messages moved between a stream and a table: every one is counted, though the mover is stopped at any
//! step while others send and consume on both sides.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use jiff::tz::TimeZone;
use regie_queue::desk::Action;
use regie_queue::mark::Mark;
use regie_queue::shell::driver::{Driver, Settlement, Shelf};
use regie_queue::shell::moving::{self, Depot};
use regie_queue::shell::{symfony_doctrine, symfony_redis};

use crate::databases::{Database, Kind};
use crate::moving::{Seeded, move_with_stops};
use crate::server::{Server, ask, count};

const MESSAGES: usize = 600;
const QUEUES: (&str, &str) = ("async", "async");
/// Nobody's message is taken for lost for being slow.
const REDELIVER: Duration = Duration::from_secs(3600);

pub(crate) fn stream(server: &Server, mark: u64) -> symfony_redis::Settings {
    symfony_redis::Settings {
        endpoint: server.endpoint(),
        stream: "messages".to_owned(),
        delayed: "messages__queue".to_owned(),
        group: "symfony".to_owned(),
        delete_after_ack: true,
        max_entries: 0,
        redeliver_timeout: REDELIVER,
        claim_interval: REDELIVER,
        serialized: true,
        mark: Mark::from_seed(mark),
    }
}

fn table(database: &Database) -> symfony_doctrine::Settings {
    symfony_doctrine::Settings {
        target: database.target.clone(),
        table: "messenger_messages".to_owned(),
        queue_name: "async".to_owned(),
        redeliver_timeout: REDELIVER,
        zone: TimeZone::get("Europe/Paris").unwrap(),
        journal: "/nowhere".into(),
    }
}

fn depots(database: &Database, server: &Server) -> (Depot, Depot) {
    (Depot::messages("async", table(database)), Depot::stream("stream", stream(server, 9)))
}

fn message(number: usize) -> Bytes {
    Bytes::from(format!(r#"{{"body":"O:1:\"m{number}\"","headers":{{"type":"App\\Note"}}}}"#))
}

/// The number of a message, however its JSON is written.
fn number(payload: &[u8]) -> usize {
    let read: serde_json::Value = serde_json::from_slice(payload).expect("a message");
    assert_eq!(read["headers"]["type"], "App\\Note");
    let body = read["body"].as_str().expect("a body");
    body.trim_start_matches("O:1:\"m").trim_end_matches('"').parse().expect("a number")
}

/// The depots of a move to the stream, or of one back.
fn towards(to_stream: bool, database: &Database, server: &Server) -> (Depot, Depot) {
    let (table, stream) = depots(database, server);
    if to_stream { (table, stream) } else { (stream, table) }
}

fn once_each(numbers: impl IntoIterator<Item = usize>, sent: usize, what: &str) {
    let mut seen = BTreeMap::<usize, usize>::new();
    for number in numbers {
        *seen.entry(number).or_default() += 1;
    }
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!((seen.len(), doubled.len()), (sent, 0), "{what}: {doubled:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mover_that_is_stopped_loses_and_doubles_no_message() {
    const SEED: u64 = 20_261_123;
    let mut seed = Seeded(SEED);
    let (database, server) = (Database::start(Kind::Sqlite).await, Server::start());
    ask(&server.client(), &["PING"]).await;
    let there = database.transport("there");
    there.push("async", (0..MESSAGES).map(message).collect()).await.unwrap();
    let later = "UPDATE messenger_messages SET available_at = '2099-01-01 12:00:00' WHERE id % 10 = 0";
    database.server().run(later, &[]).await.unwrap();

    let stops = move_with_stops(|| towards(true, &database, &server), QUEUES, 30, &mut seed).await;
    let what = format!("seed {SEED}, {stops} stops");
    let here = symfony_redis::SymfonyRedis::new(stream(&server, 1));
    let mut found = Vec::new();
    for (shelf, expected) in [(Shelf::Waiting, MESSAGES - MESSAGES / 10), (Shelf::Delayed, MESSAGES / 10)] {
        let listed = here.list("async", shelf, 0, 2 * MESSAGES).await.unwrap();
        assert_eq!(listed.len(), expected, "{shelf:?}, {what}");
        // Noon in Paris, in winter.
        assert!(shelf == Shelf::Waiting || listed.iter().all(|one| one.at == Some(4_070_948_400)), "{what}");
        found.extend(listed.iter().map(|one| number(&one.payload)));
    }
    once_each(found, MESSAGES, &what);
    assert_eq!(there.sizes("async").await.unwrap().waiting, 0, "{what}");

    let stops = move_with_stops(|| towards(false, &database, &server), QUEUES, 30, &mut seed).await;
    let what = format!("back, seed {SEED}, {stops} stops");
    let mut found = Vec::new();
    for shelf in [Shelf::Waiting, Shelf::Delayed] {
        let listed = there.list("async", shelf, 0, 2 * MESSAGES).await.unwrap();
        found.extend(listed.iter().map(|one| number(&one.payload)));
    }
    once_each(found, MESSAGES, &what);
    assert_eq!(there.sizes("async").await.unwrap().delayed, (MESSAGES / 10) as u64, "{what}");
    assert_eq!(count(&server.client(), &["XLEN", "messages"]).await, 0, "{what}");
    let rows = database.server().rows("SELECT COUNT(*) FROM messenger_messages", &[]).await.unwrap();
    assert_eq!(
        rows[0][0].number(),
        i64::try_from(MESSAGES).unwrap(),
        "nothing lies beside the queue: {what}"
    );
}

/// Sends to both sides until it is told to stop. How many there are then.
async fn send(sides: &[&dyn Driver; 2], from: usize, stop: &AtomicBool) -> usize {
    let mut next = from;
    while !stop.load(Ordering::Relaxed) {
        for side in sides {
            side.push("async", (next..next + 5).map(message).collect()).await.unwrap();
            next += 5;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    next
}

/// Consumes on both sides, until it is told to stop and finds nothing any more.
async fn consume(sides: &[&dyn Driver; 2], stop: &AtomicBool) -> Vec<usize> {
    let mut done = Vec::new();
    loop {
        // Read before looking, so that nothing can come after the last look.
        let is_last = stop.load(Ordering::Relaxed);
        let before = done.len();
        for side in sides {
            let leased = side.lease("async", 3).await.unwrap();
            done.extend(leased.iter().map(|job| number(&job.payload)));
            let ends = leased.into_iter().map(|job| Settlement {
                receipt: job.receipt,
                payload: job.payload,
                action: Action::Ack,
            });
            side.settle("async", ends.collect()).await.unwrap();
        }
        if is_last && done.len() == before {
            return done;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_message_is_consumed_once_while_both_sides_are_in_use() {
    const SEED: u64 = 20_261_124;
    let mut seed = Seeded(SEED);
    let (database, server) = (Database::start(Kind::Sqlite).await, Server::start());
    ask(&server.client(), &["PING"]).await;
    let (there, here) = (database.transport("there"), symfony_redis::SymfonyRedis::new(stream(&server, 1)));
    let sides: [&dyn Driver; 2] = [&*there, &here];
    there.push("async", (0..MESSAGES).map(message).collect()).await.unwrap();
    let (stop_sending, stop_consuming) = (AtomicBool::new(false), AtomicBool::new(false));
    let moves = async {
        let mut stops = 0;
        for to_stream in [true, false, true] {
            stops += move_with_stops(|| towards(to_stream, &database, &server), QUEUES, 30, &mut seed).await;
        }
        stop_sending.store(true, Ordering::Relaxed);
        stops
    };
    let sent = async {
        let sent = send(&sides, MESSAGES, &stop_sending).await;
        // What a mover that was stopped has left beside the queues is still on its way.
        let (table, stream) = depots(&database, &server);
        moving::run(&table, &stream, QUEUES, |_| {}).await.unwrap();
        moving::finish(&stream, &table, QUEUES).await.unwrap();
        stop_consuming.store(true, Ordering::Relaxed);
        sent
    };
    let (stops, sent, done) = tokio::join!(moves, sent, consume(&sides, &stop_consuming));
    once_each(done, sent, &format!("seed {SEED}, {stops} stops"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_databases_and_what_is_leased() {
    for kind in [Kind::Mariadb, Kind::Postgres] {
        let (database, server) = (Database::start(kind).await, Server::start());
        ask(&server.client(), &["PING"]).await;
        let there = database.transport("there");
        there.push("async", (0..450).map(message).collect()).await.unwrap();
        assert_eq!(there.lease("async", 3).await.unwrap().len(), 3);
        let (table, stream) = depots(&database, &server);
        let moved = moving::run(&table, &stream, QUEUES, |_| {}).await.unwrap();
        assert_eq!((moved.jobs, moved.parked, moved.reserved), (447, 0, 3), "{kind:?}");
        assert_eq!(stream.counts("").await.unwrap(), (447, 0), "{kind:?}");
        assert_eq!(moving::run(&stream, &table, QUEUES, |_| {}).await.unwrap().jobs, 447, "{kind:?}");
        assert_eq!(table.counts("").await.unwrap(), (447, 3), "{kind:?}");
        assert_eq!(stream.counts("").await.unwrap(), (0, 0), "{kind:?}");
    }
}

#[tokio::test]
async fn what_is_no_message_stays_where_it_is() {
    let (database, server) = (Database::start(Kind::Sqlite).await, Server::start());
    let client = server.client();
    ask(&client, &["XADD", "messages", "*", "other", "x"]).await;
    let here = symfony_redis::SymfonyRedis::new(stream(&server, 1));
    here.push("async", vec![message(1)]).await.unwrap();
    let (table, stream) = depots(&database, &server);
    assert_eq!(moving::run(&stream, &table, QUEUES, |_| {}).await.unwrap().jobs, 1);
    assert_eq!(count(&client, &["XLEN", "messages"]).await, 1);
    assert_eq!(stream.queues().await.unwrap().into_iter().collect::<Vec<_>>(), ["stream"]);
    assert!(!stream.is_same(&table));
}
