//! Which file a request runs, and what of the path is left for it (`PATH_INFO`).
//!
//! As php-fpm with `cgi.fix_pathinfo=1`: where `SCRIPT_FILENAME` is no file, path segments are taken from its end until
//! a file is found; what was taken becomes `PATH_INFO`, and `SCRIPT_NAME` loses the same end. Two things are
//! different on purpose: only a regular file counts, and the extension limit is checked on what is found, so that
//! `/uploads/photo.jpg/x.php` never runs the photo.

/// What [`resolve`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found<'a> {
    /// The file to run.
    pub(crate) file: &'a [u8],
    /// What of `SCRIPT_FILENAME` lies behind it; empty when nothing does.
    pub(crate) path_info: &'a [u8],
}

/// Why nothing is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There is no such file.
    NotFound,
    /// Its ending is not among those that may be run.
    Extension,
}

/// Apache's mod_proxy_fcgi puts this before the path.
const PROXY_PREFIXES: &[&[u8]] = &[b"proxy:fcgi://", b"proxy:balancer://"];

/// The path in `SCRIPT_FILENAME` without what a proxy put before it.
pub(crate) fn without_proxy(name: &[u8]) -> &[u8] {
    for prefix in PROXY_PREFIXES {
        if let Some(rest) = name.strip_prefix(*prefix) {
            let start = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            let path = &rest[start..];
            // Apache leaves the query string on it.
            let end = path.iter().position(|byte| *byte == b'?').unwrap_or(path.len());
            return &path[..end];
        }
    }
    name
}

/// Finds the file that `name` (a `SCRIPT_FILENAME`) means. `is_file` says whether there is a regular file.
pub(crate) fn resolve<'a>(
    name: &'a [u8],
    extensions: &[String],
    mut is_file: impl FnMut(&[u8]) -> bool,
) -> Result<Found<'a>, Refused> {
    let name = without_proxy(name);
    if name.is_empty() || name.contains(&0) {
        return Err(Refused::NotFound);
    }
    let mut end = name.len();
    loop {
        if is_file(&name[..end]) {
            break;
        }
        end = name[..end]
            .iter()
            .rposition(|byte| *byte == b'/')
            .filter(|at| *at > 0)
            .ok_or(Refused::NotFound)?;
    }
    let file = &name[..end];
    let allowed = extensions.iter().all(String::is_empty)
        || extensions.iter().any(|ending| !ending.is_empty() && file.ends_with(ending.as_bytes()));
    if allowed { Ok(Found { file, path_info: &name[end..] }) } else { Err(Refused::Extension) }
}

/// How long a script that was there counts as there.
const BELIEVED_US: u64 = 500_000;

/// The script that was found last. Keeps nothing on the heap.
///
/// For requests of our own gateway, which has looked itself: a busy address then costs no look at the disk in each of its
/// requests. Other servers look not at all, or not so that we know, and a file that is gone must be gone at once.
#[derive(Debug)]
pub(crate) struct Believed {
    path: [u8; 256],
    len: usize,
    until_us: u64,
}

impl Believed {
    pub(crate) const fn nothing() -> Self {
        Self { path: [0; 256], len: 0, until_us: 0 }
    }

    /// Whether `path` was a file a moment ago; else `look` says.
    pub(crate) fn is_file(&mut self, path: &[u8], now_us: u64, look: impl FnOnce(&[u8]) -> bool) -> bool {
        if now_us < self.until_us && &self.path[..self.len] == path {
            return true;
        }
        let found = look(path);
        if let Some(room) = self.path.get_mut(..path.len()).filter(|_| found) {
            room.copy_from_slice(path);
            self.len = path.len();
            self.until_us = now_us + BELIEVED_US;
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_believed_to_be_there_for_a_moment_and_its_absence_never() {
        let mut believed = Believed::nothing();
        let long = vec![b'a'; 300];
        // At which microsecond, which file, what a look would find, and what counts.
        let table: [(u64, &[u8], Option<bool>, bool); 9] = [
            (10, b"/a.php", Some(false), false),
            (11, b"/a.php", Some(true), true),
            (12, b"/a.php", None, true),
            (13, b"/a.phpx", Some(false), false),
            (500_010, b"/a.php", None, true),
            (500_011, b"/a.php", Some(false), false),
            (500_012, b"/b.php", Some(true), true),
            (500_013, b"/a.php", Some(true), true),
            (500_014, &long, Some(true), true),
        ];
        for (now_us, path, there, counts) in table {
            let look = |_: &[u8]| there.expect("nobody looks");
            assert_eq!(believed.is_file(path, now_us, look), counts, "{now_us}");
        }
    }

    #[test]
    fn files_are_found_and_refused() {
        let files = ["/srv/index.php", "/srv/photo.jpg", "/srv/a b.php"];
        let is_file = |path: &[u8]| files.iter().any(|file| file.as_bytes() == path);
        let extensions = [".php".to_owned()];
        for (name, expected) in [
            ("/srv/index.php", Ok(("/srv/index.php", ""))),
            ("/srv/index.php/a/b", Ok(("/srv/index.php", "/a/b"))),
            ("/srv/index.php/", Ok(("/srv/index.php", "/"))),
            ("/srv/a b.php", Ok(("/srv/a b.php", ""))),
            ("/srv/photo.jpg/x.php", Err(Refused::Extension)),
            ("/srv/photo.jpg", Err(Refused::Extension)),
            ("/srv/missing.php", Err(Refused::NotFound)),
            ("/srv/index.php\0.jpg", Err(Refused::NotFound)),
            ("relative", Err(Refused::NotFound)),
            ("", Err(Refused::NotFound)),
            ("proxy:fcgi://127.0.0.1:9000/srv/index.php/a?b=c", Ok(("/srv/index.php", "/a"))),
            ("proxy:balancer://pool", Err(Refused::NotFound)),
        ] {
            let found = resolve(name.as_bytes(), &extensions, is_file);
            let expected = expected.map(|(file, info): (&str, &str)| Found {
                file: file.as_bytes(),
                path_info: info.as_bytes(),
            });
            assert_eq!(found, expected, "{name}");
        }
        assert!(resolve(b"/srv/photo.jpg", &[String::new()], is_file).is_ok(), "an empty list allows all");
    }
}
