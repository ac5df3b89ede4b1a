//! What is remembered of a move in `move/KIND.json` of the state folder: one that was killed is gone on with, and one
//! that has ended can be undone.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Fault;
use super::dotenv::Written;
use crate::site::Site;

/// The form of the file. A newer one is refused.
const FORMAT: u32 = 1;

/// A move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    format: u32,
    kind: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The queues that were named; all when none is.
    #[serde(default)]
    pub(super) queues: Vec<String>,
    /// Whether it came to its end.
    finished: bool,
    /// Whether this is the way back.
    back: bool,
    /// What has become of `.env`.
    #[serde(default)]
    pub(super) env: Option<Written>,
}

impl Record {
    /// A move that begins, or goes on.
    pub(super) fn forth(
        site: &Site,
        kind: &str,
        from: String,
        to: String,
        queues: &[String],
    ) -> Result<Self, Fault> {
        let fresh = Self {
            format: FORMAT,
            kind: kind.to_owned(),
            from,
            to,
            queues: queues.to_vec(),
            finished: false,
            back: false,
            env: None,
        };
        let Some(before) = read(site, kind)? else { return Ok(fresh) };
        let same = (&before.from, &before.to) == (&fresh.from, &fresh.to);
        if before.back {
            return Err(Fault::usage(format!(
                "the way back from {} to {} has not come to its end: regie move {kind} --rollback",
                before.from, before.to
            )));
        }
        if !before.finished && !same {
            return Err(Fault::usage(format!(
                "a move from {} to {} has not come to its end; first: regie move {kind} --from {} --to {}",
                before.from, before.to, before.from, before.to
            )));
        }
        // The same again brings what has come since, and its change of `.env` can still be undone.
        Ok(if same { Self { env: before.env, ..fresh } } else { fresh })
    }

    /// The way back of the last move.
    pub(super) fn back(site: &Site, kind: &str) -> Result<Self, Fault> {
        let Some(before) = read(site, kind)? else {
            return Err(Fault::usage(format!(
                "no move is remembered that could be undone; regie move {kind} --from A --to B goes either way"
            )));
        };
        if before.back {
            return Ok(before);
        }
        Ok(Self { from: before.to, to: before.from, finished: false, back: true, ..before })
    }

    /// From now on something may be under way.
    pub(super) fn begin(&self, site: &Site) -> Result<(), Fault> {
        self.write(site)
    }

    pub(super) fn finish(&mut self, site: &Site) -> Result<(), Fault> {
        self.finished = true;
        self.write(site)
    }

    /// It was undone.
    pub(super) fn forget(&self, site: &Site) -> Result<(), Fault> {
        fs::remove_file(path(site, &self.kind)).map_err(|fault| Fault::failed(fault.to_string()))
    }

    pub(super) fn write(&self, site: &Site) -> Result<(), Fault> {
        let text = serde_json::to_string_pretty(self).expect("plain data");
        let path = path(site, &self.kind);
        folder(site)
            .and_then(|()| replace(&path, text.as_bytes(), 0o600))
            .map_err(|fault| Fault::failed(format!("cannot write {}: {fault}", path.display())))
    }
}

fn read(site: &Site, kind: &str) -> Result<Option<Record>, Fault> {
    let path = path(site, kind);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(fault) if fault.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(fault) => return Err(Fault::failed(format!("cannot read {}: {fault}", path.display()))),
    };
    match serde_json::from_str::<Record>(&text) {
        Ok(record) if record.format == FORMAT => Ok(Some(record)),
        Ok(_) => Err(Fault::failed(format!("{} was written by a newer regie: use that one", path.display()))),
        Err(fault) => Err(Fault::failed(format!("{} cannot be read: {fault}", path.display()))),
    }
}

/// Where records, and copies of `.env`, are kept.
pub(super) fn place(site: &Site) -> PathBuf {
    site.state_dir().join("move")
}

fn path(site: &Site, kind: &str) -> PathBuf {
    place(site).join(format!("{kind}.json"))
}

pub(super) fn folder(site: &Site) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(place(site))
}

/// Writes a file whole or not at all.
pub(super) fn replace(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let fresh = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&fresh)?;
        // Whatever the process's mask takes away of it.
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    if written.is_err() {
        // Half a file beside it is worth nothing; whether it goes changes nothing.
        let _ = fs::remove_file(&fresh);
    }
    written
}
