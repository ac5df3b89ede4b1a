//! What an operator does with a store's data: look whether it is sound, repair it, copy it while it is in use, move
//! in from a Redis and out to one.
//!
//! - [`check()`] and [`repair()`] work on a folder that no store is running on ([`check()`] also on one that is in use, but
//!   then it may find the last log torn where it is just being written).
//! - [`backup()`] asks a running store for a copy.
//! - [`load_redis_files`] reads a Redis's RDB or append-only files into a folder, [`export_rdb`] writes an RDB file. A
//!   store that is started on a folder with a Redis's files and none of its own reads them by itself.
//! - [`transfer()`] copies everything from one running server to another: `store import` with a Redis as source, `store
//!   export` with one as target.
//!
//! Each takes a function that hears how far the work is, for a progress bar.

mod backup;
mod check;
mod files;
mod repair;
mod server;
mod transfer;

pub use crate::verify::{FileKind, FileState};
pub use backup::{BackedUp, backup};
pub use check::{Checked, CheckedFile, check};
pub use files::{ExportedRdb, LoadedFiles, export_rdb, load_redis_files};
pub use repair::{Repaired, repair};
pub use server::{Connection, Endpoint, ServerAddress};
pub use transfer::{TransferOptions, Transferred, transfer};

use crate::shell::recover::RecoveryError;
use std::io;
use std::path::{Path, PathBuf};

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// What is being worked on: a file's name, or what is done.
    pub what: &'a str,
    /// How much is done: bytes of a file, or keys.
    pub done: u64,
    /// How much there is to do in all; 0: unknown.
    pub total: u64,
}

/// Hears how far the work is. It is called often and should return at once.
pub type OnProgress<'a> = &'a mut dyn FnMut(Progress<'_>);

/// Why a tool could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The data, or the folder.
    #[error(transparent)]
    Data(#[from] RecoveryError),
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is nothing to work on.
    #[error("{}: holds no data of a store (no manifest)", path.display())]
    Nothing {
        /// Which folder.
        path: PathBuf,
    },
    /// The target is there already.
    #[error("{}: is there already; nothing was changed", path.display())]
    Exists {
        /// Which file or folder.
        path: PathBuf,
    },
    /// A server's address cannot be read.
    #[error("'{address}' is no address of a server: {why}")]
    Address {
        /// What was given, without its password.
        address: String,
        /// What is wrong with it.
        why: String,
    },
    /// A server cannot be reached or has gone.
    #[error("{server}: {source}")]
    Connection {
        /// Which one.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// A server has refused.
    #[error("{server}: {why}")]
    Refused {
        /// Which one.
        server: String,
        /// In its words.
        why: String,
    },
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> ToolError + '_ {
    move |source| ToolError::File { path: path.to_owned(), source }
}
