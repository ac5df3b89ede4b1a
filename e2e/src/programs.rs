//! The programs that the tests run: ours, and those of Debian's packages.

use std::path::{Path, PathBuf};

/// The path of one of our own programs, built beside the tests.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("a running program has a path");
    let folder = tests.ancestors().find(|folder| folder.join(name).is_file());
    folder.unwrap_or_else(|| panic!("{name} is not built beside the tests; run: make build")).join(name)
}

/// The path of a program that a Debian package brings.
///
/// # Panics
/// When it is not installed; the message names the package.
#[must_use]
pub fn need(name: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| panic!("{name} is not installed; install Debian's package {package}"))
}

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in a folder of the repository")
}
