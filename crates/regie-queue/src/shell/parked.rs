//! What is kept in a Redis of a job that was taken out of its queue: the payload as text where it is text, and why.

use bytes::Bytes;

use super::clock::unix;
use super::driver::Listed;

/// A job as it is kept.
pub(super) fn parked(payload: &[u8], why: &str) -> Vec<u8> {
    let kept = serde_json::json!({
        "payload": String::from_utf8_lossy(payload),
        "reason": why,
        "parked_at": unix().as_secs(),
    });
    kept.to_string().into_bytes()
}

/// The job that was kept; none when it is nothing of ours.
pub(super) fn unparked(kept: &[u8]) -> Option<Listed> {
    let kept: serde_json::Value = serde_json::from_slice(kept).ok()?;
    Some(Listed {
        payload: Bytes::from(kept["payload"].as_str()?.to_owned()),
        at: kept["parked_at"].as_u64(),
        reason: kept["reason"].as_str().map(str::to_owned),
    })
}
