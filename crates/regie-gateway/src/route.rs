//! Who answers a request: a file, a script, or nobody.
//!
//! ```text
//! target ─▶ /x.php or /x.php/rest, exists ─────────────▶ Script (PATH_INFO = the rest)
//!        ─▶ a file that may be sent ───────────────────▶ File
//!        ─▶ a folder with an index, slash at the end ──▶ Script or File
//!        ─▶ a folder with an index, no slash ──────────▶ AddSlash
//!        ─▶ anything else, with a front controller ────▶ Script (the front controller)
//!        ─▶ anything else ─────────────────────────────▶ Nothing
//! ```
//!
//! Only files that exist inside the root are run, and only when their name ends in `.php` in lower case; PATH_INFO is
//! found by looking for that ending from the left, never by walking back through the file system. In worker mode the
//! pool runs one script only, which answers for the front controller; other PHP files run in the side pool, and where
//! there is none they do not exist. The worker script itself is never run by its name.

use std::borrow::Cow;

use memchr::memmem;

use crate::guard;
use crate::target::Target;

/// How the name of a script ends.
const ENDING: &[u8] = b".php";

/// What lies at a path below the document root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A regular file inside what may be served.
    File,
    /// A folder.
    Folder,
    /// Nothing, or nothing that may be seen.
    Nothing,
}

/// The rules of one site.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Site {
    /// The script for everything that is no file, below the document root (`/index.php`).
    pub front_controller: Option<String>,
    /// In worker mode, whether the pool runs one script for all.
    pub single_script: bool,
    /// The worker script's path below the document root, when it lies there.
    pub worker_script: Option<String>,
    /// Whether another pool runs the other scripts in worker mode.
    pub has_side_pool: bool,
    /// Names to look for in a folder.
    pub index: Vec<String>,
    /// Folders that take uploads, beside the known ones.
    pub upload_folders: Vec<String>,
    /// Whether the document root is the application's own folder.
    pub at_app_root: bool,
}

impl Site {
    /// Whether a script that is not the front controller is run, if it exists.
    fn may_run(&self, script: &[u8]) -> bool {
        (!self.single_script || self.has_side_pool)
            && self.worker_script.as_ref().is_none_or(|own| own.as_bytes() != script)
            && !guard::refuses_script(script, &self.upload_folders)
    }

    /// Whether `script` is the front controller.
    fn is_front(&self, script: &[u8]) -> bool {
        self.front_controller.as_ref().is_some_and(|front| front.as_bytes() == script)
    }

    /// Whether the side pool runs `script`.
    #[must_use]
    pub fn is_aside(&self, script: &[u8]) -> bool {
        self.single_script && self.has_side_pool && !self.is_front(script)
    }
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route<'a> {
    /// The file at this path below the root, as it is.
    File(Cow<'a, [u8]>),
    /// PHP: the script below the root, and what followed it in the path.
    Script {
        /// `SCRIPT_NAME`.
        script: Cow<'a, [u8]>,
        /// `PATH_INFO`; empty when there is none.
        path_info: &'a [u8],
    },
    /// The same address with a slash at its end.
    AddSlash,
    /// Nobody: 404.
    Nothing,
}

/// Decides who answers `target`. `probe` says what lies at a path.
pub fn route<'a>(target: &'a Target<'_>, site: &'a Site, mut probe: impl FnMut(&[u8]) -> Found) -> Route<'a> {
    let path = &*target.path;
    if target.has_escaped_separator {
        return fall_back(site);
    }
    if let Some(route) = script_in(path, site, &mut probe) {
        return route;
    }
    if guard::refuses_file(path, site.at_app_root) {
        return fall_back(site);
    }
    if !path.ends_with(b"/") && probe(path) == Found::File {
        return Route::File(path.into());
    }
    index_of(path, site, &mut probe).unwrap_or_else(|| fall_back(site))
}

fn fall_back(site: &Site) -> Route<'_> {
    site.front_controller
        .as_ref()
        .map_or(Route::Nothing, |script| Route::Script { script: script.as_bytes().into(), path_info: b"" })
}

/// A script that `path` names itself.
fn script_in<'a>(path: &'a [u8], site: &Site, probe: &mut impl FnMut(&[u8]) -> Found) -> Option<Route<'a>> {
    for at in memmem::find_iter(path, ENDING) {
        let (script, path_info) = path.split_at(at + ENDING.len());
        if !(path_info.is_empty() || path_info.starts_with(b"/")) || script.ends_with(b"/.php") {
            continue;
        }
        let is_front = site.is_front(script);
        if !is_front && !site.may_run(script) {
            continue;
        }
        if is_front && site.single_script || probe(script) == Found::File {
            return Some(Route::Script { script: script.into(), path_info });
        }
    }
    None
}

fn index_of<'a>(path: &[u8], site: &Site, probe: &mut impl FnMut(&[u8]) -> Found) -> Option<Route<'a>> {
    // One at most: it is normalised.
    let (with_slash, folder) = path.strip_suffix(b"/").map_or((false, path), |folder| (true, folder));
    if !with_slash && probe(path) != Found::Folder {
        return None;
    }
    for name in &site.index {
        let candidate = [folder, b"/", name.as_bytes()].concat();
        let is_script = candidate.ends_with(ENDING);
        let is_front = site.is_front(&candidate);
        let allowed = if is_script {
            is_front || site.may_run(&candidate)
        } else {
            !guard::refuses_file(&candidate, site.at_app_root)
        };
        if !allowed || !(is_front && site.single_script) && probe(&candidate) != Found::File {
            continue;
        }
        return Some(match (with_slash, is_script) {
            (false, _) => Route::AddSlash,
            (true, true) => Route::Script { script: candidate.into(), path_info: b"" },
            (true, false) => Route::File(candidate.into()),
        });
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that are no ASCII as escapes.
    const FILES: [&str; 22] = [
        "/index.php",
        "/info.php",
        "/app.css",
        "/.env",
        "/composer.json",
        "/docs/index.html",
        "/blog/index.php",
        "/uploads/evil.php",
        "/uploads/a.jpg",
        "/x.php.jpg",
        "/a.php/inner.php",
        "/dump.sql",
        "/Old.PHP",
        "/.well-known/token",
        "/vendor/autoload.php",
        "/img/a.png",
        "/uploads/index.php",
        r"/caf\xe9.php",
        r"/caf\xe9.jpg",
        r"/caf\xe9.sql",
        r"/uploads/\xe9.php",
        r"/\xe9/index.php",
    ];

    fn probe(path: &[u8]) -> Found {
        let path = path.escape_ascii().to_string();
        if FILES.contains(&&*path) {
            return Found::File;
        }
        let folder = format!("{}/", path.trim_end_matches('/'));
        if FILES.iter().any(|file| file.starts_with(&folder)) { Found::Folder } else { Found::Nothing }
    }

    fn framework() -> Site {
        Site {
            front_controller: Some("/index.php".into()),
            index: vec!["index.php".into(), "index.html".into()],
            at_app_root: true,
            ..Site::default()
        }
    }

    fn plain() -> Site {
        Site { front_controller: None, ..framework() }
    }

    fn show(site: &Site, raw: &str) -> String {
        match route(&Target::parse(raw).unwrap(), site, probe) {
            Route::File(path) => format!("file {}", path.escape_ascii()),
            Route::Script { script, path_info } => {
                format!("{} [{}]", script.escape_ascii(), path_info.escape_ascii())
            }
            Route::AddSlash => "slash".into(),
            Route::Nothing => "nothing".into(),
        }
    }

    #[test]
    fn framework_and_plain_folder() {
        for (raw, in_framework, in_plain) in [
            ("/", "/index.php []", "/index.php []"),
            ("/app.css", "file /app.css", "file /app.css"),
            ("/app.css/", "/index.php []", "nothing"),
            ("/users/1", "/index.php []", "nothing"),
            ("/index.php", "/index.php []", "/index.php []"),
            ("/index.php/users/1", "/index.php [/users/1]", "/index.php [/users/1]"),
            ("/info.php?x", "/info.php []", "/info.php []"),
            ("/missing.php", "/index.php []", "nothing"),
            ("/docs", "slash", "slash"),
            ("/docs/", "file /docs/index.html", "file /docs/index.html"),
            ("/blog/", "/blog/index.php []", "/blog/index.php []"),
            ("/img", "/index.php []", "nothing"),
            ("/img/", "/index.php []", "nothing"),
            ("/.well-known/token", "file /.well-known/token", "file /.well-known/token"),
            ("/%E9", "slash", "slash"),
            ("/%E9/", r"/\xe9/index.php []", r"/\xe9/index.php []"),
            ("/none%E9", "/index.php []", "nothing"),
            ("/caf%E9.jpg", r"file /caf\xe9.jpg", r"file /caf\xe9.jpg"),
            ("/caf%E9.php", r"/caf\xe9.php []", r"/caf\xe9.php []"),
            ("/caf%e9.php/%FF/a", r"/caf\xe9.php [/\xff/a]", r"/caf\xe9.php [/\xff/a]"),
            ("/index.php/caf%E9", r"/index.php [/caf\xe9]", r"/index.php [/caf\xe9]"),
        ] {
            assert_eq!(show(&framework(), raw), in_framework, "{raw}");
            assert_eq!(show(&plain(), raw), in_plain, "{raw}");
        }
    }

    #[test]
    fn what_is_never_served_does_not_exist() {
        for raw in [
            "/.env",
            "/composer.json",
            "/dump.sql",
            "/Old.PHP",
            "/OLD.php",
            "/vendor/autoload.php",
            "/.git/config",
            "/uploads/evil.php",
            "/uploads/evil.php/x",
            "/uploads/",
            "/info.php%2Fx",
            "/..%2Finfo.phpx",
            "/caf%E9.sql",
            "/caf%E9.PHP",
            "/uploads/%E9.php",
            "/uploads/%E9.php/x",
            "/%E9%2Finfo.php",
            "/%C0%AFinfo.php",
            "/.php",
        ] {
            if Target::parse(raw).is_ok() {
                assert_eq!(show(&plain(), raw), "nothing", "{raw}");
                assert_eq!(show(&framework(), raw), "/index.php []", "{raw}");
            }
        }
        assert_eq!(show(&plain(), "/uploads/a.jpg"), "file /uploads/a.jpg");
    }

    #[test]
    fn path_info_needs_an_existing_script() {
        for (raw, expected) in [
            ("/x.php.jpg", "file /x.php.jpg"),
            ("/x.php.jpg/a.php", "nothing"),
            ("/app.css/x.php", "nothing"),
            ("/a.php/inner.php/more", "/a.php/inner.php [/more]"),
            ("/info.phpx", "nothing"),
            ("/info.PHP", "nothing"),
        ] {
            assert_eq!(show(&plain(), raw), expected, "{raw}");
        }
    }

    #[test]
    fn a_worker_runs_one_script() {
        let site = Site { single_script: true, ..framework() };
        for (raw, expected) in [
            ("/", "/index.php []"),
            ("/info.php", "/index.php []"),
            ("/index.php/a", "/index.php [/a]"),
            ("/blog/", "/index.php []"),
            ("/app.css", "file /app.css"),
        ] {
            assert_eq!(show(&site, raw), expected, "{raw}");
        }
    }

    #[test]
    fn other_scripts_run_beside_the_worker() {
        let worker_script = Some("/a.php/inner.php".to_owned());
        let site = Site { single_script: true, has_side_pool: true, worker_script, ..framework() };
        for (raw, expected, aside) in [
            ("/", "/index.php []", false),
            ("/unknown", "/index.php []", false),
            ("/info.php/a", "/info.php [/a]", true),
            ("/blog/", "/blog/index.php []", true),
            ("/missing.php", "/index.php []", false),
            ("/uploads/evil.php", "/index.php []", false),
            ("/a.php/inner.php", "/index.php []", false),
        ] {
            let shown = show(&site, raw);
            assert_eq!(shown, expected, "{raw}");
            assert_eq!(site.is_aside(shown.split(' ').next().unwrap().as_bytes()), aside, "{raw}");
        }
    }
}
