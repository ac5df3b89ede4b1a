//! Laravel's layout: what is leased, given back, delayed and parked lies where the framework expects it.

use std::time::Duration;

use regie_queue::desk::{Action, Ending};
use regie_queue::message::{Reason, Verdict};
use regie_queue::shell::driver::{Driver as _, Settlement, Shelf};
use regie_resp::Frame;

use crate::server::{Server, ask, count, job, push, until};
use crate::workers::{Workers, run, run_on};

const WAITING: &str = "app_database_queues:default";
const DELAYED: &str = "app_database_queues:default:delayed";
const RESERVED: &str = "app_database_queues:default:reserved";
const NOTIFY: &str = "app_database_queues:default:notify";

async fn texts(client: &regie_queue::shell::redis::Client, words: &[&str]) -> Vec<String> {
    match ask(client, words).await {
        Frame::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Frame::Bulk(bytes) => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn jobs_are_run_once_and_nothing_is_left() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..500).await;
    let workers = Workers::good(3);
    let (handle, left) = run(server.driver(1), &workers);
    until("all are done", async || (workers.done() == 500).then_some(())).await;
    push(&client, 500..600).await;
    until("those that came later too", async || (workers.done() == 600).then_some(())).await;
    let stats = handle.stats().await.unwrap();
    assert_eq!((stats.workers, stats.queues[0].totals.done), (3, 600));
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.doubles(), [0; 0]);
    for key in [WAITING, DELAYED, RESERVED, NOTIFY] {
        assert_eq!(count(&client, &["EXISTS", key]).await, 0, "{key}");
    }
}

#[tokio::test]
async fn payloads_keep_every_byte() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let driver = server.driver(1);
    let (plain, moved) = (job(1, ""), job(2, r#","pushedAt":"1.5""#));
    for payload in [&plain, &moved, &"nonsense".to_owned()] {
        ask(&client, &["RPUSH", WAITING, payload]).await;
    }
    let leased = driver.lease("default", 10).await.unwrap();
    assert_eq!(leased.iter().map(|job| job.broken.is_some()).collect::<Vec<_>>(), [false, false, true]);
    let reserved = texts(&client, &["ZRANGE", RESERVED, "0", "-1"]).await;
    // Attempts at the end are counted up in place, others as cjson does; the receipts are what the server has.
    assert!(reserved.contains(&plain.replace(r#""attempts":0"#, r#""attempts":1"#)), "{reserved:?}");
    for job in &leased {
        assert!(reserved.iter().any(|member| member.as_bytes() == job.receipt), "{job:?}");
    }
    let settle = |action: Action, at: usize| Settlement {
        receipt: leased[at].receipt.clone(),
        payload: leased[at].payload.clone(),
        action,
    };
    let all = vec![settle(Action::Return, 0), settle(Action::Return, 1), settle(Action::Park("no job"), 2)];
    driver.settle("default", all.clone()).await.unwrap();
    assert_eq!(texts(&client, &["LRANGE", WAITING, "0", "-1"]).await, [plain, moved]);
    assert_eq!(count(&client, &["ZCARD", RESERVED]).await, 0);
    assert_eq!(count(&client, &["LLEN", "app_database_regie:parked:default"]).await, 1);
    // Asked twice, nothing more happens.
    driver.settle("default", all).await.unwrap();
    assert_eq!(count(&client, &["LLEN", WAITING]).await, 2);
    assert_eq!(count(&client, &["LLEN", "app_database_regie:parked:default"]).await, 1);
}

#[tokio::test]
async fn a_lease_of_another_hand_is_not_given_back() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, [1]).await;
    let (ours, theirs) = (server.driver(1), server.driver(2));
    let first = ours.lease("default", 1).await.unwrap().remove(0);
    let back = || {
        vec![Settlement {
            receipt: first.receipt.clone(),
            payload: first.payload.clone(),
            action: Action::Return,
        }]
    };
    ours.settle("default", back()).await.unwrap();
    let second = theirs.lease("default", 1).await.unwrap().remove(0);
    assert_eq!(first.receipt, second.receipt, "the same job of the same attempt");
    ours.settle("default", back()).await.unwrap();
    assert_eq!(count(&client, &["ZCARD", RESERVED]).await, 1, "it is theirs now");
    assert_eq!(ours.reclaim("default").await.unwrap(), []);
    assert_eq!(theirs.reclaim("default").await.unwrap()[0].payload, second.payload);
}

#[tokio::test]
async fn delayed_jobs_run_when_their_second_has_come() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let workers = Workers::new(1, |seen| {
        let verdict = if seen.attempts < 3 { Verdict::Release(Duration::from_secs(1)) } else { Verdict::Ack };
        (Duration::ZERO, Ending::Said(verdict))
    });
    let (handle, left) = run(server.driver(1), &workers);
    push(&client, [7]).await;
    until("the third attempt", async || (workers.done() == 1).then_some(())).await;
    handle.stop();
    left.await;
    let attempts: Vec<u64> = workers.begun.lock().unwrap().iter().map(|seen| seen.attempts).collect();
    assert_eq!(attempts, [1, 2, 3]);
    assert_eq!(count(&client, &["EXISTS", DELAYED]).await, 0);
}

#[tokio::test]
async fn a_death_is_decided_about_by_another_worker_and_the_third_one_parks() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let workers = Workers::new(2, |seen| {
        let ending = match (seen.job, seen.kind.as_str()) {
            (1, "run") | (2, _) => Ending::Died(Reason::Killed),
            (1, _) => Ending::Said(Verdict::Failed),
            _ => Ending::Said(Verdict::Ack),
        };
        (Duration::ZERO, ending)
    });
    let (handle, left) = run(server.driver(1), &workers);
    push(&client, [1, 2, 3]).await;
    let parked = "app_database_regie:parked:default";
    until("the poison is parked", async || (count(&client, &["LLEN", parked]).await == 1).then_some(()))
        .await;
    until("nothing is leased", async || (count(&client, &["ZCARD", RESERVED]).await == 0).then_some(()))
        .await;
    let kinds = |job| {
        let begun = workers.begun.lock().unwrap();
        begun.iter().filter(|seen| seen.job == job).map(|seen| seen.kind.clone()).collect::<Vec<_>>()
    };
    assert_eq!(kinds(1), ["run", "died"]);
    assert_eq!(kinds(2), ["run", "died", "died"]);
    until("the death and what the framework made of it are told", async || {
        (handle.find(|run| run.matches("u1"), 10).await.len() == 2).then_some(())
    })
    .await;
    handle.stop();
    left.await;
}

#[tokio::test]
async fn deaths_count_though_the_runner_begins_anew() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, [2]).await;
    let folder = tempfile::tempdir().unwrap();
    let parked = "app_database_regie:parked:default";
    // Each worker that runs it dies, and the framework lets it be tried again a little later.
    for round in 1..=3 {
        let workers = Workers::new(1, |seen| {
            let died = seen.kind == "run";
            let again = Ending::Said(Verdict::Release(Duration::from_secs(3600)));
            (Duration::ZERO, if died { Ending::Died(Reason::Killed) } else { again })
        });
        let workers = workers.remembered(folder.path().join("deaths.json"));
        let (handle, left) = run(server.driver(1), &workers);
        until("it is decided about", async || {
            let delayed = count(&client, &["ZCARD", DELAYED]).await;
            (delayed + count(&client, &["LLEN", parked]).await == 1).then_some(())
        })
        .await;
        handle.stop();
        left.await;
        let died = workers.begun.lock().unwrap().iter().filter(|seen| seen.kind == "run").count();
        assert_eq!(died, 1, "round {round}");
        assert_eq!(count(&client, &["LLEN", parked]).await, i64::from(round == 3), "round {round}");
        // Its second has come.
        let delayed = texts(&client, &["ZRANGE", DELAYED, "0", "-1"]).await;
        for job in delayed {
            ask(&client, &["ZREM", DELAYED, &job]).await;
            ask(&client, &["RPUSH", WAITING, &job]).await;
        }
    }
}

#[tokio::test]
async fn a_higher_queue_goes_first_and_a_paused_one_not_at_all() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..20).await;
    for id in 100..110 {
        ask(&client, &["RPUSH", "app_database_queues:high", &job(id, "")]).await;
    }
    for id in 200..210 {
        ask(&client, &["RPUSH", "app_database_queues:paused", &job(id, "")]).await;
    }
    let driver = std::sync::Arc::new(server.driver(1));
    let workers = Workers::new(1, |_| (Duration::from_millis(5), Ending::Said(Verdict::Ack)));
    let queues = vec![("paused", driver.clone()), ("high", driver.clone()), ("default", driver.clone())];
    let (handle, left) = run_on(queues, &workers);
    assert_eq!(handle.pause("paused", true).await, ["redis:paused"]);
    until("the others are done", async || (workers.done() == 30).then_some(())).await;
    let order: Vec<usize> = workers.begun.lock().unwrap().iter().map(|seen| seen.job).collect();
    assert!(order[..10].iter().all(|job| *job >= 100), "{order:?}");
    assert_eq!(
        driver.list("paused", Shelf::Waiting, 0, 100).await.unwrap().len(),
        10,
        "nothing was taken from it"
    );
    // What the application says holds beside it.
    handle.hold(Some(vec!["redis:paused".to_owned()]));
    assert_eq!(handle.pause("redis:paused", false).await, ["redis:paused"]);
    ask(&client, &["RPUSH", "app_database_queues:high", &job(300, "")]).await;
    until("another one is done", async || (workers.done() == 31).then_some(())).await;
    assert!(handle.stats().await.unwrap().queues[0].paused);
    handle.hold(Some(Vec::new()));
    until("the paused ones too", async || (workers.done() == 41).then_some(())).await;
    handle.stop();
    left.await;
}

#[tokio::test]
async fn a_stop_gives_back_what_no_worker_has_seen() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..100).await;
    let workers = Workers::new(2, |_| (Duration::from_millis(30), Ending::Said(Verdict::Ack)));
    let (handle, left) = run(server.driver(1), &workers);
    until("some are done", async || (workers.done() >= 4).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    let done = workers.done();
    assert_eq!(count(&client, &["ZCARD", RESERVED]).await, 0);
    let rest = texts(&client, &["LRANGE", WAITING, "0", "-1"]).await;
    assert_eq!(rest.len() + done, 100);
    assert!(rest.iter().all(|payload| payload.ends_with(r#""attempts":0}"#)), "attempts are unchanged");
}

#[tokio::test]
async fn a_long_job_keeps_its_lease() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, [1]).await;
    let short = regie_queue::shell::laravel_redis::Settings {
        endpoint: server.endpoint(),
        prefix: "app_database_".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
        mark: regie_queue::mark::Mark::from_seed(5),
    };
    let driver = regie_queue::shell::laravel_redis::LaravelRedis::new(short);
    let workers = Workers::new(2, |_| (Duration::from_secs(4), Ending::Said(Verdict::Ack)));
    let (handle, left) = run(driver, &workers);
    until("it is done", async || (workers.done() == 1).then_some(())).await;
    handle.stop();
    left.await;
    assert_eq!(workers.begun.lock().unwrap().len(), 1, "four times the lease, and run once");
    assert_eq!(count(&client, &["EXISTS", RESERVED, WAITING]).await, 0);
}
