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
pub fn refuses_file(path: &str, at_app_root: bool) -> bool {
    let mut segments = path[1..].split('/').peekable();
    if segments.peek() == Some(&".well-known") {
        segments.next();
    }
    let mut first = at_app_root;
    for segment in segments {
        let is_last_name = path.ends_with(segment) && !segment.is_empty();
        if segment.starts_with('.')
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
pub fn refuses_script(path: &str, upload_folders: &[String]) -> bool {
    let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
    let hidden = path[1..]
        .split('/')
        .any(|s| s.starts_with('.') || matches_ignore_case(s, &["vendor", "node_modules"]));
    hidden
        || UPLOAD_FOLDERS
            .iter()
            .copied()
            .chain(upload_folders.iter().map(|folder| folder.trim_matches('/')))
            .any(|upload| contains_folder(folder, upload))
}

/// Whether `name` ends like PHP source, in any case.
#[must_use]
pub fn looks_like_source(name: &str) -> bool {
    ends_with_any(&name.to_ascii_lowercase(), &SOURCE)
}

fn is_forbidden_folder(segment: &str, at_top: bool) -> bool {
    segment.eq_ignore_ascii_case("node_modules") || at_top && segment.eq_ignore_ascii_case("vendor")
}

fn is_forbidden_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let toml = name.starts_with("regie") && name.ends_with(".toml");
    let package = name.starts_with("package") && name.ends_with(".json");
    toml || package
        || NAMES.contains(&name.as_str())
        || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ends_with_any(&name, &SUFFIXES)
        || ends_with_any(&name, &SOURCE)
}

fn ends_with_any(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending))
}

fn matches_ignore_case(segment: &str, names: &[&str]) -> bool {
    names.iter().any(|name| segment.eq_ignore_ascii_case(name))
}

/// Whether `folder` (`/a/b/c`) contains the segments of `wanted` (`b/c`) in a row.
fn contains_folder(folder: &str, wanted: &str) -> bool {
    let folder = folder.to_ascii_lowercase();
    !wanted.is_empty()
        && folder.match_indices(wanted).any(|(at, found)| {
            let end = at + found.len();
            folder[..at].ends_with('/') && (end == folder.len() || folder[end..].starts_with('/'))
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
            assert!(refuses_file(path, true), "{path}");
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
            assert!(!refuses_file(path, true), "{path}");
        }
        assert!(!refuses_file("/vendor/horizon/app.js", false), "published assets");
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
            assert!(refuses_script(path, &own), "{path}");
        }
        for path in ["/index.php", "/wp-admin/upload.php", "/uploads.php", "/myuploads/x.php", "/a/b/c.php"] {
            assert!(!refuses_script(path, &own), "{path}");
        }
    }
}
