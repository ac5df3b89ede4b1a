//! Which files a line of a `.htaccess` file is about, and who may see them.

use super::{Pattern, below};

/// The files of a folder and of those below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Where the file lies that says so: empty for the document root, else `a/b`.
    pub folder: String,
    /// Only files with such names: `<Files>` and `<FilesMatch>`. None: all.
    pub names: Option<Pattern>,
}

impl Scope {
    /// Everything below `folder`.
    #[must_use]
    pub const fn folder(folder: String) -> Self {
        Self { folder, names: None }
    }

    /// Whether the file or script at `path` is meant. A name that takes too long to compare is.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let Some(rest) = below(path, &self.folder) else { return false };
        let name = rest.rsplit('/').next().unwrap_or(rest);
        self.names.as_ref().is_none_or(|names| names.matches(name).unwrap_or(true))
    }
}

/// A file's word on who may see what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// What it is about.
    pub on: Scope,
    /// Nobody may (`Require all denied`), or all may.
    pub denies: bool,
}

/// Who may see what. Words on names come before those on folders, and those of deeper folders before those above.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Access(Vec<AccessRule>);

impl Access {
    /// The rules, which may come in any order of folders; those of one file in the order of their lines.
    #[must_use]
    pub fn new(mut rules: Vec<AccessRule>) -> Self {
        let depth = |folder: &str| if folder.is_empty() { 0 } else { 1 + folder.matches('/').count() };
        rules.sort_by_key(|rule| (rule.on.names.is_some(), depth(&rule.on.folder)));
        // Where nothing is denied, nothing needs to be asked.
        if !rules.iter().any(|rule| rule.denies) {
            rules.clear();
        }
        Self(rules)
    }

    /// Whether there is nothing to ask.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether nobody may see the file at `path`.
    #[must_use]
    pub fn denies(&self, path: &str) -> bool {
        self.0.iter().rev().find(|rule| rule.on.covers(path)).is_some_and(|rule| rule.denies)
    }

    /// Whether nobody may see the folder at `path`, so far as its files are not spoken of one by one.
    #[must_use]
    pub fn denies_folder(&self, path: &str) -> bool {
        let inside = format!("{}/", path.trim_end_matches('/'));
        let on_folders = self.0.iter().rev().filter(|rule| rule.on.names.is_none());
        on_folders.into_iter().find(|rule| rule.on.covers(&inside)).is_some_and(|rule| rule.denies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(folder: &str, names: Option<&str>, denies: bool) -> AccessRule {
        let names = names.map(|names| Pattern::new(names, false).expect("a pattern"));
        AccessRule { on: Scope { folder: folder.into(), names }, denies }
    }

    #[test]
    fn the_word_that_is_nearest_to_the_file_holds() {
        let access = Access::new(vec![
            rule("", Some("\\.(sql|inc)$|^\\.(?!well-known)"), true),
            rule("private", None, true),
            rule("private/open", None, false),
            rule("private", Some("\\.css$"), false),
            rule("private/open", Some("^secret\\.css$"), true),
        ]);
        for (path, expected) in [
            ("/index.php", false),
            ("/a/dump.sql", true),
            ("/dump.sql/x", false),
            ("/.env", true),
            ("/.well-known", false),
            ("/private/a.txt", true),
            ("/private/a.css", false),
            ("/private/open/a.txt", false),
            ("/private/open/a.inc", true),
            ("/private/open/secret.css", true),
            ("/privately", false),
        ] {
            assert_eq!(access.denies(path), expected, "{path}");
        }
        for (path, expected) in [
            ("/private", true),
            ("/private/", true),
            ("/private/x", true),
            ("/private/open", false),
            ("/", false),
        ] {
            assert_eq!(access.denies_folder(path), expected, "{path}");
        }
        assert!(Access::new(vec![rule("", None, false)]).is_empty());
    }
}
