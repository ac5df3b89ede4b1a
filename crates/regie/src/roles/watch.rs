//! `regie role watch`: in development, reloads the pools that hold the application in memory when its code changes.
//!
//! Folders are watched with inotify(7), new ones as they appear. A change counts when a person could have made it
//! (source, templates, configuration, translations); what the application writes itself, and packages, are left out.
//! Changes that come together, as from an editor or a checkout, cause one reload: it waits until nothing has changed
//! for a moment.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use regie_supervisor::{Client, Reply, Request};

use crate::handed::{Handed, notify};
use crate::output;
use crate::programs;
use crate::site::Site;

/// Nothing may have changed for so long before the pools are reloaded.
const QUIET_MS: u16 = 150;

/// Folders at most; a larger tree is watched in part, and a line says so.
const FOLDERS_MAX: usize = 4_096;

/// Folders that are packages, or written by the application and its tools.
const PASSED_OVER: [&str; 7] = ["node_modules", "vendor", "storage", "var", "cache", "build", "coverage"];

/// Endings of files that people write.
const ENDINGS: [&str; 11] =
    ["php", "env", "yaml", "yml", "twig", "xml", "json", "ini", "neon", "xlf", "latte"];

/// The role.
pub(super) fn run(site: &Site) -> io::Result<()> {
    let lifeline = Handed::take()?.lifeline();
    let mut tree = Tree::watch(&site.root())?;
    notify("READY=1\n")?;
    while wait(&tree, lifeline.as_ref(), PollTimeout::NONE)? {
        let Some(mut changed) = tree.changes()? else { continue };
        // Until it is quiet, and no longer than the editor's last file.
        while wait(&tree, None, PollTimeout::from(QUIET_MS))? {
            changed = tree.changes()?.unwrap_or(changed);
        }
        output::line(format_args!("{} has changed", changed.display()));
        reload(site);
    }
    Ok(())
}

/// Whether something has changed; false at the time limit, or when the supervisor is gone.
fn wait(tree: &Tree, lifeline: Option<&OwnedFd>, limit: PollTimeout) -> io::Result<bool> {
    let mut sources = vec![PollFd::new(tree.inotify.as_fd(), PollFlags::POLLIN)];
    sources.extend(lifeline.map(|pipe| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)));
    loop {
        match poll(&mut sources, limit) {
            Err(Errno::EINTR) => {}
            Err(fault) => return Err(fault.into()),
            Ok(_) => break,
        }
    }
    let orphaned = sources.get(1).is_some_and(|pipe| pipe.any() == Some(true));
    Ok(!orphaned && sources[0].any() == Some(true))
}

/// Asks the supervisor. It may be draining, or the new code may not boot: its own log says which, and the next change
/// tries again.
fn reload(site: &Site) {
    let request = Request::Reload { names: programs::pools_with_code(site), wait: true };
    match Client::connect(&site.run_dir()).and_then(|mut client| client.ask(&request)) {
        Ok(Reply::Done { results }) => {
            for result in results.iter().filter(|result| !result.ok) {
                output::error(format_args!("{}: {}", result.name, result.detail));
            }
        }
        Ok(Reply::Error { message, .. }) => output::error(message),
        Ok(_) => {}
        Err(fault) => output::error(fault),
    }
}

/// The watched folders.
struct Tree {
    inotify: Inotify,
    folders: HashMap<WatchDescriptor, PathBuf>,
    is_full: bool,
}

impl Tree {
    fn watch(root: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut tree = Self { inotify, folders: HashMap::new(), is_full: false };
        tree.add(root.to_owned())?;
        Ok(tree)
    }

    /// Watches `folder` and what lies in it.
    fn add(&mut self, folder: PathBuf) -> io::Result<()> {
        let mut found = vec![folder];
        while let Some(folder) = found.pop() {
            if self.folders.len() >= FOLDERS_MAX {
                if !std::mem::replace(&mut self.is_full, true) {
                    output::warning(format_args!(
                        "only the first {FOLDERS_MAX} folders are watched for changes"
                    ));
                }
                return Ok(());
            }
            let what = AddWatchFlags::IN_CLOSE_WRITE
                | AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_DELETE
                | AddWatchFlags::IN_MOVED_FROM
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_ONLYDIR;
            match self.inotify.add_watch(&folder, what) {
                // It may be gone again, or not ours to read.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES) => continue,
                Err(Errno::ENOSPC) => {
                    let message = "no more folders can be watched; raise fs.inotify.max_user_watches";
                    return Err(io::Error::other(message));
                }
                watch => drop(self.folders.insert(watch?, folder.clone())),
            }
            let inside = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let folders = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            found.extend(
                folders.filter(|entry| is_watched(&entry.file_name().to_string_lossy())).map(|e| e.path()),
            );
        }
        Ok(())
    }

    /// The last of the changes that count; none when none does.
    fn changes(&mut self) -> io::Result<Option<PathBuf>> {
        let events = match self.inotify.read_events() {
            Err(Errno::EAGAIN | Errno::EINTR) => return Ok(None),
            events => events?,
        };
        let mut last = None;
        for event in events {
            last = self.change(&event)?.or(last);
        }
        Ok(last)
    }

    fn change(&mut self, event: &InotifyEvent) -> io::Result<Option<PathBuf>> {
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            self.folders.remove(&event.wd);
            return Ok(None);
        }
        let (Some(folder), Some(name)) = (self.folders.get(&event.wd), &event.name) else { return Ok(None) };
        let (path, name) = (folder.join(name), name.to_string_lossy());
        if !event.mask.contains(AddWatchFlags::IN_ISDIR) {
            // A file that is just created is not written yet.
            let counts = is_source(&name) && !event.mask.contains(AddWatchFlags::IN_CREATE);
            return Ok(counts.then_some(path));
        }
        if !is_watched(&name) {
            return Ok(None);
        }
        if event.mask.intersects(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO) {
            self.add(path.clone())?;
        }
        Ok(Some(path))
    }
}

fn is_watched(folder: &str) -> bool {
    !folder.starts_with('.') && !PASSED_OVER.contains(&folder)
}

fn is_source(file: &str) -> bool {
    file.starts_with(".env") || file.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.contains(&ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_counts() {
        for (name, expected) in [
            ("Kernel.php", true),
            ("home.blade.php", true),
            (".env", true),
            (".env.local", true),
            ("services.yaml", true),
            ("laravel.log", false),
            ("database.sqlite", false),
            (".index.php.swp", false),
            ("index.php~", false),
        ] {
            assert_eq!(is_source(name), expected, "{name}");
        }
        assert!(is_watched("app") && !is_watched("vendor") && !is_watched(".git") && !is_watched("var"));
    }

    #[test]
    fn changes_are_seen_in_folders_old_and_new() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("app/Http")).unwrap();
        std::fs::create_dir_all(at("vendor/x")).unwrap();
        let mut tree = Tree::watch(folder.path()).unwrap();
        assert_eq!(tree.folders.len(), 3);
        let mut change = |name: &str| {
            std::fs::write(at(name), "<?php").unwrap();
            tree.changes().unwrap()
        };
        assert_eq!(change("app/Http/Kernel.php"), Some(at("app/Http/Kernel.php")));
        assert_eq!(change("app/notes.txt"), None);
        assert_eq!(change("vendor/x/y.php"), None);
        std::fs::create_dir(at("app/Models")).unwrap();
        assert_eq!(tree.changes().unwrap(), Some(at("app/Models")));
        std::fs::write(at("app/Models/Note.php"), "<?php").unwrap();
        assert_eq!(tree.changes().unwrap(), Some(at("app/Models/Note.php")));
    }
}
