//! Jobs moved between a `jobs` table and Redis: every job is counted, though the mover is stopped at any step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use regie_queue::payload;
use regie_queue::shell::driver::{Driver as _, Shelf};
use regie_queue::shell::moving::{self, Depot, Readdressing};
use regie_queue::shell::redis::Batch;
use regie_queue::shell::sql::Value;
use regie_resp::Frame;

use crate::databases::{Database, Kind};
use crate::server::{Server, ask, count, job, push, until};

const JOBS: usize = 1_000;
const RETRY_AFTER: Option<Duration> = Some(Duration::from_secs(90));
const QUEUES: (&str, &str) = ("default", "default");

/// A small generator: a seed replays a failure.
pub(crate) struct Seeded(pub(crate) u64);

impl Seeded {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

fn depots(database: &Database, server: &Server) -> (Depot, Depot) {
    (
        Depot::table("database", &database.target, "jobs", RETRY_AFTER),
        Depot::redis("redis", server.endpoint(), "app_database_", RETRY_AFTER),
    )
}

/// Moves, with the mover stopped in the middle of whatever it does, until one comes to its end; how often it was stopped.
/// `depots` gives from where and to where.
pub(crate) async fn move_with_stops(
    depots: impl Fn() -> (Depot, Depot),
    queues: (&str, &str),
    stops_max: u32,
    seed: &mut Seeded,
) -> u32 {
    let mut stops = 0;
    loop {
        let (from, to) = depots();
        let patience = if stops > stops_max { 60_000_000 } else { 500 + seed.below(60_000) };
        let run = moving::run(&from, &to, queues, |_| {});
        match tokio::time::timeout(Duration::from_micros(patience), run).await {
            Ok(Ok(_)) => return stops,
            // What the one before had sent on its way came later than what this one did.
            Ok(Err(fault)) if fault.to_string().contains("another regie move has begun") => stops += 1,
            Ok(Err(fault)) => panic!("{fault}"),
            Err(_) => stops += 1,
        }
    }
}

/// The depots of a move to Redis, or of one back.
fn towards(to_redis: bool, database: &Database, server: &Server) -> (Depot, Depot) {
    let (table, redis) = depots(database, server);
    if to_redis { (table, redis) } else { (redis, table) }
}

async fn answers(database: &Database, server: &Server) {
    until("the server answers", async || depots(database, server).1.counts("default").await.ok()).await;
}

fn counted(payloads: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for payload in payloads {
        let id = payload::read(&payload).and_then(|read| read.id).expect("a job").to_owned();
        *seen.entry(id).or_default() += 1;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mover_that_is_stopped_loses_and_doubles_nothing() {
    const SEED: u64 = 20_261_121;
    let mut seed = Seeded(SEED);
    let database = Database::start(Kind::Sqlite).await;
    let mut server = Server::start();
    answers(&database, &server).await;
    database.push((0..JOBS).map(|id| job(id, ""))).await;
    let later = "UPDATE jobs SET available_at = CAST(strftime('%s', 'now') AS INTEGER) + 3600, attempts = 2 WHERE id % 10 = 0";
    database.server().run(later, &[]).await.unwrap();

    let stops = move_with_stops(|| towards(true, &database, &server), QUEUES, 40, &mut seed).await;
    assert_eq!(database.rows().await.len(), 0, "seed {SEED}, {stops} stops");
    let driver = server.driver(1);
    let mut found = Vec::new();
    for (shelf, count) in [(Shelf::Waiting, JOBS - JOBS / 10), (Shelf::Delayed, JOBS / 10)] {
        let listed = driver.list("default", shelf, 0, 2 * JOBS).await.unwrap();
        assert_eq!(listed.len(), count, "{shelf:?}, seed {SEED}, {stops} stops");
        let attempts = if shelf == Shelf::Delayed { 2 } else { 0 };
        for one in listed {
            let payload = String::from_utf8(one.payload.to_vec()).unwrap();
            assert_eq!(payload::read(&payload).unwrap().attempts.unwrap().0, attempts);
            found.push(payload);
        }
    }
    let seen = counted(found);
    assert!(seen.len() == JOBS && seen.values().all(|times| *times == 1), "seed {SEED}, {stops} stops");

    let stops = move_with_stops(|| towards(false, &database, &server), QUEUES, 40, &mut seed).await;
    let rows = database.server().rows("SELECT payload FROM jobs WHERE queue = 'default'", &[]).await.unwrap();
    let seen = counted(rows.into_iter().flatten().map(Value::into_text));
    assert!(seen.len() == JOBS && seen.values().all(|times| *times == 1), "seed {SEED}, {stops} stops");
    let delayed = database.driver("after").list("default", Shelf::Delayed, 0, JOBS).await.unwrap();
    assert_eq!(delayed.len(), JOBS / 10);
    let kept = database.server().run("UPDATE jobs SET attempts = 2 WHERE attempts = 2", &[]).await.unwrap();
    assert_eq!(kept, (JOBS / 10) as u64, "attempts are kept");
    server.kill();
}

/// Puts jobs on both sides for as long as the mover is at work, each with a number of its own.
async fn produce(database: &Database, server: &Server, from: usize, stop: &AtomicBool) -> usize {
    let client = server.client();
    let mut next = from;
    while !stop.load(Ordering::Relaxed) {
        database.push((next..next + 7).map(|id| job(id, ""))).await;
        push(&client, next + 7..next + 12).await;
        next += 12;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    next
}

/// Takes jobs out of both sides as workers do, until it is told to stop and finds none any more.
async fn consume(database: &Database, server: &Server, stop: &AtomicBool) -> Vec<String> {
    const POP: &str = "redis.call('lpop', KEYS[2]) return redis.call('lpop', KEYS[1])";
    let keys = ["app_database_queues:default", "app_database_queues:default:notify"];
    let client = server.client();
    let table = database.server();
    let mut done = Vec::new();
    loop {
        // Read before looking, so that nothing can come after the last look.
        let is_last = stop.load(Ordering::Relaxed);
        let before = done.len();
        let mut batch = Batch::new();
        batch.begin(5).words(["EVAL", POP, "2"]).words(keys);
        if let Frame::Bulk(payload) = client.one(batch).await.unwrap() {
            done.push(String::from_utf8(payload).unwrap());
        }
        let mut begun = table.begin().await.unwrap();
        let select = "SELECT CAST(id AS INTEGER), payload FROM jobs WHERE queue = 'default' \
                      AND reserved_at IS NULL ORDER BY id LIMIT 1";
        if let Some(row) = table.rows_in(&mut begun, select, &[]).await.unwrap().pop() {
            let delete = "DELETE FROM jobs WHERE id = ?";
            table.run_in(&mut begun, delete, &row[..1]).await.unwrap();
            table.commit(begun).await.unwrap();
            done.extend(row.into_iter().nth(1).map(Value::into_text));
        } else {
            drop(begun);
        }
        if is_last && done.len() == before {
            return done;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_job_runs_once_while_producers_and_workers_are_at_work_on_both_sides() {
    const SEED: u64 = 20_261_122;
    let mut seed = Seeded(SEED);
    let database = Database::start(Kind::Sqlite).await;
    let server = Server::start();
    database.push((0..JOBS).map(|id| job(id, ""))).await;
    answers(&database, &server).await;
    let (stop_producing, stop_consuming) = (AtomicBool::new(false), AtomicBool::new(false));
    let moves = async {
        let mut stops = 0;
        for to_redis in [true, false, true] {
            stops += move_with_stops(|| towards(to_redis, &database, &server), QUEUES, 40, &mut seed).await;
        }
        stop_producing.store(true, Ordering::Relaxed);
        stops
    };
    let produced = async {
        let produced = produce(&database, &server, JOBS, &stop_producing).await;
        // What a mover that was stopped has left beside the queues is still on its way.
        let (table, redis) = depots(&database, &server);
        moving::run(&table, &redis, QUEUES, |_| {}).await.unwrap();
        moving::finish(&redis, &table, QUEUES).await.unwrap();
        stop_consuming.store(true, Ordering::Relaxed);
        produced
    };
    let (stops, produced, done) = tokio::join!(moves, produced, consume(&database, &server, &stop_consuming));
    let seen = counted(done);
    let doubled: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert_eq!((seen.len(), doubled.len()), (produced, 0), "seed {SEED}, {stops} stops, {doubled:?}");
    assert_eq!(database.rows().await.len(), 0, "nothing lies beside the queues");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_failed_leads_to_the_other_connection() {
    let database = Database::start(Kind::Sqlite).await;
    let table = database.server();
    table
        .run(
            "CREATE TABLE failed_jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT, connection TEXT, \
             queue TEXT, payload TEXT, exception TEXT)",
            &[],
        )
        .await
        .unwrap();
    let bare = r#"{"uuid":"a-1","data":[]}"#;
    for (connection, queue) in [("database", "default"), ("database", "mail"), ("sqs", "default")] {
        let insert = "INSERT INTO failed_jobs (connection, queue, payload) VALUES (?, ?, ?)";
        table.run(insert, &[connection.into(), queue.into(), bare.into()]).await.unwrap();
    }
    let there = Readdressing {
        target: &database.target,
        table: "failed_jobs",
        from: "database",
        to: "redis",
        to_redis: true,
    };
    let back = Readdressing { from: "redis", to: "database", to_redis: false, ..there };
    let only = ["mail".to_owned()];
    let ready = r#"{"uuid":"a-1","data":[],"id":"a1","attempts":0}"#;
    for (asked, queues, changed, expected) in [
        (&there, &only[..], 1, [("database", bare), ("redis", ready), ("sqs", bare)]),
        (&there, &[], 1, [("redis", ready), ("redis", ready), ("sqs", bare)]),
        (&there, &[], 0, [("redis", ready), ("redis", ready), ("sqs", bare)]),
        (&back, &[], 2, [("database", ready), ("database", ready), ("sqs", bare)]),
    ] {
        assert_eq!(moving::readdress(asked, queues).await.unwrap(), changed);
        let rows = table.rows("SELECT connection, payload FROM failed_jobs ORDER BY id", &[]).await.unwrap();
        let found: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.into_iter().map(Value::into_text).collect()).collect();
        assert_eq!(
            found,
            expected.map(|(connection, payload)| vec![connection.to_owned(), payload.to_owned()])
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_only_the_target_has_is_found_again() {
    let database = Database::start(Kind::Sqlite).await;
    let server = Server::start();
    let (table, redis) = depots(&database, &server);
    let client = server.client();
    let staged = ["HSET", "app_database_queues:mail:regie-arriving:database", "1", "-|{\"attempts\":0}"];
    ask(&client, &staged).await;
    let insert = "INSERT INTO jobs (queue, payload, attempts, reserved_at, available_at, created_at) \
                  VALUES ('regie:arriving:redis:late', '{}', 0, NULL, 1, 1)";
    database.server().run(insert, &[]).await.unwrap();
    let names = |found: BTreeSet<String>| found.into_iter().collect::<Vec<_>>().join(",");
    assert_eq!(names(redis.unfinished(&table).await.unwrap()), "mail");
    assert_eq!(names(table.unfinished(&redis).await.unwrap()), "late");
    moving::run(&table, &redis, ("mail", "mail"), |_| {}).await.unwrap();
    assert_eq!(count(&client, &["LLEN", "app_database_queues:mail"]).await, 1);
    assert_eq!(names(redis.unfinished(&table).await.unwrap()), "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_other_databases_are_moved_to_and_from() {
    for kind in [Kind::Mariadb, Kind::Postgres] {
        let database = Database::start(kind).await;
        let server = Server::start();
        answers(&database, &server).await;
        database.push((0..450).map(|id| job(id, ""))).await;
        for to_redis in [true, false] {
            let (table, redis) = depots(&database, &server);
            let (from, to) = if to_redis { (&table, &redis) } else { (&redis, &table) };
            let moved = moving::run(from, to, QUEUES, |_| {}).await.unwrap();
            assert_eq!((moved.jobs, moved.parked, moved.reserved), (450, 0, 0), "{kind:?}");
            assert_eq!(to.counts("default").await.unwrap(), (450, 0), "{kind:?}");
            assert_eq!(from.counts("default").await.unwrap(), (0, 0), "{kind:?}");
        }
        let rows = database.server().rows("SELECT payload FROM jobs WHERE queue = 'default'", &[]).await;
        let seen = counted(rows.unwrap().into_iter().flatten().map(Value::into_text));
        assert!(seen.len() == 450 && seen.values().all(|times| *times == 1), "{kind:?}");
    }
}
