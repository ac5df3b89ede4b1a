//! Jobs that wait are walked, dropped and let run, in each layout; what a worker has in hand stays.

use std::sync::Arc;

use bytes::Bytes;
use regie_queue::search::Sought;
use regie_queue::shell::driver::{Change, Driver, Shelf};
use regie_queue::shell::symfony_redis::SymfonyRedis;

use crate::databases::{Database, Kind};
use crate::moving_messages::stream;
use crate::server::{Server, ask, count, job};
use crate::symfony::message;

const JOBS: usize = 50;

/// The numbers of the jobs on a shelf, walked seven at a time.
async fn walked(driver: &dyn Driver, shelf: Shelf, sought: &Sought) -> Vec<(Bytes, Option<String>)> {
    let (mut from, mut out) = (None, Vec::new());
    loop {
        let walked = driver.walk("default", shelf, from.clone(), 7).await.unwrap();
        assert!(walked.jobs.len() <= 7);
        let has = |payload: &[u8]| sought.has(std::str::from_utf8(payload).unwrap(), None);
        let found = walked.jobs.into_iter().filter(|(_, listed)| has(&listed.payload));
        out.extend(found.map(|(handle, _)| (handle, from.clone())));
        from = walked.next;
        if from.is_none() {
            return out;
        }
    }
}

/// Each step on a driver with `JOBS` jobs that wait, of which ten have a 7 in their number.
async fn check(driver: &dyn Driver, what: &str) {
    let all = Sought::default();
    let sevens = Sought { text: Some("number 7".to_owned()), ..Sought::default() };
    assert_eq!(walked(driver, Shelf::Waiting, &all).await.len(), JOBS, "{what}");
    let leased = driver.lease("default", 2).await.unwrap();
    assert_eq!(leased.len(), 2, "{what}");
    assert!(
        driver
            .change("default", Shelf::Reserved, None, vec![leased[0].receipt.clone()], Change::Drop)
            .await
            .is_err(),
        "{what}"
    );
    let found = walked(driver, Shelf::Waiting, &sevens).await;
    assert_eq!(found.len(), 1, "{what}");
    let (handle, from) = found[0].clone();
    for expected in [1, 0] {
        let dropped =
            driver.change("default", Shelf::Waiting, from.clone(), vec![handle.clone()], Change::Drop).await;
        assert_eq!(dropped.unwrap(), expected, "{what}");
    }
    assert_eq!(walked(driver, Shelf::Waiting, &sevens).await, [], "{what}");
    assert_eq!(walked(driver, Shelf::Waiting, &all).await.len(), JOBS - 3, "{what}");
    // What a worker has taken since it was met is its own.
    let met = walked(driver, Shelf::Waiting, &all).await;
    assert_eq!(driver.lease("default", 1).await.unwrap().len(), 1, "{what}");
    let handles: Vec<Bytes> = met.into_iter().map(|(handle, _)| handle).collect();
    let dropped = driver.change("default", Shelf::Waiting, None, handles, Change::Drop).await.unwrap();
    assert_eq!(dropped, (JOBS - 4) as u64, "{what}");
    assert_eq!(walked(driver, Shelf::Waiting, &all).await, [], "{what}");
    assert_eq!(driver.sizes("default").await.unwrap().reserved, 3, "{what}");
}

/// Ten delayed jobs: one is dropped, the others run.
async fn check_delayed(driver: &dyn Driver, what: &str) {
    let all = Sought::default();
    let mut handles: Vec<Bytes> =
        walked(driver, Shelf::Delayed, &all).await.into_iter().map(|(handle, _)| handle).collect();
    assert_eq!(handles.len(), 10, "{what}");
    let one = vec![handles.remove(3)];
    for (jobs, change, expected) in
        [(one.clone(), Change::Drop, 1), (one, Change::Drop, 0), (handles.clone(), Change::Ready, 9)]
    {
        let changed = driver.change("default", Shelf::Delayed, None, jobs, change).await.unwrap();
        assert_eq!(changed, expected, "{what}");
    }
    let sizes = driver.sizes("default").await.unwrap();
    assert_eq!((sizes.waiting, sizes.delayed), (9, 0), "{what}");
}

/// Twenty parked jobs with two entries among them that are nothing of ours: each handle leads to its own job, and the walk goes
/// on behind what cannot be read.
async fn check_parked(driver: &dyn Driver, server: &Server, key: &str, what: &str) {
    let client = server.client();
    for id in 0..20 {
        if id % 9 == 3 {
            ask(&client, &["RPUSH", key, "nothing of ours"]).await;
        }
        let kept =
            format!(r#"{{"payload":"{{\"note\":\"number {id} of all\"}}","reason":"r","parked_at":1}}"#);
        ask(&client, &["RPUSH", key, &kept]).await;
    }
    assert_eq!(walked(driver, Shelf::Parked, &Sought::default()).await.len(), 20, "{what}");
    let seven = Sought { text: Some("number 7 ".to_owned()), ..Sought::default() };
    let found = walked(driver, Shelf::Parked, &seven).await;
    let handles: Vec<Bytes> = found.into_iter().map(|(handle, _)| handle).collect();
    assert!(
        handles.len() == 1 && String::from_utf8_lossy(&handles[0]).contains("number 7 "),
        "{what}: {handles:?}"
    );
    let dropped = driver.change("default", Shelf::Parked, None, handles, Change::Drop).await;
    assert_eq!(dropped.unwrap(), 1, "{what}");
    assert_eq!(walked(driver, Shelf::Parked, &seven).await, [], "{what}");
    assert_eq!(driver.list("default", Shelf::Parked, 0, 100).await.unwrap().len(), 19, "{what}");
    let handles =
        walked(driver, Shelf::Parked, &Sought::default()).await.into_iter().map(|(handle, _)| handle);
    let ready = driver.change("default", Shelf::Parked, None, handles.collect(), Change::Ready).await;
    assert_eq!(ready.unwrap(), 19, "{what}");
    assert_eq!(count(&client, &["LLEN", key]).await, 2, "{what}: what is nothing of ours stays");
}

fn numbered(id: usize) -> String {
    job(id, &format!(r#","note":"number {id} of all""#))
}

#[tokio::test]
async fn laravel_s_redis_queue() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let driver = server.driver(1);
    driver.push("default", (0..JOBS).map(|id| Bytes::from(numbered(id))).collect()).await.unwrap();
    check(&driver, "redis").await;
    assert_eq!(
        count(&client, &["LLEN", "app_database_queues:default:notify"]).await,
        0,
        "no word of what is gone"
    );
    for id in 0..10 {
        ask(&client, &["ZADD", "app_database_queues:default:delayed", "4070948400", &job(id, "")]).await;
    }
    check_delayed(&driver, "redis").await;
    check_parked(&driver, &server, "app_database_regie:parked:default", "redis").await;
}

#[tokio::test]
async fn messenger_s_stream() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    // Nothing is taken for lost for being slow.
    let driver = SymfonyRedis::new(stream(&server, 1));
    let note = |id: usize| Bytes::from(message(id).replace("message ", "number "));
    driver.push("default", (0..JOBS).map(note).collect()).await.unwrap();
    check(&driver, "stream").await;
    for id in 0..10 {
        ask(&client, &["ZADD", "messages__queue", "4070948400000", &message(id)]).await;
    }
    check_delayed(&driver, "stream").await;
    check_parked(&driver, &server, "regie:parked:messages", "stream").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables() {
    for kind in [Kind::Sqlite, Kind::Mariadb, Kind::Postgres] {
        let database = Database::start(kind).await;
        let (jobs, messages) = (database.driver("jobs"), database.transport("messages"));
        database.push((0..JOBS).map(numbered)).await;
        let note = |id: usize| Bytes::from(message(id).replace("message ", "number "));
        messages.push("default", (0..JOBS).map(note).collect()).await.unwrap();
        let drivers: [(Arc<dyn Driver>, &str); 2] = [(jobs, "jobs"), (messages, "messages")];
        for (driver, what) in drivers {
            check(&*driver, &format!("{what} in {kind:?}")).await;
        }
    }
}
