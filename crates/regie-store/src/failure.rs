//! Why a command was refused, in Redis's words: clients match on them.

use std::borrow::Cow;

/// The text of an error reply: a code, a space, a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure(pub(crate) Cow<'static, str>);

/// What a command gives back: its reply has been written, or it has failed and nothing was written.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl From<&'static str> for Failure {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

pub(crate) const WRONG_TYPE: Failure =
    Failure(Cow::Borrowed("WRONGTYPE Operation against a key holding the wrong kind of value"));
pub(crate) const SYNTAX: Failure = Failure(Cow::Borrowed("ERR syntax error"));
pub(crate) const NOT_INTEGER: Failure = Failure(Cow::Borrowed("ERR value is not an integer or out of range"));
pub(crate) const NOT_FLOAT: Failure = Failure(Cow::Borrowed("ERR value is not a valid float"));
pub(crate) const OUT_OF_RANGE: Failure = Failure(Cow::Borrowed("ERR index out of range"));
pub(crate) const NO_KEY: Failure = Failure(Cow::Borrowed("ERR no such key"));
pub(crate) const SAME_OBJECT: Failure =
    Failure(Cow::Borrowed("ERR source and destination objects are the same"));
pub(crate) const NOT_POSITIVE: Failure =
    Failure(Cow::Borrowed("ERR value is out of range, must be positive"));
pub(crate) const OUT_OF_MEMORY: Failure =
    Failure(Cow::Borrowed("OOM command not allowed when used memory > 'maxmemory'."));

/// `text` as it may stand in an error line: shortened, and without bytes that would break it.
pub(crate) fn shown(text: &[u8]) -> String {
    let text = &text[..text.len().min(128)];
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The refusal of a number of arguments that does not fit `command`.
pub(crate) fn wrong_arity(command: &str) -> Failure {
    format!("ERR wrong number of arguments for '{command}' command").into()
}
