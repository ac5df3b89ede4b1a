//! Messages to a worker script: what the callback gets, what comes back, and how each bad end is told apart.

use std::time::Duration;

use crate::client::{Answer, Ask};
use crate::pool::{Carrier, Mode, Pool, now, wait_until};

const CARRIERS: [Carrier; 2] = [Carrier::FastCgi, Carrier::Lane];

/// A pool as the job runner has it.
fn jobs(carrier: Carrier, flags: &[&str]) -> Pool {
    let flags = [&["--sapi-name", "cli", "--pool", "jobs"], flags].concat();
    Pool::start_on((Mode::Worker, carrier), "messages.php", &flags)
}

fn message(body: &str) -> Ask {
    let ask = Ask { params: Vec::new(), body: body.as_bytes().to_vec() };
    ask.with("REGIE_MESSAGE", "1")
        .with("REGIE_ID", "redis:default:17")
        .with("CONTENT_LENGTH", &body.len().to_string())
}

fn ended(answer: &Answer) -> (u16, &str, String) {
    (answer.status, answer.header("Regie-Ended").unwrap_or_default(), answer.text())
}

#[test]
fn the_callback_gets_the_body_and_its_result_is_the_answer() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1"]);
        let mut peer = pool.peer();
        for len in [7, 100, 70_000, 300_000] {
            let body = format!("length {}", "é\0x".repeat(len / 4));
            let expected = peer.ask(&message(&body)).text();
            assert!(expected.starts_with(&format!("{} ", body.len())), "{carrier:?} {len}: {expected}");
        }
        for (body, expected) in
            [("nothing", ""), ("buffer this", "buffered this"), ("unknown", "what is unknown?")]
        {
            assert_eq!(ended(&peer.ask(&message(body))), (200, "", expected.to_owned()), "{carrier:?}");
        }
        let large = peer.ask(&message("large 40000"));
        assert_eq!((large.status, large.body.len()), (200, 640_000), "{carrier:?}");
        let unknown_length = Ask { params: Vec::new(), body: b"length".to_vec() }.with("REGIE_MESSAGE", "1");
        assert!(peer.ask(&unknown_length).text().starts_with("6 "), "{carrier:?}");
        assert_eq!(peer.ask(&pool.get("/")).text(), "a request", "{carrier:?}: requests come as ever");
    }
}

#[test]
fn the_script_is_as_under_the_command_line() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1"]);
        let world = pool.ask(&message("world")).text();
        assert_eq!(world, r#"["cli",true,[],[],[],null,0,"0","0",false,false,[],0]"#, "{carrier:?}");
    }
}

#[test]
fn what_is_printed_goes_to_the_log() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1"]);
        let answer = pool.ask(&message("print this"));
        assert_eq!((ended(&answer), answer.headers.len()), ((200, "", "fine".to_owned()), 0), "{carrier:?}");
        pool.wait_for_log("printed this");
    }
}

#[test]
fn state_is_put_back_and_the_boot_stays() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1", "--ini", "date.timezone=UTC"]);
        let mut peer = pool.peer();
        let first = peer.ask(&message("count")).text();
        assert_eq!(peer.ask(&message("soil")).text(), "soiled");
        assert_eq!(peer.ask(&message("clean")).text(), "14 UTC", "{carrier:?}");
        let (booted, fourth) = (first.strip_prefix("1 ").unwrap(), peer.ask(&message("count")).text());
        assert_eq!(fourth, format!("4 {booted}"), "{carrier:?}");
    }
}

#[test]
fn each_bad_end_is_told_apart_and_costs_its_message_only() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1", "--ini", "memory_limit=64M"]);
        let mut peer = pool.peer();
        for (body, kind, text, same_process, same_boot) in [
            ("throw it", "exception", "DomainException: thrown it in ", true, true),
            ("exit 3", "exit", "3", true, false),
            ("exit 0", "exit", "0", true, false),
            ("fatal", "fatal", "given up in ", false, false),
            ("oom", "fatal", "Allowed memory size of 67108864 bytes exhausted", false, false),
        ] {
            let counts = |text: String| {
                let mut words = text.split(' ').skip(1).map(str::to_owned);
                (words.next().unwrap(), words.next().unwrap())
            };
            let before = counts(peer.ask(&message("count")).text());
            let (status, said, found) = {
                let answer = peer.ask(&message(body));
                let (status, said, found) = ended(&answer);
                (status, said.to_owned(), found)
            };
            assert_eq!((status, said.as_str()), (500, kind), "{carrier:?} {body}: {found}");
            assert!(found.starts_with(text), "{carrier:?} {body}: {found}");
            // One worker serves one connection.
            drop(peer);
            peer = pool.peer();
            let after = counts(peer.ask(&message("count")).text());
            assert_eq!(
                (before.0 == after.0, before.1 == after.1),
                (same_boot, same_process),
                "{carrier:?} {body}"
            );
        }
        assert!(peer.try_ask(&message("kill")).is_err(), "{carrier:?}");
        drop(peer);
        assert!(pool.peer().ask(&message("count")).text().starts_with("1 "), "{carrier:?}");
        pool.wait_for_log("(SIGKILL) in message redis:default:17");
    }
}

#[test]
fn a_message_that_breaks_off_is_never_run() {
    let pool = jobs(Carrier::FastCgi, &["--workers", "1"]);
    let short = message("print never").with("CONTENT_LENGTH", "100");
    assert_eq!(ended(&pool.ask(&short)), (400, "", "the message broke off\n".to_owned()));
    assert!(pool.ask(&message("count")).text().starts_with("1 "));
    assert!(!pool.log().contains("printed never"));
}

#[test]
fn a_message_brings_its_own_time_limit() {
    for carrier in CARRIERS {
        // The pool's own limit would come too late for the test, or there is none.
        for pools in ["60s", "0"] {
            let pool =
                jobs(carrier, &["--workers", "1", "--request-timeout", pools, "--request-grace", "100s"]);
            let mut peer = pool.peer();
            assert!(peer.ask(&message("count").with("REGIE_TIMEOUT_MS", "30000")).text().starts_with("1 "));
            let began = now();
            let answer = peer.ask(&message("sleep").with("REGIE_TIMEOUT_MS", "300"));
            assert_eq!(
                ended(&answer).0 as usize * 10 + usize::from(ended(&answer).1 == "timeout"),
                5001,
                "{carrier:?}: {answer:?}"
            );
            assert!(answer.text().starts_with("Maximum request time exceeded in "), "{}", answer.text());
            let took = began.elapsed();
            assert!(took > Duration::from_millis(290) && took < Duration::from_secs(90), "{took:?}");
            pool.wait_for_log("message redis:default:17");
            pool.wait_for_log("has run longer than 300ms");
            assert!(pool.ask(&message("count")).text().starts_with("1 "), "{carrier:?}: in a new process");
        }
    }
}

#[test]
fn a_message_that_does_not_end_is_killed() {
    for carrier in CARRIERS {
        let pool = jobs(carrier, &["--workers", "1", "--request-grace", "200ms"]);
        let mut before = Vec::new();
        // On a machine that stands still the time may be up before PHP is stuck: then PHP ends it by itself.
        let is_killed = (0..20).any(|_| {
            before = pool.wait_for_workers(1);
            let answer = pool.peer().try_ask(&message("stuck").with("REGIE_TIMEOUT_MS", "200"));
            match carrier {
                // The worker's last words.
                Carrier::FastCgi => answer.unwrap().status == 504,
                // The gateway's client of these tests knows no limit, so it sees a death.
                Carrier::Lane => answer.is_err(),
            }
        });
        assert!(is_killed, "{carrier:?}: {}", pool.log());
        pool.wait_for_log("is killed: its request did not end within --request-grace");
        wait_until(
            "the replacement",
            || !pool.workers().is_empty() && pool.workers() != before,
            || pool.log(),
        );
        assert!(pool.ask(&message("count")).text().starts_with("1 "));
    }
}

/// A sender as the job runner is one: through the lane, with outcomes that outlive it.
mod sender {
    use std::sync::Arc;

    use regie_lane::Lane;
    use regie_pool::{Address, Heirloom, Message, MessageError, Pool as Workers, PoolSettings};

    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn settings(pool: &Pool) -> PoolSettings {
        let lane: Arc<Lane> = pool.lane();
        PoolSettings { lane: Some(lane), ..PoolSettings::new(Address::Unix(pool.socket())) }
    }

    fn to(id: &str, body: &str) -> Message {
        Message::new(id.to_owned(), body.to_owned().into())
    }

    #[test]
    fn each_end_has_its_name() {
        let pool =
            jobs(Carrier::Lane, &["--workers", "1", "--request-grace", "5s", "--ini", "memory_limit=64M"]);
        runtime().block_on(async {
            let workers = Workers::start(settings(&pool));
            for (body, limit_ms, expected) in [
                ("buffer it", 0, "Ok(b\"buffered it\")"),
                ("throw it", 0, "Err(Exception("),
                ("exit 4", 0, "Err(Exit(\"4\"))"),
                ("oom", 0, "Err(Fatal(\"Allowed memory size"),
                ("kill", 0, "Err(Died)"),
                ("sleep", 200, "Err(Timeout(\"Maximum request time exceeded"),
                ("stuck", 200, "Err(Timeout(\"\"))"),
                ("length", 60_000, "Ok(b\"6 "),
            ] {
                // On a machine that stands still the time may be up before PHP is stuck: then PHP ends it by itself.
                for last in [false, false, false, true] {
                    let message = Message { time_limit: Duration::from_millis(limit_ms), ..to("x", body) };
                    let delivered = workers.message(message).await;
                    let found = format!("{:?}", delivered.outcome);
                    delivered.hold.release();
                    if found.starts_with(expected) {
                        break;
                    }
                    assert!(body == "stuck" && !last && found.starts_with("Err(Timeout("), "{body}: {found}");
                }
            }
            let large = format!("length {}", "x".repeat(600_000));
            let delivered = workers.message(to("large", &large)).await;
            assert!(delivered.outcome.unwrap().starts_with(format!("{} ", large.len()).as_bytes()));
            delivered.hold.release();
        });
    }

    #[test]
    fn over_fastcgi_it_is_the_same_without_heirs() {
        let pool = jobs(Carrier::FastCgi, &["--workers", "1"]);
        runtime().block_on(async {
            let workers = Workers::start(PoolSettings::new(Address::Unix(pool.socket())));
            let delivered = workers.message(to("x", "exit 4")).await;
            assert!(matches!(delivered.outcome, Err(MessageError::Exit(status)) if status == "4"));
            let message = Message { time_limit: Duration::from_millis(200), ..to("x", "sleep") };
            let delivered = workers.message(message).await;
            assert!(matches!(delivered.outcome, Err(MessageError::Timeout(_))), "{delivered:?}");
        });
    }

    #[test]
    fn what_no_worker_has_can_be_taken_back() {
        let pool = jobs(Carrier::Lane, &["--workers", "1"]);
        runtime().block_on(async {
            let workers = Workers::start(settings(&pool));
            // They hold the worker for much longer than what is done meanwhile takes.
            let message = Message { time_limit: Duration::from_secs(5), ..to("1", "sleep") };
            let first = workers.send(message).await.unwrap();
            wait_until("the worker has the first", || first.is_begun(), || pool.log());
            let second = workers.send(to("2", "print second")).await.unwrap();
            assert!(!second.is_begun());
            second.take_back().unwrap();
            let first = first.take_back().unwrap_err();
            assert!(matches!(first.answer().await.outcome, Err(MessageError::Timeout(_))));
            let patience = Some(Duration::from_millis(50));
            let busy = workers.send(Message { time_limit: Duration::from_secs(5), ..to("3", "sleep") });
            let busy = busy.await.unwrap();
            let impatient = workers.message(Message { patience, ..to("4", "print fourth") }).await;
            assert!(matches!(impatient.outcome, Err(MessageError::NotBegun(_))), "{impatient:?}");
            busy.answer().await.hold.release();
            assert!(!pool.log().contains("printed"));
        });
    }

    /// A sender ends with one message answered and not settled, one in a worker's hands, and one waiting. (One that is killed:
    /// the tests of the lane.)
    #[test]
    fn an_heir_gets_what_was_not_settled() {
        let pool = jobs(Carrier::Lane, &["--workers", "1"]);
        runtime().block_on(async {
            let workers = Workers::start(settings(&pool));
            let settled = workers.message(to("settled", "buffer 1")).await;
            settled.hold.release();
            let answered = workers.message(to("answered", "buffer 2")).await;
            assert_eq!(answered.outcome.unwrap(), "buffered 2");
            let time_limit = Duration::from_secs(5);
            let running = workers.send(Message { time_limit, ..to("running", "sleep") }).await.unwrap();
            wait_until("the worker has it", || running.is_begun(), || pool.log());
            // What no worker has goes back without a trace; what one has stays.
            drop(workers.send(to("waiting", "print never")).await.unwrap());
            drop(running);
            workers.close();
        });
        runtime().block_on(async {
            let (workers, heirlooms) = Workers::start_as_heir(settings(&pool));
            let mut seen = Vec::new();
            for Heirloom { id, sent } in heirlooms {
                let Some(sent) = sent else {
                    seen.push(format!("{id}: not begun"));
                    continue;
                };
                let delivered = sent.answer().await;
                seen.push(match &delivered.outcome {
                    Ok(body) => format!("{id}: {}", String::from_utf8_lossy(body)),
                    Err(error) => format!("{id}: {error}"),
                });
                delivered.hold.release();
            }
            seen.sort();
            assert_eq!(seen.len(), 2, "{seen:?}");
            assert_eq!(seen[0], "answered: buffered 2");
            assert!(seen[1].starts_with("running: it ran longer than it may"), "{seen:?}");
            assert_eq!(workers.message(to("next", "buffer 3")).await.outcome.unwrap(), "buffered 3");
            assert!(!pool.log().contains("printed never"));
        });
    }
}
