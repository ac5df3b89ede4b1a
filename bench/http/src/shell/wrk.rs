//! Runs wrk.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::wrk::{Run, parse};

/// What wrk is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order<'a> {
    pub(crate) script: &'a Path,
    pub(crate) address: SocketAddr,
    pub(crate) path: &'a str,
    pub(crate) connections: u32,
    pub(crate) seconds: u32,
    /// Carried in turn; none for requests without.
    pub(crate) cookies: &'a [String],
    /// Bytes that each request sends; 0 for a GET.
    pub(crate) sends: u32,
    /// What each body must hold; `None` not to look.
    pub(crate) needle: Option<&'a str>,
}

pub(crate) fn run(order: &Order<'_>) -> Result<Run, String> {
    let threads = order.connections.min(2);
    let mut command = Command::new("wrk");
    command
        .arg(format!("-t{threads}"))
        .arg(format!("-c{}", order.connections))
        .arg(format!("-d{}s", order.seconds))
        .arg("--timeout=10s")
        .arg("-s")
        .arg(order.script);
    command.arg(format!("http://{}{}", order.address, order.path));
    command.args(["--", &order.sends.to_string(), order.needle.unwrap_or_default(), &threads.to_string()]);
    command.args(order.cookies);
    let output =
        command.output().map_err(|fault| format!("wrk cannot be run: {fault}; apt-get install wrk"))?;
    let printed =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    parse(&printed)
}
