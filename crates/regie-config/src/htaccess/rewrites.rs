//! `RewriteRule` and the `RewriteCond`s before it.
//!
//! Where the front controller is known, what the frameworks' own files say of it is left out: the gateway sends there
//! whatever is no file, and passes the `Authorization` header on. What Laravel's and Symfony's files redirect (a slash
//! at the end, `/index.php/…`) they route without it.

use regie_core::rules::{Condition, Pattern, Query, Rewrite, Rewriting, Template, Test, Then};

use super::{File, is_servers_own};

/// What has been read of a file's rewrites so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    /// `RewriteEngine`
    pub(super) on: Option<bool>,
    /// `RewriteBase`
    pub(super) base: Option<String>,
    /// The words of the conditions for the next rule.
    pub(super) conditions: Vec<Vec<String>>,
    /// The rules that are understood.
    rewrites: Vec<Rewrite>,
    /// The first line that is applied only when rewriting is switched on.
    first_line: Option<usize>,
    /// The line that sends all that is no file to the front controller.
    front_line: Option<usize>,
}

/// `[R=301,L,E=name:value]`: names in upper case, values as they are.
struct Flags(Vec<(String, String)>);

impl Flags {
    fn read(words: &[&str]) -> Self {
        let text = words.join(" ");
        let flags = text.trim_matches(['[', ']']).split(',').map(|flag| {
            let (name, value) = flag.trim().split_once('=').unwrap_or((flag.trim(), ""));
            (name.to_ascii_uppercase(), value.to_owned())
        });
        Self(flags.filter(|(name, _)| !name.is_empty()).collect())
    }

    fn value(&self, names: &[&str]) -> Option<&str> {
        self.0.iter().find(|(name, _)| names.contains(&name.as_str())).map(|(_, value)| value.as_str())
    }

    fn has(&self, names: &[&str]) -> bool {
        self.value(names).is_some()
    }

    /// The flag that changes what a rule means in a way that is not carried out.
    fn foreign(&self) -> Option<&str> {
        const KNOWN: [&str; 37] = [
            "L",
            "LAST",
            "END",
            "NC",
            "NOCASE",
            "NE",
            "NOESCAPE",
            "QSA",
            "QSAPPEND",
            "QSD",
            "QSDISCARD",
            "QSL",
            "QSLAST",
            "R",
            "REDIRECT",
            "F",
            "FORBIDDEN",
            "G",
            "GONE",
            "PT",
            "PASSTHROUGH",
            "NS",
            "NOSUBREQ",
            "DPI",
            "DISCARDPATH",
            "E",
            "ENV",
            "S",
            "SKIP",
            "C",
            "CHAIN",
            "B",
            "BNP",
            "T",
            "TYPE",
            "NV",
            "UNSAFEALLOW3F",
        ];
        self.0.iter().map(|(name, _)| name.as_str()).find(|name| !KNOWN.contains(name))
    }

    fn then(&self, leaves: bool) -> Option<Then> {
        let status = |text: &str| match text.to_ascii_lowercase().as_str() {
            "permanent" => Some(301),
            "" | "temp" => Some(302),
            "seeother" => Some(303),
            digits => digits.parse().ok().filter(|status| (300..=599).contains(status)),
        };
        if self.has(&["F", "FORBIDDEN"]) {
            return Some(Then::Refuse(403));
        }
        if self.has(&["G", "GONE"]) {
            return Some(Then::Refuse(410));
        }
        if let Some(text) = self.value(&["R", "REDIRECT"]).or_else(|| leaves.then_some("")) {
            return match status(text)? {
                status @ (301 | 302 | 303 | 307 | 308) => Some(Then::Redirect(status)),
                status @ 400.. => Some(Then::Refuse(status)),
                _ => None,
            };
        }
        if self.has(&["END"]) {
            return Some(Then::End);
        }
        if self.has(&["L", "LAST"]) {
            return Some(Then::Last);
        }
        match self.value(&["S", "SKIP"]) {
            Some(count) => count.parse().ok().map(Then::Skip),
            None => Some(Then::Next),
        }
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

    /// `[E=name:value]`, so far as scripts may be told.
    fn variables(&self) -> Option<Vec<(String, Template)>> {
        let set = self.0.iter().filter(|(name, _)| matches!(&**name, "E" | "ENV"));
        let set = set.filter(|(_, set)| !set.starts_with('!'));
        set.map(|(_, set)| {
            let (name, value) = set.split_once(':').unwrap_or((set, ""));
            Some((name.to_owned(), Template::parse(value, true)?))
        })
        .filter(|one| one.as_ref().is_none_or(|(name, _)| !is_passed_anyway(name)))
        .collect()
    }
}

/// What the gateway tells every script, or no rule may tell it.
fn is_passed_anyway(name: &str) -> bool {
    name == "HTTP_AUTHORIZATION" || is_servers_own(name)
}

impl File<'_> {
    pub(super) fn rewrite(&mut self, line: usize, arguments: &[&str], read: &mut Read) {
        let conditions = std::mem::take(&mut read.conditions);
        let (Some(&pattern), Some(&target)) = (arguments.first(), arguments.get(1)) else { return };
        let flags = Flags::read(arguments.get(2..).unwrap_or_default());
        let words = Words { pattern, target, flags, conditions };
        if words.only_passes_the_header_on() || self.knows_front && words.is_a_framework_s() {
            return;
        }
        if let Some(flag) = words.flags.foreign() {
            let what = format!("a rewrite with [{flag}] is not applied");
            return self.name(line, &what, "do it in the application");
        }
        let base = read.base.clone().unwrap_or_else(|| self.folder.to_owned());
        match words.understood(&base) {
            Ok(mut rewrite) => {
                if self.knows_front && words.leads_to_the_front_controller() {
                    // The gateway sends there what is left at the end.
                    (rewrite.to, rewrite.to_query) = (None, None);
                }
                let asks_for_tls = |one: &Condition| one.test == Test::Https(one.negated);
                if rewrite.conditions.iter().any(asks_for_tls) && matches!(rewrite.then, Then::Redirect(_)) {
                    self.note(
                        line,
                        "the redirect to https is applied where a proxy that is trusted says how the client came",
                        "[gateway] trusted_proxies",
                    );
                }
                if self.folder.is_empty() && words.leads_to_the_front_controller() {
                    read.front_line.get_or_insert(line);
                }
                if !matches!(rewrite.then, Then::Refuse(_)) {
                    read.first_line.get_or_insert(line);
                }
                read.rewrites.push(rewrite);
            }
            Err(Fault::Pattern) => self.refuse(line, "the pattern of a rewrite is not understood"),
            Err(Fault::Condition(word)) => {
                let what = format!("a rewrite is not applied: its condition {word} is not understood");
                self.name(line, &what, "do it in the application");
            }
            Err(Fault::Target) => {
                self.name(
                    line,
                    "a rewrite is not applied: its target is not understood",
                    "do it in the application",
                );
            }
        }
    }

    /// Rewriting is in force here when this file, or else the nearest one above it, switches it on. What forbids is in
    /// force even so, unless this file switches it off.
    pub(super) fn settle_rewrites(&mut self, mut read: Read) {
        let above = || {
            let is_above = |folder: &str| folder.is_empty() || self.folder.starts_with(&format!("{folder}/"));
            let nearest = self.rewriting.iter().filter(|(folder, _)| is_above(folder));
            nearest.max_by_key(|(folder, _)| folder.len()).is_some_and(|(_, on)| *on)
        };
        let on = read.on.unwrap_or_else(above);
        if let Some(line) = read.front_line.filter(|_| on) {
            self.out.front_controller = Some(self.place(line));
        }
        if let Some(stated) = read.on {
            self.rewriting.insert(self.folder.to_owned(), stated);
        }
        if read.on.is_none() && read.rewrites.is_empty() {
            return;
        }
        if !on {
            if let Some(line) = read.first_line.filter(|_| read.on.is_none()) {
                self.name(
                    line,
                    "a rewrite is not applied: the file does not switch rewriting on",
                    "RewriteEngine On, before it",
                );
            }
            let stays = |rewrite: &Rewrite| read.on.is_none() && matches!(rewrite.then, Then::Refuse(_));
            read.rewrites.retain(stays);
        }
        // Behind the last rule that does something nothing needs to be stopped.
        while read.rewrites.last().is_some_and(Rewrite::does_nothing) {
            read.rewrites.pop();
        }
        let folder = self.folder.to_owned();
        self.out.rules.rewriting.push(Rewriting { folder, rewrites: read.rewrites });
    }
}

/// What of a rule is not understood.
enum Fault {
    Pattern,
    Condition(String),
    Target,
}

/// The words of a rule.
struct Words<'a> {
    pattern: &'a str,
    target: &'a str,
    flags: Flags,
    conditions: Vec<Vec<String>>,
}

impl Words<'_> {
    /// `RewriteRule .* - [E=HTTP_AUTHORIZATION:%{HTTP:Authorization}]`, and what Symfony's file notes for itself.
    fn only_passes_the_header_on(&self) -> bool {
        let only = self.flags.0.iter().all(|(name, value)| {
            matches!(&**name, "E" | "ENV" | "L")
                && (name == "L" || is_passed_anyway(value.split(':').next().unwrap_or("")))
        });
        self.target == "-" && only && self.flags.has(&["E", "ENV"])
    }

    /// What stands in the files of Laravel, Symfony and WordPress beside the rule for their front controller.
    fn is_a_framework_s(&self) -> bool {
        let notes_its_base =
            self.target == "-" && self.flags.value(&["E", "ENV"]).is_some_and(|set| set.starts_with("BASE:"));
        let is_about_the_script = self.pattern.starts_with("^index\\.php")
            && (self.target == "-" || self.flags.has(&["R", "REDIRECT"]));
        let takes_the_slash = self.target == "%1"
            && self.conditions.iter().any(|words| words.get(1).is_some_and(|word| word == "(.+)/$"));
        notes_its_base || is_about_the_script || takes_the_slash
    }

    /// `RewriteRule ^ index.php [L]` for all that is no file.
    fn leads_to_the_front_controller(&self) -> bool {
        let inner = self.pattern.trim_start_matches('^').trim_end_matches('$').trim_matches(['(', ')']);
        let is_for_all =
            self.pattern != "^$" && matches!(inner, "" | "." | ".?" | ".*" | ".+" | "[^?]*" | "[^?]+");
        let target = self.target.strip_prefix("%{ENV:BASE}").unwrap_or(self.target);
        let is_front = matches!(target.trim_start_matches(['.', '/']), "index.php" | "index.php/$1");
        let mut conditions = self.conditions.iter().map(|words| (words.first(), words.get(1)));
        let about_files = conditions.all(|words| match words {
            (Some(subject), Some(test)) => {
                matches!(test.as_str(), "!-f" | "!-d" | "!-l")
                    || subject == "%{REQUEST_URI}" && test.starts_with("!^/index\\.php")
            }
            _ => false,
        });
        is_for_all && is_front && about_files && !self.flags.has(&["R", "REDIRECT", "F", "G"])
    }

    fn understood(&self, base: &str) -> Result<Rewrite, Fault> {
        let (negated, expression) =
            self.pattern.strip_prefix('!').map_or((false, self.pattern), |rest| (true, rest));
        let pattern = Pattern::new(expression, self.flags.has(&["NC", "NOCASE"])).ok_or(Fault::Pattern)?;
        let conditions = self
            .conditions
            .iter()
            .map(|words| condition(words).ok_or_else(|| Fault::Condition(words.join(" "))));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let target = match self.target {
            "-" => None,
            target => {
                let target = target.strip_prefix("%{ENV:BASE}").unwrap_or(target);
                Some(Template::parse(target, true).ok_or(Fault::Target)?.relative_to(base))
            }
        };
        let then = self.flags.then(target.as_ref().is_some_and(Template::is_address)).ok_or(Fault::Target)?;
        let (to, to_query) = match target.map(Template::split_query) {
            Some((to, query)) => (Some(to), query),
            None => (None, None),
        };
        Ok(Rewrite {
            pattern,
            negated,
            conditions,
            to,
            to_query,
            query: self.flags.query(),
            variables: self.flags.variables().ok_or(Fault::Target)?,
            then,
            is_chained: self.flags.has(&["C", "CHAIN"]),
        })
    }
}

/// `%{HTTP_HOST} ^www\. [NC]`
fn condition(words: &[String]) -> Option<Condition> {
    let texts: Vec<&str> = words.iter().map(String::as_str).collect();
    let (&subject, &wanted) = (texts.first()?, texts.get(1)?);
    let flags = Flags::read(texts.get(2..).unwrap_or_default());
    if !flags.0.iter().all(|(flag, _)| matches!(&**flag, "NC" | "NOCASE" | "OR" | "ORNEXT" | "NV")) {
        return None;
    }
    let (negated, wanted) = wanted.strip_prefix('!').map_or((false, wanted), |rest| (true, rest));
    let ignore_case = flags.has(&["NC", "NOCASE"]);
    let template = || Template::parse(subject, true);
    let test = match wanted {
        "-f" | "-s" | "-x" => Test::File(template()?),
        "-d" => Test::Folder(template()?),
        "-l" | "-L" | "-h" => Test::Never,
        _ => match https(subject, wanted) {
            Some(test) => test,
            None => match wanted.strip_prefix('=') {
                Some(text) => Test::Is(template()?, text.trim_matches('"').to_owned(), ignore_case),
                None if wanted.starts_with(['<', '>', '-']) => return None,
                None => Test::Matches(template()?, Pattern::new(wanted, ignore_case)?),
            },
        },
    };
    Some(Condition { test, negated, or_next: flags.has(&["OR", "ORNEXT"]) })
}

/// Whether a condition asks for TLS: `%{HTTPS} =on`, `%{HTTPS} ^off$`, `%{SERVER_PORT} 80`.
fn https(subject: &str, wanted: &str) -> Option<Test> {
    let word = wanted.trim_start_matches(['=', '^']).trim_end_matches('$').to_ascii_lowercase();
    let (yes, no) = match subject {
        "%{HTTPS}" => ("on", "off"),
        "%{HTTP:X-Forwarded-Proto}" | "%{REQUEST_SCHEME}" => ("https", "http"),
        "%{SERVER_PORT}" => ("443", "80"),
        _ => return None,
    };
    match word {
        word if word == yes => Some(Test::Https(true)),
        word if word == no => Some(Test::Https(false)),
        _ => None,
    }
}
