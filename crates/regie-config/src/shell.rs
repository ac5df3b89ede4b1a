//! The machine's answers: files, names, the environment.

mod facts;
mod files;
pub mod php;
pub mod ports;
pub mod servers;
mod users;
mod world;

pub use facts::{gather, user};
pub use files::Folder;
pub use world::Machine;

use std::path::Path;

use crate::check::Finding;
use crate::dotenv::Variables;
use crate::fault::Faults;
use crate::load::{Loaded, Options};

/// Loads the configuration of `folder`.
///
/// ```
/// use regie_config::{Options, shell};
/// # let folder = tempfile::tempdir().unwrap();
/// # std::fs::create_dir(folder.path().join("public")).unwrap();
/// # std::fs::write(folder.path().join("public/index.php"), "<?php").unwrap();
/// # std::fs::write(folder.path().join("regie.toml"), "[php.web]\nworkers = 4\n").unwrap();
/// let loaded = shell::load(folder.path(), &Options::default(), &shell::environment()).unwrap();
/// assert_eq!(loaded.public().to_str(), Some("./public"));
/// assert_eq!(loaded.web().workers.to_string(), "4");
/// ```
///
/// # Errors
/// Every fault of every file, each with its place.
pub fn load(folder: &Path, options: &Options, environment: &Variables) -> Result<Loaded, Faults> {
    crate::load::load(&Machine::new(folder), options, environment)
}

/// The whole checklist of `folder`: loads, looks at the machine, and checks. A configuration with faults is a
/// checklist of its faults.
#[must_use]
pub fn check(folder: &Path, options: &Options, environment: &Variables) -> Vec<Finding> {
    match load(folder, options, environment) {
        Ok(loaded) => {
            let path = environment.get("PATH").map_or("", String::as_str);
            crate::check::check(&loaded, &gather(folder, &loaded, path))
        }
        Err(faults) => faults.iter().map(Finding::from).collect(),
    }
}

/// The environment of this process, without names or values that are no UTF-8.
#[must_use]
pub fn environment() -> Variables {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
