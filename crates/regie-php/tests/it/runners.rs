//! The worker scripts of Laravel Octane and of Symfony's runtime. Neither is in Debian: these make the same calls in the same
//! order (`runner-octane.php`, `runner-symfony.php`).

use crate::client::{Answer, Connection};
use crate::pool::{Mode, Pool};

/// Asks over kept connections, as a gateway does, and moves to another one when a worker says goodbye.
struct Visitor<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Visitor<'_> {
    fn ask(&mut self, uri: &str, shape: impl FnOnce(crate::client::Ask) -> crate::client::Ask) -> Answer {
        let open = || Connection::open_as_gateway(&self.pool.socket());
        let mut connection = self.connection.take().unwrap_or_else(open);
        let answer = connection.ask(&shape(self.pool.get(uri)));
        self.connection = (!answer.goodbye).then_some(connection);
        answer
    }
}

#[test]
fn octanes_loop_answers_reports_and_ends_after_its_requests() {
    const MOST: usize = 7;
    let pool = Pool::start(
        Mode::Worker,
        "runner-octane.php",
        &["--workers", "1", "--env", "MAX_REQUESTS=7", "--env", "REQUEST_MAX_EXECUTION_TIME=30"],
    );
    let mut visitor = Visitor { pool: &pool, connection: None };
    for i in 0..3 * MOST {
        let uri = format!("/?i={i}");
        let body = format!("body {i}");
        let answer = visitor.ask(&uri, |ask| ask.post("text/plain", body.as_bytes()));
        assert_eq!(answer.text(), format!("[\"{i}\",\"{body}\",\"POST\",1]"));
        assert_eq!(answer.header("X-Worker"), Some((i % MOST + 1).to_string().as_str()), "request {i}");
    }
    pool.wait_for_log("terminated after 7");
    let thrown = visitor.ask("/?throw=1", |ask| ask);
    assert_eq!((thrown.status, thrown.text().as_str()), (500, "Internal Server Error"));
    pool.wait_for_log("reported: on purpose");
    let next = visitor.ask("/?i=next", |ask| ask);
    assert_eq!((next.status, next.header("X-Worker")), (200, Some("2")), "the same worker goes on");
}

#[test]
fn octanes_script_refuses_to_run_elsewhere() {
    let pool = Pool::start(Mode::Classic, "runner-octane.php", &["--workers", "1"]);
    let answer = pool.ask(&pool.get("/"));
    assert_eq!(answer.text(), "FrankenPHP must be in worker mode to use this script.");
}

#[test]
fn symfonys_loop_terminates_when_the_answer_has_left() {
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let flags = ["--workers", "1", "--env", "FROM_POOL=pool", "--env", "FRANKENPHP_LOOP_MAX=5"];
    let pool = Pool::start(Mode::Worker, "runner-symfony.php", &flags);
    let mut visitor = Visitor { pool: &pool, connection: None };
    // The whole answer is here, and the worker waits behind it.
    let early = visitor.ask(&format!("/?i=first&gate={}", gate.display()), |ask| ask);
    assert!(early.text().starts_with("[\"web=1&worker=1\",\"pool\","), "{}", early.text());
    assert!(!pool.log().contains("terminated first"), "it waits for the gate");
    std::fs::write(&gate, "").unwrap();
    pool.wait_for_log("terminated first");
    // Ends after five, each time, and nobody notices. Nothing of one request is in the next.
    for i in 0..17 {
        let own = i % 2 == 0;
        let answer =
            visitor.ask(&format!("/?i={i}"), |ask| if own { ask.with("HTTP_X_OWN", "mine") } else { ask });
        let header = if own { "\"mine\"" } else { "null" };
        assert_eq!(
            answer.text(),
            format!("[\"web=1&worker=1\",\"pool\",true,{header},\"i={i}\",{{\"i\":\"{i}\"}}]"),
            "request {i}"
        );
    }
    pool.wait_for_log("terminated 16");
}
