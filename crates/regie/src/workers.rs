//! Groups of queue workers: which there are, and the pool of PHP workers that each one is.
//!
//! `[workers.NAME]` makes the program `workers:NAME`, a pool in worker mode that runs Régie's own job script, and one
//! program `jobs`, the runner, which hands it jobs through a lane of its own. Without any such section there is a group
//! `default` where the application names a queue in its environment. With `[workers] horizon = "replace"`, Horizon's
//! supervisors are groups too ([`horizon`]).

use std::collections::BTreeMap;
use std::path::PathBuf;

use regie_config::values::{Count, EnvValue, Framework, Mode};
use regie_config::workers::Workers;
use regie_config::{Loaded, Pool};

use crate::horizon;
use crate::shipped;
use crate::site::Site;

/// The groups by name; none where the framework is not known to have queues.
pub(crate) fn groups(site: &Site) -> BTreeMap<String, Workers> {
    if script(site).is_none() {
        return BTreeMap::new();
    }
    let replaced = horizon::is_replaced(site);
    let mut groups = if replaced { horizon::groups(site) } else { BTreeMap::new() };
    groups.extend(site.loaded.config.workers.clone());
    // Somebody has to be asked what the application's queues are.
    let Loaded { application, dotenv, .. } = &site.loaded;
    let has_package = |name: &str| application.composer.version(name).is_some();
    let is_named = names_a_queue(application.framework, |name| dotenv.get(name), has_package);
    if groups.is_empty() && (replaced || is_named) {
        return BTreeMap::from([("default".to_owned(), Workers::default())]);
    }
    groups
}

/// The shipped script that runs the jobs of the application's framework.
fn script(site: &Site) -> Option<PathBuf> {
    let name = match site.loaded.application.framework {
        Framework::Laravel => "laravel/jobs.php",
        Framework::Symfony => "symfony/jobs.php",
        _ => return None,
    };
    Some(shipped::folder(&site.run_dir()).join(name))
}

/// Sections that nobody acts on, for a line that says so.
pub(crate) fn unserved(site: &Site) -> Option<&'static str> {
    let written = !site.loaded.config.workers.is_empty();
    (written && script(site).is_none())
        .then_some("[workers] is for Laravel and Symfony; this application is neither")
}

/// Whether somebody is to work, by what the application's environment and packages say.
fn names_a_queue<'a>(
    framework: Framework,
    value: impl Fn(&str) -> Option<&'a str>,
    has_package: impl Fn(&str) -> bool,
) -> bool {
    let value = |name| value(name).unwrap_or_default();
    match framework {
        Framework::Laravel => {
            let connection = Some(value("QUEUE_CONNECTION")).filter(|name| !name.is_empty());
            let connection = connection.unwrap_or_else(|| value("QUEUE_DRIVER"));
            !matches!(connection, "" | "sync" | "null" | "deferred" | "background")
        }
        Framework::Symfony => {
            let transport = value("MESSENGER_TRANSPORT_DSN");
            let waits = !transport.is_empty()
                && !transport.starts_with("sync:")
                && !transport.starts_with("in-memory:");
            // A schedule is a transport of its own, which no variable names.
            waits || has_package("symfony/scheduler")
        }
        _ => false,
    }
}

/// The pools whose sections only lend their settings to groups.
pub(crate) fn lenders(site: &Site) -> Vec<String> {
    groups(site).into_values().map(|group| group.pool).filter(|pool| pool != "web").collect()
}

/// The name of a group's pool, its socket and, with `.lane`, its lane.
pub(crate) fn pool_name(group: &str) -> String {
    format!("workers.{group}")
}

/// The name of a group's program.
pub(crate) fn program_name(group: &str) -> String {
    format!("workers:{group}")
}

/// The settings of a group's pool.
pub(crate) fn pool(site: &Site, group: &Workers) -> Pool {
    let mut pool = site.loaded.config.pools.get(&group.pool).cloned().unwrap_or_default();
    // A pool of the web's that rewinds says nothing about jobs; one that only lends its settings does.
    let rewinds = group.pool != "web" && pool.mode == Some(Mode::Rewind);
    pool.mode = Some(if rewinds { Mode::Rewind } else { Mode::Worker });
    pool.script = script(site);
    pool.workers =
        if group.min == group.max { Count::Exactly(group.max) } else { Count::Between(group.min, group.max) };
    // Jobs are short and many; what ends a worker is its memory, or what the section says.
    pool.max_requests = Some(pool.max_requests.unwrap_or(0));
    // The shipped script lies elsewhere.
    let base = site.root().to_string_lossy().into_owned();
    pool.env.insert("APP_BASE_PATH".to_owned(), EnvValue(base));
    // What the job script looks at after each job.
    for (name, value) in [
        ("REGIE_MAX_JOBS", group.max_jobs.to_string()),
        ("REGIE_MAX_TIME", group.max_time.0.as_secs_f64().to_string()),
    ] {
        if value != "0" {
            pool.env.insert(name.to_owned(), EnvValue(value));
        }
    }
    // Each job brings its own limit.
    pool.request_timeout = group.timeout;
    pool
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_named_by_the_environment_or_by_a_package() {
        let (laravel, symfony) = (Framework::Laravel, Framework::Symfony);
        for (framework, variable, package, expected) in [
            (laravel, "", "", false),
            (laravel, "QUEUE_CONNECTION=", "", false),
            (laravel, "QUEUE_CONNECTION=sync", "", false),
            (laravel, "QUEUE_CONNECTION=redis", "", true),
            (laravel, "QUEUE_DRIVER=database", "", true),
            (laravel, "MESSENGER_TRANSPORT_DSN=redis://redis", "", false),
            (symfony, "", "", false),
            (symfony, "MESSENGER_TRANSPORT_DSN=sync://", "", false),
            (symfony, "MESSENGER_TRANSPORT_DSN=in-memory://", "", false),
            (symfony, "MESSENGER_TRANSPORT_DSN=doctrine://default", "", true),
            (symfony, "", "symfony/messenger", false),
            (symfony, "", "symfony/scheduler", true),
            (symfony, "MESSENGER_TRANSPORT_DSN=sync://", "symfony/scheduler", true),
            (Framework::Plain, "QUEUE_CONNECTION=redis", "symfony/scheduler", false),
        ] {
            let (name, value) = variable.split_once('=').unwrap_or_default();
            let found =
                names_a_queue(framework, |asked| (asked == name).then_some(value), |asked| asked == package);
            assert_eq!(found, expected, "{framework:?} with {variable:?} and {package:?}");
        }
    }
}
