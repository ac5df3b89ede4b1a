//! Who the application runs as, and what that user may write.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{AccessFlags, Gid, Uid, User, eaccess, getgrouplist};

use crate::facts::UserFacts;

/// A user by number and groups.
#[derive(Debug, Clone)]
pub(super) struct Account {
    uid: u32,
    groups: Vec<u32>,
}

/// The user that PHP runs as: our own unless we are root, else `[app] user`, else the owner of the folder.
pub(super) fn app_user(configured: Option<&str>, folder: &Path) -> (UserFacts, Account) {
    let own = Uid::effective();
    let mut facts =
        UserFacts { started_as_root: own.is_root(), container: in_container(), ..UserFacts::default() };
    let found = if own.is_root() {
        match configured {
            Some(name) => by_name(name),
            None => std::fs::metadata(folder).ok().and_then(|meta| by_uid(Uid::from_raw(meta.uid()))),
        }
    } else {
        by_uid(own)
    };
    let Some(user) = found else {
        facts.unknown = configured.is_some() && own.is_root();
        facts.name = configured.map_or_else(|| own.to_string(), str::to_owned);
        facts.is_root = own.is_root() && configured.is_none();
        return (facts, Account { uid: own.as_raw(), groups: vec![Gid::effective().as_raw()] });
    };
    facts.is_root = user.uid.is_root();
    let name = std::ffi::CString::new(user.name.as_str()).ok();
    let groups = name.and_then(|name| getgrouplist(&name, user.gid).ok()).unwrap_or_else(|| vec![user.gid]);
    facts.name = user.name;
    (facts, Account { uid: user.uid.as_raw(), groups: groups.into_iter().map(Gid::as_raw).collect() })
}

fn by_name(name: &str) -> Option<User> {
    let numbered = || name.parse().ok().and_then(|uid| by_uid(Uid::from_raw(uid)));
    User::from_name(name).ok().flatten().or_else(numbered)
}

fn by_uid(uid: Uid) -> Option<User> {
    User::from_uid(uid).ok().flatten()
}

/// Whether this is a container: the file systems of podman and docker, or the variable that systemd's tools set.
fn in_container() -> bool {
    Path::new("/.dockerenv").exists()
        || Path::new("/run/.containerenv").exists()
        || std::env::var_os("container").is_some()
}

impl Account {
    /// Whether the user may write the file or folder, by its mode and those of the folders above it. Our own rights
    /// are asked of the kernel, which knows access lists too.
    pub(super) fn may_write(&self, path: &Path) -> bool {
        if Uid::effective().as_raw() == self.uid {
            return eaccess(path, AccessFlags::W_OK).is_ok();
        }
        let Ok(path) = std::fs::canonicalize(path) else { return false };
        let enters = |folder: &Path| self.has(folder, 0o1);
        self.has(&path, 0o2) && path.ancestors().skip(1).all(enters)
    }

    /// Whether the user has the right `bit` (1 enter, 2 write, 4 read) on `path`.
    fn has(&self, path: &Path, bit: u32) -> bool {
        let Ok(meta) = std::fs::metadata(path) else { return false };
        let shift = match () {
            () if self.uid == 0 => return true,
            () if meta.uid() == self.uid => 6,
            () if self.groups.contains(&meta.gid()) => 3,
            () => 0,
        };
        meta.mode() & (bit << shift) != 0
    }
}
