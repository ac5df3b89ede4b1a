//! What detection and checks ask of an application's folder, so that tests give a handful of names and texts.

use std::collections::BTreeMap;

/// A folder, seen from its root. Paths are relative, with `/`; `""` is the folder itself.
pub trait Files {
    /// The text of a file; `None` when it is absent, unreadable, larger than [`READ_LIMIT`] or not UTF-8.
    fn read(&self, path: &str) -> Option<String>;
    /// Whether there is a file, links followed.
    fn is_file(&self, path: &str) -> bool;
    /// Whether there is a folder, links followed.
    fn is_dir(&self, path: &str) -> bool;
    /// The names in a folder, sorted; none when it is absent.
    fn list(&self, path: &str) -> Vec<String>;
    /// The names of the folders in a folder, sorted; links are not followed, so that a loop of them ends.
    fn folders(&self, path: &str) -> Vec<String>;
    /// When a file was last written, in seconds since 1970.
    fn modified(&self, path: &str) -> Option<i64>;
}

/// Larger files are not read: vendor/composer/installed.json of a big application has about 1 MB.
pub const READ_LIMIT: u64 = 16 << 20;

/// Files in memory. A folder exists when a file lies in it or when it was added with a name that ends in `/`.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<String, (String, i64)>,
}

impl MemoryFiles {
    /// A folder with these files.
    #[must_use]
    pub fn new<'a>(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let entry = |(path, text): (&str, &str)| (path.to_owned(), (text.to_owned(), 0));
        Self { files: files.into_iter().map(entry).collect() }
    }

    /// The same with `path` written at `seconds`.
    #[must_use]
    pub fn written_at(mut self, path: &str, seconds: i64) -> Self {
        if let Some((_, modified)) = self.files.get_mut(path) {
            *modified = seconds;
        }
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &str) -> Option<String> {
        self.files.get(path).filter(|_| !path.ends_with('/')).map(|(text, _)| text.clone())
    }

    fn is_file(&self, path: &str) -> bool {
        self.files.contains_key(path) && !path.ends_with('/')
    }

    fn is_dir(&self, path: &str) -> bool {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        path.is_empty() || self.files.keys().any(|own| own.starts_with(&prefix))
    }

    fn list(&self, path: &str) -> Vec<String> {
        let prefix = if path.is_empty() { String::new() } else { format!("{}/", path.trim_end_matches('/')) };
        let below = self.files.keys().filter_map(|own| own.strip_prefix(&prefix));
        let mut names: Vec<String> =
            below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.retain(|name| !name.is_empty());
        names.dedup();
        names
    }

    fn folders(&self, path: &str) -> Vec<String> {
        let child = |name: &String| crate::application::below(path, name);
        self.list(path).into_iter().filter(|name| self.is_dir(&child(name))).collect()
    }

    fn modified(&self, path: &str) -> Option<i64> {
        self.files.get(path).map(|(_, modified)| *modified)
    }
}
