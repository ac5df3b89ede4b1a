//! What kind of application lies in a folder, and what follows from it for serving.
//!
//! The order of the questions matters: an `artisan` file is Laravel's alone, `bin/console` beside a Symfony package
//! is Symfony's, WordPress is told by its own loader, and whatever is left is a folder of PHP files. Nothing here
//! runs PHP: a folder is looked at before anything of it may be trusted to run.

use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::composer::Composer;
use crate::files::Files;
use crate::settings::Pool;
use crate::values::{AppEnv, Framework, Mode};

/// What was found in an application's folder. Paths are relative to that folder.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Application {
    /// The framework.
    pub framework: Framework,
    /// Its version, where Composer or the framework's own file names it.
    pub version: Option<String>,
    /// The document root; empty for the folder itself.
    pub public: String,
    /// The script that answers for unknown paths, relative to the document root.
    pub front_controller: Option<String>,
    /// The runner that makes worker mode the default.
    pub runner: Option<Runner>,
    /// Why rewind mode is not the default in production, or what makes it so.
    pub rewind: Result<String, String>,
    /// Folders and files that the application must be able to write.
    pub writable: Vec<String>,
    /// Folders below the document root where people upload files, relative to it.
    pub upload_folders: Vec<String>,
    /// The dev server that package.json names.
    pub dev_server: Option<DevServer>,
    /// What Composer knows.
    pub composer: Composer,
    /// What was looked at to decide, for `regie check --show`.
    pub because: String,
}

/// How an application runs in worker mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Runner {
    /// Its name for people.
    pub name: &'static str,
    /// The worker script, relative to the application's folder.
    pub script: String,
    /// Which contract it follows.
    kind: RunnerKind,
    /// What told so.
    pub because: String,
}

/// The runners that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
enum RunnerKind {
    Octane,
    Symfony,
    /// Symfony before 7.4, through a package that `APP_RUNTIME` names.
    SymfonyPackage,
}

impl Runner {
    /// The environment variables that it asks for, beside `FRANKENPHP_WORKER`, which the pool sets. `base` is the
    /// application's folder in full.
    #[must_use]
    pub fn environment(&self, base: &Path, public: &str, pool: &Pool) -> Vec<(String, String)> {
        /// Both runners count requests themselves; this is more than any worker serves.
        const FOR_EVER: u64 = 1 << 31;
        let base: PathBuf = base.components().filter(|part| *part != Component::CurDir).collect();
        let requests = Some(pool.max_requests()).filter(|count| *count > 0).unwrap_or(FOR_EVER).to_string();
        let pairs = match self.kind {
            RunnerKind::Octane => vec![
                ("LARAVEL_OCTANE", "1".to_owned()),
                ("APP_BASE_PATH", base.to_string_lossy().into_owned()),
                ("APP_PUBLIC_PATH", base.join(public).to_string_lossy().into_owned()),
                ("MAX_REQUESTS", requests),
                ("REQUEST_MAX_EXECUTION_TIME", pool.request_timeout.0.as_secs().to_string()),
            ],
            RunnerKind::Symfony => vec![("FRANKENPHP_LOOP_MAX", requests)],
            RunnerKind::SymfonyPackage => vec![
                ("FRANKENPHP_LOOP_MAX", requests),
                ("APP_RUNTIME", "Runtime\\FrankenPhpSymfony\\Runtime".to_owned()),
            ],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

/// A dev server for the browser's side, started in development.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DevServer {
    /// What is run.
    pub command: String,
    /// Whether `node_modules` is there, without which it cannot start.
    pub installed: bool,
}

impl Application {
    /// Looks at the folder. `framework` and `public` are what regie.toml says in place of what would be found.
    #[must_use]
    pub fn detect(files: &dyn Files, framework: Option<Framework>, public: Option<&str>) -> Self {
        let composer = Composer::read(files);
        let (framework, because) = match framework {
            Some(framework) => (framework, "[app] framework".to_owned()),
            None => which(files, &composer),
        };
        let public = match public {
            Some(public) => normal(public),
            None => document_root(files, framework),
        };
        let in_public = |name: &str| below(&public, name);
        let front_controller = match framework {
            Framework::Plain => None,
            _ => Some("index.php".to_owned()).filter(|_| files.is_file(&in_public("index.php"))),
        };
        let version = version(files, framework, &composer);
        Self {
            framework,
            rewind: rewind(files, framework, version.as_deref(), &public),
            version,
            front_controller,
            runner: runner(files, framework, &composer, &public),
            writable: writable(files, framework),
            upload_folders: upload_folders(files, framework, &public),
            dev_server: dev_server(files),
            public,
            composer,
            because,
        }
    }

    /// `Laravel 8.83.26`, `Symfony`, `WordPress 6.5`, `PHP files`.
    #[must_use]
    pub fn title(&self) -> String {
        let name = match self.framework {
            Framework::Laravel => "Laravel",
            Framework::Symfony => "Symfony",
            Framework::Wordpress => "WordPress",
            Framework::Plain => "PHP files",
        };
        self.version.as_ref().map_or_else(|| name.to_owned(), |version| format!("{name} {version}"))
    }

    /// The mode of the web pool when nothing is configured, and what has decided that. In development what changes on the
    /// disk must be seen at once, so nothing of the application stays in memory.
    #[must_use]
    pub fn mode(&self, env: AppEnv) -> (Mode, String) {
        match (&self.runner, &self.rewind) {
            (Some(runner), _) => (Mode::Worker, runner.because.clone()),
            (None, Ok(because)) if env == AppEnv::Production => (Mode::Rewind, because.clone()),
            (None, Ok(_)) => (Mode::Classic, "development".to_owned()),
            (None, Err(because)) => (Mode::Classic, because.clone()),
        }
    }
}

/// `path` in `folder`, where an empty folder is the application's own.
pub(crate) fn below(folder: &str, path: &str) -> String {
    if folder.is_empty() { path.to_owned() } else { format!("{folder}/{path}") }
}

/// A relative path without `./` and a slash at its end.
fn normal(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

fn which(files: &dyn Files, composer: &Composer) -> (Framework, String) {
    if files.is_file("artisan")
        && (files.is_dir("bootstrap") || composer.version("laravel/framework").is_some())
    {
        return (Framework::Laravel, "artisan".to_owned());
    }
    let kernel = files.is_file("src/Kernel.php") || files.is_file("config/bundles.php");
    let bundle = composer.version("symfony/framework-bundle").is_some();
    if files.is_file("bin/console") && (kernel || bundle) {
        return (Framework::Symfony, "bin/console".to_owned());
    }
    for folder in ["", "public", "web", "wordpress"] {
        let loader = below(folder, "wp-load.php");
        if files.is_file(&loader) {
            return (Framework::Wordpress, loader);
        }
    }
    // Bedrock keeps WordPress itself in web/wp.
    for loader in ["wp-config.php", "wp-blog-header.php", "web/wp/wp-load.php", "web/wp-config.php"] {
        if files.is_file(loader) {
            return (Framework::Wordpress, loader.to_owned());
        }
    }
    (Framework::Plain, "no known framework's files".to_owned())
}

fn document_root(files: &dyn Files, framework: Framework) -> String {
    let candidates: &[&str] = match framework {
        Framework::Laravel | Framework::Symfony => &["public", "web", "public_html"],
        Framework::Wordpress => &["", "public", "web", "wordpress"],
        Framework::Plain => &["public", "web", "public_html", "htdocs", "www"],
    };
    let index =
        |folder: &&&str| ["index.php", "index.html"].iter().any(|name| files.is_file(&below(folder, name)));
    if let Some(found) = candidates.iter().find(index) {
        return (*found).to_owned();
    }
    // A framework's root stays closed even when its public folder is still empty.
    let fallback = matches!(framework, Framework::Laravel | Framework::Symfony);
    candidates
        .iter()
        .find(|folder| fallback && files.is_dir(folder))
        .map(|f| (*f).to_owned())
        .unwrap_or_default()
}

fn version(files: &dyn Files, framework: Framework, composer: &Composer) -> Option<String> {
    let packages: &[&str] = match framework {
        Framework::Laravel => &["laravel/framework"],
        Framework::Symfony => &["symfony/framework-bundle", "symfony/http-kernel"],
        Framework::Wordpress => &["roots/wordpress", "johnpbloch/wordpress", "roots/wordpress-no-content"],
        Framework::Plain => &[],
    };
    let composed = packages.iter().find_map(|package| composer.version(package)).map(str::to_owned);
    if composed.is_some() || framework != Framework::Wordpress {
        return composed;
    }
    let folders = ["", "public", "web", "wordpress", "web/wp"];
    let text = folders.iter().find_map(|folder| files.read(&below(folder, "wp-includes/version.php")))?;
    let (_, after) = text.split_once("$wp_version")?;
    let mut quoted = after.split(['\'', '"']);
    quoted.nth(1).filter(|version| version.len() < 32).map(str::to_owned)
}

/// Octane with FrankenPHP's server, symfony/runtime from 7.4 on, or runtime/frankenphp-symfony.
fn runner(files: &dyn Files, framework: Framework, composer: &Composer, public: &str) -> Option<Runner> {
    match framework {
        Framework::Laravel => octane(files, composer, public),
        Framework::Symfony => symfony_runtime(files, composer, public),
        Framework::Wordpress | Framework::Plain => None,
    }
}

/// Whether Régie has a boot script that fits.
fn rewind(
    files: &dyn Files,
    framework: Framework,
    version: Option<&str>,
    public: &str,
) -> Result<String, String> {
    if !matches!(framework, Framework::Laravel | Framework::Symfony) {
        return Err("no worker runtime is configured".to_owned());
    }
    if public != "public" {
        return Err("the document root is not public/".to_owned());
    }
    if files.is_file("public/.user.ini") {
        return Err("public/.user.ini is read for each request".to_owned());
    }
    let is_old = version.and_then(crate::composer::minor).is_some_and(|version| version < (8, 0));
    match framework {
        Framework::Laravel if is_old => Err("Laravel before 8".to_owned()),
        Framework::Laravel => Ok("Laravel in production".to_owned()),
        _ if files.is_file("vendor/autoload_runtime.php") => Ok("Symfony in production".to_owned()),
        _ => Err("Symfony without symfony/runtime".to_owned()),
    }
}

fn octane(files: &dyn Files, composer: &Composer, public: &str) -> Option<Runner> {
    let stub = below(public, "frankenphp-worker.php");
    composer.version("laravel/octane")?;
    let config = files.read("config/octane.php");
    let configured = config.as_deref().is_some_and(|text| octane_server(text, files) == Some("frankenphp"));
    if !configured && !files.is_file(&stub) {
        return None;
    }
    let vendor = "vendor/laravel/octane/bin/frankenphp-worker.php";
    let because = if configured { "config/octane.php" } else { stub.as_str() }.to_owned();
    let script = if files.is_file(&stub) { stub.clone() } else { vendor.to_owned() };
    files.is_file(&script).then_some(Runner { name: "Octane", script, kind: RunnerKind::Octane, because })
}

/// The server that config/octane.php or `OCTANE_SERVER` in .env names.
fn octane_server(config: &str, files: &dyn Files) -> Option<&'static str> {
    const SERVERS: [&str; 3] = ["frankenphp", "roadrunner", "swoole"];
    let word = |text: &str| {
        let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
        SERVERS.into_iter().find(|server| *server == name)
    };
    let line = config
        .lines()
        .map(str::trim_start)
        .find(|line| line.starts_with("'server'") || line.starts_with("\"server\""))?;
    let (_, value) = line.split_once("=>")?;
    if value.contains("OCTANE_SERVER") {
        let env = files.read(".env").unwrap_or_default();
        let set = env.lines().find_map(|line| line.trim().strip_prefix("OCTANE_SERVER="));
        if let Some(server) = set.and_then(|value| word(value.trim().trim_matches(['"', '\'']))) {
            return Some(server);
        }
    }
    value.split(['\'', '"']).filter_map(word).next_back()
}

fn symfony_runtime(files: &dyn Files, composer: &Composer, public: &str) -> Option<Runner> {
    let script = below(public, "index.php");
    let front = files.read(&script)?;
    let runtime = composer.version("symfony/runtime")?;
    if !front.contains("autoload_runtime.php") {
        return None;
    }
    if crate::composer::minor(runtime).is_some_and(|version| version >= (7, 4)) {
        let because = format!("symfony/runtime {runtime}");
        return Some(Runner { name: "Symfony's runtime", script, kind: RunnerKind::Symfony, because });
    }
    composer.version("runtime/frankenphp-symfony")?;
    Some(Runner {
        name: "runtime/frankenphp-symfony",
        script,
        kind: RunnerKind::SymfonyPackage,
        because: "runtime/frankenphp-symfony".to_owned(),
    })
}

fn writable(files: &dyn Files, framework: Framework) -> Vec<String> {
    let folders: &[&str] = match framework {
        Framework::Laravel => &[
            "storage",
            "storage/framework/cache",
            "storage/framework/sessions",
            "storage/framework/views",
            "storage/logs",
            "bootstrap/cache",
        ],
        Framework::Symfony => &["var", "var/cache", "var/log"],
        Framework::Wordpress => &["wp-content/uploads"],
        Framework::Plain => &[],
    };
    // Symfony makes var itself when its parent can be written; the others expect their folders to be there.
    let wanted = |folder: &&&str| framework != Framework::Wordpress || files.is_dir(folder);
    folders.iter().filter(wanted).map(|folder| (*folder).to_owned()).collect()
}

fn upload_folders(files: &dyn Files, framework: Framework, public: &str) -> Vec<String> {
    let always: &[&str] = match framework {
        Framework::Laravel => &["storage"],
        Framework::Wordpress => &["wp-content/uploads"],
        Framework::Symfony | Framework::Plain => &[],
    };
    const COMMON: [&str; 6] = ["uploads", "upload", "media", "wp-content/uploads", "app/uploads", "files"];
    let mut folders: Vec<String> = always.iter().map(|folder| (*folder).to_owned()).collect();
    for folder in COMMON {
        if files.is_dir(&below(public, folder)) && !folders.iter().any(|own| own == folder) {
            folders.push(folder.to_owned());
        }
    }
    folders
}

/// Vite's dev server, where package.json's `dev` script starts it.
fn dev_server(files: &dyn Files) -> Option<DevServer> {
    let package: serde_json::Value = serde_json::from_str(&files.read("package.json")?).ok()?;
    let script = package["scripts"]["dev"].as_str()?;
    let vite = script.split_whitespace().any(|word| word == "vite" || word.ends_with("/vite"));
    let manager =
        [("pnpm-lock.yaml", "pnpm"), ("yarn.lock", "yarn"), ("bun.lockb", "bun"), ("bun.lock", "bun")]
            .into_iter()
            .find(|(lock, _)| files.is_file(lock))
            .map_or("npm", |(_, name)| name);
    vite.then(|| DevServer { command: format!("{manager} run dev"), installed: files.is_dir("node_modules") })
}
