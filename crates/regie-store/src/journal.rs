//! The form of the files that outlive the process.
//!
//! A file begins with eight bytes that name it and its version. Then come frames: the length of the body (4 bytes,
//! little-endian), its CRC-32 (4 bytes), the body. In a log a body is a run of commands as the protocol has them, and
//! takes effect whole or not at all; in a snapshot it is a run of records (see `snapshot`).
//!
//! **What a power cut leaves** is a beginning of what was written: the last frame is cut short, or is zeros. That is a
//! torn tail; it was never acknowledged as safe, and is cut off. Anything else that does not fit its checksum is damage
//! in the middle: then nothing is guessed, the start is refused and the place is named.
//!
//! A newer Régie reads files of older versions; one of a newer version is refused by name.

/// The first bytes of a log, with its version.
pub(crate) const LOG: &[u8; 8] = b"RGLOG\x00\x00\x01";
/// The first bytes of a snapshot, with its version.
pub(crate) const SNAPSHOT: &[u8; 8] = b"RGSNP\x00\x00\x01";
/// Bytes of a frame's header.
const HEADER: usize = 8;

/// Appends a frame.
pub(crate) fn frame(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    out.extend_from_slice(body);
}

/// Why the frames of a file end before its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Broken {
    /// The file is of another kind or of a newer version.
    #[error("not a file of this kind")]
    Foreign,
    /// A newer Régie has written it.
    #[error("of a newer format ({version}) than this Régie reads: start the newer one")]
    Newer {
        /// The format's version.
        version: u8,
    },
    /// The last frame is cut short: everything before `at` is whole.
    #[error("torn at byte {at}, where the rest is cut short")]
    Torn {
        /// Where the whole frames end.
        at: usize,
    },
    /// A frame does not fit its checksum, and more follows it.
    #[error("damaged at byte {at}")]
    Damaged {
        /// Where the damaged frame begins.
        at: usize,
    },
}

/// The bodies of a file's frames.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Frames<'a> {
    /// Reads a whole file that should begin with `magic`. An empty one has no frames: it was made just before a crash.
    pub(crate) fn open(bytes: &'a [u8], magic: &[u8; 8]) -> Result<Self, Broken> {
        if bytes.is_empty() {
            return Ok(Self { bytes, at: 0 });
        }
        if bytes.len() < magic.len() && magic.starts_with(bytes) {
            return Err(Broken::Torn { at: 0 });
        }
        if !bytes.starts_with(&magic[..7]) {
            return Err(Broken::Foreign);
        }
        match bytes[7] {
            0 => return Err(Broken::Foreign),
            version if version > magic[7] => return Err(Broken::Newer { version }),
            _ => {}
        }
        Ok(Self { bytes, at: magic.len() })
    }

    /// The next body; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<&'a [u8]>, Broken> {
        let (at, rest) = (self.at, &self.bytes[self.at..]);
        if rest.is_empty() {
            return Ok(None);
        }
        if rest.iter().all(|byte| *byte == 0) {
            return Err(Broken::Torn { at });
        }
        let word = |from: usize| {
            rest.get(from..from + 4).and_then(|raw| raw.try_into().ok()).map(u32::from_le_bytes)
        };
        let (Some(length), Some(sum)) = (word(0), word(4)) else { return Err(Broken::Torn { at }) };
        let end = HEADER + length as usize;
        let Some(body) = rest.get(HEADER..end) else { return Err(self.cut_or_damaged(at)) };
        if crc32fast::hash(body) == sum && length > 0 {
            self.at = at + end;
            return Ok(Some(body));
        }
        // The last frame's pages may have reached the disk in part.
        let last = end == rest.len() || rest[end..].iter().all(|byte| *byte == 0);
        Err(if last { Broken::Torn { at } } else { Broken::Damaged { at } })
    }

    /// A frame that reaches beyond the end is torn, unless its length itself is damaged: then whole frames follow.
    fn cut_or_damaged(&self, at: usize) -> Broken {
        if next_whole(self.bytes, at + 1).is_some() { Broken::Damaged { at } } else { Broken::Torn { at } }
    }

    /// Goes on at the next whole frame behind a damaged one; where that begins.
    pub(crate) fn resume(&mut self) -> Option<usize> {
        self.at = next_whole(self.bytes, self.at + 1)?;
        Some(self.at)
    }

    /// Where the next frame begins.
    pub(crate) fn position(&self) -> usize {
        self.at
    }
}

/// Where the next whole frame at or behind `from` begins.
fn next_whole(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len().saturating_sub(HEADER)).find(|&start| {
        let Some((header, rest)) = bytes[start..].split_at_checked(HEADER) else { return false };
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let sum = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        // A body begins with a command's `*`, the number of a database or the mark of a library: many places are told
        // apart by that alone.
        let begins = |body: &&[u8]| matches!(body.first(), Some(b'*' | 0..64 | 128..192 | 245));
        length > 0 && rest.get(..length).filter(begins).is_some_and(|body| crc32fast::hash(body) == sum)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bodies: &[&[u8]]) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (LOG.to_vec(), vec![LOG.len()]);
        for body in bodies {
            frame(&mut bytes, body);
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    fn read(bytes: &[u8]) -> (usize, Option<Broken>) {
        let mut frames = match Frames::open(bytes, LOG) {
            Ok(frames) => frames,
            Err(broken) => return (0, Some(broken)),
        };
        let mut count = 0;
        loop {
            match frames.next() {
                Ok(None) => return (count, None),
                Ok(Some(_)) => count += 1,
                Err(broken) => return (count, Some(broken)),
            }
        }
    }

    #[test]
    fn every_cut_keeps_the_whole_frames_and_is_called_torn() {
        let (bytes, ends) = file(&[b"one", b"second body", b"3", &[7; 300]]);
        for cut in 1..bytes.len() {
            let whole = ends.iter().rposition(|end| *end <= cut).unwrap_or(0);
            let (count, broken) = read(&bytes[..cut]);
            assert_eq!(count, whole, "cut at {cut}");
            if ends.contains(&cut) {
                assert_eq!(broken, None);
            } else {
                let at = if cut < LOG.len() { 0 } else { ends[whole] };
                assert_eq!(broken, Some(Broken::Torn { at }), "cut at {cut}");
            }
        }
    }

    #[test]
    fn every_flipped_byte_is_found_and_only_the_last_frame_may_be_called_torn() {
        let (bytes, ends) = file(&[b"*one", b"*second body", b"*3", &[7; 60]]);
        let last = ends[ends.len() - 2];
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x41;
            let (_, broken) = read(&damaged);
            match broken {
                Some(Broken::Foreign | Broken::Newer { .. }) => assert!(at < LOG.len()),
                Some(Broken::Torn { .. }) => assert!(at >= last, "flip at {at} called torn"),
                Some(Broken::Damaged { at: place }) => assert!(place <= at),
                None => panic!("flip at {at} went unseen"),
            }
        }
    }

    #[test]
    fn zeros_behind_the_end_are_a_torn_tail() {
        let (mut bytes, ends) = file(&[b"one", b"two"]);
        bytes.extend_from_slice(&[0; 4096]);
        assert_eq!(read(&bytes), (2, Some(Broken::Torn { at: ends[2] })));
    }
}
