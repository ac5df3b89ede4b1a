//! A job on its way from one queue to another: what the layouts of Laravel's drivers write differently.
//!
//! - Redis keeps the attempts, and an id of 32 characters, in the payload; its pop script fails on a payload without
//!   attempts.
//! - The `jobs` table keeps the attempts in a column, and passes over what the payload says.
//!
//! Apart from these two fields no byte of a payload is touched.

use crate::payload;

/// A job that was taken out of its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parcel {
    /// What the source knows it by.
    pub id: String,
    /// The payload as it lay there.
    pub payload: String,
    /// The attempts begun.
    pub attempts: u32,
    /// The unix second before which it must not run.
    pub at: Option<u64>,
}

/// Whether a worker could read it at all. In Redis, a payload that is none would stop the queue behind it.
#[must_use]
pub fn is_job(payload: &str) -> bool {
    payload::read(payload).is_some() && serde_json::from_str::<serde::de::IgnoredAny>(payload).is_ok()
}

/// The payload as Laravel's Redis queue has it.
#[must_use]
pub fn for_redis(parcel: &Parcel) -> String {
    if let Some(payload) = payload::with_attempts(&parcel.payload, parcel.attempts) {
        return payload;
    }
    let Some((body, empty)) =
        parcel.payload.trim_end().strip_suffix('}').map(|body| (body, body.trim() == "{"))
    else {
        return parcel.payload.clone();
    };
    let uuid: String = payload::read(&parcel.payload)
        .and_then(|read| read.id)
        .unwrap_or(&parcel.id)
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect();
    let comma = if empty { "" } else { "," };
    format!("{body}{comma}\"id\":\"{uuid}\",\"attempts\":{}}}", parcel.attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_has_attempts_and_id_in_the_payload() {
        for (payload, expected) in [
            (r#"{"uuid":"a-1","data":[]}"#, r#"{"uuid":"a-1","data":[],"id":"a1","attempts":2}"#),
            (
                r#"{"id":"x","attempts":0,"data":{"attempts":9}}"#,
                r#"{"id":"x","attempts":2,"data":{"attempts":9}}"#,
            ),
            ("{}", r#"{"id":"7","attempts":2}"#),
            ("{\"job\":\"caf\u{e9}\"} ", "{\"job\":\"caf\u{e9}\",\"id\":\"7\",\"attempts\":2}"),
            ("no job", "no job"),
        ] {
            let parcel = Parcel { id: "7".to_owned(), payload: payload.to_owned(), attempts: 2, at: None };
            assert_eq!(for_redis(&parcel), expected);
        }
    }

    #[test]
    fn what_no_worker_could_read_is_told() {
        for (payload, expected) in
            [("{}", true), ("no job", false), ("{\"a\":tru}", false), ("", false), ("{", false)]
        {
            assert_eq!(is_job(payload), expected, "{payload}");
        }
    }
}
