//! Configuration that a framework cached holds addresses of the past: the environment does not reach it.

use super::{Addresses, Becomes};
use crate::check::{Finding, Severity};
use crate::dotenv::DotEnv;
use crate::files::Files;
use crate::values::Framework;

/// Laravel's cached configuration.
pub const LARAVEL: &str = "bootstrap/cache/config.php";
const SYMFONY: &str = ".env.local.php";

/// Where Laravel's stock configuration keeps what a variable sets; `*` is any one key.
const PATHS: [(&str, &str); 7] = [
    ("REDIS_HOST", "database.redis.*.host"),
    ("REDIS_URL", "database.redis.*.url"),
    ("DB_HOST", "database.connections.*.host"),
    ("DATABASE_URL", "database.connections.*.url"),
    ("DB_URL", "database.connections.*.url"),
    ("MAIL_HOST", "mail.mailers.*.host"),
    ("MEMCACHED_HOST", "cache.stores.memcached.servers.*.host"),
];

/// Caches that hold other values than the application is to see.
pub(super) fn stale(
    files: &dyn Files,
    framework: Framework,
    env: &DotEnv,
    addresses: &Addresses,
) -> Vec<Finding> {
    match framework {
        Framework::Laravel => laravel(files, env, addresses).into_iter().collect(),
        Framework::Symfony => symfony(files).into_iter().collect(),
        Framework::Wordpress | Framework::Plain => Vec::new(),
    }
}

fn laravel(files: &dyn Files, env: &DotEnv, addresses: &Addresses) -> Option<Finding> {
    let text = files.read(LARAVEL)?;
    let cached = exported(&text);
    let fix = "regie artisan config:cache (or config:clear)";
    for decision in
        addresses.decisions.iter().filter(|decision| matches!(decision.becomes, Becomes::Instead(_)))
    {
        let Some((_, pattern)) = PATHS.iter().find(|(variable, _)| *variable == decision.variable) else {
            continue;
        };
        let (old, new) = (env.get(&decision.variable)?, addresses.overrides.get(&decision.variable)?);
        if old != new && cached.iter().any(|(path, value)| fits(path, pattern) && value == old) {
            let what = format!("the cached configuration still holds {} {}", decision.variable, decision.was);
            return Some(Finding::new(Severity::Error, LARAVEL, what, fix));
        }
    }
    if let Some(what) = other_store(&cached, env, addresses) {
        return Some(Finding::new(Severity::Error, LARAVEL, what, fix));
    }
    let newer = files.modified(".env").zip(files.modified(LARAVEL)).is_some_and(|(env, cache)| env > cache);
    newer.then(|| {
        let what = "the cached configuration is older than .env, whose changes have no effect";
        Finding::new(Severity::Warning, LARAVEL, what, fix)
    })
}

/// A connection to Redis that was cached with another port or password than the store has. Host and port may be right
/// while the password is that of an earlier store.
fn other_store(cached: &[(String, String)], env: &DotEnv, addresses: &Addresses) -> Option<String> {
    let (port, password) =
        (addresses.overrides.get("REDIS_PORT")?, addresses.overrides.get("REDIS_PASSWORD")?);
    let written = env.get("REDIS_PORT").unwrap_or("6379");
    let at = |connection: &str, key: &str| {
        let path = format!("database.redis.{connection}.{key}");
        cached.iter().find(|(own, _)| *own == path).map(|(_, value)| value)
    };
    let connections = cached.iter().filter(|(path, _)| fits(path, "database.redis.*.port"));
    for (path, own) in connections {
        let connection = path.split('.').nth(2).unwrap_or_default();
        if own != port && own == written {
            return Some(format!("the cached configuration still holds port {own} for Redis"));
        }
        // The password itself is not shown.
        if own == port && at(connection, "password").is_some_and(|own| own != password) {
            return Some("the cached configuration holds another password than the store has".to_owned());
        }
    }
    None
}

fn symfony(files: &dyn Files) -> Option<Finding> {
    let dumped = files.is_file(SYMFONY).then(|| files.modified(SYMFONY)).flatten()?;
    let newer = [".env", ".env.local", ".env.prod", ".env.prod.local"]
        .into_iter()
        .find(|file| files.is_file(file) && files.modified(file).is_some_and(|modified| modified > dumped))?;
    let what = format!("the dumped environment is older than {newer}, whose changes have no effect");
    Some(Finding::new(Severity::Warning, SYMFONY, what, "composer dump-env prod"))
}

/// Whether a dotted path fits a pattern in which `*` stands for one part.
fn fits(path: &str, pattern: &str) -> bool {
    let (mut path, mut pattern) = (path.split('.'), pattern.split('.'));
    loop {
        match (path.next(), pattern.next()) {
            (None, None) => return true,
            (Some(part), Some(wanted)) if wanted == "*" || wanted == part => {}
            _ => return false,
        }
    }
}

/// The strings of what PHP's `var_export` wrote, by dotted path.
#[must_use]
pub fn exported(text: &str) -> Vec<(String, String)> {
    const DEPTH_MAX: usize = 64;
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut key: Option<String> = None;
    let mut last: Option<String> = None;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            let Some((value, after)) = single_quoted(rest) else { break };
            last = Some(value);
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("=>") {
            key = last.take();
            rest = after;
            continue;
        }
        match c {
            '(' if path.len() < DEPTH_MAX => {
                path.push(key.take().unwrap_or_default());
                last = None;
            }
            ',' | ')' => {
                if let (Some(key), Some(value)) = (key.take(), last.take()) {
                    // The outermost array has no key.
                    let parts = path.iter().skip(1).map(String::as_str).chain([key.as_str()]);
                    found.push((parts.collect::<Vec<_>>().join("."), value));
                }
                if c == ')' {
                    path.pop();
                }
            }
            c if c.is_ascii_digit() => {
                let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
                last = Some(rest[..digits].to_owned());
                rest = &rest[digits..];
                continue;
            }
            _ => {}
        }
        rest = &rest[c.len_utf8()..];
    }
    found
}

fn single_quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.push(chars.next().map_or('\\', |(_, next)| next)),
            '\'' => return Some((value, &text[at + 1..])),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_arrays_are_read_by_path() {
        let text = "<?php return array (\n  'app' => \n  array (\n    'key' => 'it\\'s',\n    'debug' => true,\n  ),\n  'redis' => array ('hosts' => array (0 => 'a', 1 => 'b',), 'port' => '6379'),\n);\n";
        let found = exported(text);
        let get = |path: &str| found.iter().find(|(own, _)| own == path).map(|(_, value)| value.as_str());
        assert_eq!(get("app.key"), Some("it's"));
        assert_eq!(get("redis.hosts.1"), Some("b"));
        assert_eq!(get("redis.port"), Some("6379"));
        assert!(fits("database.redis.cache.host", "database.redis.*.host"));
        assert!(!fits("database.redis.host", "database.redis.*.host"));
    }
}
