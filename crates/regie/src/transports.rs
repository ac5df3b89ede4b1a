//! What Messenger's transports, as the application describes them, are for the drivers.

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use regie_queue::application::{Application, Transport};
use regie_queue::mark::Mark;
use regie_queue::shell::reach::{endpoint, target};
use regie_queue::shell::{symfony_doctrine, symfony_redis};

/// A transport of the Redis bridge.
pub(crate) fn stream(found: &Transport, mark: Mark) -> symfony_redis::Settings {
    let stream = found.stream.clone().unwrap_or_else(|| "messages".to_owned());
    symfony_redis::Settings {
        endpoint: endpoint(&found.server.clone().unwrap_or_default()),
        delayed: found.delayed.clone().unwrap_or_else(|| format!("{stream}__queue")),
        group: found.group.clone().unwrap_or_else(|| "symfony".to_owned()),
        delete_after_ack: found.delete_after_ack,
        max_entries: found.stream_max_entries,
        redeliver_timeout: redeliver_timeout(found),
        claim_interval: Duration::from_millis(found.claim_interval.unwrap_or(60_000)),
        serialized: found.is_serialized().unwrap_or(true),
        stream,
        mark,
    }
}

/// A transport of the Doctrine bridge, whose leases a runner keeps in `journal`.
pub(crate) fn table(
    application: &Application,
    found: &Transport,
    journal: PathBuf,
) -> symfony_doctrine::Settings {
    symfony_doctrine::Settings {
        target: target(found.database.as_ref()),
        table: found.table_name.clone().unwrap_or_else(|| "messenger_messages".to_owned()),
        queue_name: found.queue_name.clone().unwrap_or_else(|| "default".to_owned()),
        redeliver_timeout: redeliver_timeout(found),
        zone: zone(application.timezone.as_deref()),
        journal,
    }
}

fn redeliver_timeout(found: &Transport) -> Duration {
    Duration::from_secs(found.redeliver_timeout.unwrap_or(3600))
}

/// The zone in which Doctrine's times are written.
fn zone(name: Option<&str>) -> TimeZone {
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}
