//! Which programs a name on the command line means.
//!
//! `all` or `*` is everything; `php:web` a program; `queue_01` one instance; `php:*` whatever matches, where `*`
//! stands for any text; `group:*` and `group:name` also by the program's group. A name that matches nothing is an
//! error, with the nearest name that exists.

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
    fn a_part_is_not_used_twice() {
        assert!(!glob("a*a", "a"));
        assert!(glob("a*a", "aba"));
        assert!(!glob("ab*bc*", "abc"));
    }
}
