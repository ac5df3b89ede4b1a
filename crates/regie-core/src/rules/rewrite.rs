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

/// Where a round has led.
enum Round {
    /// To where it began.
    Same,
    /// To another path or query.
    To { path: String, query: String, is_last: bool },
    /// To an answer.
    Answer(Answer),
}

/// Where all rounds have led.
enum End {
    Answer(Answer),
    At { path: String, query: String },
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
    let (path, query) = (asked.path.to_owned(), asked.query.to_owned());
    let (mut path, mut query) = match walk.rounds(folders, path, query)? {
        End::Answer(answer) => return Ok(Outcome::answered(answer)),
        End::At { path, query } => (path, query),
    };
    // What answers for a folder is asked for by its own name, too.
    if let Some(index) = Some(&path).filter(|path| path.ends_with('/')).and_then(|path| look.index_of(path)) {
        match walk.rounds(folders, index.clone(), query.clone())? {
            End::Answer(answer) => return Ok(Outcome::answered(answer)),
            End::At { path: led_to, query: with } if led_to != index => (path, query) = (led_to, with),
            End::At { .. } => {}
        }
    }
    let is_elsewhere = path != asked.path || query != asked.query;
    let rewritten = is_elsewhere.then_some(Rewritten { path, query });
    Ok(Outcome { answer: None, rewritten, variables: walk.variables })
}

/// The rewrites that are in force at `path`.
fn deepest<'a>(folders: &'a [Rewriting], path: &str) -> Option<&'a Rewriting> {
    let above = folders.iter().filter(|one| below(path, &one.folder).is_some());
    above.max_by_key(|one| one.folder.len()).filter(|one| !one.rewrites.is_empty())
}

impl Walk<'_> {
    fn rounds(&mut self, folders: &[Rewriting], path: String, query: String) -> Result<End, TooHard> {
        let (mut path, mut query) = (path, query);
        for _ in 0..ROUNDS_MAX {
            let Some(folder) = deepest(folders, &path) else { break };
            // A folder that is named without its slash is sent there first.
            if !path.ends_with('/') && self.look.lies_at(&path) == Lies::Folder {
                break;
            }
            match self.round(folder, &path, &query)? {
                Round::Same => break,
                Round::Answer(answer) => return Ok(End::Answer(answer)),
                Round::To { path: led_to, query: with, is_last } => {
                    (path, query) = (led_to, with);
                    if is_last {
                        break;
                    }
                    // Apache's own way to tell the rounds apart.
                    for (name, _) in &mut self.variables {
                        name.insert_str(0, "REDIRECT_");
                    }
                    self.variables.push(("REDIRECT_STATUS".into(), "200".into()));
                }
            }
        }
        Ok(End::At { path, query })
    }

    fn round(&mut self, folder: &Rewriting, from: &str, from_query: &str) -> Result<Round, TooHard> {
        let (mut path, mut query) = (from.to_owned(), from_query.to_owned());
        let mut is_last = false;
        let mut rules = folder.rewrites.iter();
        while let Some(rule) = rules.next() {
            let compared = below(&path, &folder.folder).unwrap_or(&path).to_owned();
            let found = rule.pattern.captures(&compared)?;
            if found.is_some() == rule.negated {
                pass_chained(rule, &mut rules);
                continue;
            }
            let file = file_of(&path, self.look).to_owned();
            let here = Here { path: from, file: &file, query: &query };
            let mut last_text = String::new();
            let Some(last) = self.hold(&rule.conditions, &here, found.as_ref(), &mut last_text)? else {
                pass_chained(rule, &mut rules);
                continue;
            };
            let last = match last {
                Some(pattern) => pattern.captures(&last_text)?,
                None => None,
            };
            let source = self.source(&here, found.as_ref(), last.as_ref());
            let set: Vec<(String, String)> =
                rule.variables.iter().map(|(name, value)| (name.clone(), value.fill(&source))).collect();
            if let Then::Refuse(status) = rule.then {
                return Ok(Round::Answer(Answer { status, location: None }));
            }
            if let Some(to) = &rule.to {
                let named = rule.to_query.as_ref().map(|query| query.fill(&source));
                let is_redirect = to.is_address() || matches!(rule.then, Then::Redirect(_));
                if is_redirect {
                    let status = if let Then::Redirect(status) = rule.then { status } else { 302 };
                    let Some(mut location) = to.location(&source) else {
                        continue;
                    };
                    if let Some(named) = &rule.to_query {
                        location.push('?');
                        location.push_str(&named.location(&source).unwrap_or_default());
                    }
                    let location = Some(with_query(location, &query, rule.query));
                    return Ok(Round::Answer(Answer { status, location }));
                }
                let filled = to.fill(&source);
                let Some(led_to) = normalised(&filled) else {
                    return Ok(Round::Answer(Answer { status: 404, location: None }));
                };
                query = next_query(named, &query, rule.query);
                path = led_to;
            }
            self.variables.extend(set);
            match rule.then {
                Then::Last => break,
                Then::End => {
                    is_last = true;
                    break;
                }
                Then::Skip(count) => rules = rules.as_slice()[count.min(rules.len())..].iter(),
                Then::Redirect(status) => {
                    // `-`: where the rules so far have led.
                    let to = Template::literal(&path);
                    let here = Here { path: from, file: &path, query: &query };
                    let Some(location) = to.location(&self.source(&here, None, None)) else { continue };
                    let location = Some(with_query(location, &query, Query::Keep));
                    return Ok(Round::Answer(Answer { status, location }));
                }
                Then::Next | Then::Refuse(_) => {}
            }
        }
        Ok(if path == from && (query == from_query || is_last) {
            Round::Same
        } else if path == from {
            // The path alone decides which rules come next: they would be the same ones for ever.
            Round::To { path, query, is_last: true }
        } else {
            Round::To { path, query, is_last }
        })
    }

    fn source<'s, 't>(
        &'s self,
        here: &Here<'s>,
        found: Option<&'s Groups<'t>>,
        last: Option<&'s Groups<'t>>,
    ) -> Source<'s, 't> {
        Source {
            asked: self.asked,
            look: self.look,
            path: here.path,
            file: here.file,
            query: here.query,
            variables: &self.variables,
            found,
            last,
        }
    }

    /// Whether all conditions hold; then the last pattern among them that has matched, what it matched being left in
    /// `matched`.
    fn hold<'c>(
        &self,
        conditions: &'c [Condition],
        here: &Here<'_>,
        found: Option<&Groups<'_>>,
        matched: &mut String,
    ) -> Result<Option<Option<&'c Pattern>>, TooHard> {
        let mut last: Option<&Pattern> = None;
        let mut conditions = conditions.iter();
        while let Some(condition) = conditions.next() {
            let groups = match last {
                Some(pattern) => pattern.captures(matched)?,
                None => None,
            };
            let fill = |text: &Template| text.fill(&self.source(here, found, groups.as_ref()));
            let holds = match &condition.test {
                Test::Https(wanted) => {
                    self.asked.https.is_some_and(|https| (https == *wanted) != condition.negated)
                }
                Test::File(place) => (self.lies_at(&fill(place)) == Lies::File) != condition.negated,
                Test::Folder(place) => (self.lies_at(&fill(place)) == Lies::Folder) != condition.negated,
                Test::Is(text, wanted, ignore_case) => {
                    let text = fill(text);
                    let same = text == *wanted || *ignore_case && text.eq_ignore_ascii_case(wanted);
                    same != condition.negated
                }
                Test::Matches(text, pattern) => {
                    let text = fill(text);
                    let matches = pattern.matches(&text)?;
                    if matches {
                        drop(groups);
                        *matched = text;
                        last = Some(pattern);
                    }
                    matches != condition.negated
                }
                Test::Never => condition.negated,
            };
            if holds {
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
    path: &'a str,
    file: &'a str,
    query: &'a str,
}

/// Passes over the rules that are chained to one that did not apply.
fn pass_chained(rule: &Rewrite, rules: &mut std::slice::Iter<'_, Rewrite>) {
    let mut is_chained = rule.is_chained;
    while is_chained {
        is_chained = rules.next().is_some_and(|next| next.is_chained);
    }
}

/// The path without what follows a script in it.
fn file_of<'a>(path: &'a str, look: &dyn Look) -> &'a str {
    let mut ends = path.match_indices(".php/").map(|(at, _)| at + 4);
    ends.find(|end| look.lies_at(&path[..*end]) == Lies::File).map_or(path, |end| &path[..end])
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
