//! `Redirect`, `RedirectMatch` and `Header`.

use regie_core::rules::{From, HeaderAction, HeaderRule, Pattern, Redirect, Scope, Template};

use super::File;

/// Headers that say how an answer is carried. A file that set them would break it.
const CARRYING: [&str; 8] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl File<'_> {
    /// `Redirect 301 /from URL`, `RedirectMatch 301 ^/from(.*) /to$1`. With a status that leads nowhere it is a deny,
    /// and one that is not understood closes the folder.
    pub(super) fn redirect(&mut self, line: usize, name: &str, arguments: &[&str]) -> Option<Redirect> {
        let (status, rest) = match arguments.first().map(|word| word.to_ascii_lowercase()).as_deref() {
            Some("permanent") => (301, &arguments[1..]),
            Some("temp") => (302, &arguments[1..]),
            Some("seeother") => (303, &arguments[1..]),
            Some("gone") => (410, &arguments[1..]),
            Some(code) if code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) => {
                (code.parse().unwrap_or(302), &arguments[1..])
            }
            _ => (if name == "redirectpermanent" { 301 } else { 302 }, arguments),
        };
        let by_pattern = name == "redirectmatch";
        let leads_nowhere = matches!(status, 403 | 404 | 410);
        let from = rest.first().and_then(|from| match by_pattern {
            true => Pattern::new(from, false).map(From::Pattern),
            false => from.starts_with('/').then(|| From::Prefix((*from).to_owned())),
        });
        let to = rest.get(1).filter(|_| rest.len() == 2).and_then(|to| match by_pattern {
            true => Template::parse(to, false),
            false => Some(Template::literal(to)),
        });
        let sound = matches!(status, 301 | 302 | 303 | 307 | 308);
        match (from, to) {
            (Some(from), None) if leads_nowhere && rest.len() == 1 => {
                Some(Redirect { from, to: None, status })
            }
            (Some(from), Some(to)) if sound => Some(Redirect { from, to: Some(to), status }),
            _ if leads_nowhere => {
                self.refuse(line, "the paths that it closes are not understood");
                None
            }
            _ => {
                self.name(
                    line,
                    "the redirect is not understood and not applied",
                    "write it as Redirect 301 /from URL",
                );
                None
            }
        }
    }

    /// `Header always set NAME VALUE`, for the files of `names` only, or for all.
    pub(super) fn header(&mut self, line: usize, arguments: &[&str], names: Option<&Pattern>) {
        let arguments = match arguments.first() {
            Some(first) if matches!(first.to_ascii_lowercase().as_str(), "always" | "onsuccess") => {
                &arguments[1..]
            }
            _ => arguments,
        };
        let Some((name, action)) = action(arguments) else {
            return self.name(
                line,
                "a header with a condition or a variable is not applied",
                "set it in the application",
            );
        };
        if !is_header(&name) || CARRYING.contains(&&*name.to_ascii_lowercase()) {
            let what = format!("the header {name} is not applied: it is the server's own");
            return self.name(line, &what, "remove the line");
        }
        let on = Scope { folder: self.folder.to_owned(), names: names.cloned() };
        self.out.rules.headers.push(HeaderRule { on, name, action });
    }
}

fn action(arguments: &[&str]) -> Option<(String, HeaderAction)> {
    let (action, rest) = arguments.split_first()?;
    let (name, rest) = rest.split_first()?;
    let name = name.trim_end_matches(':').to_owned();
    let value = match rest {
        [] => None,
        [value] if value.bytes().all(|b| matches!(b, b'\t' | b' '..=b'~') && b != b'%') => {
            Some((*value).to_owned())
        }
        _ => return None,
    };
    let action = match (action.to_ascii_lowercase().as_str(), value) {
        ("unset", None) => HeaderAction::Unset,
        ("set", Some(value)) => HeaderAction::Set(value),
        ("setifempty", Some(value)) => HeaderAction::SetIfEmpty(value),
        ("add", Some(value)) => HeaderAction::Add(value),
        ("append" | "merge", Some(value)) => HeaderAction::Append(value),
        _ => return None,
    };
    Some((name, action))
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}
