//! What lies under a key.

use crate::blob::allocation;
use crate::number::{parse_integer, write_integer};
use crate::structures::hash::Hash;
use crate::structures::list::List;
use crate::structures::set::Set;
use crate::structures::sorted_set::SortedSet;
use crate::structures::stream::Stream;
use std::borrow::Cow;

/// Longest string kept inside the value itself.
const SHORT: usize = 15;
/// Longest string that Redis would put beside its header (`embstr`).
const EMBEDDED: usize = 44;

/// A value in 24 bytes and what it points to.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// A string. One that was set whole is exactly as long as its allocation; one that was changed in place has room
    /// to spare, which is also how OBJECT ENCODING tells `embstr` from `raw`.
    Text(Vec<u8>),
    /// A string of at most 15 bytes.
    Short {
        length: u8,
        bytes: [u8; SHORT],
    },
    /// A string that is a number.
    Integer(i64),
    List(Box<List>),
    Set(Box<Set>),
    Hash(Box<Hash>),
    SortedSet(Box<SortedSet>),
    Stream(Box<Stream>),
}

/// The types that TYPE knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    List,
    Set,
    Hash,
    SortedSet,
    Stream,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::Hash => "hash",
            Self::SortedSet => "zset",
            Self::Stream => "stream",
        }
    }

    /// The type that SCAN's TYPE option names.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        [Self::Text, Self::List, Self::Set, Self::Hash, Self::SortedSet, Self::Stream]
            .into_iter()
            .find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

impl Value {
    /// A string as SET stores it: a number, inline, or an exact allocation.
    pub(crate) fn text(text: &[u8]) -> Self {
        if text.len() <= 20
            && let Some(number) = parse_integer(text)
        {
            return Self::Integer(number);
        }
        Self::plain_text(text)
    }

    /// A string that is not kept as a number even if it looks like one.
    pub(crate) fn plain_text(text: &[u8]) -> Self {
        if text.len() <= SHORT {
            let mut bytes = [0; SHORT];
            bytes[..text.len()].copy_from_slice(text);
            return Self::Short { length: text.len() as u8, bytes };
        }
        Self::Text(text.to_vec())
    }

    /// A string that was changed in place.
    pub(crate) fn changed_text(mut text: Vec<u8>) -> Self {
        if text.capacity() == text.len() {
            text.reserve(1);
        }
        Self::Text(text)
    }

    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) | Self::Short { .. } | Self::Integer(_) => Kind::Text,
            Self::List(_) => Kind::List,
            Self::Set(_) => Kind::Set,
            Self::Hash(_) => Kind::Hash,
            Self::SortedSet(_) => Kind::SortedSet,
            Self::Stream(_) => Kind::Stream,
        }
    }

    /// The bytes of a string; `None` for other types.
    pub(crate) fn as_text(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Short { length, bytes } => Some(Cow::Borrowed(&bytes[..usize::from(*length)])),
            Self::Integer(number) => {
                let mut out = Vec::with_capacity(20);
                write_integer(&mut out, *number);
                Some(Cow::Owned(out))
            }
            _ => None,
        }
    }

    /// The string as bytes that can be changed in place; `None` for other types.
    pub(crate) fn text_mut(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Short { .. } | Self::Integer(_) => {
                let text = self.as_text()?.into_owned();
                *self = Self::changed_text(text);
            }
            Self::Text(text) if text.capacity() == text.len() => text.reserve(1),
            _ => {}
        }
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The name that OBJECT ENCODING gives.
    pub(crate) fn encoding(&self) -> &'static str {
        match self {
            Self::Integer(_) => "int",
            Self::Short { .. } => "embstr",
            Self::Text(text) if text.len() <= EMBEDDED && text.capacity() == text.len() => "embstr",
            Self::Text(_) => "raw",
            Self::List(_) => "quicklist",
            Self::Set(set) if set.is_integers() => "intset",
            Self::Hash(hash) => hash.encoding(),
            Self::SortedSet(set) if set.is_packed() => "listpack",
            Self::Set(_) => "hashtable",
            Self::SortedSet(_) => "skiplist",
            Self::Stream(_) => "stream",
        }
    }

    /// When the first of a hash's fields ends that end by themselves.
    pub(crate) fn first_end(&self) -> Option<i64> {
        if let Self::Hash(hash) = self { hash.first_end() } else { None }
    }

    /// Elements, for deciding whether a value is freed in the background.
    pub(crate) fn elements(&self) -> usize {
        match self {
            Self::Text(_) | Self::Short { .. } | Self::Integer(_) => 1,
            Self::List(list) => list.len(),
            Self::Set(set) => set.len(),
            Self::Hash(hash) => hash.len(),
            Self::SortedSet(set) => set.len(),
            Self::Stream(stream) => stream.len(),
        }
    }

    /// Bytes that the value holds outside of itself.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Text(text) => allocation(text.capacity()),
            Self::Short { .. } | Self::Integer(_) => 0,
            Self::List(list) => allocation(size_of::<List>()) + list.memory(),
            Self::Set(set) => allocation(size_of::<Set>()) + set.memory(),
            Self::Hash(hash) => allocation(size_of::<Hash>()) + hash.memory(),
            Self::SortedSet(set) => allocation(size_of::<SortedSet>()) + set.memory(),
            Self::Stream(stream) => allocation(size_of::<Stream>()) + stream.memory(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_have_redis_s_encodings() {
        for (text, encoding) in [
            (&b"12"[..], "int"),
            (b"012", "embstr"),
            (b"a", "embstr"),
            (&[b'a'; 44], "embstr"),
            (&[b'a'; 45], "raw"),
            (b"9223372036854775808", "embstr"),
        ] {
            let mut value = Value::text(text);
            assert_eq!(value.encoding(), encoding, "{text:?}");
            assert_eq!(value.as_text().as_deref(), Some(text));
            assert!(value.text_mut().is_some());
            assert_eq!(value.encoding(), "raw");
        }
    }

    #[test]
    fn a_value_takes_three_words() {
        assert_eq!(size_of::<Value>(), 24);
    }
}
