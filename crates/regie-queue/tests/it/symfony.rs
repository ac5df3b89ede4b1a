//! Messenger's stream: what is leased, sent, given back and claimed lies where the framework expects it.

use std::time::Duration;

use bytes::Bytes;
use regie_queue::desk::{Action, Leased};
use regie_queue::mark::Mark;
use regie_queue::shell::driver::{Driver as _, Settlement, Shelf};
use regie_queue::shell::symfony_redis::{Settings, SymfonyRedis};

use crate::server::{Server, ask, count, until};
use crate::workers::{Workers, run};

/// Nobody's message is taken for lost for being slow.
const NEVER: Duration = Duration::from_secs(3600);

fn transport(server: &Server, mark: u64, redeliver_timeout: Duration) -> SymfonyRedis {
    SymfonyRedis::new(Settings {
        endpoint: server.endpoint(),
        stream: "messages".to_owned(),
        delayed: "messages__queue".to_owned(),
        group: "symfony".to_owned(),
        delete_after_ack: true,
        max_entries: 0,
        redeliver_timeout,
        claim_interval: Duration::ZERO,
        serialized: true,
        mark: Mark::from_seed(mark),
    })
}

pub(crate) fn message(number: usize) -> String {
    format!(r#"{{"body":"message {number}","headers":{{"type":"App\\Note"}}}}"#)
}

fn settlement(job: &Leased, action: Action) -> Settlement {
    Settlement { receipt: job.receipt.clone(), payload: job.payload.clone(), action }
}

#[tokio::test]
async fn each_step_does_what_the_framework_does() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let driver = transport(&server, 1, NEVER);
    assert_eq!(driver.reclaim("async").await.unwrap(), [], "the group is made where it is missing");
    driver.push("async", (0..6).map(|number| Bytes::from(message(number))).collect()).await.unwrap();
    let stored = format!("{:?}", ask(&client, &["XRANGE", "messages", "-", "+", "COUNT", "1"]).await);
    assert!(
        stored.contains(&format!("{:?}", format!("s:{}:\"", message(0).len()).as_bytes())[1..20]),
        "{stored}"
    );

    let leased = driver.lease("async", 5).await.unwrap();
    assert_eq!(
        leased.iter().map(|job| job.payload.clone()).collect::<Vec<_>>(),
        [0, 1, 2, 3, 4].map(message)
    );
    assert_eq!(leased[0].class.as_deref(), Some("App\\Note"));
    let sizes = driver.tick("async").await.unwrap().sizes;
    assert_eq!((sizes.delayed, sizes.reserved), (0, 5));
    let all = vec![
        settlement(&leased[0], Action::Ack),
        settlement(&leased[1], Action::Return),
        settlement(&leased[2], Action::Release(Duration::from_secs(3600))),
        settlement(&leased[3], Action::Park("workers died of it")),
    ];
    driver.settle("async", all.clone()).await.unwrap();
    driver.settle("async", all).await.unwrap();
    driver.extend("async", vec![leased[4].receipt.clone(), leased[0].receipt.clone()]).await.unwrap();
    assert_eq!(count(&client, &["XLEN", "messages"]).await, 3, "4 is leased, 5 waits, 1 waits behind it");
    let sizes = driver.sizes("async").await.unwrap();
    assert_eq!((sizes.delayed, sizes.reserved, sizes.parked), (1, 1, 1));
    assert!(sizes.oldest_s.is_some());
    let listed = async |shelf| {
        let listed = driver.list("async", shelf, 0, 10).await.unwrap();
        listed.into_iter().map(|job| job.payload).collect::<Vec<_>>()
    };
    assert_eq!(listed(Shelf::Waiting).await, [message(5), message(1)]);
    assert_eq!(listed(Shelf::Reserved).await, [message(4)]);
    assert_eq!(listed(Shelf::Parked).await, [message(3)]);
    assert_eq!(driver.unpark("async", None, true).await.unwrap(), 1);
    assert_eq!(listed(Shelf::Waiting).await, [message(5), message(1), message(3)]);

    // The next runner of this mark finds what is pending for it; another one claims it when it has been idle.
    assert_eq!(transport(&server, 1, NEVER).reclaim("async").await.unwrap()[0].payload, message(4));
    let other = transport(&server, 2, Duration::from_millis(200));
    until("an entry that is idle for too long", async || {
        other.lease("async", 1).await.unwrap().into_iter().find(|job| job.payload == message(4))
    })
    .await;
    assert_eq!(driver.clear("async").await.unwrap(), 5);
    assert_eq!(count(&client, &["EXISTS", "messages__queue"]).await, 0);
}

#[tokio::test]
async fn messages_are_handled_once_when_they_are_due() {
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    let workers = Workers::good(2);
    let driver = transport(&server, 1, NEVER);
    driver.push("default", (0..50).map(|number| Bytes::from(message(number))).collect()).await.unwrap();
    let (handle, left) = run(driver, &workers);
    until("all are handled", async || (workers.done() == 50).then_some(())).await;
    // As the framework delays one, and sends one at once.
    let delayed = format!("{},\"uniqid\":\"1.5\"}}", message(50).trim_end_matches('}').to_owned() + "}");
    ask(&client, &["ZADD", "messages__queue", "NX", "1000", &delayed]).await;
    ask(&client, &["XADD", "messages", "*", "message", &message(51)]).await;
    until("those too", async || (workers.done() == 52).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.doubles(), [0; 0]);
    assert_eq!(count(&client, &["XLEN", "messages"]).await, 0);
}
