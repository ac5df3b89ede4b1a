//! Questions about the gateway itself, for whoever watches over it. They come by listeners of their own, are answered while
//! every worker is busy, and are neither counted nor logged as requests of the site.
//!
//! - `/healthz`: 200 as long as the process can answer at all.
//! - `/readyz`: 200 when a request would be answered now; 503 with the reason when it would not: no worker is there, the
//!   pool cannot be reached, or as many requests wait as may wait. A load balancer sends its requests elsewhere.
//! - `/metrics`: see [`crate::metrics`].

use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};

use super::body::OutBody;
use super::gateway::{Asked, Gateway};
use super::record::By;
use super::reply::Reply;
use crate::metrics::{self, Look, PoolLook};

/// The names of the two pools, as the configuration has them.
const WEB: &str = "web";
const SIDE: &str = "web-classic";

const PLAIN: &str = "text/plain; charset=utf-8";

impl Gateway {
    /// Answers a question about the gateway.
    pub(crate) async fn tell_status(&self, asked: &Asked) -> Reply {
        if asked.method != Method::GET && asked.method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "ask with GET\n".into());
        }
        match asked.target.split('?').next().unwrap_or_default() {
            "/healthz" => text(StatusCode::OK, PLAIN, "ok\n".into()),
            "/readyz" => match self.why_not_ready().await {
                None => text(StatusCode::OK, PLAIN, "ready\n".into()),
                Some(why) => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("not ready: {why}\n")),
            },
            "/metrics" => text(StatusCode::OK, metrics::CONTENT_TYPE, metrics::page(&self.look())),
            _ => text(StatusCode::NOT_FOUND, PLAIN, "here are /healthz, /readyz and /metrics\n".into()),
        }
    }

    async fn why_not_ready(&self) -> Option<String> {
        let pool = self.pool()?;
        pool.why_out_of_service().await.map(|why| format!("the pool {WEB}: {why}"))
    }

    fn look(&self) -> Look<'static> {
        let stats = self.stats();
        let asked = [(WEB, self.pool(), By::Pool), (SIDE, self.side_pool(), By::SidePool)];
        let pools = asked.into_iter().filter_map(|(name, pool, by)| {
            let meter = &self.meters[by as usize];
            let (took, queued) = (meter.took.read(), meter.queued.read());
            Some(PoolLook { name, counts: pool?.counts(), took, queued })
        });
        Look {
            open: stats.open,
            accepted: self.counters.connections.load(Ordering::Relaxed),
            answers: stats.answers,
            own: self.meters[By::Gateway as usize].took.read(),
            pools: pools.collect(),
        }
    }
}

fn text(status: StatusCode, kind: &'static str, text: String) -> Reply {
    Reply::new(status, OutBody::Full(Bytes::from(text)))
        .with(header::CONTENT_TYPE, HeaderValue::from_static(kind))
        .with(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))
}
