//! Rules as text: what ACL LIST and the ACL file say of a user.
//!
//! The commands are told in as few rules as can be found: everything or nothing, then the categories that fit best one
//! after another, then single commands until the set is exactly the same.

use super::rules::{CATEGORIES, Commands, subcommands};
use super::selector::{KeyPattern, Selector};
use super::user::User;
use crate::commands::table::COMMANDS;

impl KeyPattern {
    fn describe(&self) -> Vec<u8> {
        let prefix: &[u8] = match (self.read, self.write) {
            (true, false) => b"%R~",
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

impl Selector {
    /// `+@all -debug` and the like.
    pub(crate) fn describe_commands(&self) -> Vec<u8> {
        let additive = !self.commands.future;
        let sign = if additive { '+' } else { '-' };
        let mut built = if additive { Commands::none() } else { Commands::all() };
        let mut left = self.commands.clone();
        let mut rules = vec![if additive { "-@all".to_owned() } else { "+@all".to_owned() }];
        let mut applied = [false; CATEGORIES.len()];
        while let Some(best) = best_category(&left, additive, &applied) {
            applied[best] = true;
            built.set_category(best, additive);
            left.set_category(best, !additive);
            rules.push(format!("{sign}@{}", CATEGORIES[best]));
        }
        let mut rules: Vec<Vec<u8>> = rules.into_iter().map(String::into_bytes).collect();
        for id in (0..COMMANDS.len()).filter(|id| COMMANDS[*id].container().is_none()) {
            for id in std::iter::once(id).chain(subcommands(id).iter().copied()) {
                self.describe_one(id, &mut built, &mut rules);
            }
        }
        rules.join(&b' ')
    }

    fn describe_one(&self, id: usize, built: &mut Commands, rules: &mut Vec<Vec<u8>>) {
        let (name, on) = (COMMANDS[id].name, self.commands.has(id));
        if on != built.has(id) {
            rules.push(format!("{}{name}", if on { '+' } else { '-' }).into_bytes());
            built.set(id, on);
        }
        for argument in self.first_arguments.get(&id).into_iter().flatten().filter(|_| !on) {
            rules.push([b"+", name.as_bytes(), b"|", argument].concat());
        }
    }

    pub(crate) fn describe_keys(&self) -> Vec<u8> {
        if self.all_keys {
            return b"~*".to_vec();
        }
        self.keys.iter().map(KeyPattern::describe).collect::<Vec<_>>().join(&b' ')
    }

    pub(crate) fn describe_channels(&self) -> Vec<u8> {
        if self.all_channels {
            return b"&*".to_vec();
        }
        let channels: Vec<Vec<u8>> =
            self.channels.iter().map(|channel| [b"&", &channel[..]].concat()).collect();
        channels.join(&b' ')
    }

    fn describe(&self) -> Vec<u8> {
        let mut words = vec![self.describe_keys()];
        if !self.all_channels {
            words.push(b"resetchannels".to_vec());
        }
        words.extend([self.describe_channels(), self.describe_commands()]);
        words.retain(|word| !word.is_empty());
        words.join(&b' ')
    }
}

/// The category that has most in common with `left`, and more in common than not.
fn best_category(left: &Commands, additive: bool, applied: &[bool]) -> Option<usize> {
    let fit = |category: usize| {
        let (on, off) = left.count(category);
        if additive { (off, on) } else { (on, off) }
    };
    let fitting = (0..CATEGORIES.len()).filter(|category| !applied[*category]).filter_map(|category| {
        let (different, same) = fit(category);
        (same > different).then_some((different, std::cmp::Reverse(same), category))
    });
    fitting.min().map(|(_, _, category)| category)
}

impl User {
    /// The words of the user's state that ACL GETUSER shows as flags.
    pub(crate) fn flags(&self) -> Vec<&'static str> {
        let mut flags = vec![if self.is_on { "on" } else { "off" }];
        if self.needs_no_password {
            flags.push("nopass");
        }
        match self.sanitizes {
            Some(true) => flags.push("sanitize-payload"),
            Some(false) => flags.push("skip-sanitize-payload"),
            None => {}
        }
        flags
    }

    /// All rules, as they could be given to ACL SETUSER.
    pub(crate) fn describe(&self) -> Vec<u8> {
        let mut words: Vec<Vec<u8>> = self.flags().iter().map(|flag| flag.as_bytes().to_vec()).collect();
        words.extend(self.passwords.iter().map(|hash| format!("#{hash}").into_bytes()));
        words.push(self.selectors[0].describe());
        for selector in &self.selectors[1..] {
            words.push([b"(", &selector.describe()[..], b")"].concat());
        }
        words.join(&b' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_makes_the_same_user_again() {
        for rules in [
            "+@all",
            "-@all +get +set ~a*",
            "+@all -@string +incr -debug +debug|digest",
            "+@string -incr +config|get ~* &x",
            "+@all -@dangerous -select +info +select|1 %R~r* %W~w*",
            "-@all +@read -get",
        ] {
            let mut user = User::new(false);
            rules.split(' ').for_each(|rule| user.apply(rule.as_bytes(), false).unwrap());
            user.apply(b"(+@hash ~h* -hget)", false).unwrap();
            let text = String::from_utf8(user.describe()).unwrap();
            let mut again = User::new(false);
            for rule in
                super::super::rules_of(&text.split(' ').map(str::as_bytes).collect::<Vec<_>>()).unwrap()
            {
                again.apply(&rule, false).unwrap();
            }
            assert_eq!(again, user, "{rules} became {text}");
        }
    }
}
