//! The change of `.env`: shown as a diff, made whole or not at all, with a copy of the file as it was.
//!
//! Only the lines of one variable change; everything else stays to the byte. The way back puts the copy in its place
//! where the file is as we left it, and else changes those lines alone.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use regie_config::php_config::{self, Value};
use serde::{Deserialize, Serialize};

use super::Fault;
use super::record::{folder, place, replace};
use crate::site::Site;
use crate::time;

/// What becomes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// It changes.
    Made(Written),
    /// It says so already.
    None(String),
}

/// A change, made or to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Written {
    /// The file, below the application's folder.
    pub(super) file: String,
    /// The copy of it as it was.
    pub(super) backup: String,
    variable: String,
    /// The variable's lines as they were; none when it was not there.
    before: Vec<String>,
    /// The line that says it now.
    after: String,
}

impl Change {
    /// What has to change so that the application uses `to`, with the copy made already.
    pub(super) fn of(site: &Site, configured: (&str, &str, &str), to: &str) -> Result<Self, Fault> {
        let (config, key, usual) = configured;
        Self::of_variable(site, &variable(site, config, key, usual)?, to)
    }

    /// The same for a variable that is known.
    pub(super) fn of_variable(site: &Site, variable: &str, to: &str) -> Result<Self, Fault> {
        let env = &site.loaded.dotenv;
        if std::env::var_os(variable).is_some() {
            return Err(Fault::usage(format!(
                "{variable} is set in the environment, which wins over .env: change it there"
            )));
        }
        let origin = Some(env.origin(variable)).filter(|origin| env.files.iter().any(|file| file == origin));
        let file = origin.or(env.files.first().map(String::as_str)).unwrap_or(".env").to_owned();
        let path = site.root().join(&file);
        let text = fs::read_to_string(&path)
            .map_err(|fault| Fault::failed(format!("cannot read {}: {fault}", path.display())))?;
        let after = line(variable, to);
        let (changed, before) = set(&text, variable, &after);
        if changed == text {
            return Ok(Self::None(format!("{file} says {after} already")));
        }
        let stamp = time::now_ms() / 1000;
        let backup = place(site).join(format!("{}-{stamp}", file.trim_start_matches('.').replace('/', "-")));
        folder(site)
            .and_then(|()| replace(&backup, text.as_bytes(), 0o600))
            .map_err(|fault| Fault::failed(format!("cannot write {}: {fault}", backup.display())))?;
        Ok(Self::Made(Written {
            file,
            backup: backup.display().to_string(),
            variable: variable.to_owned(),
            before,
            after,
        }))
    }
}

impl Written {
    /// As `diff -u` has it, without lines around.
    pub(super) fn diff(&self) -> Vec<String> {
        let mut lines = vec![format!("--- {}", self.file)];
        lines.extend(self.before.iter().map(|line| format!("-{line}")));
        if !self.after.is_empty() {
            lines.push(format!("+{}", self.after));
        }
        lines
    }

    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// Makes it.
    pub(super) fn make(&self, site: &Site) -> Result<(), Fault> {
        let (path, text) = self.open(site)?;
        self.put(&path, &set(&text, &self.variable, &self.after).0)
    }

    /// Undoes it. Gives what this has changed.
    pub(super) fn restore(self, site: &Site) -> Result<Change, Fault> {
        let (path, text) = self.open(site)?;
        let backup = fs::read_to_string(&self.backup).ok();
        // As we left it: then the copy is what it was, to the byte.
        let as_left = backup.filter(|backup| set(backup, &self.variable, &self.after).0 == text);
        let restored = as_left.unwrap_or_else(|| put_back(&text, &self.variable, &self.before));
        if restored == text {
            return Ok(Change::None(format!("{} is as it was", self.file)));
        }
        self.put(&path, &restored)?;
        let after = self.before.last().cloned().unwrap_or_default();
        Ok(Change::Made(Self { before: vec![self.after], after, ..self }))
    }

    /// The file behind its links: where it is shared by releases, all of them see the change.
    fn open(&self, site: &Site) -> Result<(PathBuf, String), Fault> {
        let named = site.root().join(&self.file);
        let path = named.canonicalize().unwrap_or(named);
        let text = fs::read_to_string(&path)
            .map_err(|fault| Fault::failed(format!("cannot read {}: {fault}", path.display())))?;
        Ok((path, text))
    }

    fn put(&self, path: &PathBuf, text: &str) -> Result<(), Fault> {
        fs::metadata(path)
            .and_then(|found| replace(path, text.as_bytes(), found.permissions().mode() & 0o7777))
            .map_err(|fault| {
                Fault::failed(format!(
                    "cannot write {}: {fault}; change {} there yourself, to {}",
                    path.display(),
                    self.variable,
                    self.after
                ))
            })
    }
}

/// The variable that names what the application uses.
fn variable(site: &Site, config: &str, key: &str, usual: &str) -> Result<String, Fault> {
    let Ok(text) = fs::read_to_string(site.root().join(config)) else {
        // Since Laravel 11 an application need not have the file.
        return Ok(usual.to_owned());
    };
    match php_config::value(&php_config::values(&text), key) {
        Some(Value::Env(name, _)) => Ok(name.clone()),
        _ => Err(Fault::usage(format!(
            "{config} does not read \"{key}\" from the environment, so .env has no say: change it there"
        ))),
    }
}

/// Whether `line` sets `variable`.
fn sets(line: &str, variable: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    line.strip_prefix(variable).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// The line that sets `variable` to `value`.
fn line(variable: &str, value: &str) -> String {
    let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte));
    match value {
        _ if plain => format!("{variable}={value}"),
        // A dollar would be the beginning of another variable's name.
        _ if value.contains(['$', '"', '\\']) => format!("{variable}='{value}'"),
        _ => format!("{variable}=\"{value}\""),
    }
}

/// The text with `after` in place of the lines that set `variable`, and these. All of them change: which one counts
/// differs between parsers.
fn set(text: &str, variable: &str, after: &str) -> (String, Vec<String>) {
    let mut before = Vec::new();
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\n', '\r']);
        if sets(bare, variable) {
            before.push(bare.to_owned());
            out.push_str(after);
            out.push_str(&line[bare.len()..]);
        } else {
            out.push_str(line);
        }
    }
    if before.is_empty() {
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(after);
        out.push('\n');
    }
    (out, before)
}

/// The text with the variable's lines as they were.
fn put_back(text: &str, variable: &str, before: &[String]) -> String {
    let mut old = before.iter();
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let bare = line.trim_end_matches(['\n', '\r']);
        if !sets(bare, variable) {
            out.push_str(line);
        } else if let Some(old) = old.next() {
            out.push_str(old);
            out.push_str(&line[bare.len()..]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lines_of_the_variable_change() {
        for (text, expected, before) in [
            ("A=1\nQUEUE=database\nB=2\n", "A=1\nQUEUE=redis\nB=2\n", vec!["QUEUE=database"]),
            ("A=1", "A=1\nQUEUE=redis\n", vec![]),
            ("", "QUEUE=redis\n", vec![]),
            ("# QUEUE=x\nQUEUE_OLD=y\n", "# QUEUE=x\nQUEUE_OLD=y\nQUEUE=redis\n", vec![]),
            ("A=1\r\nexport QUEUE = 'x' # c\r\n", "A=1\r\nQUEUE=redis\r\n", vec!["export QUEUE = 'x' # c"]),
            ("QUEUE=a\nQUEUE=b", "QUEUE=redis\nQUEUE=redis", vec!["QUEUE=a", "QUEUE=b"]),
        ] {
            let (changed, found) = set(text, "QUEUE", "QUEUE=redis");
            assert_eq!(changed, expected);
            assert_eq!(found, before);
            let back = put_back(&changed, "QUEUE", &found);
            assert_eq!(back.trim_end(), text.trim_end(), "the way back");
        }
    }

    #[test]
    fn values_are_quoted_where_they_have_to_be() {
        for (value, expected) in [
            ("redis", "Q=redis"),
            ("a b", "Q=\"a b\""),
            ("redis://h:1/m?x=1", "Q=\"redis://h:1/m?x=1\""),
            ("redis://:p$w@h", "Q='redis://:p$w@h'"),
        ] {
            assert_eq!(line("Q", value), expected);
        }
    }
}
