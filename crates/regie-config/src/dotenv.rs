//! `.env` as the application's own framework reads it.
//!
//! Two dialects are spoken: phpdotenv's (Laravel, WordPress on Bedrock, most plain projects) and Symfony's. They
//! differ in quoting, in what a `#` begins, in expansion and in which files count, so each is followed to the letter
//! and compared with the real parser by a test. In both the real environment wins over the files. The files are never
//! written.

pub mod phpdotenv;
pub mod symfony;

use std::collections::BTreeMap;

use crate::fault::{Fault, Place};
use crate::files::Files;
use crate::values::Framework;

/// Names and values.
pub type Variables = BTreeMap<String, String>;

/// What the application will see: the real environment, and below it the files.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DotEnv {
    /// The real environment.
    environment: Variables,
    /// Values from the files, with the file that had the last word.
    values: BTreeMap<String, (String, String)>,
    /// What makes the framework refuse a file.
    pub faults: Vec<Fault>,
    /// The files that were read, in order.
    pub files: Vec<String>,
    /// Variables whose value is the output of a command, which only the framework itself runs.
    pub commands: Vec<String>,
}

impl std::fmt::Debug for DotEnv {
    /// Names only: the values are the application's secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.values.keys().map(String::as_str).collect();
        f.debug_struct("DotEnv").field("files", &self.files).field("names", &names).finish_non_exhaustive()
    }
}

impl DotEnv {
    /// Reads the files that `framework` would read in this environment.
    #[must_use]
    pub fn read(files: &dyn Files, framework: Framework, environment: &Variables) -> Self {
        let mut own = Self { environment: environment.clone(), ..Self::default() };
        match framework {
            Framework::Symfony => symfony::boot(files, &mut own),
            Framework::Laravel | Framework::Wordpress | Framework::Plain => phpdotenv::load(files, &mut own),
        }
        own
    }

    /// The value that the application sees.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        let from_files = || self.values.get(name).map(|(value, _)| value.as_str());
        self.environment.get(name).map(String::as_str).or_else(from_files)
    }

    /// Where that value stands: `the environment` or the name of a file.
    #[must_use]
    pub fn origin(&self, name: &str) -> &str {
        if self.environment.contains_key(name) {
            return "the environment";
        }
        self.values.get(name).map_or("", |(_, file)| file)
    }

    /// Everything that the files add to the environment.
    pub fn from_files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// Every name, of the environment and of the files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let only_files = self.values.keys().filter(|name| !self.environment.contains_key(*name));
        self.environment.keys().chain(only_files).map(String::as_str)
    }

    fn set(&mut self, name: &str, value: String, file: &str) {
        self.values.insert(name.to_owned(), (value, file.to_owned()));
    }

    fn fault(&mut self, file: &str, line: usize, what: &str, reader: &str) {
        let what = format!("{what}, so {reader} will refuse the whole file");
        self.faults.push(Fault { place: Place::line(file, line), what, fix: None });
    }

    /// The text of `file`, when it is there. A file that is no text is named.
    fn open(&mut self, files: &dyn Files, file: &str) -> Option<String> {
        let text = files.read(file);
        if text.is_some() {
            self.files.push(file.to_owned());
        } else if files.is_file(file) {
            let what = "the file cannot be read as UTF-8 text".to_owned();
            self.faults.push(Fault { place: Place::whole(file), what, fix: None });
        }
        text
    }
}

/// PHP's `trim`, which knows six characters.
pub(crate) fn php_trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\n', '\r', '\0', '\x0B'])
}

/// The `'name' => 'value'` pairs of a dumped `.env.local.php` or of one level of a cached configuration.
pub(crate) fn php_pairs(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = text;
    while let Some((name, after_name)) = php_string(rest) {
        rest = after_name;
        let Some(value) = after_name.trim_start().strip_prefix("=>").map(str::trim_start) else { continue };
        if value.starts_with(['\'', '"'])
            && let Some((value, after_value)) = php_string(value)
        {
            pairs.push((name, value));
            rest = after_value;
        }
    }
    pairs
}

/// The next single-quoted or double-quoted string of PHP code, and what follows it.
fn php_string(text: &str) -> Option<(String, &str)> {
    let start = text.find(['\'', '"'])?;
    let quote = text[start..].chars().next()?;
    let mut value = String::new();
    let mut chars = text[start + 1..].char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, next)) if next == quote || next == '\\' => value.push(next),
                Some((_, next)) => value.extend(['\\', next]),
                None => return None,
            },
            c if c == quote => return Some((value, &text[start + 1 + at + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::MemoryFiles;

    fn environment(pairs: &[(&str, &str)]) -> Variables {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_environment_wins_over_the_files() {
        let files = MemoryFiles::new([(".env", "A=file\nB=file\n")]);
        for framework in [Framework::Laravel, Framework::Symfony] {
            let env = DotEnv::read(&files, framework, &environment(&[("A", "real")]));
            assert_eq!((env.get("A"), env.origin("A")), (Some("real"), "the environment"));
            assert_eq!((env.get("B"), env.origin("B")), (Some("file"), ".env"));
            assert_eq!(env.get("C"), None);
        }
    }

    #[test]
    fn laravel_reads_one_file_only() {
        let files = MemoryFiles::new([(".env", "A=1\nB=1"), (".env.staging", "A=2")]);
        let env = DotEnv::read(&files, Framework::Laravel, &environment(&[("APP_ENV", "staging")]));
        assert_eq!((env.get("A"), env.get("B")), (Some("2"), None));
        let env = DotEnv::read(&files, Framework::Laravel, &environment(&[("APP_ENV", "other")]));
        assert_eq!((env.get("A"), env.get("B")), (Some("1"), Some("1")));
    }

    #[test]
    fn symfony_reads_its_files_in_order() {
        let files = MemoryFiles::new([
            (".env", "APP_ENV=prod\nA=1\nB=1\nC=1\nD=1"),
            (".env.local", "B=2\nC=2\nD=2"),
            (".env.prod", "C=3\nD=3"),
            (".env.prod.local", "D=4\nE=${D}x"),
        ]);
        let env = DotEnv::read(&files, Framework::Symfony, &Variables::new());
        let seen: Vec<_> = ["A", "B", "C", "D", "E"].map(|name| env.get(name).unwrap().to_owned()).into();
        assert_eq!(seen, ["1", "2", "3", "4", "4x"]);
        assert_eq!(env.origin("D"), ".env.prod.local");
    }

    #[test]
    fn a_dumped_environment_replaces_the_files() {
        let dumped = "<?php\n\nreturn array (\n  'APP_ENV' => 'prod',\n  'A' => 'it\\'s',\n);\n";
        let files = MemoryFiles::new([(".env", "APP_ENV=dev\nA=1"), (".env.local.php", dumped)]);
        let env = DotEnv::read(&files, Framework::Symfony, &Variables::new());
        assert_eq!(
            (env.get("APP_ENV"), env.get("A"), env.origin("A")),
            (Some("prod"), Some("it's"), ".env.local.php")
        );
        let env = DotEnv::read(&files, Framework::Symfony, &environment(&[("APP_ENV", "dev")]));
        assert_eq!((env.get("APP_ENV"), env.get("A")), (Some("dev"), Some("1")));
    }

    #[test]
    fn a_broken_file_is_named_with_its_line() {
        let files = MemoryFiles::new([(".env", "A=1\nB=x y\n")]);
        let env = DotEnv::read(&files, Framework::Laravel, &Variables::new());
        assert_eq!(
            env.faults[0].to_string(),
            ".env:2: unexpected whitespace in the value of B, so phpdotenv will refuse the whole file"
        );
        assert_eq!(env.get("A"), None);
        let env = DotEnv::read(&files, Framework::Symfony, &Variables::new());
        assert_eq!(
            env.faults[0].to_string(),
            ".env:2: a value with spaces needs quotes, so Symfony will refuse the whole file"
        );
    }
}
