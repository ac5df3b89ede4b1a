//! Kills at random moments under a seed, and every job counted.

use std::time::Duration;

use regie_queue::desk::Ending;
use regie_queue::message::{Reason, Verdict};

use crate::server::{Server, ask, count, push, until, until_within};
use crate::workers::{UNTIL_OPEN, Workers, run};

const RESERVED: &str = "app_database_queues:default:reserved";

/// The same numbers for the same seed.
fn random(seed: u64, salt: u64) -> u64 {
    let mut x = (seed ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
    for _ in 0..3 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    x
}

fn seed() -> u64 {
    let seed = std::env::var("REGIE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    eprintln!("REGIE_SEED={seed}");
    seed
}

#[tokio::test]
async fn a_server_that_is_killed_again_and_again_loses_nothing() {
    const JOBS: usize = 6_000;
    let seed = seed();
    let mut server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..JOBS).await;
    let workers = Workers::new(4, move |seen| {
        let micros = random(seed, seen.job as u64) % 900;
        (Duration::from_micros(micros), Ending::Said(Verdict::Ack))
    });
    let (handle, left) = run(server.driver(9), &workers);
    for round in 1..=4 {
        let goal = JOBS * round / 6 + (random(seed, round as u64) % 200) as usize;
        until("some more are done", async || (workers.done() >= goal).then_some(())).await;
        server.kill();
        tokio::time::sleep(Duration::from_millis(random(seed, 77 + round as u64) % 300)).await;
        server.restart();
    }
    until("all are done", async || (workers.done() == JOBS).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.doubles(), [0; 0], "no worker died, so nothing runs twice");
    assert_eq!(count(&client, &["EXISTS", RESERVED, "app_database_queues:default"]).await, 0);
}

#[tokio::test]
async fn workers_that_die_cost_their_own_job_a_run() {
    const JOBS: usize = 4_000;
    let seed = seed();
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..JOBS).await;
    let refused = std::sync::atomic::AtomicU64::new(0);
    let workers = Workers::new(4, move |seen| {
        let chance = random(seed, seen.job as u64 * 31 + seen.attempts) % 20;
        let ending = match (seen.kind.as_str(), chance) {
            // Not three times: then it would be parked.
            ("run", 0) if seen.attempts < 3 => Ending::Died(Reason::Killed),
            // Now and then the pool takes nothing.
            ("run", 1) if refused.fetch_add(1, std::sync::atomic::Ordering::Relaxed).is_multiple_of(8) => {
                Ending::NotBegun
            }
            ("run", _) => Ending::Said(Verdict::Ack),
            _ => Ending::Said(Verdict::Release(Duration::ZERO)),
        };
        (Duration::from_micros(chance * 20), ending)
    });
    let (handle, left) = run(server.driver(9), &workers);
    until("all are done", async || (workers.done() == JOBS).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.doubles(), [0; 0]);
    assert_eq!(count(&client, &["EXISTS", RESERVED, "app_database_queues:default"]).await, 0);
}

/// While the server is away it is asked again with growing pauses, by few connections: no loop turns on nothing.
#[tokio::test]
async fn a_server_that_is_away_is_not_run_down() {
    const JOBS: usize = 400;
    // Each of a few steps begins with 20 ms and doubles up to 2 s; a loop without pauses would come to many thousands.
    const ASKED_MAX: usize = 400;
    let mut server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..JOBS).await;
    drop(client);
    let workers = Workers::new(4, |_| (Duration::from_millis(2), Ending::Said(Verdict::Ack)));
    let (handle, left) = run(server.driver(9), &workers);
    until("some are done", async || (workers.done() >= 40).then_some(())).await;
    server.kill();
    // In its place, somebody who counts who comes, and says nothing.
    std::fs::remove_file(server.socket()).unwrap();
    let listener = tokio::net::UnixListener::bind(server.socket()).unwrap();
    let counting = async {
        let mut asked = 0_usize;
        loop {
            let _ = listener.accept().await;
            asked += 1;
            COUNTED.store(asked, std::sync::atomic::Ordering::Relaxed);
        }
    };
    // Not to wait for something, but to be away for so long.
    let _ = tokio::time::timeout(Duration::from_secs(5), counting).await;
    drop(listener);
    std::fs::remove_file(server.socket()).unwrap();
    let asked = COUNTED.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=ASKED_MAX).contains(&asked), "{asked} connections");
    server.restart();
    until("all are done", async || (workers.done() == JOBS).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.begun.lock().unwrap().len(), JOBS, "none ran twice");
    assert_eq!(count(&server.client(), &["EXISTS", RESERVED, "app_database_queues:default"]).await, 0);
}

/// The network to the server is cut for a whole minute: what was on its way is lost, and nobody says so.
#[tokio::test]
async fn a_minute_without_the_network_costs_no_job() {
    const JOBS: usize = 3_000;
    let server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..JOBS).await;
    let folder = tempfile::tempdir().unwrap();
    let door = folder.path().join("network.sock");
    let (cut, is_cut) = tokio::sync::watch::channel(false);
    let network =
        tokio::spawn(carry(tokio::net::UnixListener::bind(&door).unwrap(), server.socket(), is_cut));
    let settings = regie_queue::shell::laravel_redis::Settings {
        endpoint: regie_queue::shell::redis::Endpoint {
            address: regie_queue::shell::redis::Address::Unix(door),
            ..server.endpoint()
        },
        prefix: "app_database_".to_owned(),
        // Leases end by the clock while nobody can extend them.
        retry_after: Some(Duration::from_secs(10)),
        mark: regie_queue::mark::Mark::from_seed(4),
    };
    // Half of them wait until it is cut, so that it is cut in the middle.
    let workers = Workers::new(4, |seen| {
        let span = if seen.job < JOBS / 2 { Duration::from_millis(4) } else { UNTIL_OPEN };
        (span, Ending::Said(Verdict::Ack))
    });
    let (handle, left) = run(regie_queue::shell::laravel_redis::LaravelRedis::new(settings), &workers);
    until("some are done", async || (workers.done() >= 100).then_some(())).await;
    cut.send(true).unwrap();
    workers.open();
    // Not to wait for something, but to be away for so long.
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(workers.done() < JOBS, "it was cut in the middle");
    cut.send(false).unwrap();
    // A machine under load has the workers' share of work to catch up with, too.
    let all = async || (workers.done() == JOBS).then_some(());
    until_within(Duration::from_secs(600), "all are done", all).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    network.abort();
    assert_eq!(workers.begun.lock().unwrap().len(), JOBS, "none ran twice");
    for key in [RESERVED, "app_database_queues:default", "app_database_queues:default:delayed"] {
        assert_eq!(count(&client, &["EXISTS", key]).await, 0, "{key}");
    }
}

/// Carries bytes between whoever comes and the server. While it is cut, connections stay open and nothing is carried; those of
/// that time end with it.
async fn carry(
    door: tokio::net::UnixListener,
    server: std::path::PathBuf,
    is_cut: tokio::sync::watch::Receiver<bool>,
) {
    loop {
        let Ok((mut here, _)) = door.accept().await else { continue };
        let (server, mut is_cut) = (server.clone(), is_cut.clone());
        tokio::spawn(async move {
            if !*is_cut.borrow() {
                let Ok(mut there) = tokio::net::UnixStream::connect(server).await else { return };
                tokio::select! {
                    biased;
                    _ = is_cut.wait_for(|cut| *cut) => {}
                    _ = tokio::io::copy_bidirectional(&mut here, &mut there) => return,
                }
            }
            let _ = is_cut.wait_for(|cut| !*cut).await;
        });
    }
}

static COUNTED: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// The server was away for longer than a lease lasts: what the workers have, or have done meanwhile, is not theirs again.
#[tokio::test]
async fn leases_outlive_a_server_that_is_away() {
    let mut server = Server::start();
    let client = server.client();
    ask(&client, &["PING"]).await;
    push(&client, 0..40).await;
    let workers = Workers::new(4, |_| (Duration::from_millis(40), Ending::Said(Verdict::Ack)));
    let settings = regie_queue::shell::laravel_redis::Settings {
        endpoint: server.endpoint(),
        prefix: "app_database_".to_owned(),
        retry_after: Some(Duration::from_secs(1)),
        mark: regie_queue::mark::Mark::from_seed(3),
    };
    let (handle, left) = run(regie_queue::shell::laravel_redis::LaravelRedis::new(settings), &workers);
    until("some are done", async || (workers.done() >= 4).then_some(())).await;
    server.kill();
    // Not to wait for something, but to be away for so long.
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.restart();
    until("all are done", async || (workers.done() == 40).then_some(())).await;
    handle.stop();
    assert_eq!(left.await.cut, 0);
    assert_eq!(workers.begun.lock().unwrap().len(), 40, "none ran twice");
    assert_eq!(count(&client, &["EXISTS", RESERVED, "app_database_queues:default"]).await, 0);
}
