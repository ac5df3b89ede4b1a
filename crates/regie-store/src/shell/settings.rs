//! `settings.conf` in the store's folder: what CONFIG REWRITE has kept.

use super::users;
use crate::engine::Engine;
use std::io;
use std::path::Path;

const NAME: &str = "settings.conf";

/// Sets what was kept, over the configuration.
pub(crate) fn apply(dir: Option<&Path>, engine: &mut Engine, report: fn(&str)) -> Result<(), String> {
    let Some(path) = dir.map(|dir| dir.join(NAME)) else { return Ok(()) };
    let fault = |why: String| format!("{}: {why}; correct it, or delete the file", path.display());
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(fault(error.to_string())),
    };
    let count = engine.apply_kept_settings(&text).map_err(fault)?;
    if count > 0 {
        report(&format!(
            "{}: {count} settings that CONFIG REWRITE has kept hold over the configuration",
            path.display()
        ));
    }
    Ok(())
}

/// Keeps the lines for the next start.
pub(crate) fn keep(dir: Option<&Path>, text: &[u8]) -> Result<(), String> {
    let dir = dir.ok_or("The server is running without a folder of its own")?;
    users::write(&dir.join(NAME), text).map_err(|error| format!("Rewriting config file: {error}"))
}
