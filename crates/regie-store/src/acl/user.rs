//! One user.

use super::selector::{Denied, RuleError, Selector};
use crate::command::CommandId;
use sha2::{Digest, Sha256};

/// See the module's description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) is_on: bool,
    /// Any password will do.
    pub(crate) needs_no_password: bool,
    /// `None` says nothing of what is done to payloads of RESTORE; they are always checked.
    pub(crate) sanitizes: Option<bool>,
    /// SHA-256 as 64 hexadecimal digits.
    pub(crate) passwords: Vec<String>,
    /// The user's own, then others; never empty.
    pub(crate) selectors: Vec<Selector>,
}

/// A password as it is kept.
pub(crate) fn hash_password(password: &[u8]) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn checked_hash(text: &[u8]) -> Result<String, RuleError> {
    let fits = text.len() == 64 && text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if fits { Ok(String::from_utf8_lossy(text).into_owned()) } else { Err(RuleError::BadHash) }
}

/// Equal, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

impl User {
    /// A new user, who may do nothing.
    pub(crate) fn new(all_channels: bool) -> Self {
        Self {
            is_on: false,
            needs_no_password: false,
            sanitizes: None,
            passwords: Vec::new(),
            selectors: vec![Selector::new(all_channels)],
        }
    }

    /// The default user of a new server.
    pub(crate) fn all_powerful() -> Self {
        let mut user = Self::new(true);
        (user.is_on, user.needs_no_password) = (true, true);
        for rule in [&b"+@all"[..], b"~*", b"&*"] {
            let done = user.selectors[0].apply(rule);
            debug_assert_eq!(done, Ok(()));
        }
        user
    }

    /// Applies a rule. `all_channels`: what `reset` does to channels.
    pub(crate) fn apply(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.is_on = true,
            b"off" => self.is_on = false,
            b"nopass" => (self.needs_no_password, self.passwords) = (true, Vec::new()),
            b"resetpass" => (self.needs_no_password, self.passwords) = (false, Vec::new()),
            b"skip-sanitize-payload" => self.sanitizes = Some(false),
            b"sanitize-payload" => self.sanitizes = Some(true),
            b"clearselectors" => self.selectors.truncate(1),
            b"reset" => *self = Self { sanitizes: Some(true), ..Self::new(all_channels) },
            _ => return self.apply_named(rule, all_channels),
        }
        Ok(())
    }

    fn apply_named(&mut self, rule: &[u8], all_channels: bool) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash_password(password)),
            [b'#', hash @ ..] => self.add_password(checked_hash(hash)?),
            [b'<', password @ ..] => return self.remove_password(&hash_password(password)),
            [b'!', hash @ ..] => return self.remove_password(&checked_hash(hash)?),
            [b'(', rules @ .., b')'] => {
                let mut selector = Selector::new(all_channels);
                for rule in rules.split(u8::is_ascii_whitespace).filter(|rule| !rule.is_empty()) {
                    selector.apply(rule)?;
                }
                self.selectors.push(selector);
            }
            _ => return self.selectors[0].apply(rule),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: String) {
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
        self.needs_no_password = false;
    }

    fn remove_password(&mut self, hash: &str) -> Result<(), RuleError> {
        let at = self.passwords.iter().position(|known| known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(at);
        Ok(())
    }

    /// Whether the user may log in with this password.
    pub(crate) fn accepts(&self, password: &[u8]) -> bool {
        let hash = hash_password(password);
        self.is_on && (self.needs_no_password || self.passwords.iter().any(|known| same(known, &hash)))
    }

    /// Whether nothing is refused.
    pub(crate) fn may_all(&self) -> bool {
        self.selectors.iter().any(Selector::may_all)
    }

    /// Whether a command may be run. Of several refusals the one counts that came furthest.
    pub(crate) fn check(&self, id: CommandId, arguments: &[&[u8]]) -> Result<(), Denied> {
        let mut furthest = Denied::Command;
        for selector in &self.selectors {
            match selector.check(id, arguments) {
                Ok(()) => return Ok(()),
                Err(denied) => furthest = furthest.max(denied),
            }
        }
        Err(furthest)
    }

    /// Whether a selector allows the command and to read every key.
    pub(crate) fn check_with_all_keys(&self, id: CommandId, arguments: &[&[u8]]) -> bool {
        self.selectors.iter().any(|selector| selector.check(id, arguments).is_ok() && selector.may_read_all())
    }

    pub(crate) fn may_listen(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors.iter().any(|selector| selector.may_listen(channel, is_pattern))
    }

    /// Whether `old` may have listened to something that this user may not.
    pub(crate) fn has_lost_channels(&self, old: &Self) -> bool {
        if self.selectors.iter().any(|selector| selector.all_channels) {
            return false;
        }
        let still = |channel: &Vec<u8>| self.selectors.iter().any(|s| s.channels.contains(channel));
        old.selectors.iter().any(|selector| selector.all_channels || !selector.channels.iter().all(still))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::find_full;

    fn user(rules: &str) -> User {
        let mut user = User::new(false);
        for rule in rules.split_whitespace() {
            user.apply(rule.as_bytes(), false).unwrap();
        }
        user
    }

    fn check(rules: &str, line: &str) -> Result<(), Denied> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let id = crate::dispatch::resolve(&words).unwrap();
        user(rules).check(id, &words)
    }

    #[test]
    fn rules_decide() {
        for (rules, line, expect) in [
            ("", "get a", Err(Denied::Command)),
            ("+get", "get a", Err(Denied::Key(1))),
            ("+get ~a*", "get abc", Ok(())),
            ("+@string ~*", "hget a b", Err(Denied::Command)),
            ("+@all -@string ~*", "get a", Err(Denied::Command)),
            ("+@all %R~r* %W~w*", "copy r w", Ok(())),
            ("+@all %R~r* %W~w*", "copy w r", Err(Denied::Key(1))),
            ("+@all %R~r*", "set r 1", Err(Denied::Key(1))),
            ("+set %W~r*", "set r 1", Ok(())),
            ("+set %W~r*", "set r 1 get", Err(Denied::Key(1))),
            ("+config|get", "config get x", Ok(())),
            ("+config|get", "config set x y", Err(Denied::Command)),
            ("+@all -client +client|id", "client id", Ok(())),
            ("+select|0", "select 0", Ok(())),
            ("+select|0", "select 1", Err(Denied::Command)),
            ("+publish &news.*", "publish news.uk x", Ok(())),
            ("+publish &news.*", "publish olds x", Err(Denied::Channel(1))),
            ("+psubscribe &news.*", "psubscribe news.*", Ok(())),
            ("+psubscribe &news.*", "psubscribe news.u*", Err(Denied::Channel(1))),
            ("+@all allkeys", "auth x", Ok(())),
            ("", "auth x", Ok(())),
        ] {
            assert_eq!(check(rules, line), expect, "{rules} | {line}");
        }
    }

    #[test]
    fn one_selector_is_enough() {
        let mut user = user("on");
        user.apply(b"(+@write ~w*)", false).unwrap();
        user.apply(b"(+@read ~r*)", false).unwrap();
        let run = |line: &str| {
            let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            user.check(find_full(words[0]).unwrap(), &words)
        };
        assert_eq!(run("set w 1"), Ok(()));
        assert_eq!(run("get r"), Ok(()));
        assert_eq!(run("get w"), Err(Denied::Key(1)));
        assert_eq!(run("ping"), Err(Denied::Command));
    }

    #[test]
    fn passwords_are_kept_as_hashes() {
        let mut user = user("on >one >two");
        assert!(user.accepts(b"one") && user.accepts(b"two") && !user.accepts(b"three"));
        user.apply(b"<one", false).unwrap();
        assert!(!user.accepts(b"one"));
        assert_eq!(user.apply(b"<one", false), Err(RuleError::NoSuchPassword));
        assert_eq!(user.apply(b"#zz", false), Err(RuleError::BadHash));
        user.apply(b"off", false).unwrap();
        assert!(!user.accepts(b"two"));
    }
}
