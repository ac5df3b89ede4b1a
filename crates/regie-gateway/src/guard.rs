//! What is never served, whatever lies in the document root.
//!
//! A path that is refused here does not exist as far as files go: a framework's front controller may still answer it
//! (`/export.sql` can be a route), a plain folder answers 404, so nobody learns whether the file is there.
//!
//! - names that begin with a dot, except below `/.well-known/`;
//! - what describes the application: `regie*.toml`, `composer.*`, `package*.json`, lock files of their kin,
//!   `Dockerfile*`, `docker-compose*`, `artisan`, `*.env`;
//! - dumps, backups and what editors leave: `*.sql`, `*.bak`, `*~`, `*.swp` …;
//! - source that a server would run but we do not: any other spelling of `.php`;
//! - folders: `node_modules` anywhere, and `vendor` at the top of the application. Deeper `vendor` folders hold
//!   published assets (`public/vendor/horizon`, WordPress plug-ins), so only their PHP is refused;
//! - PHP below folders that take uploads.
//!
//! Paths are bytes, names are compared as ASCII without regard to case.

use memchr::memmem;

/// Folders that take uploads in the applications that people run. Configuration adds to them.
pub const UPLOAD_FOLDERS: [&str; 8] = [
    "uploads",
    "upload",
    "storage",
    "media",
    "files",
    "wp-content/uploads",
    "sites/default/files",
    "user-content",
];

const NAMES: [&str; 11] = [
    "artisan",
    "yarn.lock",
    "pnpm-lock.yaml",
    "bun.lockb",
    "symfony.lock",
    "phpunit.xml",
    "phpunit.xml.dist",
    "makefile",
    "auth.json",
    "id_rsa",
    "thumbs.db",
];

const PREFIXES: [&str; 5] = ["composer.", "dockerfile", "docker-compose", "compose.y", "wp-config."];

const SUFFIXES: [&str; 19] = [
    ".sql", ".sql.gz", ".sql.zip", ".sqlite", ".sqlite3", ".bak", ".backup", ".old", ".orig", ".save",
    ".swp", ".swo", ".dist", "~", "#", ".env", ".log", ".pem", ".key",
];

/// Endings under which PHP source may lie; only `.php`, spelt like that, is ever run.
const SOURCE: [&str; 9] = [".php", ".phtml", ".phar", ".phps", ".php3", ".php4", ".php5", ".php7", ".inc"];

/// Whether the file at `path` (normalised, starting with a slash) must not be sent as it is. `at_app_root` = the
/// document root is the application's own folder, not a `public` folder in it.
#[must_use]
pub fn refuses_file(path: &[u8], at_app_root: bool) -> bool {
    let mut segments = names(path).peekable();
    if segments.peek() == Some(&&b".well-known"[..]) {
        segments.next();
    }
    let mut first = at_app_root;
    for segment in segments {
        let is_last_name = path.ends_with(segment) && !segment.is_empty();
        if segment.starts_with(b".")
            || is_forbidden_folder(segment, first)
            || is_last_name && is_forbidden_name(segment)
        {
            return true;
        }
        first = false;
    }
    false
}

/// Whether the script at `path` must not be run although it exists: below uploads, in `vendor`, hidden.
#[must_use]
pub fn refuses_script(path: &[u8], upload_folders: &[String]) -> bool {
    let folder = &path[..memchr::memrchr(b'/', path).unwrap_or(0)];
    let hidden = names(path)
        .any(|name| name.starts_with(b".") || matches_ignore_case(name, &["vendor", "node_modules"]));
    hidden
        || UPLOAD_FOLDERS
            .iter()
            .copied()
            .chain(upload_folders.iter().map(|folder| folder.trim_matches('/')))
            .any(|upload| contains_folder(folder, upload))
}

/// The segments of a path.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path[1..].split(|byte| *byte == b'/')
}

fn is_forbidden_folder(segment: &[u8], at_top: bool) -> bool {
    segment.eq_ignore_ascii_case(b"node_modules") || at_top && segment.eq_ignore_ascii_case(b"vendor")
}

fn is_forbidden_name(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let toml = name.starts_with(b"regie") && name.ends_with(b".toml");
    let package = name.starts_with(b"package") && name.ends_with(b".json");
    toml || package
        || NAMES.iter().any(|forbidden| forbidden.as_bytes() == name)
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix.as_bytes()))
        || ends_with_any(&name, &SUFFIXES)
        || ends_with_any(&name, &SOURCE)
}

fn ends_with_any(name: &[u8], endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

fn matches_ignore_case(segment: &[u8], names: &[&str]) -> bool {
    names.iter().any(|name| segment.eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether `folder` (`/a/b/c`) contains the segments of `wanted` (`b/c`) in a row.
fn contains_folder(folder: &[u8], wanted: &str) -> bool {
    let folder = folder.to_ascii_lowercase();
    !wanted.is_empty()
        && memmem::find_iter(&folder, wanted).any(|at| {
            let end = at + wanted.len();
            folder[..at].ends_with(b"/") && (end == folder.len() || folder[end] == b'/')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_never_sent() {
        for path in [
            "/.env",
            "/.git/config",
            "/a/.htaccess",
            "/regie.toml",
            "/regie.production.toml",
            "/composer.json",
            "/composer.lock",
            "/package.json",
            "/package-lock.json",
            "/dump.sql",
            "/a/b.SQL",
            "/index.php.bak",
            "/index.php~",
            "/.index.php.swp",
            "/a.swp",
            "/#a#",
            "/node_modules/x/y.js",
            "/a/node_modules/x.js",
            "/vendor/autoload.php",
            "/vendor/x/y.css",
            "/index.PHP",
            "/a.phtml",
            "/b.phar",
            "/b.inc",
            "/prod.env",
            "/artisan",
            "/wp-config.txt",
            "/.well-known/.secret",
            "/debug.log",
            "/Dockerfile",
            "/docker-compose.yml",
        ] {
            assert!(refuses_file(path.as_bytes(), true), "{path}");
        }
    }

    #[test]
    fn files_that_are_sent() {
        for path in [
            "/",
            "/a.css",
            "/.well-known/acme-challenge/token",
            "/robots.txt",
            "/composer/x.js",
            "/a/vendor/b.js",
            "/vendors.js",
            "/sql/notes.txt",
            "/favicon.ico",
            "/build/manifest.json",
            "/a.sqlx",
            "/keys.html",
        ] {
            assert!(!refuses_file(path.as_bytes(), true), "{path}");
        }
        assert!(!refuses_file(b"/vendor/horizon/app.js", false), "published assets");
    }

    #[test]
    fn scripts_that_are_never_run() {
        let own = ["/var/pictures/".to_owned()];
        for path in [
            "/uploads/x.php",
            "/wp-content/uploads/2024/x.php",
            "/storage/a.php",
            "/a/Uploads/x.php",
            "/var/pictures/x.php",
            "/vendor/phpunit/eval-stdin.php",
            "/a/vendor/x.php",
            "/.git/x.php",
            "/.x.php",
        ] {
            assert!(refuses_script(path.as_bytes(), &own), "{path}");
        }
        for path in ["/index.php", "/wp-admin/upload.php", "/uploads.php", "/myuploads/x.php", "/a/b/c.php"] {
            assert!(!refuses_script(path.as_bytes(), &own), "{path}");
        }
    }

    /// Bytes that are no UTF-8 beside what is refused change nothing.
    #[test]
    fn any_bytes_may_stand_around() {
        let own = ["var/pictures".to_owned()];
        for path in [
            &b"/caf\xe9/.env"[..],
            b"/\xff.sql",
            b"/\xff.PHP",
            b"/node_modules/\xe9.js",
            b"/.\xe9",
            b"/\xc3~",
            b"/vendor/\xe9",
        ] {
            assert!(refuses_file(path, true), "{}", path.escape_ascii());
        }
        for path in [
            &b"/uploads/\xe9.php"[..],
            b"/\xe9/vendor/x.php",
            b"/\xe9/.x.php",
            b"/\xe9/var/pictures/\xe9/x.php",
        ] {
            assert!(refuses_script(path, &own), "{}", path.escape_ascii());
        }
        for path in [&b"/caf\xe9.jpg"[..], b"/\xe9vendor/a.css", b"/\xff"] {
            assert!(!refuses_file(path, true), "{}", path.escape_ascii());
        }
        assert!(!refuses_script(b"/uploads\xe9/caf\xe9.php", &own));
    }
}
