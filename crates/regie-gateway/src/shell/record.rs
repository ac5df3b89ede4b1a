//! What the access log says of one request. It is written when the answer has ended, or when nobody waits for it any
//! more: a request that was dropped before its answer is logged with nginx's 499.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clock::{now, time_of_day};
use super::gateway::{Asked, Shared};
use crate::access_log::{self, Entry, LogFormat};

/// The client went away before there was an answer.
const CLIENT_LEFT: u16 = 499;

/// A line to come.
#[derive(Debug)]
pub(crate) struct Record {
    gateway: Shared,
    asked: Arc<Asked>,
    format: LogFormat,
    begun: Instant,
    at: Duration,
    pub(crate) client: IpAddr,
    pub(crate) request_id: String,
    pub(crate) status: u16,
    pub(crate) queued: Duration,
    pub(crate) bytes: u64,
}

impl Record {
    pub(crate) fn new(
        gateway: &Shared,
        asked: &Arc<Asked>,
        client: IpAddr,
        request_id: &str,
    ) -> Option<Box<Self>> {
        let format = gateway.settings.access_log?;
        Some(Box::new(Self {
            gateway: gateway.clone(),
            asked: asked.clone(),
            format,
            begun: now(),
            at: time_of_day(),
            client,
            request_id: request_id.to_owned(),
            status: CLIENT_LEFT,
            queued: Duration::ZERO,
            bytes: 0,
        }))
    }
}

impl Drop for Record {
    fn drop(&mut self) {
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
            took: now() - self.begun,
            queued: self.queued,
            request_id: &self.request_id,
        };
        self.gateway.logs.access(|out| access_log::put(out, self.format, &entry));
    }
}
