//! Which programs a name on the command line means.
//!
//! `all` or `*` is everything; `php:web` a program; `queue_01` one instance; `php:*` whatever matches, where `*`
//! stands for any text; `group:*` and `group:name` also by the program's group. A name that matches nothing is an
//! error, with the nearest name that exists.
//!
//! A program may be a pool that names its own workers in its lines: `workers:default_00` is one of `workers:default`,
//! and for `logs` it means the program's lines that speak of it.

use crate::spec::Program;

/// Whether `pattern` means instance `instance` of `program`.
#[must_use]
pub fn matches(pattern: &str, program: &Program, instance: &str) -> bool {
    if pattern == "all" || glob(pattern, &program.name) || glob(pattern, instance) {
        return true;
    }
    program.group.as_ref().is_some_and(|group| {
        pattern
            .strip_prefix(group.as_str())
            .and_then(|rest| rest.strip_prefix(':'))
            .is_some_and(|rest| glob(rest, &program.name) || glob(rest, instance))
    })
}

/// The program of a pool's worker, and what the worker is called in its lines: `workers:default_00` is `default_00` of
/// `workers:default`.
#[must_use]
pub fn worker(name: &str) -> Option<(&str, &str)> {
    let (program, number) = name.rsplit_once('_')?;
    let is_number = number.len() >= 2 && number.bytes().all(|byte| byte.is_ascii_digit());
    let word = name.rsplit_once(':').map_or(name, |(_, word)| word);
    (is_number && !program.contains('*')).then_some((program, word))
}

/// Whether a line speaks of the worker that is called so.
#[must_use]
pub fn mentions(line: &str, worker: &str) -> bool {
    line.match_indices(worker)
        .any(|(at, _)| !line[at + worker.len()..].starts_with(|next: char| next.is_ascii_digit()))
}

/// Whether `text` fits `pattern`, in which `*` stands for any text.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, mut pattern)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    while let Some((part, rest)) = pattern.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
        pattern = rest;
    }
    text.ends_with(pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_groups_and_globs() {
        let web = Program::new("php:web", ["x"]);
        let queue = Program { group: Some("jobs".into()), ..Program::new("queue", ["x"]) };
        for (pattern, web_matches, queue_matches) in [
            ("all", true, true),
            ("*", true, true),
            ("php:web", true, false),
            ("php:*", true, false),
            ("php", false, false),
            ("queue", false, true),
            ("queue_01", false, true),
            ("queue_02", false, false),
            ("jobs:*", false, true),
            ("jobs:queue", false, true),
            ("jobs:queue_01", false, true),
            ("*e*", true, true),
            ("*b", true, false),
            ("", false, false),
        ] {
            assert_eq!(matches(pattern, &web, "php:web"), web_matches, "{pattern} php:web");
            assert_eq!(matches(pattern, &queue, "queue_01"), queue_matches, "{pattern} queue");
        }
    }

    #[test]
    fn a_pool_s_worker_is_known_by_its_lines() {
        for (name, expected) in [
            ("workers:default_00", Some(("workers:default", "default_00"))),
            ("php:web_104", Some(("php:web", "web_104"))),
            ("queue_01", Some(("queue", "queue_01"))),
            ("workers:default_0", None),
            ("workers:default_0x", None),
            ("workers:*_00", None),
        ] {
            assert_eq!(worker(name), expected, "{name}");
        }
        for (line, expected) in [
            ("ERROR: [pool workers.default_10 pid 7] said", true),
            ("WARNING: [pool workers.default] worker 7 (workers.default_10) was killed", true),
            ("ERROR: [pool workers.default_101 pid 7] said", false),
            ("ERROR: [pool workers.default pid 7] said", false),
        ] {
            assert_eq!(mentions(line, "default_10"), expected, "{line}");
        }
    }

    #[test]
    fn a_part_is_not_used_twice() {
        assert!(!glob("a*a", "a"));
        assert!(glob("a*a", "aba"));
        assert!(!glob("ab*bc*", "abc"));
    }
}
