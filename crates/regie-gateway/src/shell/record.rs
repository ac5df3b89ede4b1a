//! What the access log says of one request. It is written when the answer has ended, or when nobody waits for it any
//! more: a request that was dropped before its answer is logged with nginx's 499. The same moment is the end of the
//! request for the metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::{now, time_of_day};
use super::gateway::{Asked, Shared};
use crate::access_log::{self, Entry, LogFormat};
use crate::metrics::Histogram;

/// The client went away before there was an answer.
const CLIENT_LEFT: u16 = 499;

/// A line to come.
#[derive(Debug)]
pub(crate) struct Record {
    gateway: Shared,
    asked: Arc<Asked>,
    format: Option<LogFormat>,
    begun: Instant,
    at: Duration,
    pub(crate) client: IpAddr,
    pub(crate) request_id: String,
    pub(crate) status: u16,
    /// Who was asked for the answer.
    pub(crate) by: By,
    /// How long it waited for a worker; none = no worker took it.
    pub(crate) queued: Option<Duration>,
    pub(crate) bytes: u64,
}

/// Who answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum By {
    /// The gateway itself: files, redirects, refusals.
    #[default]
    Gateway,
    /// PHP.
    Pool,
    /// PHP, in the pool beside the worker's.
    SidePool,
}

impl By {
    /// As an index of the meters.
    pub(crate) const ALL: usize = 3;
}

/// Durations of the requests that one of [`By`] has answered.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) took: Histogram,
    pub(crate) queued: Histogram,
}

impl Record {
    pub(crate) fn new(gateway: &Shared, asked: &Arc<Asked>, client: IpAddr, request_id: &str) -> Box<Self> {
        let format = gateway.settings.access_log;
        Box::new(Self {
            gateway: gateway.clone(),
            asked: asked.clone(),
            format,
            begun: now(),
            at: if format.is_some() { time_of_day() } else { Duration::ZERO },
            client,
            request_id: request_id.to_owned(),
            status: CLIENT_LEFT,
            by: By::Gateway,
            queued: None,
            bytes: 0,
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = now() - self.begun;
        let meter = &self.gateway.meters[self.by as usize];
        meter.took.observe(took);
        if let Some(queued) = self.queued {
            meter.queued.observe(queued);
        }
        let Some(format) = self.format else { return };
        let asked = &self.asked;
        let entry = Entry {
            at: self.at,
            client: self.client,
            method: &asked.method,
            target: &asked.target,
            version: asked.version,
            host: asked.host(),
            headers: &asked.headers,
            status: self.status,
            bytes: self.bytes,
            took,
            queued: self.queued.unwrap_or_default(),
            request_id: &self.request_id,
        };
        self.gateway.logs.access(|out| access_log::put(out, format, &entry));
    }
}
