//! The recent lines of the programs, for `regie logs`.
//!
//! Bounded per instance, so that one that talks much does not push out what the others said: at most `lines` lines
//! and [`MAX_BYTES`] bytes each. Lines carry a number that counts up over all, which merges them in the order in
//! which they were read.

use std::collections::{BTreeMap, VecDeque};

use crate::control::LogLine;

/// Bytes of text kept per instance.
pub const MAX_BYTES: usize = 128 << 10;

/// Recent lines by instance.
#[derive(Debug)]
pub struct Recent {
    lines: usize,
    counter: u64,
    by_name: BTreeMap<String, Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    kept: VecDeque<(u64, LogLine)>,
    bytes: usize,
}

impl Recent {
    /// Keeps `lines` lines per instance.
    #[must_use]
    pub fn new(lines: usize) -> Self {
        Self { lines, counter: 0, by_name: BTreeMap::new() }
    }

    /// Adds a line, at the cost of the oldest of the same instance.
    pub fn push(&mut self, line: LogLine) {
        self.counter += 1;
        let of_name = match self.by_name.get_mut(&line.name) {
            Some(lines) => lines,
            None => self.by_name.entry(line.name.clone()).or_default(),
        };
        of_name.bytes += line.text.len();
        of_name.kept.push_back((self.counter, line));
        while of_name.kept.len() > self.lines || of_name.bytes > MAX_BYTES {
            let Some((_, old)) = of_name.kept.pop_front() else { break };
            of_name.bytes -= old.text.len();
        }
    }

    /// Forgets the lines of instances for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.by_name.retain(|name, _| keep(name));
    }

    /// The last `tail` lines for which `wanted` holds, merged, oldest first.
    #[must_use]
    pub fn tail(&self, tail: Option<usize>, wanted: impl Fn(&LogLine) -> bool) -> Vec<LogLine> {
        let mut found: Vec<&(u64, LogLine)> =
            self.by_name.values().flat_map(|lines| &lines.kept).filter(|(_, line)| wanted(line)).collect();
        found.sort_unstable_by_key(|(number, _)| *number);
        let skip = tail.map_or(0, |tail| found.len().saturating_sub(tail));
        found.into_iter().skip(skip).map(|(_, line)| line.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Stream;

    fn line(name: &str, text: &str) -> LogLine {
        LogLine { time_ms: 0, name: name.into(), stream: Stream::Out, text: text.into() }
    }

    #[test]
    fn a_talker_does_not_push_out_the_others() {
        let mut recent = Recent::new(3);
        recent.push(line("quiet", "once"));
        for n in 0..10 {
            recent.push(line("loud", &n.to_string()));
        }
        let texts = |tail| recent.tail(tail, |_| true).into_iter().map(|l| l.text).collect::<Vec<_>>();
        assert_eq!(texts(None), ["once", "7", "8", "9"]);
        assert_eq!(texts(Some(2)), ["8", "9"]);
        assert_eq!(recent.tail(Some(9), |l| l.name == "quiet").len(), 1);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut recent = Recent::new(usize::MAX);
        let long = "x".repeat(MAX_BYTES / 4);
        for _ in 0..20 {
            recent.push(line("a", &long));
        }
        assert_eq!(recent.tail(None, |_| true).len(), 4);
    }
}
