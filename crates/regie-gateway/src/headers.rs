//! Headers of answers that the site's rules ask for (`Header` in `.htaccess` files).

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};
use regie_core::rules::{HeaderAction, HeaderRule, Scope};

/// The rules, ready to be applied.
#[derive(Debug, Default)]
pub struct Headers(Vec<Rule>);

#[derive(Debug)]
struct Rule {
    on: Scope,
    name: HeaderName,
    action: Action,
}

#[derive(Debug)]
enum Action {
    Set(HeaderValue),
    SetIfEmpty(HeaderValue),
    Add(HeaderValue),
    Append(HeaderValue),
    Unset,
}

impl Headers {
    /// Those of `rules` that can stand in an answer; their reader has named the others.
    #[must_use]
    pub fn new(rules: &[HeaderRule]) -> Self {
        Self(rules.iter().filter_map(Rule::new).collect())
    }

    /// Applies them to the answer for what is served at `path`: a file, a script, or what was asked for.
    pub fn apply(&self, path: &str, headers: &mut HeaderMap) {
        for rule in self.0.iter().filter(|rule| rule.on.covers(path)) {
            rule.apply(headers);
        }
    }
}

impl Rule {
    fn new(rule: &HeaderRule) -> Option<Self> {
        let name = HeaderName::from_bytes(rule.name.as_bytes()).ok()?;
        let value = |text: &str| HeaderValue::from_str(text).ok();
        let action = match &rule.action {
            HeaderAction::Set(text) => Action::Set(value(text)?),
            HeaderAction::SetIfEmpty(text) => Action::SetIfEmpty(value(text)?),
            HeaderAction::Add(text) => Action::Add(value(text)?),
            HeaderAction::Append(text) => Action::Append(value(text)?),
            HeaderAction::Unset => Action::Unset,
        };
        Some(Self { on: rule.on.clone(), name, action })
    }

    fn apply(&self, headers: &mut HeaderMap) {
        let name = self.name.clone();
        match &self.action {
            Action::Set(value) => drop(headers.insert(name, value.clone())),
            Action::SetIfEmpty(value) => drop(headers.entry(name).or_insert_with(|| value.clone())),
            Action::Add(value) => drop(headers.append(name, value.clone())),
            Action::Append(value) => append(headers, name, value),
            Action::Unset => drop(headers.remove(name)),
        }
    }
}

/// Adds `value` to the list that the header holds, unless it is in it.
fn append(headers: &mut HeaderMap, name: HeaderName, value: &HeaderValue) {
    match headers.entry(name) {
        Entry::Vacant(entry) => drop(entry.insert(value.clone())),
        Entry::Occupied(mut entry) => {
            let held = entry.get().as_bytes();
            let is_there = held.split(|byte| *byte == b',').any(|one| one.trim_ascii() == value.as_bytes());
            let joined = [held, b", ", value.as_bytes()].concat();
            if let Some(joined) = HeaderValue::from_bytes(&joined).ok().filter(|_| !is_there) {
                entry.insert(joined);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_does_what_apache_does() {
        let text = || "b".to_owned();
        for (action, expected) in [
            (HeaderAction::Set(text()), &["b"][..]),
            (HeaderAction::SetIfEmpty(text()), &["a"]),
            (HeaderAction::Add(text()), &["a", "b"]),
            (HeaderAction::Append(text()), &["a, b"]),
            (HeaderAction::Append("a".into()), &["a"]),
            (HeaderAction::Unset, &[]),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-one", HeaderValue::from_static("a"));
            let rule = HeaderRule { on: Scope::folder("shop".into()), name: "X-One".into(), action };
            let rules = Headers::new(&[rule]);
            rules.apply("/elsewhere/a.css", &mut headers);
            assert_eq!(headers["x-one"], "a", "other folders are left alone");
            rules.apply("/shop/a.css", &mut headers);
            let found: Vec<&str> =
                headers.get_all("x-one").iter().filter_map(|one| one.to_str().ok()).collect();
            assert_eq!(found, expected, "{rules:?}");
        }
    }
}
