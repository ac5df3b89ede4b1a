//! Where a command's keys stand among its arguments, and what is done to each.
//!
//! A row of the command table has any number of [`KeySpec`]s: where the keys begin, how many there are, and what the
//! command does to them. COMMAND tells them to clients, ACL rules and client tracking are decided by them. Four
//! commands say more than a rule can: SORT's destination may stand anywhere, MIGRATE has two forms, and what SET and
//! BITFIELD do follows from their arguments; these are read by functions of their own.

use crate::command::Command;
use crate::context::is;

/// What a command does to a key: one of the first four, and any of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access(u16);

impl Access {
    /// Reads.
    pub(crate) const RO: Self = Self(1);
    /// Reads and writes.
    pub(crate) const RW: Self = Self(1 << 1);
    /// Writes without looking.
    pub(crate) const OW: Self = Self(1 << 2);
    /// Removes.
    pub(crate) const RM: Self = Self(1 << 3);
    /// What the value holds is returned or copied.
    pub(crate) const ACCESS: Self = Self(1 << 4);
    /// What is there is changed.
    pub(crate) const UPDATE: Self = Self(1 << 5);
    /// Something is added.
    pub(crate) const INSERT: Self = Self(1 << 6);
    /// Something is removed.
    pub(crate) const DELETE: Self = Self(1 << 7);
    /// A channel, not a key.
    pub(crate) const NOT_KEY: Self = Self(1 << 8);
    /// There may be more than the rule finds.
    pub(crate) const INCOMPLETE: Self = Self(1 << 9);
    /// What is done follows from the arguments.
    pub(crate) const VARIABLE: Self = Self(1 << 10);

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The right to read is needed.
    pub(crate) const fn reads(self) -> bool {
        self.has(Self::ACCESS)
    }

    /// The right to write is needed.
    pub(crate) const fn writes(self) -> bool {
        self.has(Self::UPDATE) || self.has(Self::INSERT) || self.has(Self::DELETE)
    }

    /// The names that COMMAND shows.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        const NAMES: [(Access, &str); 11] = [
            (Access::RO, "RO"),
            (Access::RW, "RW"),
            (Access::OW, "OW"),
            (Access::RM, "RM"),
            (Access::ACCESS, "access"),
            (Access::UPDATE, "update"),
            (Access::INSERT, "insert"),
            (Access::DELETE, "delete"),
            (Access::NOT_KEY, "not_key"),
            (Access::INCOMPLETE, "incomplete"),
            (Access::VARIABLE, "variable_flags"),
        ];
        NAMES.into_iter().filter(move |(flag, _)| self.has(*flag)).map(|(_, name)| name)
    }
}

/// Where the first key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begin {
    Index(i32),
    /// Behind this word, looked for from a place on; from the end backwards when that is negative.
    Keyword(&'static str, i32),
    /// No rule tells.
    Unknown,
}

/// How the others follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Find {
    /// Up to `last`, counted from the first key, or from the end when negative. A `limit` above 1 stops after that
    /// share of the arguments.
    Range { last: i32, step: i32, limit: i32 },
    /// The first place has their number.
    Counted,
    /// No rule tells.
    Unknown,
}

/// See the module's description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeySpec {
    pub(crate) access: Access,
    pub(crate) begin: Begin,
    pub(crate) find: Find,
}

/// A key's place among the arguments, and what is done to it.
pub(crate) type Place = (usize, Access);

impl KeySpec {
    /// Appends the places that this rule finds; `false` if the arguments do not fit it.
    fn places(&self, arguments: &[&[u8]], found: &mut Vec<Place>) -> bool {
        let count = arguments.len() as i64;
        let begin = match self.begin {
            Begin::Index(index) => i64::from(index),
            Begin::Keyword(word, from) => match find_word(arguments, word, from) {
                Some(at) => at as i64 + 1,
                None => return true,
            },
            Begin::Unknown => return false,
        };
        let (first, last, step) = match self.find {
            Find::Range { last, step, limit } => {
                let last = i64::from(last);
                let end = match limit {
                    _ if last >= 0 => begin + last,
                    0 => count + last,
                    limit => begin + (count - begin) / i64::from(limit) + last,
                };
                (begin, end, i64::from(step))
            }
            Find::Counted => {
                let number = usize::try_from(begin).ok().and_then(|at| arguments.get(at));
                let Some(number) = number.and_then(|text| crate::number::parse_integer(text)) else {
                    return false;
                };
                (begin + 1, begin.saturating_add(number), 1)
            }
            Find::Unknown => return false,
        };
        if last >= count || last < first || first < 1 {
            return false;
        }
        let places = (first..=last).step_by(step.max(1) as usize);
        found.extend(places.map(|place| (place as usize, self.access)));
        true
    }
}

/// Where `word` stands, looked for from `from` on; the last argument cannot be a keyword.
fn find_word(arguments: &[&[u8]], word: &str, from: i32) -> Option<usize> {
    let fits = |at: &usize| is(arguments[*at], word);
    if from > 0 {
        (from as usize..arguments.len().saturating_sub(1)).find(fits)
    } else {
        (2..=arguments.len().checked_add_signed(from as isize)?).rev().find(fits)
    }
}

impl Command {
    /// Whether it may have keys.
    pub(crate) fn has_keys(&self) -> bool {
        self.keys.iter().any(|spec| !spec.access.has(Access::NOT_KEY))
    }

    /// Whether its keys do not stand at fixed places.
    pub(crate) fn has_movable_keys(&self) -> bool {
        self.keys.iter().any(|spec| !matches!((spec.begin, spec.find), (Begin::Index(_), Find::Range { .. })))
    }

    /// First key, last and step, as COMMAND has shown them since its beginning.
    pub(crate) fn key_range(&self) -> (i64, i64, i64) {
        let mut whole: Option<(i64, i64, i64)> = None;
        for spec in self.keys {
            let (Begin::Index(first), Find::Range { last, step, .. }) = (spec.begin, spec.find) else {
                continue;
            };
            let (first, step) = (i64::from(first), i64::from(step));
            let last = if last < 0 { i64::from(last) } else { first + i64::from(last) };
            whole = Some(match whole {
                None => (first, last, step),
                Some((start, end, step)) if end == first - 1 => (start, last, step),
                Some(range) => range,
            });
        }
        whole.unwrap_or_default()
    }

    /// The keys among `arguments`; `None` if the arguments make no sense.
    pub(crate) fn places(&self, arguments: &[&[u8]]) -> Option<Vec<Place>> {
        let mut found = Vec::new();
        match self.name {
            "set" => found.push((1, set_access(arguments))),
            "bitfield" => found.push((1, bitfield_access(arguments))),
            "sort" | "sort_ro" => sort_places(self, arguments, &mut found),
            _ => {
                for spec in self.keys.iter().filter(|spec| !spec.access.has(Access::NOT_KEY)) {
                    let fits = spec.places(arguments, &mut found);
                    if !fits && !spec.access.has(Access::INCOMPLETE) {
                        return None;
                    }
                }
            }
        }
        if self.name == "migrate" && found.len() > 1 {
            // In the form with KEYS the third argument is empty.
            found.remove(0);
        }
        Some(found)
    }
}

/// SET reads only with GET.
fn set_access(arguments: &[&[u8]]) -> Access {
    if arguments.iter().skip(3).any(|word| is(word, "GET")) {
        Access::RW.and(Access::ACCESS).and(Access::UPDATE)
    } else {
        Access::OW.and(Access::UPDATE)
    }
}

/// BITFIELD writes unless all it does is GET.
fn bitfield_access(arguments: &[&[u8]]) -> Access {
    let writes = arguments.iter().skip(2).any(|word| is(word, "SET") || is(word, "INCRBY"));
    if writes { Access::RW.and(Access::ACCESS).and(Access::UPDATE) } else { Access::RO.and(Access::ACCESS) }
}

/// SORT's source, and the destination behind the last STORE that is not another option's argument.
fn sort_places(row: &Command, arguments: &[&[u8]], found: &mut Vec<Place>) {
    found.push((1, Access::RO.and(Access::ACCESS)));
    if row.name == "sort_ro" {
        return;
    }
    let (mut at, mut store) = (2, None);
    while at < arguments.len() {
        match () {
            () if is(arguments[at], "LIMIT") => at += 2,
            () if is(arguments[at], "GET") || is(arguments[at], "BY") => at += 1,
            () if is(arguments[at], "STORE") && at + 1 < arguments.len() => {
                store = Some(at + 1);
                at += 1;
            }
            () => {}
        }
        at += 1;
    }
    found.extend(store.map(|place| (place, Access::OW.and(Access::UPDATE))));
}

#[cfg(test)]
mod tests {
    use crate::command::{find_full, row};

    #[test]
    fn keys_are_found_where_they_stand() {
        for (line, expect) in [
            ("get a", "a"),
            ("mset a 1 b 2", "a b"),
            ("sinterstore d a b", "d a b"),
            ("zunionstore d 2 a b WEIGHTS 1 2", "d a b"),
            ("blpop a b 0", "a b"),
            ("xread COUNT 1 STREAMS a b 0 0", "a b"),
            ("eval body 2 a b c", "a b"),
            ("eval body 3 a b", "none"),
            ("sort a BY STORE STORE d", "a d"),
            ("bitop AND d a b", "d a b"),
            ("lmpop 2 a b LEFT", "a b"),
            ("publish c m", ""),
        ] {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let places = row(find_full(words[0]).unwrap()).places(&words);
            let names = places.map_or("none".to_owned(), |places| {
                let names = places.iter().map(|(at, _)| String::from_utf8_lossy(words[*at]).into_owned());
                names.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(names, expect, "{line}");
        }
    }
}
