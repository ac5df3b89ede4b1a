//! A value that must never reach a log, an error page, a process title or the console.

use std::fmt;

/// Text that prints as `***`. Only [`Secret::reveal`] gives it out, so a search for that word finds
/// every place that handles it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one call that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Whether a variable or header of this name usually carries a secret (`DB_PASSWORD`, `APP_KEY`,
/// `authorization` …), so that listings show `***` for it.
#[must_use]
pub fn is_secret_name(name: &str) -> bool {
    const PARTS: [&str; 10] = [
        "password",
        "passwd",
        "secret",
        "token",
        "api_key",
        "apikey",
        "app_key",
        "private",
        "authorization",
        "cookie",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part)) || name.ends_with("_dsn") || name.ends_with("_url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_never_prints_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(secret.reveal(), "hunter2");
    }

    #[test]
    fn names_of_secrets_are_known() {
        for name in
            ["DB_PASSWORD", "APP_KEY", "MERCURE_JWT_SECRET", "Authorization", "DATABASE_URL", "MAILER_DSN"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["APP_ENV", "DB_HOST", "REDIS_PORT"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
