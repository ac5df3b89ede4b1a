//! The pool beside a worker script: `php:web-classic`.
//!
//! A worker script answers for the front controller. Other PHP files of the document root (`info.php`, an old script that
//! a partner still calls) run in classic mode, as they do under FrankenPHP: in a small pool of their own, which exists only
//! where there are such files when Régie starts or reloads. `[php.web-classic]` sets it, as any pool.

use std::collections::VecDeque;
use std::path::Path;

use regie_config::Pool;
use regie_config::settings::Config;
use regie_config::values::{Count, Mode};
use regie_gateway::guard;

use crate::site::Site;

/// Its name.
pub(crate) const NAME: &str = "web-classic";

/// Few ask for such files.
const WORKERS: Count = Count::Between(1, 4);

/// A document root with more entries than this is not looked through to its end.
const ENTRIES_MAX: usize = 10_000;
const DEPTH_MAX: usize = 6;

/// Adds the pool where it is needed.
pub(crate) fn add(site: &mut Site) {
    let web = site.loaded.web();
    if web.mode() == Mode::Classic || web.url.is_some() || site.loaded.config.pools.contains_key(NAME) {
        return;
    }
    let worker = web.script.as_ref().map(|script| site.root().join(script));
    if has_other_scripts(&site.public(), worker.as_deref(), &site.loaded.config) {
        let pool = beside(site.loaded.web());
        site.loaded.config.pools.insert(NAME.to_owned(), pool);
    }
}

/// The settings of `web`, without what belongs to its script.
fn beside(web: &Pool) -> Pool {
    let mut pool = web.clone();
    pool.mode = Some(Mode::Classic);
    pool.script = None;
    pool.workers = WORKERS;
    (pool.max_requests, pool.status_path, pool.ping_path) = (None, None, None);
    pool
}

/// Whether the document root has a script that would be run and is neither the worker's nor the front controller.
fn has_other_scripts(public: &Path, worker: Option<&Path>, config: &Config) -> bool {
    let gateway = &config.gateway;
    let front = gateway.front_controller.as_deref().unwrap_or("index.php");
    let mut folders = VecDeque::from([(public.to_owned(), String::new(), 0)]);
    let mut left = ENTRIES_MAX;
    while let Some((folder, below, depth)) = folders.pop_front() {
        let Ok(entries) = folder.read_dir() else { continue };
        for entry in entries.flatten() {
            left = left.saturating_sub(1);
            if left == 0 {
                return false;
            }
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let path = format!("{below}/{name}");
            let Ok(kind) = entry.file_type() else { continue };
            if kind.is_dir() {
                if depth < DEPTH_MAX
                    && !guard::refuses_script(format!("{path}/x.php").as_bytes(), &gateway.upload_folders)
                {
                    folders.push_back((entry.path(), path, depth + 1));
                }
            } else if name.ends_with(".php")
                && path[1..] != *front
                && worker != Some(entry.path().as_path())
                && !guard::refuses_script(path.as_bytes(), &gateway.upload_folders)
            {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_scripts_that_would_be_run_count() {
        for (files, expected) in [
            (&["index.php", "frankenphp-worker.php", "app.css"][..], false),
            (&["index.php", "info.php"], true),
            (&["index.php", "tools/ping.php"], true),
            (
                &["index.php", "uploads/evil.php", "vendor/x/y.php", ".hidden/z.php", "node_modules/a.php"],
                false,
            ),
            (&["index.php", "info.php.bak"], false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                let path = folder.path().join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, "<?php").unwrap();
            }
            let worker = folder.path().join("frankenphp-worker.php");
            let found = has_other_scripts(folder.path(), Some(&worker), &Config::default());
            assert_eq!(found, expected, "{files:?}");
        }
    }
}
