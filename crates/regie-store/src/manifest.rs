//! The list of the files that hold the data.
//!
//! ```text
//! regie-store 2
//! by 0.1.0
//! snapshot 7 10485760
//! log 7 52011
//! log 8
//! end 5a3c9f01
//! ```
//!
//! The first line is the version of the whole folder's format: a newer Régie reads what an older one wrote, an older
//! one refuses what a newer one wrote and says so. Then: who wrote it; at most one snapshot; the logs that follow it,
//! in order. A file that is no longer written to stands with its length, so that one that was cut short is not taken
//! for whole even if the cut lies between two frames. The last line is the CRC-32 of those before it.
//!
//! Version 1 had neither `by` nor lengths nor `end`.

use std::fmt::Write;

/// The version that is written.
pub(crate) const VERSION: u32 = 2;
/// The name of the manifest's file.
pub(crate) const NAME: &str = "manifest";

/// A file of a number, with its length once nothing more is written to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) number: u64,
    pub(crate) size: Option<u64>,
}

/// The files in use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) snapshot: Option<Part>,
    pub(crate) logs: Vec<Part>,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    /// A newer Régie has written here.
    #[error("written by a newer Régie ({by}, format {version}); this one, {}, reads formats up to {VERSION}: start the newer one, or restore a backup made before", env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The format's version.
        version: u32,
        /// The version of the program that wrote it.
        by: String,
    },
    /// It is not what was written.
    #[error("damaged: {0}")]
    Damaged(String),
}

impl Manifest {
    pub(crate) fn text(&self) -> String {
        let mut text = format!("regie-store {VERSION}\nby {}\n", env!("CARGO_PKG_VERSION"));
        let mut put = |kind: &str, part: &Part| {
            let _ = match part.size {
                Some(size) => writeln!(text, "{kind} {} {size}", part.number),
                None => writeln!(text, "{kind} {}", part.number),
            };
        };
        self.snapshot.iter().for_each(|part| put("snapshot", part));
        self.logs.iter().for_each(|part| put("log", part));
        let sum = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "end {sum:08x}");
        text
    }

    pub(crate) fn parse(text: &str) -> Result<Self, ManifestError> {
        let damaged = |why: &str| ManifestError::Damaged(why.to_owned());
        let first = text.lines().next().and_then(|line| line.strip_prefix("regie-store "));
        let version: u32 = first
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| damaged("its first line names no version"))?;
        if version > VERSION {
            let by = text.lines().find_map(|line| line.strip_prefix("by ")).unwrap_or("of unknown version");
            return Err(ManifestError::Newer { version, by: by.to_owned() });
        }
        let body = if version == 1 { text } else { Self::checked_body(text)? };
        let mut manifest = Self::default();
        for line in body.lines().skip(1).filter(|line| !line.starts_with("by ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let part = match words[..] {
                [_, number] => number.parse().ok().map(|number| Part { number, size: None }),
                [_, number, size] => match (number.parse(), size.parse()) {
                    (Ok(number), Ok(size)) => Some(Part { number, size: Some(size) }),
                    _ => None,
                },
                _ => None,
            };
            match (words[0], part) {
                ("snapshot", Some(part)) if manifest.snapshot.is_none() => manifest.snapshot = Some(part),
                ("log", Some(part)) => manifest.logs.push(part),
                _ => return Err(damaged(&format!("unknown line '{line}'"))),
            }
        }
        Ok(manifest)
    }

    /// What stands before the last line, if that line fits it.
    fn checked_body(text: &str) -> Result<&str, ManifestError> {
        let damaged = || ManifestError::Damaged("its checksum does not fit".into());
        let at = text.rfind("\nend ").ok_or_else(damaged)? + 1;
        let (body, last) = text.split_at(at);
        let sum = crc32fast::hash(body.as_bytes());
        if last == format!("end {sum:08x}\n") { Ok(body) } else { Err(damaged()) }
    }

    /// The highest number in use; 0 when none is.
    pub(crate) fn highest(&self) -> u64 {
        self.logs.iter().chain(&self.snapshot).map(|part| part.number).max().unwrap_or(0)
    }

    /// The names of the files in use.
    pub(crate) fn names(&self) -> Vec<String> {
        let logs = self.logs.iter().map(|part| log_name(part.number));
        logs.chain(self.snapshot.iter().map(|part| snapshot_name(part.number))).collect()
    }
}

/// The name of a snapshot's file.
pub(crate) fn snapshot_name(number: u64) -> String {
    format!("{number}.snapshot")
}

/// The name of a log's file.
pub(crate) fn log_name(number: u64) -> String {
    format!("{number}.log")
}

/// Whether a file of this name is written by the store: `7.log`, `7.snapshot`, `7.snapshot.new`.
pub(crate) fn is_ours(name: &str) -> bool {
    let Some((number, rest)) = name.split_once('.') else { return false };
    number.parse::<u64>().is_ok() && matches!(rest, "log" | "snapshot" | "snapshot.new")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        Manifest {
            snapshot: Some(Part { number: 7, size: Some(99) }),
            logs: vec![Part { number: 7, size: Some(12) }, Part { number: 8, size: None }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for manifest in [Manifest::default(), sample()] {
            assert_eq!(Manifest::parse(&manifest.text()), Ok(manifest));
        }
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_found() {
        let text = sample().text();
        for at in 0..text.len() {
            assert!(Manifest::parse(&text[..at]).is_err(), "cut at {at}");
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            if let Ok(text) = String::from_utf8(bytes) {
                // A version 1 would have no checksum; "by" does not belong there.
                assert!(Manifest::parse(&text).is_err(), "flip at {at}: {text}");
            }
        }
    }

    #[test]
    fn version_1_is_read_and_a_newer_one_refused() {
        let old = Manifest::parse("regie-store 1\nsnapshot 3\nlog 3\nlog 4\n").unwrap();
        assert_eq!((old.snapshot.map(|part| part.number), old.logs.len(), old.highest()), (Some(3), 2, 4));
        let newer = Manifest::parse("regie-store 3\nby 9.1.0\nmagic 1\n").unwrap_err();
        assert_eq!(newer, ManifestError::Newer { version: 3, by: "9.1.0".into() });
        assert!(newer.to_string().contains("newer Régie (9.1.0, format 3)"), "{newer}");
    }
}
