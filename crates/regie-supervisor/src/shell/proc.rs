//! What `/proc` says about processes.

use std::collections::BTreeMap;
use std::fs;

/// A row of `/proc/<pid>/stat` (proc(5)), as far as we need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) parent: i32,
    pub(crate) group: i32,
    /// Dead, not yet waited for.
    pub(crate) zombie: bool,
    /// Processor time in clock ticks.
    pub(crate) ticks: u64,
    /// When it was started, in clock ticks since boot: with the pid, this names a process for ever.
    pub(crate) start: u64,
    /// Resident pages.
    pub(crate) pages: u64,
}

/// Reads a row. The name in brackets may hold anything, brackets and blanks too.
fn parse(row: &str) -> Option<Stat> {
    let rest = &row[row.rfind(')')? + 1..];
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at).and_then(|f| f.parse::<u64>().ok());
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        start: number(19)?,
        pages: number(21)?,
    })
}

pub(crate) fn stat(pid: i32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// All processes that can be seen.
pub(crate) fn all() -> BTreeMap<i32, Stat> {
    let Ok(folder) = fs::read_dir("/proc") else { return BTreeMap::new() };
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, stat(pid)?)))
        .collect()
}

/// Our own children, orphans that came to us included.
pub(crate) fn children() -> Vec<i32> {
    let own = std::process::id();
    match fs::read_to_string(format!("/proc/{own}/task/{own}/children")) {
        Ok(list) => list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect(),
        Err(_) => all()
            .into_iter()
            .filter(|(_, s)| u32::try_from(s.parent) == Ok(own))
            .map(|(pid, _)| pid)
            .collect(),
    }
}

/// A variable that the process was started with, if we may look.
pub(crate) fn variable(pid: i32, name: &str) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let found = environment
        .split(|b| *b == 0)
        .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(found.to_vec()).ok()
}

/// Proportional set size in bytes: pages shared by n processes count as an n-th for each.
pub(crate) fn pss(pid: i32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

/// The descendants of `roots`, these excluded.
pub(crate) fn descendants(all: &BTreeMap<i32, Stat>, roots: &[i32]) -> Vec<i32> {
    let mut found: Vec<i32> = Vec::new();
    let mut open = roots.to_vec();
    while let Some(parent) = open.pop() {
        for (pid, _) in all.iter().filter(|(_, s)| s.parent == parent) {
            if !found.contains(pid) && !roots.contains(pid) {
                found.push(*pid);
                open.push(*pid);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_whatever_the_name() {
        let row = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 0 0 20 0 1 0 98765 1000000 321 18446744073709551615";
        let expected = Stat { parent: 1, group: 7, zombie: false, ticks: 175, start: 98765, pages: 321 };
        assert_eq!(parse(row), Some(expected));
        assert_eq!(parse("7 (a"), None);
        assert_eq!(parse("7 (a) S 1"), None);
    }

    #[test]
    fn we_find_ourselves() {
        let own = i32::try_from(std::process::id()).unwrap();
        let seen = stat(own).unwrap();
        assert!(seen.pages > 0 && !seen.zombie);
        assert_eq!(all().get(&own).map(|s| s.start), Some(seen.start));
        assert!(pss(own).unwrap() > 0);
        assert!(variable(own, "PATH").is_some());
    }

    #[test]
    fn descendants_are_followed_down() {
        let stat = |parent| Stat { parent, group: 0, zombie: false, ticks: 0, start: 0, pages: 0 };
        let all = BTreeMap::from([(1, stat(0)), (2, stat(1)), (3, stat(2)), (4, stat(1)), (5, stat(4))]);
        let mut found = descendants(&all, &[2]);
        found.sort_unstable();
        assert_eq!(found, [3]);
        assert_eq!(descendants(&all, &[1]).len(), 4);
    }
}
