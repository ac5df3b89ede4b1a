//! Some of many: what HRANDFIELD, SRANDMEMBER and ZRANDMEMBER have in common.

use crate::context::{integer, is};
use crate::failure::{Outcome, SYNTAX};
use crate::random::Random;

/// How many are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    most: usize,
    /// One may come twice: the count was given below zero.
    repeats: bool,
}

/// `COMMAND key [count [WITH…]]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// Without it one is wanted, which is not answered as an array.
    pub(crate) count: Option<Count>,
    /// What belongs to the member is wanted too.
    pub(crate) with: bool,
}

impl Asked {
    /// Reads the arguments; `with` is the last word's name, empty where there is none.
    pub(crate) fn parse(args: &[&[u8]], with: &str) -> Outcome<Self> {
        let with = match args {
            [_, _] | [_, _, _] => false,
            [_, _, _, word] if !with.is_empty() && is(word, with) => true,
            _ => return Err(SYNTAX),
        };
        let count = args.get(2).map(|count| Count::parse(count)).transpose()?;
        if with && count.is_some_and(|count| count.most > i64::MAX as usize / 4) {
            return Err("ERR value is out of range".into());
        }
        Ok(Self { count, with })
    }
}

impl Count {
    fn parse(text: &[u8]) -> Outcome<Self> {
        let count = integer(text)?;
        if !(-(i64::MAX / 2)..=i64::MAX / 2).contains(&count) {
            return Err("ERR value is out of range".into());
        }
        Ok(Self { most: count.unsigned_abs() as usize, repeats: count < 0 })
    }

    /// So many, by chance: `one` draws one, `all` lists all.
    pub(crate) fn choose<T>(
        self,
        random: &mut Random,
        mut one: impl FnMut(&mut Random) -> Option<T>,
        all: impl FnOnce() -> Vec<T>,
    ) -> Vec<T> {
        if self.repeats {
            return (0..self.most).map_while(|_| one(random)).collect();
        }
        let mut all = all();
        if self.most < all.len() {
            // The first steps of a shuffle.
            for index in 0..self.most {
                let other = index + random.below(all.len() - index);
                all.swap(index, other);
            }
            all.truncate(self.most);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn as_many_as_wanted_are_chosen_fairly() {
        let mut random = Random::new(3);
        let all: Vec<usize> = (0..20).collect();
        let mut seen = [0; 20];
        for (count, length, different) in
            [("5", 5, true), ("20", 20, true), ("100", 20, true), ("-100", 100, false), ("0", 0, true)]
        {
            let args: [&[u8]; 3] = [b"SRANDMEMBER", b"k", count.as_bytes()];
            let count = Asked::parse(&args, "").unwrap().count.unwrap();
            for _ in 0..200 {
                let chosen = count.choose(&mut random, |random| Some(random.below(20)), || all.clone());
                assert_eq!(chosen.len(), length);
                let distinct: BTreeSet<_> = chosen.iter().collect();
                assert!(!different || distinct.len() == length);
                if length == 5 {
                    chosen.iter().for_each(|index| seen[*index] += 1);
                }
            }
        }
        assert!(seen.iter().all(|count| (20..90).contains(count)), "{seen:?}");
    }

    #[test]
    fn arguments_are_read_as_redis_reads_them() {
        let parse = |line: &str, with: &str| {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            Asked::parse(&args, with)
                .map(|asked| (asked.count.is_some(), asked.with))
                .map_err(|f| f.0.into_owned())
        };
        for (line, with, expect) in [
            ("C k", "WITHSCORES", Ok((false, false))),
            ("C k 3 withscores", "WITHSCORES", Ok((true, true))),
            ("C k 3 WITHVALUES", "WITHSCORES", Err("ERR syntax error")),
            ("C k 3 x", "", Err("ERR syntax error")),
            ("C k x", "", Err("ERR value is not an integer or out of range")),
            ("C k -9223372036854775808", "", Err("ERR value is out of range")),
            ("C k 4611686018427387900 WITHSCORES", "WITHSCORES", Err("ERR value is out of range")),
        ] {
            assert_eq!(parse(line, with), expect.map_err(str::to_owned), "{line}");
        }
    }
}
