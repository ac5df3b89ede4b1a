//! Load that is bounded in count, and says exactly what came back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use regie_e2e::Connection;

/// What a client saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Answers with 200 and the body that was expected.
    pub(crate) good: usize,
    /// Everything else, in words.
    pub(crate) bad: Vec<String>,
}

/// Clients that ask until they are told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Seen>>,
}

/// No client asks more often than this, whatever happens to the test.
const ASK_LIMIT: usize = 200_000;

impl Load {
    /// Starts `clients` clients that ask for `path` on kept connections; `right` says whether a body is.
    pub(crate) fn start(address: SocketAddr, clients: usize, path: &str, right: fn(&str) -> bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = || {
            let (stop, path) = (Arc::clone(&stop), path.to_owned());
            std::thread::spawn(move || ask_until(&stop, address, &path, right))
        };
        let clients = (0..clients).map(|_| client()).collect();
        Self { stop, clients }
    }

    /// Stops the clients and adds up what they saw.
    pub(crate) fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in self.clients {
            let seen = client.join().expect("a client does not panic");
            all.good += seen.good;
            all.bad.extend(seen.bad);
        }
        all
    }
}

fn ask_until(stop: &AtomicBool, address: SocketAddr, path: &str, right: fn(&str) -> bool) -> Seen {
    let mut seen = Seen::default();
    let mut connection: Option<Connection> = None;
    for _ in 0..ASK_LIMIT {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let fresh = connection.is_none();
        let answer = match connection.take() {
            Some(open) => Ok(open),
            None => Connection::open(address),
        };
        let answer = answer.and_then(|mut open| open.ask("GET", path, &[], b"").map(|reply| (open, reply)));
        match answer {
            Ok((open, reply)) => {
                if reply.status == 200 && right(&reply.text()) {
                    seen.good += 1;
                } else {
                    seen.bad.push(format!("{} {}", reply.status, reply.text()));
                }
                connection = (!reply.header("connection").eq_ignore_ascii_case("close")).then_some(open);
            }
            // A kept connection may be closed by the server between two requests; a client then opens another.
            Err(_) if !fresh => {}
            Err(fault) => seen.bad.push(fault.to_string()),
        }
    }
    seen
}
