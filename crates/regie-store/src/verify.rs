//! Looking at the bytes of a log or a snapshot without running them: what is whole, and where it ends.

use crate::config::Config;
use crate::journal::{self, Broken, Frames};
use crate::rdb;
use crate::snapshot::LIBRARY;
use std::fmt;

/// The kinds of files that hold data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// All keys at a moment.
    Snapshot,
    /// The commands since then.
    Log,
}

impl FileKind {
    const fn magic(self) -> &'static [u8; 8] {
        match self {
            Self::Snapshot => journal::SNAPSHOT,
            Self::Log => journal::LOG,
        }
    }

    /// What an entry is called.
    #[must_use]
    pub const fn entries(self) -> &'static str {
        match self {
            Self::Snapshot => "keys",
            Self::Log => "commands",
        }
    }
}

/// What was found of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// It can be read to its end.
    Whole,
    /// It is cut short at this byte. At the end of the last log that is what a power cut leaves, and the start cuts it
    /// off; anywhere else it is damage.
    Torn {
        /// Where what is whole ends.
        at: u64,
    },
    /// The bytes at this place are not what was written.
    Damaged {
        /// Where what is whole ends.
        at: u64,
        /// Keys or commands behind it that can still be read.
        behind: u64,
        /// What is wrong.
        why: String,
    },
    /// A newer Régie wrote it.
    Newer {
        /// The version of its format.
        version: u8,
    },
    /// The manifest names it, and it is not there.
    Missing,
}

impl fmt::Display for FileState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => write!(f, "whole"),
            Self::Torn { at } => write!(f, "torn at byte {at}"),
            Self::Damaged { at, behind: 0, why } => write!(f, "damaged at byte {at}: {why}"),
            Self::Damaged { at, behind, why } => {
                write!(f, "damaged at byte {at}: {why}; {behind} entries behind it can be read")
            }
            Self::Newer { version } => write!(f, "of a newer format ({version}) than this Régie reads"),
            Self::Missing => write!(f, "missing"),
        }
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Examined {
    /// Keys or commands that can be read before the first fault.
    pub(crate) entries: u64,
    pub(crate) state: FileState,
}

/// Examines a whole file. `size` is its length by the manifest; `progress` hears how far it is.
pub(crate) fn examine(
    kind: FileKind,
    bytes: &[u8],
    size: Option<u64>,
    progress: &mut dyn FnMut(u64),
) -> Examined {
    let length = bytes.len() as u64;
    let mut frames = match Frames::open(bytes, kind.magic()) {
        Ok(frames) => frames,
        Err(broken) => return Examined { entries: 0, state: state_of(&broken, 0) },
    };
    let mut entries = 0;
    let state = loop {
        let at = frames.position() as u64;
        progress(at);
        match frames.next() {
            Ok(None) => break FileState::Whole,
            Ok(Some(body)) => match count(kind, body) {
                Ok(found) => entries += found,
                Err(why) => break FileState::Damaged { at, behind: behind(kind, &mut frames), why },
            },
            Err(broken) => break state_of(&broken, behind(kind, &mut frames)),
        }
    };
    let state = match (state, size) {
        (FileState::Whole, Some(size)) if size < length => {
            FileState::Damaged { at: size, behind: 0, why: format!("{length} bytes long instead of {size}") }
        }
        (FileState::Whole, Some(size)) if size > length => FileState::Torn { at: length },
        (state, _) => state,
    };
    Examined { entries, state }
}

fn state_of(broken: &Broken, behind: u64) -> FileState {
    match broken {
        Broken::Torn { at } => FileState::Torn { at: *at as u64 },
        Broken::Damaged { at } => {
            FileState::Damaged { at: *at as u64, behind, why: "a checksum does not fit".into() }
        }
        Broken::Newer { version } => FileState::Newer { version: *version },
        Broken::Foreign => FileState::Damaged { at: 0, behind, why: broken.to_string() },
    }
}

/// Entries in the whole frames that follow.
fn behind(kind: FileKind, frames: &mut Frames<'_>) -> u64 {
    let mut entries = 0;
    while frames.resume().is_some() {
        while let Ok(Some(body)) = frames.next() {
            entries += count(kind, body).unwrap_or(0);
        }
    }
    entries
}

/// Entries in a frame's body; an error says what is wrong with them.
pub(crate) fn count(kind: FileKind, body: &[u8]) -> Result<u64, String> {
    match kind {
        FileKind::Snapshot => count_keys(body),
        FileKind::Log => count_commands(body),
    }
}

fn count_keys(body: &[u8]) -> Result<u64, String> {
    let (config, mut reader, mut keys) = (Config::default(), rdb::Reader::new(body), 0);
    while !reader.is_empty() {
        if body.get(reader.position()) == Some(&LIBRARY) {
            let library = reader.byte().and_then(|_| reader.string().map(drop));
            library.ok_or("a library's record cannot be read")?;
            continue;
        }
        let read = reader
            .take(9)
            .and_then(|_| reader.string().map(drop))
            .and_then(|()| reader.value(&config, 0).map(drop));
        read.ok_or("a key's record cannot be read")?;
        keys += 1;
    }
    Ok(keys)
}

fn count_commands(mut body: &[u8]) -> Result<u64, String> {
    let (mut parser, mut commands) = (regie_resp::RequestParser::default(), 0);
    while !body.is_empty() {
        match parser.parse(body, &regie_resp::Limits::DEFAULT) {
            Ok(regie_resp::Parsed::Command { consumed }) => {
                parser.next();
                body = &body[consumed..];
                commands += 1;
            }
            Ok(regie_resp::Parsed::Incomplete { .. }) => return Err("a command is cut short".into()),
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(commands)
}

/// The frames of a snapshot that can be read, as a file: what a repair leaves of it. Its keys do not depend on each
/// other, so those behind the damage are kept too. Also how many keys those are.
pub(crate) fn salvage_snapshot(bytes: &[u8]) -> (Vec<u8>, u64) {
    let mut kept = journal::SNAPSHOT.to_vec();
    let mut keys = 0;
    let Ok(mut frames) = Frames::open(bytes, journal::SNAPSHOT) else { return (kept, 0) };
    loop {
        match frames.next() {
            Ok(None) => break,
            Ok(Some(body)) => {
                if let Ok(count) = count_keys(body) {
                    keys += count;
                    journal::frame(&mut kept, body);
                }
            }
            Err(_) => {
                if frames.resume().is_none() {
                    break;
                }
            }
        }
    }
    (kept, keys)
}
