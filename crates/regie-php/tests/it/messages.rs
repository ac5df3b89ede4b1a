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
                jobs(carrier, &["--workers", "1", "--request-timeout", pools, "--request-grace", "200ms"]);
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
            assert!(took > Duration::from_millis(290) && took < Duration::from_millis(2500), "{took:?}");
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
        let before = pool.workers();
        let answer = pool.peer().try_ask(&message("stuck").with("REGIE_TIMEOUT_MS", "200"));
        match carrier {
            // The worker's last words.
            Carrier::FastCgi => assert_eq!(answer.unwrap().status, 504),
            // The gateway's client of these tests knows no limit, so it sees a death.
            Carrier::Lane => assert!(answer.is_err(), "{answer:?}"),
        }
        pool.wait_for_log("is killed: its request did not end within --request-grace");
        wait_until(
            "the replacement",
            || !pool.workers().is_empty() && pool.workers() != before,
            || pool.log(),
        );
        assert!(pool.ask(&message("count")).text().starts_with("1 "));
    }
}
