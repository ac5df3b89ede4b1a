//! What a freshly cloned application still lacks: each has one command that makes it good.

use crate::application::{Application, below};
use crate::dotenv::DotEnv;
use crate::files::Files;
use crate::values::Framework;

/// What is missing. A missing file is missing for the framework, not in itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct FirstSteps {
    /// composer.json asks for packages and `vendor` has none.
    pub no_vendor: bool,
    /// Laravel without `.env` and without a key from elsewhere.
    pub no_env: bool,
    /// There is a `.env.example` to copy.
    pub env_example: bool,
    /// Laravel without `APP_KEY`.
    pub no_key: bool,
    /// The document root is there.
    pub has_public: bool,
    /// The line of wp-config.php that switches debug mode on.
    pub wp_debug: Option<usize>,
    /// The SQLite database that the application names, relative to its folder or absolute.
    pub sqlite: Option<String>,
}

impl FirstSteps {
    /// Looks for what is missing.
    #[must_use]
    pub fn look(files: &dyn Files, application: &Application, dotenv: &DotEnv) -> Self {
        let laravel = application.framework == Framework::Laravel;
        let no_key = laravel && needs_key(files) && dotenv.get("APP_KEY").is_none_or(str::is_empty);
        Self {
            no_vendor: lacks_vendor(files, &application.public),
            no_env: no_key && dotenv.files.is_empty() && !files.is_file(".env"),
            env_example: files.is_file(".env.example"),
            no_key,
            has_public: files.is_dir(&application.public),
            wp_debug: (application.framework == Framework::Wordpress).then(|| wp_debug(files)).flatten(),
            sqlite: sqlite(files, application, dotenv),
        }
    }
}

/// Whether Laravel takes its key from the environment: neither a cached configuration nor config/app.php has one.
fn needs_key(files: &dyn Files) -> bool {
    if let Some(cached) = files.read(crate::addresses::cached::LARAVEL) {
        let values = crate::addresses::cached::exported(&cached);
        return !values.iter().any(|(path, value)| path == "app.key" && !value.is_empty());
    }
    let Some(config) = files.read("config/app.php") else { return true };
    let key = config
        .lines()
        .map(str::trim_start)
        .find(|line| line.starts_with("'key'") || line.starts_with("\"key\""));
    key.is_none_or(|line| line.contains("env("))
}

/// Packages are asked for, the front controller loads them, and they are not there.
fn lacks_vendor(files: &dyn Files, public: &str) -> bool {
    let Some(composer) = files.read("composer.json") else { return false };
    let Ok(json) = serde_json::from_str::<serde_json::Value>(&composer) else { return false };
    let packages =
        json["require"].as_object().is_some_and(|require| require.keys().any(|name| name.contains('/')));
    let loads = |path: &str| files.read(path).is_some_and(|text| text.contains("vendor/autoload"));
    packages
        && !files.is_file("vendor/autoload.php")
        && (loads(&below(public, "index.php")) || loads("artisan") || loads("bin/console"))
}

fn wp_debug(files: &dyn Files) -> Option<usize> {
    let text = files.read("wp-config.php")?;
    let on = |line: &str| {
        let line: String = line.chars().filter(|c| !c.is_whitespace()).collect::<String>().replace('"', "'");
        line.starts_with("define('WP_DEBUG',true") || line.starts_with("define('WP_DEBUG',1")
    };
    text.lines().position(on).map(|index| index + 1)
}

fn sqlite(files: &dyn Files, application: &Application, dotenv: &DotEnv) -> Option<String> {
    match application.framework {
        Framework::Laravel => {
            let default = || {
                let config = files.read("config/database.php").unwrap_or_default();
                let compact: String = config.chars().filter(|c| !c.is_whitespace()).collect();
                compact.contains("env('DB_CONNECTION','sqlite')")
            };
            let named = dotenv.get("DB_CONNECTION").map(|connection| connection == "sqlite");
            if dotenv.get("DATABASE_URL").or_else(|| dotenv.get("DB_URL")).is_some_and(|url| !url.is_empty())
                || !named.unwrap_or_else(default)
            {
                return None;
            }
            let path = dotenv
                .get("DB_DATABASE")
                .filter(|path| !path.is_empty())
                .unwrap_or("database/database.sqlite");
            (path != ":memory:").then(|| path.to_owned())
        }
        // Without Doctrine the application makes its database by its own means.
        Framework::Symfony if application.composer.version("doctrine/doctrine-bundle").is_none() => None,
        Framework::Symfony => {
            let url = dotenv.get("DATABASE_URL")?;
            let rest = url.strip_prefix("sqlite:").or_else(|| url.strip_prefix("pdo-sqlite:"))?;
            let path = rest.strip_prefix("///").map(|path| path.split('?').next().unwrap_or(path))?;
            let own = path.strip_prefix("%kernel.project_dir%/").map(str::to_owned);
            let absolute = || path.starts_with('/').then(|| path.to_owned());
            own.or_else(absolute)
        }
        Framework::Wordpress | Framework::Plain => None,
    }
}
