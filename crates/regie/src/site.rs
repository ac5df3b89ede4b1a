//! Where the application lies, what its configuration says, and which folders and user follow from it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, chown};
use regie_config::facts::Facts;
use regie_config::shell::php::{Installed, choose, installed};
use regie_config::shell::{environment, gather, load};
use regie_config::values::{AppEnv, Framework};
use regie_config::{Faults, Loaded, Options};
use regie_core::Exit;
use regie_supervisor::RunAs;

use crate::{output, shipped, side_pool};

/// The state folder in development, beside the application.
const STATE: &str = ".regie";

/// Which application is meant, as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `-C`, the current folder by default.
    pub(crate) folder: PathBuf,
    /// `--config`.
    pub(crate) config: Option<PathBuf>,
}

impl Place {
    /// The folder that regie.toml lies in, in full where it exists.
    pub(crate) fn folder(&self) -> PathBuf {
        let beside =
            self.config.as_deref().and_then(Path::parent).filter(|parent| !parent.as_os_str().is_empty());
        let folder = beside.map_or_else(|| self.folder.clone(), |parent| self.folder.join(parent));
        folder.canonicalize().unwrap_or(folder)
    }

    /// The name of the configuration file, when it was named.
    pub(crate) fn config_name(&self) -> Option<String> {
        self.config.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
    }

    /// Where the supervisor's control line is. A running one is found even when its configuration has since been
    /// broken.
    pub(crate) fn run_dir(&self) -> PathBuf {
        let folder = self.folder();
        let usual = folder.join(STATE).join("run");
        if usual.join("control.sock").exists() {
            return usual;
        }
        self.read(None).map_or(usual, |site| site.run_dir())
    }

    /// Loads the configuration. Every fault is written to stderr.
    pub(crate) fn load(&self, env: Option<AppEnv>) -> Result<Site, Exit> {
        self.read(env).map_err(|faults| {
            output::error(faults);
            Exit::Usage
        })
    }

    /// Loads the configuration.
    pub(crate) fn read(&self, env: Option<AppEnv>) -> Result<Site, Faults> {
        self.read_as_if(env, &[])
    }

    /// Loads the configuration as it would be with these variables in the environment.
    pub(crate) fn read_as_if(
        &self,
        env: Option<AppEnv>,
        variables: &[(String, String)],
    ) -> Result<Site, Faults> {
        let folder = self.folder();
        let options = Options { config: self.config_name(), env, ..Options::default() };
        let mut environment = environment();
        environment.extend(variables.iter().cloned());
        let loaded = load(&folder, &options, &environment)?;
        let mut site = Site { folder, config_name: self.config_name(), loaded };
        side_pool::add(&mut site);
        Ok(site)
    }
}

/// An application with its configuration.
#[derive(Debug)]
pub(crate) struct Site {
    /// The folder that regie.toml lies in, in full.
    pub(crate) folder: PathBuf,
    /// The name of the configuration file, when it was named.
    pub(crate) config_name: Option<String>,
    /// What was read and found.
    pub(crate) loaded: Loaded,
}

impl Site {
    /// The application's folder. Links are kept: a release that is switched by its link is seen.
    pub(crate) fn root(&self) -> PathBuf {
        clean(&self.folder.join(&self.loaded.root))
    }

    /// The document root.
    pub(crate) fn public(&self) -> PathBuf {
        clean(&self.folder.join(self.loaded.public()))
    }

    pub(crate) fn is_production(&self) -> bool {
        self.loaded.env == AppEnv::Production
    }

    /// The machine as far as the application touches it.
    pub(crate) fn facts(&self) -> Facts {
        let path = std::env::var("PATH").unwrap_or_default();
        gather(&self.folder, &self.loaded, &path)
    }

    /// The PHP of the command line, of the version that serves.
    pub(crate) fn php(&self) -> Option<PathBuf> {
        self.chosen_php().map(|php| self.folder.join(php.bin))
    }

    /// Major and minor version of the PHP that serves.
    pub(crate) fn php_version(&self) -> Option<(u32, u32)> {
        self.chosen_php().map(|php| php.version)
    }

    fn chosen_php(&self) -> Option<Installed> {
        let path = std::env::var("PATH").unwrap_or_default();
        choose(&self.loaded, &installed(&path))
    }

    /// Where sockets, logs and stored data are kept.
    pub(crate) fn state_dir(&self) -> PathBuf {
        self.folder.join(&self.loaded.config.app.state)
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.state_dir().join("run")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.state_dir().join("log")
    }

    /// What scheduled tasks leave behind: their history, and how far the timetable is settled.
    pub(crate) fn schedule_dir(&self) -> PathBuf {
        self.state_dir().join("schedule")
    }

    /// Whether the application has a schedule of its own that is to be run.
    pub(crate) fn has_own_schedule(&self) -> bool {
        self.loaded.application.framework == Framework::Laravel && self.loaded.config.schedule.application
    }

    /// Where request bodies wait that do not fit in memory.
    pub(crate) fn spool_dir(&self) -> PathBuf {
        self.state_dir().join("spool")
    }

    /// Whom everything but the supervisor runs as: when started as root, `[app] user` or the owner of the
    /// application's folder; otherwise, or when that is root too, whoever started it.
    pub(crate) fn run_as(&self) -> io::Result<Option<RunAs>> {
        Ok(self.app_user()?.map(|user| RunAs { user: user.name, group: None }))
    }

    fn app_user(&self) -> io::Result<Option<User>> {
        if !Uid::effective().is_root() {
            return Ok(None);
        }
        let user = match &self.loaded.config.app.user {
            Some(name) => User::from_name(name)?.ok_or_else(|| {
                io::Error::other(format!("[app] user \"{name}\" does not exist on this machine"))
            })?,
            None => {
                let owner = Uid::from_raw(fs::metadata(self.root())?.uid());
                match User::from_uid(owner)? {
                    Some(user) => user,
                    None => return Ok(None),
                }
            }
        };
        Ok((!user.uid.is_root()).then_some(user))
    }

    /// Makes the state folders and what lies in them from the start, for the application's user alone. `.regie` keeps itself out of git.
    pub(crate) fn make_folders(&self) -> io::Result<()> {
        let owner = self.app_user()?.map(|user| (user.uid, user.gid));
        for folder in [self.state_dir(), self.run_dir(), self.log_dir(), self.spool_dir()] {
            make_folder(&folder, owner).map_err(|fault| {
                io::Error::new(
                    fault.kind(),
                    format!("the folder {} cannot be made: {fault}", folder.display()),
                )
            })?;
        }
        let ignore = self.state_dir().join(".gitignore");
        if !ignore.exists() {
            fs::write(&ignore, "*\n")?;
            give_to(&ignore, owner)?;
        }
        shipped::write(&self.run_dir(), owner)
    }
}

impl Site {
    /// Gives a file of the state folder to whom everything runs as.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        give_to(path, self.app_user()?.map(|user| (user.uid, user.gid)))
    }
}

fn make_folder(folder: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    give_to(folder, owner)
}

fn give_to(path: &Path, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    match owner {
        Some((user, group)) => Ok(chown(path, Some(user), Some(group))?),
        None => Ok(()),
    }
}

/// The path without `.` and empty parts; links and `..` stay.
fn clean(path: &Path) -> PathBuf {
    path.components().filter(|part| !matches!(part, std::path::Component::CurDir)).collect()
}

/// The `s` of a plural.
pub(crate) const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
