//! Which of the jobs that wait somebody looks for: by id, class, tag and text, read from the payload as it lies there.
//!
//! - **class**: Laravel's `displayName`; Messenger's header `type`, or where that is missing (PHP's serialization is in use) a class
//!   of any object in the body. With or without its namespace.
//! - **tag**: the payload's `tags`, which Horizon writes.
//! - **text**: anywhere in the payload, also where JSON has escaped it.

use serde::{Deserialize, Serialize};

use crate::payload;

/// What is looked for; what is left out wants all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sought {
    /// The job with this id.
    pub id: Option<String>,
    /// Only those of this class.
    pub class: Option<String>,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those with this text.
    pub text: Option<String>,
}

#[derive(Deserialize)]
struct Tagged {
    #[serde(default)]
    tags: Vec<String>,
}

impl Sought {
    /// Whether everything is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the job with this payload is one of them. `id` is what its server knows it by, where the payload has none.
    #[must_use]
    pub fn has(&self, payload: &str, id: Option<&str>) -> bool {
        if self.is_all() {
            return true;
        }
        let read = payload::read(payload).unwrap_or_default();
        let is_id = |wanted: &str| read.id.or(id) == Some(wanted);
        self.id.as_deref().is_none_or(is_id)
            && self.class.as_deref().is_none_or(|class| is_class(payload, read.class, class))
            && self.text.as_deref().is_none_or(|text| contains(payload, text))
            && self.tag.as_deref().is_none_or(|tag| has_tag(payload, tag))
    }
}

fn is_class(payload: &str, told: Option<&str>, wanted: &str) -> bool {
    let wanted = wanted.trim_start_matches('\\');
    let ends =
        |name: &str| name.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('\\'));
    if let Some(told) = told {
        return ends(&payload::class_name(told));
    }
    // A short name is looked for first: reading the whole costs more.
    let last = wanted.rsplit('\\').next().unwrap_or(wanted);
    if !payload.contains(last) {
        return false;
    }
    let Ok(message) = serde_json::from_str::<serde_json::Value>(payload) else { return false };
    if let Some(class) = message["headers"]["type"].as_str() {
        return ends(class);
    }
    // `O:11:"App\Counted":1:{…`, with slashes before what is special, as PhpSerializer adds them.
    let body = message["body"].as_str().unwrap_or_default().replace("\\\\", "\u{1}").replace('\\', "");
    let body = body.replace('\u{1}', "\\");
    body.split("O:").skip(1).any(|object| object.split('"').nth(1).is_some_and(ends))
}

fn contains(payload: &str, text: &str) -> bool {
    if payload.contains(text) {
        return true;
    }
    let escaped = serde_json::to_string(text).unwrap_or_default();
    let escaped = escaped.trim_matches('"');
    // PHP escapes slashes too, unless it is told otherwise.
    escaped != text && payload.contains(escaped)
        || text.contains('/') && payload.contains(&escaped.replace('/', "\\/"))
}

fn has_tag(payload: &str, tag: &str) -> bool {
    contains(payload, tag)
        && serde_json::from_str::<Tagged>(payload).is_ok_and(|read| read.tags.iter().any(|own| own == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{"uuid":"u-1","displayName":"App\\Jobs\\Mail","job":"x","data":{"command":"O:13:\"App\\Jobs\\Mail\":1:{s:2:\"to\";s:9:\"a\/b@c.org\";}"},"tags":["user:7","é"],"attempts":0}"#;
    const TYPED: &str = r#"{"body":"{}","headers":{"type":"App\\Message\\Note"}}"#;
    const SERIALIZED: &str = r#"{"body":"O:36:\\\"Symfony\\\\Component\\\\Messenger\\\\Envelope\\\":1:{s:7:\\\"message\\\";O:11:\\\"App\\\\Counted\\\":1:{i:7;}}","headers":[]}"#;

    #[test]
    fn jobs_are_found_by_what_is_known_of_them() {
        let of = |id: &str, class: &str, tag: &str, text: &str| {
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            Sought { id: given(id), class: given(class), tag: given(tag), text: given(text) }
        };
        for (payload, sought, expected) in [
            (JOB, of("", "", "", ""), true),
            (JOB, of("u-1", "", "", ""), true),
            (JOB, of("u-2", "", "", ""), false),
            (JOB, of("", "Mail", "", ""), true),
            (JOB, of("", r"\App\Jobs\Mail", "", ""), true),
            (JOB, of("", "ail", "", ""), false),
            (JOB, of("", "", "user:7", ""), true),
            (JOB, of("", "", "é", ""), true),
            (JOB, of("", "", "user", ""), false),
            (JOB, of("", "", "", "a/b@c.org"), true),
            (JOB, of("", "", "", r"App\Jobs"), true),
            (JOB, of("", "Mail", "user:7", "nobody"), false),
            (TYPED, of("", "Note", "", ""), true),
            (TYPED, of("", r"Message\Note", "", ""), true),
            (TYPED, of("", "Envelope", "", ""), false),
            (TYPED, of("17", "", "", ""), true),
            (SERIALIZED, of("", "Counted", "", ""), true),
            (SERIALIZED, of("", r"App\Counted", "", ""), true),
            (SERIALIZED, of("", "ounted", "", ""), false),
            ("no json", of("", "Counted", "", ""), false),
            ("no json", of("", "", "", "json"), true),
        ] {
            assert_eq!(sought.has(payload, Some("17")), expected, "{sought:?} in {payload}");
        }
    }
}
