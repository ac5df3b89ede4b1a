//! Limits of one class of jobs, and what it means for the others and for the queue's server.

use std::sync::Arc;
use std::time::Duration;

use regie_queue::desk::{Action, Ending};
use regie_queue::limits::Limit;
use regie_queue::message::{Exception, Verdict};
use regie_queue::shell::driver::{Driver, Settlement, Shelf};

use crate::databases::{Database, Kind};
use crate::server::{Server, ask, job, push, until};
use crate::workers::{UNTIL_OPEN, Workers, run_limited};

const FEW: &str = r"App\Jobs\Few";
const COUNT: &str = r"App\Jobs\Count";

/// A job of the class that has a limit.
fn few(id: usize) -> String {
    job(id, "").replace(r"App\\Jobs\\Count", r"App\\Jobs\\Few")
}

fn limit(concurrency: Option<u32>, rate: Option<(u32, Duration)>) -> Vec<(String, Limit)> {
    vec![(FEW.to_owned(), Limit { concurrency, rate })]
}

#[tokio::test]
async fn a_class_runs_as_often_as_it_may_and_others_overtake() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    for id in 0..45 {
        ask(&client, &["RPUSH", "app_database_queues:default", &few(id)]).await;
    }
    push(&client, 100..150).await;
    let workers = Workers::new(6, |seen| {
        let span = if seen.class == FEW { UNTIL_OPEN } else { Duration::ZERO };
        (span, Ending::Said(Verdict::Ack))
    });
    let queues = vec![("default", Arc::new(server.driver(1)))];
    let (handle, left) = run_limited(queues, &workers, limit(Some(2), None), 0);
    until("the others are done", async || (workers.done() == 50).then_some(())).await;
    until("two of the class run", async || (workers.begun_of(FEW) == 2).then_some(())).await;
    let stats = handle.stats().await.unwrap();
    assert_eq!((stats.limits[0].class.as_str(), stats.limits[0].running), (FEW, 2));
    workers.open();
    until("all are done", async || (workers.done() == 95).then_some(())).await;
    assert_eq!((workers.peak(FEW), workers.begun_of(COUNT)), (2, 50));
    assert_eq!(workers.doubles(), [0; 0]);
    assert!(workers.begun.lock().unwrap().iter().all(|seen| seen.attempts == 1), "to wait is no attempt");
    handle.stop();
    assert_eq!(left.await.cut, 0);
}

/// Five an hour: what waits then is in its queue as if nobody had touched it.
async fn a_rate_holds<D: Driver + 'static>(driver: Arc<D>, done: usize) {
    let workers = Workers::good(4);
    let hour = Some((5, Duration::from_secs(3600)));
    let (handle, left) = run_limited(vec![("default", driver.clone())], &workers, limit(None, hour), 0);
    until("those that may are done", async || (workers.done() == done).then_some(())).await;
    // Sixteen stay at hand, the others are put off.
    until("the others are put off", async || {
        let sizes = driver.sizes("default").await.ok()?;
        (sizes.delayed > 0 && sizes.delayed + sizes.reserved + sizes.waiting == 35).then_some(())
    })
    .await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.begun_of(FEW), 5);
    let sizes = driver.sizes("default").await.unwrap();
    assert_eq!((sizes.waiting + sizes.delayed, sizes.reserved), (35, 0));
}

#[tokio::test]
async fn a_rate_holds_in_redis() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    for id in 0..40 {
        ask(&client, &["RPUSH", "app_database_queues:default", &few(id)]).await;
    }
    push(&client, 100..110).await;
    let driver = Arc::new(server.driver(1));
    a_rate_holds(driver.clone(), 15).await;
    for shelf in [Shelf::Waiting, Shelf::Delayed] {
        for job in driver.list("default", shelf, 0, 100).await.unwrap() {
            assert!(job.payload.ends_with(br#""attempts":0}"#), "{:?}", job.payload);
        }
    }
}

#[tokio::test]
async fn a_rate_holds_in_a_table() {
    let database = Database::start(Kind::Sqlite).await;
    database.push((0..40).map(few).chain((100..110).map(|id| job(id, "")))).await;
    a_rate_holds(database.driver("first"), 15).await;
    assert!(database.rows().await.iter().all(|(_, attempts, reserved)| (*attempts, *reserved) == (0, false)));
}

/// To put off a job whose lease is another's by now does nothing.
#[tokio::test]
async fn a_lease_of_another_hand_is_not_put_off() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, [1]).await;
    let (ours, theirs) = (server.driver(1), server.driver(2));
    let first = ours.lease("default", 1).await.unwrap().remove(0);
    let settle = |action: Action| {
        vec![Settlement { receipt: first.receipt.clone(), payload: first.payload.clone(), action }]
    };
    ours.settle("default", settle(Action::Return)).await.unwrap();
    assert_eq!(theirs.lease("default", 1).await.unwrap()[0].receipt, first.receipt);
    ours.settle("default", settle(Action::PutOff(Duration::from_secs(9)))).await.unwrap();
    let sizes = ours.sizes("default").await.unwrap();
    assert_eq!((sizes.delayed, sizes.reserved), (0, 1), "it is theirs now");
}

#[tokio::test]
async fn a_failure_s_wait_is_spread_and_another_is_not() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..40).await;
    const WAIT: Duration = Duration::from_secs(100_000);
    let workers = Workers::new(4, |_| (Duration::ZERO, Ending::Said(Verdict::Release(WAIT))))
        .telling(|seen| (seen.job < 20).then(Exception::default));
    let driver = Arc::new(server.driver(1));
    let (handle, left) = run_limited(vec![("default", driver.clone())], &workers, Vec::new(), 50);
    until("all are released", async || (driver.sizes("default").await.ok()?.delayed == 40).then_some(()))
        .await;
    handle.stop();
    left.await;
    let released = driver.list("default", Shelf::Delayed, 0, 100).await.unwrap();
    let at = |failed: bool| -> Vec<u64> {
        let is_failed = |payload: &[u8]| {
            let id = regie_queue::payload::read(std::str::from_utf8(payload).unwrap()).unwrap().id.unwrap();
            id[1..].parse::<usize>().unwrap() < 20
        };
        released.iter().filter(|job| is_failed(&job.payload) == failed).filter_map(|job| job.at).collect()
    };
    let span = |times: &[u64]| times.iter().max().unwrap() - times.iter().min().unwrap();
    // The test itself takes less than the hours that the waits are spread over.
    assert!(span(&at(false)) < 5_000, "{released:?}");
    assert!(span(&at(true)) > 10_000 && span(&at(true)) < 55_000, "{released:?}");
}
