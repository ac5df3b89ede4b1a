//! From a program to a process.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::unistd::{Gid, Group, Uid, User};
use regie_core::handoff;

use super::sys::{self, Identity, Launch, LaunchError, Step};
use crate::spec::{Program, RLimits, RunAs};

/// What every child is given besides what its program says.
#[derive(Debug)]
pub(crate) struct Common<'a> {
    pub(crate) held: &'a BTreeMap<String, OwnedFd>,
    /// The reading end; the supervisor alone holds the other.
    pub(crate) lifeline: &'a OwnedFd,
    pub(crate) notify_address: &'a str,
    pub(crate) token: &'a str,
}

/// Which process it is to be.
#[derive(Debug)]
pub(crate) struct Identified<'a> {
    pub(crate) name: &'a str,
    pub(crate) run: u64,
    pub(crate) generation: u32,
}

/// Variables that are ours: what we were started with is not handed on.
const OWN_VARIABLES: [&str; 6] =
    ["NOTIFY_SOCKET", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "REGIE_TOKEN", "REGIE_RUN"];

/// Starts `program` with these as standard input, output and error. The error says what to look at.
pub(crate) fn spawn(
    program: &Program,
    as_what: &Identified<'_>,
    common: &Common<'_>,
    stdio: [RawFd; 3],
) -> Result<i32, String> {
    let mut fds = stdio.to_vec();
    for name in &program.descriptors {
        let fd = common.held.get(name).ok_or_else(|| format!("the descriptor \"{name}\" is not open"))?;
        fds.push(fd.as_raw_fd());
    }
    fds.push(common.lifeline.as_raw_fd());
    let user = program.run_as.as_ref().map(identify).transpose()?;
    let env = environment(program, as_what, common, user.as_ref());
    let command = program.command.first().map(String::as_str).unwrap_or_default();
    let launch = Launch {
        files: candidates(command, env.get("PATH".as_ref() as &std::ffi::OsStr))?,
        argv: program.command.iter().map(|a| c_string(a.as_bytes())).collect::<Result<_, _>>()?,
        envp: env
            .iter()
            .map(|(k, v)| c_string(&[k.as_bytes(), b"=", v.as_bytes()].concat()))
            .collect::<Result<_, _>>()?,
        fds,
        cwd: program.cwd.as_ref().map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?,
        // One who is that user already needs no right to become it.
        identity: user.map(|(identity, _)| identity).filter(|identity| !is_own(identity)),
        nice: program.nice,
        umask: program.umask,
        rlimits: rlimits(&program.rlimits),
        death_signal: program.stop.signals.first().map_or(libc::SIGKILL, |(signal, _)| *signal as i32),
    };
    sys::launch(&launch).map_err(|error| explain(program, error))
}

fn explain(program: &Program, error: LaunchError) -> String {
    let command = program.command.first().map(String::as_str).unwrap_or_default();
    let (step, error) = match error {
        LaunchError::Fork(error) => return format!("cannot start a process: {error}"),
        LaunchError::Child(step, error) => (step, error),
    };
    match step {
        Step::Session => format!("cannot start a session: {error}"),
        Step::Descriptors => format!("cannot hand on the descriptors: {error}"),
        Step::Limits => format!("cannot set its limits or niceness: {error}"),
        Step::Identity => {
            let user = program.run_as.as_ref().map(|r| r.user.as_str()).unwrap_or_default();
            format!("cannot become user {user}: {error}")
        }
        Step::Folder => {
            let cwd = program.cwd.as_ref().map(|c| c.display().to_string()).unwrap_or_default();
            format!("cannot enter the folder {cwd}: {error}")
        }
        Step::Parent => "the supervisor died".to_owned(),
        Step::Exec if error.raw_os_error() == Some(libc::ENOENT) && !command.contains('/') => {
            format!("command not found: {command} is in no folder of PATH")
        }
        Step::Exec => format!("cannot run {command}: {error}"),
    }
}

fn environment(
    program: &Program,
    as_what: &Identified<'_>,
    common: &Common<'_>,
    user: Option<&(Identity, Option<User>)>,
) -> BTreeMap<OsString, OsString> {
    let kept = |name: &OsString| {
        if program.clear_env { name == "PATH" } else { !OWN_VARIABLES.iter().any(|own| name == own) }
    };
    let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().filter(|(name, _)| kept(name)).collect();
    if let Some((_, Some(user))) = user {
        env.insert("USER".into(), user.name.clone().into());
        env.insert("LOGNAME".into(), user.name.clone().into());
        env.insert("HOME".into(), user.dir.clone().into());
    }
    env.extend(program.env.iter().map(|(k, v)| (k.into(), v.into())));
    let names = program.descriptors.iter().map(String::as_str).chain([handoff::names::LIFELINE]);
    for (name, value) in [
        ("LISTEN_FDS", (program.descriptors.len() + 1).to_string()),
        ("LISTEN_FDNAMES", handoff::join_names(names)),
        ("NOTIFY_SOCKET", common.notify_address.to_owned()),
        ("REGIE_PROGRAM", as_what.name.to_owned()),
        ("REGIE_GENERATION", as_what.generation.to_string()),
        ("REGIE_TOKEN", common.token.to_owned()),
        ("REGIE_RUN", as_what.run.to_string()),
    ] {
        env.insert(name.into(), value.into());
    }
    env.remove("LISTEN_PID".as_ref() as &std::ffi::OsStr);
    env
}

/// The files to try for `command`: itself when it has a slash, else in each folder of the child's `PATH`.
fn candidates(command: &str, path: Option<&OsString>) -> Result<Vec<CString>, String> {
    if command.contains('/') {
        return Ok(vec![c_string(command.as_bytes())?]);
    }
    let default = OsString::from("/usr/local/bin:/usr/bin:/bin");
    std::env::split_paths(path.unwrap_or(&default))
        .map(|folder| c_string(folder.join(command).as_os_str().as_bytes()))
        .collect()
}

fn c_string(bytes: &[u8]) -> Result<CString, String> {
    CString::new(bytes).map_err(|_| "a NUL byte in the command, environment or folder".to_owned())
}

/// The numbers of a user, and its row of the user database if it has one.
pub(crate) fn identify(run_as: &RunAs) -> Result<(Identity, Option<User>), String> {
    let number = run_as.user.parse::<u32>().ok();
    let row = match number {
        Some(uid) => User::from_uid(Uid::from_raw(uid)),
        None => User::from_name(&run_as.user),
    };
    let user = row.map_err(|e| format!("cannot look up user {}: {e}", run_as.user))?;
    let (uid, own_gid) = match (&user, number) {
        (Some(user), _) => (user.uid.as_raw(), user.gid.as_raw()),
        (None, Some(uid)) => (uid, uid),
        (None, None) => return Err(format!("there is no user called {}", run_as.user)),
    };
    let gid = run_as.group.as_ref().map_or(Ok(own_gid), |group| group_number(group))?;
    let name = user.as_ref().and_then(|user| CString::new(user.name.as_str()).ok());
    let groups = name.map_or_else(|| vec![gid], |name| sys::groups_of(&name, gid));
    Ok((Identity { uid, gid, groups }, user))
}

/// Whether we are that user and group, and could become no other.
fn is_own(identity: &Identity) -> bool {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    !uid.is_root() && identity.uid == uid.as_raw() && identity.gid == gid.as_raw()
}

fn group_number(group: &str) -> Result<u32, String> {
    if let Ok(gid) = group.parse() {
        return Ok(Gid::from_raw(gid).as_raw());
    }
    match Group::from_name(group) {
        Ok(Some(row)) => Ok(row.gid.as_raw()),
        Ok(None) => Err(format!("there is no group called {group}")),
        Err(error) => Err(format!("cannot look up group {group}: {error}")),
    }
}

fn rlimits(limits: &RLimits) -> Vec<(i32, libc::rlim_t)> {
    #[expect(clippy::cast_possible_wrap, reason = "resources are numbers from 0 to 15")]
    let number = |resource: libc::__rlimit_resource_t| resource as i32;
    [
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_CORE, limits.core),
        (libc::RLIMIT_AS, limits.address_space),
        (libc::RLIMIT_FSIZE, limits.file_size),
    ]
    .into_iter()
    .filter_map(|(resource, value)| Some((number(resource), value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_looked_up_along_the_childs_path() {
        let path = OsString::from("/a:/b");
        let shown = |command| -> Vec<String> {
            candidates(command, Some(&path)).unwrap().iter().map(|c| c.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(shown("php"), ["/a/php", "/b/php"]);
        assert_eq!(shown("./php"), ["./php"]);
        assert!(candidates("a\0b", None).is_err());
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        let of = |user: &str, group: Option<&str>| {
            identify(&RunAs { user: user.into(), group: group.map(Into::into) })
        };
        let (root, row) = of("root", None).unwrap();
        assert_eq!((root.uid, root.gid, row.is_some()), (0, 0, true));
        let (number, _) = of("54321", Some("7")).unwrap();
        assert_eq!((number.uid, number.gid), (54321, 7));
        assert_eq!(
            of("nobody-of-that-name", None).unwrap_err(),
            "there is no user called nobody-of-that-name"
        );
    }
}
