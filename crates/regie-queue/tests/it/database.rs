//! Laravel's `jobs` table in SQLite, MariaDB and PostgreSQL: what is leased, settled, given back and found again.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use regie_queue::desk::{Action, Ending, Leased};
use regie_queue::message::Verdict;
use regie_queue::shell::driver::{Driver as _, Settlement, Shelf};

use crate::databases::{Database, Kind};
use crate::server::{PATIENCE, job, until};
use crate::workers::{Workers, run_on};

fn settlement(job: &Leased, action: Action) -> Settlement {
    Settlement { receipt: job.receipt.clone(), payload: job.payload.clone(), action }
}

/// The same for each kind of database.
macro_rules! on_each {
    ($($name:ident)+) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Kind::Sqlite).await;
            })+
        }
        mod mariadb {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Kind::Mariadb).await;
            })+
        }
        mod postgres {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Kind::Postgres).await;
            })+
        }
    };
}

on_each! { each_step_does_what_the_framework_does jobs_are_run_once a_transport_s_messages }

async fn each_step_does_what_the_framework_does(kind: Kind) {
    let database = Database::start(kind).await;
    let payloads: Vec<String> = (0..6).map(|id| job(id, "")).chain(["no job".to_owned()]).collect();
    database.push(payloads.clone()).await;
    let driver = database.driver("first");
    assert_eq!(driver.reclaim("default").await.unwrap(), []);

    let leased = driver.lease("default", 100).await.unwrap();
    assert_eq!(leased.len(), 7);
    assert!(leased.iter().zip(&payloads).all(|(job, payload)| job.payload == payload.as_bytes()));
    assert_eq!(leased.iter().map(|job| job.attempts).collect::<Vec<_>>(), [1; 7]);
    assert_eq!(
        leased.iter().map(|job| job.broken.is_some()).collect::<Vec<_>>(),
        [false, false, false, false, false, false, true]
    );
    assert_eq!((leased[0].id.as_str(), leased[6].id.as_str()), ("u0", "7"));
    assert!(database.rows().await.iter().all(|row| *row == ("default".to_owned(), 1, true)));
    assert_eq!(driver.lease("default", 100).await.unwrap(), [], "what is leased is nobody else's");
    let sizes = driver.tick("default").await.unwrap().sizes;
    assert_eq!((sizes.waiting, sizes.delayed, sizes.reserved), (0, 0, 7));

    let later = Duration::from_secs(3600);
    let all = vec![
        settlement(&leased[0], Action::Ack),
        settlement(&leased[1], Action::Return),
        settlement(&leased[2], Action::Release(later)),
        settlement(&leased[3], Action::Release(Duration::ZERO)),
        settlement(&leased[6], Action::Park("no JSON")),
    ];
    driver.settle("default", all.clone()).await.unwrap();
    // 0 is gone; 1 waits as it was; 4 and 5 are leased; 2 and 3 come again at the end, with their attempts.
    let plain = |attempts, reserved| ("default".to_owned(), attempts, reserved);
    let parked = ("regie:parked:default".to_owned(), 1, false);
    let expected =
        [plain(0, false), plain(1, true), plain(1, true), parked, plain(1, false), plain(1, false)];
    assert_eq!(database.rows().await, expected);
    driver.settle("default", all).await.unwrap();
    assert_eq!(database.rows().await, expected, "asked twice, nothing more happens");
    driver.extend("default", vec![leased[4].receipt.clone(), leased[0].receipt.clone()]).await.unwrap();
    assert_eq!(database.rows().await, expected);
    let listed = driver.list("default", Shelf::Delayed, 0, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].payload, payloads[2].as_bytes());
    assert_eq!(driver.list("default", Shelf::Waiting, 1, 10).await.unwrap().len(), 1);
    assert!(driver.list("default", Shelf::Reserved, 0, 10).await.unwrap()[0].at.is_some());

    // A second runner finds nothing; one that takes the place of the first finds what it had.
    drop(driver);
    assert_eq!(database.driver("second").reclaim("default").await.unwrap(), []);
    let heir = database.driver("first");
    let found = heir.reclaim("default").await.unwrap();
    assert_eq!(found.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["u4", "u5"]);
    assert_eq!(found[0].receipt, leased[4].receipt);
    let again = heir.lease("default", 1).await.unwrap();
    assert_eq!((again[0].id.as_str(), again[0].attempts), ("u1", 1), "what went back is the first again");
    let other = database.driver("first").reclaim("default").await.unwrap_err();
    assert!(other.to_string().contains("another runner works with it"), "{other}");

    let sizes = heir.sizes("default").await.unwrap();
    assert_eq!((sizes.delayed, sizes.parked), (1, 1));
    assert_eq!(heir.list("default", Shelf::Parked, 0, 9).await.unwrap()[0].payload, payloads[6].as_bytes());
    assert_eq!(heir.unpark("default", Some("u9".to_owned()), true).await.unwrap(), 0);
    assert_eq!(heir.unpark("default", Some("7".to_owned()), true).await.unwrap(), 1);
    assert_eq!(heir.sizes("default").await.unwrap().parked, 0);
    heir.push("default", vec![Bytes::from(job(9, ""))]).await.unwrap();
    assert_eq!(heir.clear("default").await.unwrap(), 7);
    assert_eq!(database.rows().await, []);
}

async fn jobs_are_run_once(kind: Kind) {
    let database = Database::start(kind).await;
    database.push((0..300).map(|id| job(id, ""))).await;
    let workers = Workers::good(3);
    let driver = database.driver("first");
    let (handle, left) = run_on(vec![("default", driver)], &workers);
    until("all are done", async || (workers.done() == 300).then_some(())).await;
    database.push((300..310).map(|id| job(id, ""))).await;
    until("those that came later too", async || (workers.done() == 310).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.doubles(), [0; 0]);
    assert_eq!(database.rows().await, []);
}

/// Messenger's Doctrine transport.
async fn a_transport_s_messages(kind: Kind) {
    let database = Database::start(kind).await;
    let driver = database.transport("first");
    let message =
        |number: usize| format!(r#"{{"body":"message é {number}","headers":{{"type":"App\\Note"}}}}"#);
    driver.push("async", (0..6).map(|number| Bytes::from(message(number))).collect()).await.unwrap();
    assert_eq!(driver.reclaim("async").await.unwrap(), []);
    let wait = tokio::time::timeout(PATIENCE, driver.wait(&["async".to_owned()])).await;
    assert_eq!(wait.unwrap().unwrap(), Some(0));
    let leased = driver.lease("async", 10).await.unwrap();
    assert_eq!(leased.len(), 6);
    assert_eq!(leased[0].payload, message(0));
    assert_eq!(leased[0].class.as_deref(), Some("App\\Note"));
    assert_eq!(driver.lease("async", 10).await.unwrap(), []);
    let all = vec![
        settlement(&leased[0], Action::Ack),
        settlement(&leased[1], Action::Return),
        settlement(&leased[2], Action::Release(Duration::from_secs(3600))),
        settlement(&leased[3], Action::Park("workers died of it")),
    ];
    driver.settle("async", all).await.unwrap();
    driver.extend("async", vec![leased[4].receipt.clone()]).await.unwrap();
    let sizes = driver.tick("async").await.unwrap().sizes;
    assert_eq!((sizes.waiting, sizes.delayed, sizes.reserved), (1, 1, 2));
    let delayed = driver.list("async", Shelf::Delayed, 0, 10).await.unwrap();
    assert_eq!(delayed[0].payload, message(2));
    assert!(delayed[0].at.is_some());
    drop(driver);
    let heir = database.transport("first");
    let found = heir.reclaim("async").await.unwrap();
    assert_eq!(found.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(), [message(4), message(5)]);
    assert_eq!(heir.lease("async", 10).await.unwrap()[0].payload, message(1));
    let sizes = heir.sizes("async").await.unwrap();
    assert_eq!((sizes.parked, sizes.oldest_s), (1, None));
    assert_eq!(heir.unpark("async", None, true).await.unwrap(), 1);
    assert!(heir.sizes("async").await.unwrap().oldest_s.is_some());
    assert_eq!(heir.clear("async").await.unwrap(), 5);
}

#[tokio::test]
async fn two_runners_share_a_table() {
    let database = Database::start(Kind::Sqlite).await;
    database.push((0..400).map(|id| job(id, ""))).await;
    let workers = Workers::new(4, |seen| {
        // Each third job is tried again once.
        let again = seen.job % 3 == 0 && seen.attempts == 1;
        let verdict = if again { Verdict::Release(Duration::ZERO) } else { Verdict::Ack };
        (Duration::from_millis(1), Ending::Said(verdict))
    });
    let runners: Vec<_> = ["first", "second"]
        .map(|name| run_on(vec![("default", database.driver(name))], &workers))
        .into_iter()
        .collect();
    until("all are done", async || (workers.done() == 400).then_some(())).await;
    for (handle, left) in runners {
        handle.stop();
        assert_eq!(left.await.cut, 0);
    }
    assert_eq!(workers.doubles(), [0; 0]);
    assert_eq!(workers.begun.lock().unwrap().len(), 400 + 134);
    assert_eq!(database.rows().await, []);
}

#[tokio::test]
async fn a_killed_runner_s_jobs_are_found_whenever_it_was_killed() {
    let database = Database::start(Kind::Sqlite).await;
    database.push((0..200).map(|id| job(id, ""))).await;
    let workers = Workers::good(2);
    // Each one is left in the middle: its task ends, its journal's lock goes, its leases stay.
    for round in 0..10_u64 {
        let driver = database.driver("first");
        let leases = async {
            driver.reclaim("default").await.unwrap();
            let leased = driver.lease("default", 20).await.unwrap();
            let half = leased.iter().take(5).map(|job| settlement(job, Action::Ack)).collect();
            driver.settle("default", half).await.unwrap();
        };
        let cut = Duration::from_micros(300 * round * round);
        let _ = tokio::time::timeout(cut, leases).await;
        drop(driver);
    }
    let driver: Arc<_> = database.driver("first");
    let (handle, left) = run_on(vec![("default", driver)], &workers);
    until("nothing is left", async || database.rows().await.is_empty().then_some(())).await;
    handle.stop();
    left.await;
    assert_eq!(workers.doubles(), [0; 0]);
    // Each round settles five at most.
    assert!(workers.done() >= 150, "{} were done", workers.done());
    assert!(workers.begun.lock().unwrap().iter().all(|seen| seen.attempts == 1), "none ran, so none counts");
}

#[tokio::test]
async fn a_runner_does_not_lease_its_own_jobs_again() {
    let database = Database::start(Kind::Sqlite).await;
    database.push((0..3).map(|id| job(id, ""))).await;
    let short = |name| database.driver_for(name, Duration::from_secs(0));
    let ours = short("first");
    assert_eq!(ours.lease("default", 2).await.unwrap().len(), 2);
    // By its time the lease has ended at once, as after a database that was away.
    let again = ours.lease("default", 9).await.unwrap();
    assert_eq!(again.iter().map(|job| job.id.as_str()).collect::<Vec<_>>(), ["u2"]);
    let theirs = short("second").lease("default", 9).await.unwrap();
    assert_eq!(theirs.len(), 3, "others go by the time, as the framework's own workers do");
}
