//! The file of users: a line each, `user NAME RULE…`.

use super::selector::{RuleError, has_spaces};
use super::user::User;
use std::collections::BTreeMap;

/// Joins the words of selectors in parentheses, which may be split at spaces; an error is the word where one begins
/// that does not end.
pub(crate) fn rules_of(words: &[&[u8]]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
    let mut rules: Vec<Vec<u8>> = Vec::new();
    let mut open: Option<(Vec<u8>, &[u8])> = None;
    for word in words {
        let ends = word.ends_with(b")");
        match &mut open {
            Some((whole, _)) => {
                whole.push(b' ');
                whole.extend_from_slice(word);
                if ends && let Some((whole, _)) = open.take() {
                    rules.push(whole);
                }
            }
            None if word.starts_with(b"(") && !ends => open = Some((word.to_vec(), word)),
            None => rules.push(word.to_vec()),
        }
    }
    match open {
        Some((_, word)) => Err(word.to_vec()),
        None => Ok(rules),
    }
}

/// The users of a file; an error names each fault with its line.
pub(crate) fn parse(text: &[u8], name: &str, all_channels: bool) -> Result<BTreeMap<Vec<u8>, User>, String> {
    let mut users = BTreeMap::new();
    let mut faults = String::new();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let number = index + 1;
        let words: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty()).collect();
        match words.as_slice() {
            [] => {}
            [b"user", user, rules @ ..] if !has_spaces(user) => {
                if users.contains_key(*user) {
                    let user = String::from_utf8_lossy(user);
                    faults.push_str(&format!("WARNING: Duplicate user '{user}' found on line {number}. "));
                    continue;
                }
                match parse_user(rules, all_channels) {
                    Ok(parsed) => drop(users.insert(user.to_vec(), parsed)),
                    Err(fault) => faults.push_str(&format!("{name}:{number}: {fault}. ")),
                }
            }
            _ => faults.push_str(&format!(
                "{name}:{number} should start with user keyword followed by the username. "
            )),
        }
    }
    if faults.is_empty() {
        return Ok(users);
    }
    faults
        .push_str("WARNING: ACL errors detected, no change to the previously active ACL rules was performed");
    Err(faults)
}

fn parse_user(words: &[&[u8]], all_channels: bool) -> Result<User, String> {
    let mut user = User::new(all_channels);
    let rules = rules_of(words).map_err(|_| "Unmatched parenthesis in selector definition")?;
    for rule in rules {
        user.apply(&rule, all_channels).map_err(|error| match error {
            // Only this one cannot show a password.
            RuleError::Unknown => {
                format!("Error in applying operation '{}': {}", String::from_utf8_lossy(&rule), error.text())
            }
            error => error.text().to_owned(),
        })?;
    }
    Ok(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let good = b"user alice on >x +@all ~*\n\nuser bob on nopass (+get ~a*)\n";
        let users = parse(good, "f", false).unwrap();
        assert_eq!(users.len(), 2);
        assert_eq!(users[&b"bob"[..]].selectors.len(), 2);
        for (text, fault) in [
            ("user a\nuser a", "Duplicate user 'a' found on line 2"),
            ("usr a", "f:1 should start with user keyword"),
            ("user a +nosuch", "f:1: Error in applying operation '+nosuch'"),
            ("user a (+get", "Unmatched parenthesis"),
        ] {
            let error = parse(text.as_bytes(), "f", false).unwrap_err();
            assert!(error.contains(fault), "{error}");
        }
    }
}
