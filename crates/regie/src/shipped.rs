//! The PHP files that Régie brings along: job scripts and what they share.
//!
//! They lie in `php/` at the top of the sources, are part of this program, and are written to `run/php` of the state
//! folder before the programs start. Their paths there are what pools are started with. A file whose content is already
//! right is left alone, so that opcache and the watcher see no change; one that differs is replaced by renaming, so
//! that a worker which reads it meanwhile sees the old or the new one. What an older version has left stays: its
//! workers may still be draining.
//!
//! The files are readable by all, as the user of a pool may be another than that of the application; the state folder
//! above them is closed.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, chown};

macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../../../php/", $name)))),*] };
}

/// Path below `run/php`, and content.
const FILES: &[(&str, &str)] = files![
    "laravel/batches.php"
    "laravel/boot.php"
    "laravel/describe.php"
    "laravel/doubts.php"
    "laravel/held.php"
    "laravel/jobs.php"
    "laravel/move.php"
    "laravel/probe.php"
    "laravel/runner.php"
    "laravel/schedule.php"
    "laravel/scope.php"
    "laravel/signals.php"
    "laravel/stored.php"
    "laravel/worker.php"
    "shared/loop.php"
    "shared/superglobals.php"
    "shared/told.php"
    "symfony/boot.php"
    "symfony/console.php"
    "symfony/describe.php"
    "symfony/held.php"
    "symfony/jobs.php"
    "symfony/move.php"
    "symfony/runner.php"
    "symfony/runtime.php"
    "symfony/sessions.php"
];

/// Where the files are, below the run folder.
pub(crate) fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("php")
}

/// Makes the folder hold the files as this version has them. `owner` gets what is made.
pub(crate) fn write(run_dir: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    write_files(&folder(run_dir), FILES, owner)
}

fn write_files(folder: &Path, files: &[(&str, &str)], owner: Option<(Uid, Gid)>) -> io::Result<()> {
    make_folder(folder, owner)?;
    for (name, content) in files {
        let path = folder.join(name);
        let below = path.parent().unwrap_or(folder);
        make_folder(below, owner)?;
        if !is_right(&path, content) {
            replace(below, &path, content, owner).map_err(|fault| named(&path, &fault))?;
        }
    }
    Ok(())
}

/// A link in its place is somebody else's doing, and is replaced.
fn is_right(path: &Path, content: &str) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file())
        && fs::read(path).is_ok_and(|found| found == content.as_bytes())
}

fn replace(folder: &Path, path: &Path, content: &str, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = folder.join(format!(".{name}.{}", std::process::id()));
    match fs::remove_file(&fresh) {
        Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
        _ => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&fresh)?;
    file.write_all(content.as_bytes())?;
    give(&fresh, owner)?;
    fs::rename(&fresh, path)
}

fn make_folder(folder: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    match fs::symlink_metadata(folder) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            let fault = io::Error::other("something else lies there; remove it");
            return Err(named(folder, &fault));
        }
        Err(_) => {}
    }
    let made = fs::DirBuilder::new().mode(0o755).create(folder);
    made.and_then(|()| give(folder, owner)).map_err(|fault| named(folder, &fault))
}

fn named(path: &Path, fault: &io::Error) -> io::Error {
    io::Error::new(fault.kind(), format!("{} cannot be written: {fault}", path.display()))
}

fn give(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    match owner {
        Some((user, group)) => Ok(chown(path, Some(user), Some(group))?),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn every_file_is_there_and_readable() {
        let run = tempfile::tempdir().unwrap();
        write(run.path(), None).unwrap();
        for (name, content) in FILES {
            let path = folder(run.path()).join(name);
            assert_eq!(fs::read_to_string(&path).unwrap(), *content, "{name}");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644, "{name}");
            assert!(content.starts_with("<?php\n"), "{name}");
        }
    }

    #[test]
    fn only_what_differs_is_written_again() {
        let run = tempfile::tempdir().unwrap();
        let folder = run.path().join("php");
        let inode = |name: &str| fs::metadata(folder.join(name)).unwrap().ino();
        write_files(&folder, &[("a/one.php", "1"), ("two.php", "2"), ("old.php", "0")], None).unwrap();
        let before = (inode("a/one.php"), inode("two.php"));
        write_files(&folder, &[("a/one.php", "1"), ("two.php", "22")], None).unwrap();
        assert_eq!(inode("a/one.php"), before.0);
        assert_ne!(inode("two.php"), before.1, "replaced, not written over");
        assert_eq!(fs::read_to_string(folder.join("two.php")).unwrap(), "22");
        assert!(folder.join("old.php").exists(), "an older version's workers may still need it");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3, "no draft is left");
    }

    #[test]
    fn links_are_not_followed() {
        let run = tempfile::tempdir().unwrap();
        let victim = run.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let folder = run.path().join("php");
        fs::create_dir(&folder).unwrap();
        symlink(&victim, folder.join("one.php")).unwrap();
        write_files(&folder, &[("one.php", "1")], None).unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
        assert_eq!(fs::read_to_string(folder.join("one.php")).unwrap(), "1");
        symlink(run.path(), folder.join("b")).unwrap();
        let fault = write_files(&folder, &[("b/two.php", "2")], None).unwrap_err();
        assert!(fault.to_string().contains("php/b cannot be written"), "{fault}");
    }
}
