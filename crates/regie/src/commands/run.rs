//! `regie run`, and what is short for it: a command with the application's PHP, ini, environment, folder and user.
//!
//! The command finds a `php` of its own first in its `PATH`: a two-line script that starts the right version with
//! the application's ini values. So `composer`, `vendor/bin/phpunit` and whatever else starts `php` by its name run
//! the same PHP as the served application.

use std::ffi::{CString, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use nix::unistd::{User, initgroups, setgid, setuid};
use regie_config::Pool;
use regie_core::Exit;

use crate::output;
use crate::programs;
use crate::site::{Place, Site};

/// `regie run [-p POOL] CMD…`. Returns only when the command could not be started.
pub(crate) fn run(place: &Place, pool: &str, command: &[String]) -> Exit {
    let site = match place.load(None) {
        Ok(site) => site,
        Err(exit) => return exit,
    };
    let pools = &site.loaded.config.pools;
    let named = if pool == "jobs" { Some(programs::jobs_pool(&site)) } else { pools.get(pool) };
    let Some(pool) = named else {
        let names: Vec<&str> = pools.keys().map(String::as_str).collect();
        output::error(format_args!("there is no pool \"{pool}\"; there is {}", names.join(", ")));
        return Exit::Usage;
    };
    let Err(fault) = become_command(&site, pool, command);
    let (program, exit) =
        (&command[0], if fault.kind() == io::ErrorKind::NotFound { Exit::Unavailable } else { Exit::Failed });
    output::error(format_args!("failed to run {program}: {fault}"));
    exit
}

/// `regie artisan …`.
pub(crate) fn artisan(place: &Place, words: Vec<String>) -> Exit {
    script(place, "artisan", words)
}

/// `regie console …`.
pub(crate) fn console(place: &Place, words: Vec<String>) -> Exit {
    script(place, "bin/console", words)
}

fn script(place: &Place, script: &str, words: Vec<String>) -> Exit {
    let command: Vec<String> = ["php".to_owned(), script.to_owned()].into_iter().chain(words).collect();
    run(place, "jobs", &command)
}

fn become_command(site: &Site, pool: &Pool, words: &[String]) -> io::Result<std::convert::Infallible> {
    site.make_folders()?;
    let mut command = command(site, pool, words)?;
    become_user(site)?;
    Err(command.exec())
}

/// Becomes the user that the application runs as, when it is another.
pub(crate) fn become_user(site: &Site) -> io::Result<()> {
    site.run_as()?.map_or(Ok(()), |run_as| drop_privileges(&run_as.user))
}

/// `words` as a command with the application's PHP, ini, environment and folder.
pub(crate) fn command(site: &Site, pool: &Pool, words: &[String]) -> io::Result<Command> {
    let mut path = OsString::from(php_shim(site, pool)?);
    if let Some(inherited) = std::env::var_os("PATH") {
        path.push(":");
        path.push(inherited);
    }
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .current_dir(site.root())
        .env("PATH", &path)
        .envs(programs::child_environment(site));
    Ok(command)
}

/// Becomes `user` with all its groups.
fn drop_privileges(user: &str) -> io::Result<()> {
    let found =
        User::from_name(user)?.ok_or_else(|| io::Error::other(format!("user {user} does not exist")))?;
    let name = CString::new(user).map_err(io::Error::other)?;
    initgroups(&name, found.gid)?;
    setgid(found.gid)?;
    setuid(found.uid)?;
    Ok(())
}

/// The folder with the `php` that commands find first.
fn php_shim(site: &Site, pool: &Pool) -> io::Result<PathBuf> {
    let folder = site.state_dir().join("bin");
    let php = site.php().ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, "no php in the PATH; install php-cli, or set [php] bin")
    })?;
    let mut script = format!("#!/bin/sh\nexec {}", quoted(&php.to_string_lossy()));
    for (key, value) in programs::ini(site, pool) {
        script.push_str(&format!(" -d {}", quoted(&format!("{key}={value}"))));
    }
    script.push_str(" \"$@\"\n");
    fs::create_dir_all(&folder)?;
    let shim = folder.join("php");
    if fs::read_to_string(&shim).is_ok_and(|present| present == script) {
        return Ok(folder);
    }
    // Written beside and moved into place: another command may be starting the old one right now.
    let fresh = folder.join(format!("php.{}", std::process::id()));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o755).open(&fresh)?;
    file.write_all(script.as_bytes())?;
    file.set_permissions(fs::Permissions::from_mode(0o755))?;
    drop(file);
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    fs::rename(&fresh, &shim)?;
    Ok(folder)
}

/// `text` as one word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_word_stays_one_word() {
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
