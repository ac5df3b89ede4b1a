//! Ports for servers of others that cannot tell which one the system has given them.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ports from here are given: below those that the system gives to outgoing connections, and to who asks for any port.
const FIRST: u16 = 20_000;
/// So many of them; the ports of a cluster's bus lie 10,000 above.
const COUNT: u32 = 2_500;

/// A port of loopback that was free just now, and that this process is given once. Another process may still come first:
/// whoever starts a server on it has to look whether it is that server which answers.
///
/// # Panics
/// When none is free.
#[must_use]
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes that run at the same time have neighbouring numbers: they begin far from each other.
    let first = std::process::id().wrapping_mul(379);
    for _ in 0..COUNT {
        let turn = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + u16::try_from(first.wrapping_add(turn) % COUNT).expect("there are so many");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("none of the {COUNT} ports from {FIRST} on is free");
}
