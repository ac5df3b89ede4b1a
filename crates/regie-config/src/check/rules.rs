//! The rules of `regie check`, each from facts to at most a few lines.

use regie_core::ByteSize;

use super::{Finding, Severity, queues};
use crate::application::below;
use crate::facts::{Facts, PhpFacts, UserFacts};
use crate::load::Loaded;
use crate::settings::Pool;
use crate::values::{AppEnv, Framework, Listen};

/// Everything that is wrong or worth knowing, errors first. What [`Loaded::warnings`] has is part of it.
#[must_use]
pub fn check(loaded: &Loaded, facts: &Facts) -> Vec<Finding> {
    let mut out = loaded.warnings.clone();
    php(loaded, facts, &mut out);
    application(loaded, &mut out);
    predis(loaded, &mut out);
    debug_in_production(loaded, &mut out);
    users(loaded, &facts.user, &mut out);
    ports(loaded, facts, &mut out);
    paths(loaded, facts, &mut out);
    sqlite(loaded, facts, &mut out);
    queues::leases(loaded, facts, &mut out);
    for (pool, socket) in &facts.missing_sockets {
        let what = format!("there is no socket at {}", socket.display());
        out.push(Finding::new(
            Severity::Error,
            format!("[php.{pool}] url"),
            what,
            "start the FastCGI server, or correct the path",
        ));
    }
    for (pool, script) in &facts.missing_scripts {
        let (key, what, fix) = match script {
            Some(script) => (
                "script",
                format!("there is no worker script at {}", script.display()),
                "correct the path, from the application's folder",
            ),
            None => (
                "mode",
                "worker mode needs a worker script, and none was found".to_owned(),
                "script = \"FILE\" with a loop on frankenphp_handle_request(), or mode = \"classic\"",
            ),
        };
        out.push(error(format!("[php.{pool}] {key}"), what, fix));
    }
    out.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    out.dedup();
    out
}

/// What keeps `regie up` from starting at all: debug mode and PHP as root in production, and a user that does not
/// exist.
#[must_use]
pub fn refusals(loaded: &Loaded, user: &UserFacts) -> Vec<Finding> {
    let mut out = Vec::new();
    debug_in_production(loaded, &mut out);
    users(loaded, user, &mut out);
    out.retain(|finding| finding.severity == Severity::Error);
    out
}

fn error(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(Severity::Error, place, what, fix)
}

fn warning(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(Severity::Warning, place, what, fix)
}

fn note(place: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) -> Finding {
    Finding::new(Severity::Note, place, what, fix)
}

fn php(loaded: &Loaded, facts: &Facts, out: &mut Vec<Finding>) {
    let own_pools: Vec<(&String, &Pool)> =
        loaded.config.pools.iter().filter(|(_, pool)| pool.url.is_none()).collect();
    if own_pools.is_empty() {
        return;
    }
    let composer = &loaded.application.composer;
    let Some(php) = &facts.php else {
        let wanted = loaded.config.php.version.clone();
        let (what, version) = match &wanted {
            Some(version) => (format!("PHP {version} is not installed"), version.clone()),
            None => ("PHP is not installed".to_owned(), "8.2".to_owned()),
        };
        let what = if facts.php_versions.is_empty() {
            what
        } else {
            format!("{what}, but {}", list(&facts.php_versions))
        };
        out.push(error(
            "php",
            what,
            format!("apt install php{version}-cli php{version}-fpm libphp{version}-embed"),
        ));
        return;
    };
    let (major, minor) = php.version;
    if let Some((constraint, key)) = composer.forbids_php(php.version) {
        let what = format!("the application wants PHP {constraint} ({key}), this is {major}.{minor}");
        let fitting =
            facts.php_versions.iter().rev().find(|version| composer.forbids_php(**version).is_none());
        let fix = match fitting {
            Some((major, minor)) => format!("[php] version = \"{major}.{minor}\""),
            None => "install a PHP version that fits".to_owned(),
        };
        out.push(error("composer.json", what, fix));
    }
    if !php.embed {
        let what = format!("PHP {major}.{minor} can be run, but not embedded: its library is missing");
        out.push(error("php", what, format!("apt install libphp{major}.{minor}-embed")));
    }
    extensions(loaded, php, out);
    opcache(loaded, php, out);
    for (name, pool) in own_pools {
        limits(loaded, php, name, pool, out);
    }
}

fn list(versions: &[(u32, u32)]) -> String {
    versions.iter().map(|(major, minor)| format!("{major}.{minor} is")).collect::<Vec<_>>().join(", ")
}

/// What composer.json asks for, and what the framework and the chosen drivers need.
fn extensions(loaded: &Loaded, php: &PhpFacts, out: &mut Vec<Finding>) {
    let mut wanted: Vec<(String, &str)> = Vec::new();
    let composer = &loaded.application.composer;
    let framework: &[&str] = match loaded.application.framework {
        Framework::Laravel => &["ctype", "fileinfo", "mbstring", "openssl", "pdo", "tokenizer", "xml"],
        Framework::Symfony => &["ctype", "iconv", "tokenizer", "xml"],
        Framework::Wordpress => &["mysqli", "xml"],
        Framework::Plain => &[],
    };
    wanted.extend(composer.extensions().iter().map(|name| (name.clone(), "composer.json")));
    wanted.extend(framework.iter().map(|name| ((*name).to_owned(), loaded.application.framework.as_str())));
    wanted.extend(redis(loaded).map(|name| (name.to_owned(), "the application's Redis")));
    wanted.extend(drivers(loaded).into_iter().map(|name| (name.to_owned(), "the database connection")));
    let mut seen: Vec<String> = Vec::new();
    for (name, who) in wanted {
        let loaded_as = if name == "opcache" || name == "zend-opcache" { "zend opcache" } else { &name };
        let there = php.extensions.iter().any(|own| own == loaded_as || own.replace(' ', "-") == name);
        let polyfill = composer.version(&format!("symfony/polyfill-{name}")).is_some();
        if there || polyfill || seen.contains(&name) {
            continue;
        }
        let what = format!("the PHP extension {name} is missing; {who} needs it");
        let fix = format!("apt install {}", package(&name, php.version));
        seen.push(name);
        out.push(error("php", what, fix));
    }
}

/// The extension for the Redis that the application uses, unless it speaks to it through Predis.
fn redis(loaded: &Loaded) -> Option<&'static str> {
    let predis = loaded.application.composer.version("predis/predis").is_some();
    let chosen = match loaded.application.framework {
        Framework::Laravel => !wants_predis(loaded),
        Framework::Symfony => !predis,
        // Which client they use stands in their code.
        Framework::Wordpress | Framework::Plain => false,
    };
    (loaded.uses_redis && chosen).then_some("redis")
}

fn wants_predis(loaded: &Loaded) -> bool {
    loaded.dotenv.get("REDIS_CLIENT").is_some_and(|client| client.eq_ignore_ascii_case("predis"))
}

fn predis(loaded: &Loaded, out: &mut Vec<Finding>) {
    let there = loaded.application.composer.version("predis/predis").is_some();
    if loaded.application.framework == Framework::Laravel
        && loaded.uses_redis
        && wants_predis(loaded)
        && !there
    {
        let what = "REDIS_CLIENT is predis, but the package is not installed";
        let fix = "composer require predis/predis, or REDIS_CLIENT=phpredis with the PHP extension redis";
        out.push(error(loaded.dotenv.origin("REDIS_CLIENT"), what, fix));
    }
}

/// The extension for the database that the application names.
fn drivers(loaded: &Loaded) -> Vec<&'static str> {
    let env = &loaded.dotenv;
    let by_url = env.get("DATABASE_URL").and_then(|url| url.split(':').next());
    let named = match loaded.application.framework {
        Framework::Laravel => env.get("DB_CONNECTION"),
        Framework::Symfony => by_url,
        Framework::Wordpress | Framework::Plain => None,
    };
    match named.unwrap_or_default() {
        "mysql" | "mariadb" | "pdo-mysql" | "mysql2" => vec!["pdo_mysql"],
        "pgsql" | "postgres" | "postgresql" | "pdo-pgsql" => vec!["pdo_pgsql"],
        "sqlite" | "sqlite3" | "pdo-sqlite" => vec!["pdo_sqlite"],
        _ => Vec::new(),
    }
}

/// Debian's package for an extension.
fn package(extension: &str, (major, minor): (u32, u32)) -> String {
    let name = match extension {
        "dom" | "xml" | "simplexml" | "xmlreader" | "xmlwriter" | "xsl" => "xml",
        "pdo_mysql" | "mysqli" | "mysqlnd" => "mysql",
        "pdo_pgsql" => "pgsql",
        "pdo_sqlite" | "sqlite3" => "sqlite3",
        "pdo_odbc" => "odbc",
        "zend-opcache" => "opcache",
        "ctype" | "fileinfo" | "iconv" | "tokenizer" | "pdo" | "phar" | "posix" | "sockets" | "exif"
        | "ftp" | "calendar" | "gettext" | "shmop" | "sysvmsg" | "sysvsem" | "sysvshm" | "ffi" => "common",
        other => other,
    };
    format!("php{major}.{minor}-{name}")
}

/// An ini value in force for a pool: its own, `[php] ini`, then the files.
fn ini<'a>(loaded: &'a Loaded, php: &'a PhpFacts, pool: Option<&'a Pool>, name: &str) -> Option<&'a str> {
    let own = pool.and_then(|pool| pool.ini.get(name)).or_else(|| loaded.config.php.ini.get(name));
    own.map(|value| value.0.as_str()).or_else(|| php.ini.get(name).map(String::as_str))
}

fn opcache(loaded: &Loaded, php: &PhpFacts, out: &mut Vec<Finding>) {
    if !php.extensions.iter().any(|name| name == "zend opcache") {
        let what = "opcache is not loaded, so every request compiles the application anew";
        out.push(warning("php", what, format!("apt install {}", package("opcache", php.version))));
        return;
    }
    let off = ini(loaded, php, None, "opcache.enable").is_some_and(|value| {
        matches!(value.to_ascii_lowercase().as_str(), "0" | "" | "off" | "no" | "false")
    });
    if off {
        let what = "opcache is switched off, so every request compiles the application anew";
        out.push(warning("opcache.enable", what, "[php] ini = { \"opcache.enable\" = 1 }"));
    }
}

/// The gateway's limits beside PHP's.
fn limits(loaded: &Loaded, php: &PhpFacts, name: &str, pool: &Pool, out: &mut Vec<Finding>) {
    if name == "web" {
        let body = loaded.config.gateway.body_limit;
        let value = |setting: &str, default: &'static str| {
            ini(loaded, php, Some(pool), setting).unwrap_or(default).to_owned()
        };
        // A form is a little larger than the files in it, so a little more in PHP is as it should be.
        let (post, upload) = (value("post_max_size", "8M"), value("upload_max_filesize", "2M"));
        let smaller: Vec<String> = [("post_max_size", &post), ("upload_max_filesize", &upload)]
            .into_iter()
            .filter(|(_, size)| ini_size(size).is_some_and(|size| size < body.0))
            .map(|(setting, size)| format!("{setting} {size}"))
            .collect();
        if !smaller.is_empty() {
            let what = format!("the gateway takes bodies up to {body}, PHP only {}", smaller.join(" and "));
            let megabytes = (body.0 >> 20).max(1);
            let fix = format!(
                "[php] ini = {{ post_max_size = \"{megabytes}M\", upload_max_filesize = \"{megabytes}M\" }}, or a smaller [gateway] body_limit"
            );
            out.push(note("[gateway] body_limit", what, fix));
        } else if ini_size(&post).is_some_and(|size| size > body.0 + body.0 / 8) {
            let what = format!("the gateway refuses bodies over {body}, though PHP takes {post}");
            out.push(note(
                "[gateway] body_limit",
                what,
                format!("[gateway] body_limit = \"{post}\", or leave it"),
            ));
        }
    }
    let limit = ini(loaded, php, Some(pool), "max_execution_time").unwrap_or("30");
    let seconds: u64 = limit.trim().parse().unwrap_or(0);
    let timeout = pool.request_timeout.0.as_secs();
    if seconds > timeout && timeout > 0 {
        let what = format!(
            "requests end after {}, before PHP's max_execution_time of {seconds}s",
            pool.request_timeout
        );
        let fix = format!("[php.{name}] request_timeout = \"{seconds}s\", or a smaller max_execution_time");
        out.push(note(format!("[php.{name}] request_timeout"), what, fix));
    }
}

/// A size as php.ini has it; 0 and negative numbers mean no limit.
fn ini_size(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.starts_with('-') {
        return None;
    }
    text.parse::<ByteSize>().ok().map(|size| size.0).filter(|size| *size > 0)
}

/// A framework's own first steps.
fn application(loaded: &Loaded, out: &mut Vec<Finding>) {
    let first = &loaded.first_steps;
    if first.no_vendor {
        out.push(error("vendor", "the application's packages are not installed", "composer install"));
    }
    if first.no_env {
        let fix = if first.env_example {
            "cp .env.example .env && regie artisan key:generate"
        } else {
            "create .env with APP_KEY=, then regie artisan key:generate"
        };
        out.push(error(".env", "the file does not exist, so Laravel has no key", fix));
    } else if first.no_key {
        let place = Some(loaded.dotenv.origin("APP_KEY")).filter(|place| !place.is_empty()).unwrap_or(".env");
        out.push(error(
            place,
            "APP_KEY is empty, so Laravel answers every page with an error",
            "regie artisan key:generate",
        ));
    }
    if loaded.env == AppEnv::Development
        && let Some(server) = &loaded.application.dev_server
        && !server.installed
    {
        let manager = server.command.split(' ').next().unwrap_or("npm");
        let what = "Vite's dev server is not started: node_modules is missing";
        out.push(note("package.json", what, format!("{manager} install")));
    }
    let public = &loaded.application.public;
    if !first.has_public {
        let shown = if public.is_empty() { "." } else { public };
        out.push(error(
            "[app] public",
            format!("the document root {shown} does not exist"),
            "[app] public = \"FOLDER\"",
        ));
    } else if loaded.application.framework != Framework::Plain
        && loaded.config.gateway.front_controller.is_none()
    {
        let script = below(public, "index.php");
        out.push(error(script, "the front controller does not exist", "restore it, or set [app] public"));
    }
}

fn debug_in_production(loaded: &Loaded, out: &mut Vec<Finding>) {
    if loaded.env != AppEnv::Production {
        return;
    }
    let env = &loaded.dotenv;
    let on = |name: &str| {
        env.get(name).is_some_and(|value| {
            matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "(true)" | "on" | "yes")
        })
    };
    let shown = "error pages show code and settings to everybody";
    if on("APP_DEBUG") {
        let place = env.origin("APP_DEBUG");
        out.push(error(place, format!("debug mode is on in production: {shown}"), "APP_DEBUG=false"));
    }
    let symfony_dev = loaded.application.framework == Framework::Symfony
        && env.get("APP_DEBUG").is_none()
        && env.get("APP_ENV").is_some_and(|own| !own.starts_with("prod"))
        && !loaded.child_environment.contains_key("APP_ENV");
    if symfony_dev {
        let place = env.origin("APP_ENV");
        out.push(error(place, format!("Symfony's debug mode is on in production: {shown}"), "APP_ENV=prod"));
    }
    if let Some(line) = loaded.first_steps.wp_debug {
        out.push(error(
            format!("wp-config.php:{line}"),
            format!("debug mode is on in production: {shown}"),
            "define('WP_DEBUG', false);",
        ));
    }
}

fn users(loaded: &Loaded, user: &UserFacts, out: &mut Vec<Finding>) {
    if user.unknown {
        out.push(error(
            "[app] user",
            format!("there is no user {}", user.name),
            format!("useradd --system {}, or another [app] user", user.name),
        ));
        return;
    }
    if !user.is_root || user.container {
        return;
    }
    let fix = "[app] user = \"www-data\", and give the folder to that user";
    let what = "PHP would run as root: a fault in the application would own the machine";
    match loaded.env {
        AppEnv::Production => out.push(error("[app] user", what, fix)),
        AppEnv::Development => out.push(warning("[app] user", what, fix)),
    }
}

fn ports(loaded: &Loaded, facts: &Facts, out: &mut Vec<Finding>) {
    for taken in &facts.taken {
        let who = match &taken.holder {
            Some(holder) => format!("{} (pid {})", holder.program, holder.pid),
            None => "another user's program".to_owned(),
        };
        let what = format!("{} is taken by {who}", taken.address);
        match loaded.env {
            AppEnv::Production => {
                out.push(error("[gateway] listen", what, "stop that program, or choose another port"));
            }
            AppEnv::Development => {
                out.push(note("[gateway] listen", what, "nothing to do: the next free port is used"));
            }
        }
    }
    for listen in &loaded.config.gateway.listen {
        let Listen::Tcp(address) = listen else { continue };
        if address.port() != 0 && address.port() < facts.first_free_port && !facts.user.started_as_root {
            let what = format!("port {} needs a privilege that this user has not", address.port());
            let fix = "sudo setcap cap_net_bind_service=+ep \"$(command -v regie)\", or start regie as root";
            out.push(error("[gateway] listen", what, fix));
        }
    }
}

fn paths(loaded: &Loaded, facts: &Facts, out: &mut Vec<Finding>) {
    let user = &facts.user.name;
    for fact in &facts.paths {
        let path = loaded.root.join(&fact.path);
        let path = path.strip_prefix(".").unwrap_or(&path).display();
        if !fact.exists && !fact.made_by_itself {
            out.push(error(
                path.to_string(),
                "the folder does not exist",
                format!("mkdir -p {path} && chown {user} {path}"),
            ));
        } else if !fact.writable {
            out.push(error(
                path.to_string(),
                format!("{user} may not write here"),
                format!("chown -R {user} {path}"),
            ));
        }
    }
}

fn sqlite(loaded: &Loaded, facts: &Facts, out: &mut Vec<Finding>) {
    let Some(sqlite) = &facts.sqlite else { return };
    let (path, user) = (&sqlite.path, &facts.user.name);
    let migrate = match loaded.application.framework {
        // In production artisan asks back unless it is told not to.
        Framework::Laravel if loaded.env == AppEnv::Production => "regie artisan migrate --force",
        Framework::Laravel => "regie artisan migrate",
        _ => "regie console doctrine:migrations:migrate",
    };
    if !sqlite.exists {
        let fix = match loaded.application.framework {
            Framework::Laravel => format!("touch {path} && {migrate}"),
            _ => format!("regie console doctrine:database:create && {migrate}"),
        };
        out.push(error(path, "the SQLite database does not exist", fix));
        return;
    }
    if !sqlite.writable {
        out.push(error(
            path,
            format!("{user} may not write the SQLite database"),
            format!("chown {user} {path}"),
        ));
    } else if !sqlite.folder_writable {
        let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
        let what = format!("{user} may not write the folder of the SQLite database, where its journal goes");
        out.push(error(folder, what, format!("chown {user} {folder}")));
    }
    if sqlite.migrated == Some(false) {
        out.push(error(path, "the database has no tables yet", migrate));
    }
}
