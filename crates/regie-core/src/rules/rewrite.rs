//! `RewriteRule` and `RewriteCond`, as Apache's mod_rewrite carries them out in `.htaccess` files.
//!
//! The deepest folder above a path that rewrites at all decides alone. Its rules are gone through in their order, each
//! with the path that the ones before it have led to. When they have changed it, the same begins anew with the new
//! path ([`ROUNDS_MAX`] rounds at most), since that may lie in another folder; a rule with `[END]` saves that. Paths
//! are compared below the folder, without a slash before them.

use super::pattern::Groups;
use super::redirect::with_query;
use super::template::Source;
use super::{Answer, Asked, Lies, Look, Outcome, Pattern, Rewritten, Template, TooHard, below};

/// Rounds of rewriting that a request may take; Apache has as many.
pub const ROUNDS_MAX: usize = 10;

/// The rewrites of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewriting {
    /// Where the file lies: empty for the document root, else `a/b`.
    pub folder: String,
    /// In the order of their lines; none where rewriting is switched off.
    pub rewrites: Vec<Rewrite>,
}

/// `RewriteRule`, with the conditions before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// What the path below the folder is compared with.
    pub pattern: Pattern,
    /// `!` before the pattern.
    pub negated: bool,
    /// What must hold besides.
    pub conditions: Vec<Condition>,
    /// Where to, without its query; none for `-`.
    pub to: Option<Template>,
    /// What the target names as its query.
    pub to_query: Option<Template>,
    /// What becomes of the query that was asked for.
    pub query: Query,
    /// `[E=name:value]`
    pub variables: Vec<(String, Template)>,
    /// What follows.
    pub then: Then,
    /// `[C]`: the next rule is about the same requests only.
    pub is_chained: bool,
}

impl Rewrite {
    /// Whether it changes nothing itself, so that it matters to the rules behind it alone.
    #[must_use]
    pub fn does_nothing(&self) -> bool {
        self.to.is_none()
            && self.variables.is_empty()
            && !matches!(self.then, Then::Redirect(_) | Then::Refuse(_))
    }

    /// Where a redirect leads. None when the host that goes into it is none.
    fn location(&self, source: &Source<'_>) -> Option<String> {
        let Some(to) = &self.to else {
            // `-`: where the rules so far have led.
            let location = Template::literal(source.now).location(source)?;
            return Some(with_query(location, source.query, Query::Keep));
        };
        let mut location = to.location(source)?;
        if let Some(named) = &self.to_query {
            location.push('?');
            location.push_str(&named.location(source).unwrap_or_default());
        }
        Some(with_query(location, source.query, self.query))
    }
}

/// What follows a rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next rule.
    Next,
    /// This round is over.
    Last,
    /// Rewriting is over.
    End,
    /// So many rules are passed over.
    Skip(usize),
    /// The client is sent there, with 301, 302, 303, 307 or 308.
    Redirect(u16),
    /// This is the answer.
    Refuse(u16),
}

/// What becomes of the query that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// It goes along where the target names none.
    Keep,
    /// It goes along behind the one that the target names.
    Append,
    /// It does not go along.
    Drop,
}

/// `RewriteCond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What is asked.
    pub test: Test,
    /// `!` before it.
    pub negated: bool,
    /// `[OR]`: this one or the next.
    pub or_next: bool,
}

/// What a condition asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// Whether the client speaks TLS (or, `false`, surely does not).
    Https(bool),
    /// Whether a file lies at this place of the file system.
    File(Template),
    /// Whether a folder does.
    Folder(Template),
    /// Whether the text matches.
    Matches(Template, Pattern),
    /// Whether it is this one, or (`true`) is so but for its case.
    Is(Template, String, bool),
    /// Always: about links, of which those that lead outside do not exist here.
    Never,
}

/// Why rewriting ends before all rounds are over.
enum Stop {
    Answer(Answer),
    TooHard(TooHard),
}

impl From<TooHard> for Stop {
    fn from(hard: TooHard) -> Self {
        Self::TooHard(hard)
    }
}

impl Stop {
    /// An answer that leads nowhere.
    const fn refused(status: u16) -> Self {
        Self::Answer(Answer { status, location: None })
    }
}

/// What the rounds have in common.
struct Walk<'a> {
    asked: &'a Asked<'a>,
    look: &'a dyn Look,
    variables: Vec<(String, String)>,
}

/// Takes the request through the rules.
pub(super) fn rewrite(
    folders: &[Rewriting],
    asked: &Asked<'_>,
    look: &dyn Look,
    variables: Vec<(String, String)>,
) -> Result<Outcome, TooHard> {
    let mut walk = Walk { asked, look, variables };
    match walk.all_rounds(folders) {
        Ok(to) => {
            let is_elsewhere = to.path != asked.path || to.query != asked.query;
            let rewritten = is_elsewhere.then_some(to);
            Ok(Outcome { answer: None, rewritten, variables: walk.variables })
        }
        Err(Stop::Answer(answer)) => Ok(Outcome { answer: Some(answer), ..Outcome::default() }),
        Err(Stop::TooHard(hard)) => Err(hard),
    }
}

/// The rewrites that are in force at `path`.
fn deepest<'a>(folders: &'a [Rewriting], path: &str) -> Option<&'a Rewriting> {
    let above = folders.iter().filter(|one| below(path, &one.folder).is_some());
    above.max_by_key(|one| one.folder.len()).filter(|one| !one.rewrites.is_empty())
}

impl Walk<'_> {
    fn all_rounds(&mut self, folders: &[Rewriting]) -> Result<Rewritten, Stop> {
        let asked = Rewritten { path: self.asked.path.to_owned(), query: self.asked.query.to_owned() };
        let to = self.rounds(folders, asked)?;
        // What answers for a folder is asked for by its own name, too.
        let index =
            Some(&to.path).filter(|path| path.ends_with('/')).and_then(|path| self.look.index_of(path));
        let Some(path) = index else { return Ok(to) };
        let led = self.rounds(folders, Rewritten { path: path.clone(), query: to.query.clone() })?;
        Ok(if led.path == path { to } else { led })
    }

    fn rounds(&mut self, folders: &[Rewriting], mut to: Rewritten) -> Result<Rewritten, Stop> {
        for _ in 0..ROUNDS_MAX {
            let Some(folder) = deepest(folders, &to.path) else { break };
            // A folder that is named without its slash is sent there first.
            if !to.path.ends_with('/') && self.look.lies_at(&to.path) == Lies::Folder {
                break;
            }
            let is_last;
            (to, is_last) = self.round(folder, &to)?;
            if is_last {
                break;
            }
            // Apache's own way to tell the rounds apart.
            for (name, _) in &mut self.variables {
                name.insert_str(0, "REDIRECT_");
            }
            self.variables.push(("REDIRECT_STATUS".into(), "200".into()));
        }
        Ok(to)
    }

    /// Where the rules of a folder lead, and whether that is the end: also when the path is the same, since that alone
    /// decides which rules come next.
    fn round(&mut self, folder: &Rewriting, from: &Rewritten) -> Result<(Rewritten, bool), Stop> {
        let Rewritten { mut path, mut query } = from.clone();
        let mut is_ended = false;
        let mut rules = folder.rewrites.iter();
        while let Some(rule) = rules.next() {
            let here = Here { path: &from.path, now: &path, query: &query };
            let Some(found) = self.found(rule, below(&path, &folder.folder).unwrap_or(&path), &here)? else {
                pass_chained(rule, &mut rules);
                continue;
            };
            let source = self.source(&here, found.rule.as_ref(), found.last.as_ref());
            match rule.then {
                Then::Refuse(status) => return Err(Stop::refused(status)),
                Then::Redirect(status) => {
                    let Some(location) = rule.location(&source) else { continue };
                    return Err(Stop::Answer(Answer { status, location: Some(location) }));
                }
                Then::Next | Then::Last | Then::End | Then::Skip(_) => {}
            }
            let set: Vec<(String, String)> =
                rule.variables.iter().map(|(name, value)| (name.clone(), value.fill(&source))).collect();
            if let Some(to) = &rule.to {
                let named = rule.to_query.as_ref().map(|query| query.fill(&source));
                let led_to = normalised(&to.fill(&source)).ok_or(Stop::refused(404))?;
                query = next_query(named, &query, rule.query);
                path = led_to;
            }
            self.variables.extend(set);
            match rule.then {
                Then::Last => break,
                Then::End => {
                    is_ended = true;
                    break;
                }
                Then::Skip(count) => rules = rules.as_slice()[count.min(rules.len())..].iter(),
                Then::Next | Then::Redirect(_) | Then::Refuse(_) => {}
            }
        }
        let is_last = is_ended || path == from.path;
        Ok((Rewritten { path, query }, is_last))
    }

    /// What a rule and its conditions have matched; none when it does not apply.
    fn found(&self, rule: &Rewrite, compared: &str, here: &Here<'_>) -> Result<Option<Found>, TooHard> {
        let found = rule.pattern.captures(compared)?;
        if found.is_some() == rule.negated {
            return Ok(None);
        }
        let last = self.hold(&rule.conditions, here, found.as_ref())?;
        Ok(last.map(|last| Found { rule: found, last }))
    }

    fn source<'s>(
        &'s self,
        here: &Here<'s>,
        found: Option<&'s Groups>,
        last: Option<&'s Groups>,
    ) -> Source<'s> {
        Source {
            asked: self.asked,
            look: self.look,
            path: here.path,
            now: here.now,
            query: here.query,
            variables: &self.variables,
            found,
            last,
        }
    }

    /// Whether all conditions hold; then with the groups of the last one that has matched.
    fn hold(
        &self,
        conditions: &[Condition],
        here: &Here<'_>,
        found: Option<&Groups>,
    ) -> Result<Option<Option<Groups>>, TooHard> {
        let mut last: Option<Groups> = None;
        let mut conditions = conditions.iter();
        while let Some(condition) = conditions.next() {
            let fill = |text: &Template| text.fill(&self.source(here, found, last.as_ref()));
            let is_so = match &condition.test {
                // Where nobody knows, neither holds.
                Test::Https(wanted) => self.asked.https.map(|https| https == *wanted),
                Test::File(place) => Some(self.lies_at(&fill(place)) == Lies::File),
                Test::Folder(place) => Some(self.lies_at(&fill(place)) == Lies::Folder),
                Test::Is(text, wanted, ignore_case) => {
                    let text = fill(text);
                    Some(text == *wanted || *ignore_case && text.eq_ignore_ascii_case(wanted))
                }
                Test::Matches(text, pattern) => {
                    let groups = pattern.captures(&fill(text))?;
                    let matches = groups.is_some();
                    last = groups.or(last);
                    Some(matches)
                }
                Test::Never => Some(false),
            };
            if is_so.is_some_and(|is_so| is_so != condition.negated) {
                // The others of its group need not be asked.
                let mut or_next = condition.or_next;
                while or_next {
                    or_next = conditions.next().is_some_and(|next| next.or_next);
                }
            } else if !condition.or_next {
                return Ok(None);
            }
        }
        Ok(Some(last))
    }

    /// What lies at a place of the file system; outside the document root nothing that concerns a client does.
    fn lies_at(&self, place: &str) -> Lies {
        let below_root = place.strip_prefix(self.asked.root).and_then(normalised);
        below_root.map_or(Lies::Nothing, |path| self.look.lies_at(&path))
    }
}

/// What a rule sees of the round that it is in.
struct Here<'a> {
    /// The path with which the round began.
    path: &'a str,
    /// The path that the rules so far have led to.
    now: &'a str,
    query: &'a str,
}

/// What a rule that applies has matched.
struct Found {
    /// Its pattern; none where it is negated.
    rule: Option<Groups>,
    /// The last of its conditions that has matched.
    last: Option<Groups>,
}

/// Passes over the rules that are chained to one that did not apply.
fn pass_chained(rule: &Rewrite, rules: &mut std::slice::Iter<'_, Rewrite>) {
    let mut is_chained = rule.is_chained;
    while is_chained {
        is_chained = rules.next().is_some_and(|next| next.is_chained);
    }
}

fn next_query(named: Option<String>, query: &str, rule: Query) -> String {
    match (named, rule) {
        (None, Query::Drop) => String::new(),
        (None, _) => query.to_owned(),
        (Some(named), Query::Append) if !query.is_empty() && !named.is_empty() => format!("{named}&{query}"),
        (Some(named), Query::Append) if named.is_empty() => query.to_owned(),
        (Some(named), _) => named,
    }
}

/// The path without empty segments, `.` and `..`; none when it would lead out.
fn normalised(path: &str) -> Option<String> {
    let mut out: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(out.pop()?),
            name => out.push(name),
        }
    }
    let slash = if path.ends_with('/') && !out.is_empty() { "/" } else { "" };
    (!path.contains('\0')).then(|| format!("/{}{slash}", out.join("/")))
}
