//! `RewriteRule` and the `RewriteCond`s before it: denies become patterns, redirects become rules, and a rewrite to the
//! front controller says what the gateway does anyway for a framework. For a folder of PHP files the one in the document root
//! says that there is a front controller at all ([`super::Htaccess::front_controller`]).
//!
//! What comes behind such a rewrite is not reached by Apache either, for paths that are no file. What Laravel's,
//! Symfony's and WordPress's own files redirect (a slash at the end, `/index.php/…`) they route without it.

use regie_core::rules::{Condition, Part, Pattern, Query, Rewrite, Template, Test, Then};

use super::File;
use super::text::path_patterns;
use crate::application::below;

/// What has been read of a file's rewrites so far.
#[derive(Debug, Default)]
pub(super) struct Rewriting {
    /// `RewriteEngine On`
    pub(super) on: bool,
    /// `RewriteBase`
    pub(super) base: Option<String>,
    /// The words of the conditions for the next rule.
    pub(super) conditions: Vec<Vec<String>>,
    /// Whether the rule for all paths has come.
    is_behind_all: bool,
}

/// `[R=301,L]`
struct Flags(Vec<String>);

impl Flags {
    fn read(text: Option<&&str>) -> Self {
        let text = text.map(|text| text.trim_matches(['[', ']'])).unwrap_or_default();
        let flags = text.split(',').map(|flag| flag.trim().to_ascii_uppercase());
        Self(flags.filter(|flag| !flag.is_empty()).collect())
    }

    fn has(&self, names: &[&str]) -> bool {
        self.0.iter().any(|flag| names.contains(&flag.as_str()))
    }

    fn forbids(&self) -> bool {
        self.has(&["F", "FORBIDDEN", "G", "GONE", "R=403", "R=404", "R=410"])
    }

    /// The status of a redirect.
    fn redirect(&self) -> Option<&str> {
        self.0.iter().find_map(|flag| {
            let (name, status) = flag.split_once('=').unwrap_or((flag, "302"));
            matches!(name, "R" | "REDIRECT").then_some(status)
        })
    }

    /// Whether these are all that a redirect may have without meaning something else.
    fn are_plain(&self) -> bool {
        const PLAIN: [&str; 10] =
            ["L", "LAST", "END", "NC", "NOCASE", "NE", "NOESCAPE", "QSA", "QSAPPEND", "QSD"];
        self.0.iter().all(|flag| {
            PLAIN.contains(&flag.as_str()) || flag == "QSDISCARD" || flag.starts_with('R') || flag == "PT"
        })
    }

    fn query(&self) -> Query {
        if self.has(&["QSD", "QSDISCARD"]) {
            Query::Drop
        } else if self.has(&["QSA", "QSAPPEND"]) {
            Query::Append
        } else {
            Query::Keep
        }
    }
}

impl File<'_> {
    pub(super) fn rewrite(&mut self, line: usize, arguments: &[&str], so_far: &mut Rewriting) {
        let conditions = std::mem::take(&mut so_far.conditions);
        let (Some(pattern), Some(target)) = (arguments.first(), arguments.get(1)) else { return };
        let flags = Flags::read(arguments.get(2));
        if flags.forbids() {
            return self.forbid(line, pattern, &conditions);
        }
        let leaves = target.starts_with("http://") || target.starts_with("https://");
        let status = flags.redirect().or_else(|| leaves.then_some("302"));
        if let Some(status) = status {
            return self.redirecting_rewrite(line, (pattern, target, status), &flags, &conditions, so_far);
        }
        // `index.php/$1` hands the path on behind the script.
        let path = target.trim_start_matches(['.', '/']).split('?').next().unwrap_or_default();
        let script = if path.starts_with("index.php/") {
            "index.php"
        } else {
            path.rsplit('/').next().unwrap_or(path)
        };
        if *target != "-" && script != "index.php" {
            return self.name(
                line,
                "a rewrite to something other than the front controller is not applied",
                "route it in the application",
            );
        }
        if script == "index.php" && is_for_all(pattern) {
            so_far.is_behind_all = true;
            self.front_controller(line, target, &conditions, so_far.on);
        } else if flags.has(&["L", "LAST", "END"]) {
            match understood(self.folder, pattern, &flags, &conditions, Then::Stop) {
                Some(stop) => self.out.rules.rewrites.push(stop),
                None => so_far.is_behind_all = true,
            }
        }
    }

    /// All that is no file goes to `index.php`.
    fn front_controller(&mut self, line: usize, target: &str, conditions: &[Vec<String>], is_on: bool) {
        let Some((before, handed_on)) = target.split_once("index.php") else { return };
        let is_here = matches!(before, "" | "/" | "./") || before.starts_with("%{ENV:");
        if !self.folder.is_empty() || !is_here || !is_on {
            return;
        }
        let asks_for_files =
            |words: &Vec<String>| words.first().is_some_and(|word| word.contains("_FILENAME}"));
        let is_exception = |words: &Vec<String>| words.get(1).is_some_and(|word| word.starts_with('!'));
        if !conditions.iter().all(|words| asks_for_files(words) || is_exception(words)) {
            return self.name(
                line,
                "a rewrite to the front controller under conditions of its own is not applied",
                "[gateway] front_controller, where it is meant for all paths",
            );
        }
        if !conditions.iter().any(asks_for_files) {
            self.note(
                line,
                "the rewrite sends existing files to index.php too; they are served as they are",
                "[gateway] deny, for what is not to be seen",
            );
        }
        if !matches!(handed_on, "" | "?%{QUERY_STRING}") {
            self.note(
                line,
                "index.php finds the path in REQUEST_URI; as the rewrite hands it on it is not there",
                "read REQUEST_URI in the application",
            );
        }
        let place = self.place(line);
        self.out.front_controller.get_or_insert(place);
    }

    fn redirecting_rewrite(
        &mut self,
        line: usize,
        (pattern, target, status): (&str, &str, &str),
        flags: &Flags,
        conditions: &[Vec<String>],
        so_far: &Rewriting,
    ) {
        let is_a_framework_s = pattern.contains("index\\.php")
            || conditions.iter().any(|words| words.get(1).is_some_and(|word| word.contains("(.+)/$")));
        if is_a_framework_s {
            return;
        }
        if !so_far.on {
            return self.name(
                line,
                "a redirecting rewrite is not applied: the file does not switch rewriting on",
                "RewriteEngine On, before it",
            );
        }
        if so_far.is_behind_all {
            return self.name(
                line,
                "a redirecting rewrite behind the one to the front controller is not applied",
                "move it before that",
            );
        }
        let status = match status {
            "PERMANENT" => Some(301),
            "TEMP" => Some(302),
            "SEEOTHER" => Some(303),
            digits => digits.parse().ok().filter(|status| matches!(status, 301 | 302 | 303 | 307 | 308)),
        };
        let base = so_far.base.as_deref().unwrap_or(self.folder);
        let to = Template::parse(target, true).filter(|_| *target != *"-").map(|to| to.relative_to(base));
        let rule = status.zip(to).filter(|_| flags.are_plain()).and_then(|(status, to)| {
            let then = Then::Redirect { to, status, query: flags.query() };
            understood(self.folder, pattern, flags, conditions, then)
        });
        match rule {
            Some(rule) => {
                if rule.conditions.iter().any(|condition| condition.test == Test::Https(condition.negated)) {
                    self.note(
                        line,
                        "the redirect to https is applied where a proxy that is trusted says how the client came",
                        "[gateway] trusted_proxies",
                    );
                }
                self.out.rules.rewrites.push(rule);
            }
            None => self.name(
                line,
                "a redirecting rewrite is not understood and not applied",
                "redirect in the application, or with Redirect or RedirectMatch",
            ),
        }
    }

    /// A rewrite that forbids: its pattern becomes a deny, or the folder is refused.
    fn forbid(&mut self, line: usize, pattern: &str, conditions: &[Vec<String>]) {
        let by_request = conditions.iter().flatten().any(|word| {
            const PARTS: [&str; 7] = [
                "QUERY_STRING",
                "USER_AGENT",
                "REFERER",
                "REQUEST_METHOD",
                "HTTP_HOST",
                "REMOTE_ADDR",
                "THE_REQUEST",
            ];
            PARTS.iter().any(|part| word.contains(part))
        });
        if by_request {
            return self.name(
                line,
                "a rewrite that forbids some requests is not applied",
                "filter them in the application",
            );
        }
        match path_patterns(pattern).filter(|_| conditions.is_empty()) {
            Some(patterns) => {
                self.out.deny.extend(patterns.iter().map(|pattern| below(self.folder, pattern)));
            }
            None => self.refuse(line, "the rewrite that forbids is not understood"),
        }
    }
}

/// Whether a pattern matches every path, or every one but the root's, for which `index.php` answers anyway.
fn is_for_all(pattern: &str) -> bool {
    let inner = pattern.trim_start_matches('^').trim_end_matches('$').trim_matches(['(', ')']);
    pattern != "^$" && matches!(inner, "" | "." | ".*" | ".+" | "[^?]*" | "[^?]+")
}

fn understood(
    folder: &str,
    pattern: &str,
    flags: &Flags,
    conditions: &[Vec<String>],
    then: Then,
) -> Option<Rewrite> {
    let (negated, expression) = pattern.strip_prefix('!').map_or((false, pattern), |rest| (true, rest));
    let conditions = conditions.iter().map(|words| condition(words)).collect::<Option<Vec<_>>>()?;
    let pattern = Pattern::new(expression, flags.has(&["NC", "NOCASE"]))?;
    Some(Rewrite { folder: folder.to_owned(), pattern, negated, conditions, then })
}

/// `%{HTTP_HOST} ^www\. [NC]`
fn condition(words: &[String]) -> Option<Condition> {
    let flags = Flags::read(words.get(2).map(String::as_str).as_ref());
    if words.len() > 3
        || !flags.0.iter().all(|flag| matches!(&**flag, "NC" | "NOCASE" | "OR" | "ORNEXT" | "NV"))
    {
        return None;
    }
    let (asked, wanted) = (words.first()?, words.get(1)?);
    let (negated, wanted) = wanted.strip_prefix('!').map_or((false, &**wanted), |rest| (true, rest));
    let ignore_case = flags.has(&["NC", "NOCASE"]);
    // `=on`, `^on$`, `on`
    let word = wanted.trim_start_matches(['=', '^']).trim_end_matches('$').to_ascii_lowercase();
    let https = |yes: &str, no: &str| match &*word {
        word if word == yes => Some(Test::Https(true)),
        word if word == no => Some(Test::Https(false)),
        _ => None,
    };
    let test = match (asked.as_str(), wanted) {
        (
            "%{REQUEST_FILENAME}"
            | "%{SCRIPT_FILENAME}"
            | "%{DOCUMENT_ROOT}%{REQUEST_URI}"
            | "%{DOCUMENT_ROOT}/%{REQUEST_URI}",
            "-f" | "-d",
        ) => Some(if wanted == "-f" { Test::File } else { Test::Folder }),
        ("%{HTTPS}", _) => https("on", "off"),
        ("%{HTTP:X-Forwarded-Proto}" | "%{REQUEST_SCHEME}", _) => https("https", "http"),
        ("%{SERVER_PORT}", _) => https("443", "80"),
        (name, _) => {
            let part = match name {
                "%{HTTP_HOST}" | "%{SERVER_NAME}" => Part::Host,
                "%{REQUEST_URI}" => Part::Path,
                "%{QUERY_STRING}" => Part::Query,
                "%{REQUEST_METHOD}" => Part::Method,
                _ => return None,
            };
            let pattern = match wanted.strip_prefix('=') {
                Some(text) => Pattern::exactly(text, ignore_case),
                None if wanted.starts_with(['<', '>', '-']) => None,
                None => Pattern::new(wanted, ignore_case),
            };
            pattern.map(|pattern| Test::Matches(part, pattern))
        }
    };
    Some(Condition { test: test?, negated, or_next: flags.has(&["OR", "ORNEXT"]) })
}
