//! Which keys eviction never takes, under any policy: queues, streams, locks and sessions.
//!
//! Losing a cached value costs time; losing one of these loses work. A cache and a queue often share a database, so the
//! policy alone cannot tell them apart. The setting `protected-keys` says what is protected, as words:
//! - a glob, which the whole key must match;
//! - `@locks`: strings that were made by SET with NX or by SETNX and are no longer than an owner's token (so do Laravel,
//!   Symfony up to 5.1 and most recipes make a lock), and sorted sets that hold a lock of Symfony 5.2 and later. Names
//!   of locks are free, so a lock is known by how it is made;
//! - `@default`: all that is protected unless it is set otherwise;
//! - `@sessions`: keys that end in a session id of Laravel's: 40 letters and digits of both cases.
//!
//! Streams are always protected. Deletion, expiry and FLUSHALL take everything as usual.

use crate::database::Entry;
use crate::glob;
use crate::value::Value;

/// What is protected unless it is set otherwise.
///
/// `queues`: Laravel (`queues:NAME`, `:delayed`, `:reserved`, `:notify`). `horizon`: Laravel Horizon. `__queue`: what
/// Symfony Messenger delays. `sf_s`, `PHPREDIS_SESSION`: sessions of Symfony and of phpredis. The rest are usual names.
pub(crate) const DEFAULT: &str = "@locks @sessions *queues:* *horizon:* *__queue *PHPREDIS_SESSION:* sf_s* *session:* \
                                  *sessions:* *sess:* lock:* *[-:._]lock:* *[-:._]lock *_LOCK";

/// The words of the setting, with `@default` written out.
pub(crate) fn written_out(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word == "@default" { DEFAULT } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// Longest value of a string that is taken for a lock's owner.
const LONGEST_TOKEN: usize = 128;
/// Characters of Laravel's session ids.
const SESSION_ID: usize = 40;

/// What an entry remembers about its protection, as bits.
pub(crate) mod mark {
    /// It was made by a command that takes a lock.
    pub(crate) const LOCK: u8 = 1;
    /// Its name has been looked at.
    pub(crate) const KNOWN: u8 = 2;
    /// Its name is protected.
    pub(crate) const NAMED: u8 = 4;
}

/// The setting `protected-keys`, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Protected {
    globs: Vec<Vec<u8>>,
    locks: bool,
    sessions: bool,
}

impl Protected {
    /// Reads the setting; an error names the word that is none.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        for word in text.split_whitespace() {
            match word {
                "@locks" => found.locks = true,
                "@sessions" => found.sessions = true,
                "@streams" => {}
                _ if word.starts_with('@') => {
                    return Err(format!("'{word}' is none of @default, @locks, @sessions, @streams"));
                }
                _ => found.globs.push(word.as_bytes().to_vec()),
            }
        }
        Ok(found)
    }

    /// Whether eviction must leave this entry. What follows from the name alone is remembered in the entry.
    pub(crate) fn covers(&self, entry: &Entry) -> bool {
        if matches!(entry.value, Value::Stream(_)) || (self.locks && is_lock(entry)) {
            return true;
        }
        let mut bits = entry.mark.get();
        if bits & mark::KNOWN == 0 {
            bits |= mark::KNOWN | if self.covers_name(&entry.key) { mark::NAMED } else { 0 };
            entry.mark.set(bits);
        }
        bits & mark::NAMED != 0
    }

    fn covers_name(&self, key: &[u8]) -> bool {
        (self.sessions && ends_in_session_id(key))
            || self.globs.iter().any(|pattern| glob::matches(pattern, key, false))
    }
}

fn is_lock(entry: &Entry) -> bool {
    match &entry.value {
        Value::SortedSet(set) => set.score(b"__write__").is_some(),
        value => {
            entry.mark.get() & mark::LOCK != 0
                && value.as_text().is_some_and(|text| text.len() <= LONGEST_TOKEN)
        }
    }
}

/// Upper and lower case both occur in practically every such id, and in no hash written in hexadecimal: those are
/// keys of caches.
fn ends_in_session_id(key: &[u8]) -> bool {
    let Some(start) = key.len().checked_sub(SESSION_ID) else { return false };
    let (before, id) = key.split_at(start);
    id.iter().all(u8::is_ascii_alphanumeric)
        && id.iter().any(u8::is_ascii_uppercase)
        && id.iter().any(u8::is_ascii_lowercase)
        && before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_queues_sessions_and_locks_are_known() {
        let protected = Protected::parse(DEFAULT).unwrap();
        for (key, expect) in [
            ("queues:default", true),
            ("shop_database_queues:high:reserved", true),
            ("shop_horizon:failed_jobs", true),
            ("messages__queue", true),
            ("PHPREDIS_SESSION:abc", true),
            ("sf_sabc", true),
            ("shop_cache_:framework:lock:import", true),
            ("shop-cache-Xk3bQ9fT0aLmN4pRsUvWxYz1234567890AbCdEf1", true),
            ("shop_cache_:Xk3bQ9fT0aLmN4pRsUvWxYz1234567890AbCdEf1", true),
            ("Xk3bQ9fT0aLmN4pRsUvWxYz1234567890AbCdEf1", true),
            ("shop_cache_:da39a3ee5e6b4b0d3255bfef95601890afd80709", false),
            ("shop_cache_:products", false),
            ("block:home", false),
            ("key:000000000001", false),
            ("laravel_cache_:user:12:clock", false),
        ] {
            assert_eq!(protected.covers_name(key.as_bytes()), expect, "{key}");
        }
    }

    #[test]
    fn unknown_classes_are_refused() {
        assert!(Protected::parse("@lock a*").is_err_and(|why| why.contains("@lock")));
    }

    #[test]
    fn the_default_may_be_added_to() {
        let protected = Protected::parse(&written_out("orders:*  @default")).unwrap();
        for key in [&b"orders:1"[..], b"queues:default", b"lock:a"] {
            assert!(protected.covers_name(key));
        }
        assert!(protected.locks && protected.sessions && !protected.covers_name(b"cache:1"));
    }
}
