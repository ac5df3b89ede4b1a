//! What is particular to rewind mode: each request finds the process as the boot left it.

use std::collections::HashSet;

use crate::client::Connection;
use crate::pool::{Mode, Pool};

/// A pool of one worker in rewind mode that looks at every page after each request, and a connection to it.
fn one(script: &str, flags: &[&str]) -> (Pool, Connection) {
    let pool = Pool::start(Mode::Rewind, script, &[&["--workers", "1", "--paranoid"], flags].concat());
    let connection = Connection::open_as_gateway(&pool.socket());
    (pool, connection)
}

#[test]
fn each_request_finds_what_the_boot_left() {
    let (pool, mut connection) = one("rewind.php", &[]);
    let answers: Vec<String> = (0..50).map(|_| connection.ask(&pool.get("/?leave")).text()).collect();
    let parts: Vec<Vec<&str>> = answers.iter().map(|answer| answer.split(' ').collect()).collect();
    let pids: HashSet<&str> = parts.iter().map(|parts| parts[0]).collect();
    assert_eq!(pids.len(), 1, "one process served all: {answers:?}");
    let kept: HashSet<&str> = parts.iter().map(|parts| parts[1]).collect();
    assert_eq!(kept, HashSet::from(["1,1,0,UTC,boot,22"]), "{}", pool.log());
    let random: HashSet<&str> = parts.iter().flat_map(|parts| &parts[2..]).copied().collect();
    assert_eq!(random.len(), 50 * 4, "no number came twice: {answers:?}");
    assert!(!pool.log().contains("put back"), "{}", pool.log());
}
