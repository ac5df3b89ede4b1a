//! Jobs moved between a `jobs` table and Redis: every job is counted, though the mover is stopped at any step.

use std::collections::BTreeMap;
use std::time::Duration;

use regie_queue::payload;
use regie_queue::shell::driver::{Driver as _, Shelf};
use regie_queue::shell::moving::{self, Depot};
use regie_queue::shell::sql::Value;

use crate::databases::{Database, Kind};
use crate::server::{Server, job};

const JOBS: usize = 1_000;
const RETRY_AFTER: Option<Duration> = Some(Duration::from_secs(90));
const QUEUES: (&str, &str) = ("default", "default");

/// A small generator: a seed replays a failure.
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
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

/// Moves, with the mover stopped in the middle of whatever it does, until one comes to its end.
async fn move_with_stops(database: &Database, server: &Server, to_redis: bool, seed: &mut Seeded) -> u32 {
    let mut stops = 0;
    loop {
        let (table, redis) = depots(database, server);
        let (from, to) = if to_redis { (&table, &redis) } else { (&redis, &table) };
        let patience = if stops > 40 { 60_000_000 } else { 500 + seed.below(60_000) };
        let run = moving::run(from, to, QUEUES, |_| {});
        match tokio::time::timeout(Duration::from_micros(patience), run).await {
            Ok(Ok(_)) => return stops,
            Ok(Err(fault)) => panic!("{fault}"),
            Err(_) => stops += 1,
        }
    }
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
    database.push((0..JOBS).map(|id| job(id, ""))).await;
    let later = "UPDATE jobs SET available_at = CAST(strftime('%s', 'now') AS INTEGER) + 3600, attempts = 2 WHERE id % 10 = 0";
    database.server().run(later, &[]).await.unwrap();

    let stops = move_with_stops(&database, &server, true, &mut seed).await;
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

    let stops = move_with_stops(&database, &server, false, &mut seed).await;
    let rows = database.server().rows("SELECT payload FROM jobs WHERE queue = 'default'", &[]).await.unwrap();
    let seen = counted(rows.into_iter().flatten().map(Value::into_text));
    assert!(seen.len() == JOBS && seen.values().all(|times| *times == 1), "seed {SEED}, {stops} stops");
    let delayed = database.driver("after").list("default", Shelf::Delayed, 0, JOBS).await.unwrap();
    assert_eq!(delayed.len(), JOBS / 10);
    let kept = database.server().run("UPDATE jobs SET attempts = 2 WHERE attempts = 2", &[]).await.unwrap();
    assert_eq!(kept, (JOBS / 10) as u64, "attempts are kept");
    server.kill();
}
