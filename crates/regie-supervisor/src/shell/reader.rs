//! The output of a child, read line by line.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::control::Stream;

/// A longer line is given out in pieces of this size.
pub(crate) const MAX_LINE: usize = 16 << 10;
/// So much is read from one pipe before the others have their turn.
const TURN: usize = 64 << 10;

/// The reading end of a pipe that a child writes to.
#[derive(Debug)]
pub(crate) struct Reader {
    file: File,
    pub(crate) stream: Stream,
    partial: Vec<u8>,
}

impl Reader {
    /// `fd` must not block.
    pub(crate) fn new(fd: OwnedFd, stream: Stream) -> Self {
        Self { file: File::from(fd), stream, partial: Vec::new() }
    }

    /// Hands what has come to `each`, line by line. False when nothing more will come.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Stream, &[u8])) -> bool {
        let mut chunk = [0u8; 16 << 10];
        let mut taken = 0;
        while taken < TURN {
            match self.file.read(&mut chunk) {
                Ok(0) => {
                    self.flush(each);
                    return false;
                }
                Ok(count) => {
                    taken += count;
                    self.take(&chunk[..count], &mut each);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        true
    }

    /// Gives out a last line that was not ended.
    pub(crate) fn flush(&mut self, mut each: impl FnMut(Stream, &[u8])) {
        if !self.partial.is_empty() {
            each(self.stream, &std::mem::take(&mut self.partial));
        }
    }

    fn take(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Stream, &[u8])) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            if self.partial.is_empty() {
                each(self.stream, trim(line));
            } else {
                self.partial.extend_from_slice(line);
                each(self.stream, trim(&self.partial));
                self.partial.clear();
            }
            bytes = rest;
        }
        self.partial.extend_from_slice(bytes);
        while self.partial.len() >= MAX_LINE {
            let rest = self.partial.split_off(MAX_LINE);
            each(self.stream, &self.partial);
            self.partial = rest;
        }
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn trim(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<String> {
        let (read, _write) = nix::unistd::pipe().unwrap();
        let mut reader = Reader::new(read, Stream::Out);
        let mut found = Vec::new();
        for chunk in chunks {
            reader.take(chunk, &mut |_, line: &[u8]| found.push(String::from_utf8_lossy(line).into_owned()));
        }
        reader.flush(|_, line| found.push(String::from_utf8_lossy(line).into_owned()));
        found
    }

    #[test]
    fn lines_are_put_together_and_long_ones_cut() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n\n", b"end"]), ["a", "bc", "", "end"]);
        let long = "x".repeat(MAX_LINE * 2 + 5);
        let pieces: Vec<usize> = lines(&[long.as_bytes(), b"\ny\n"]).iter().map(String::len).collect();
        assert_eq!(pieces, [MAX_LINE, MAX_LINE, 5, 1]);
    }
}
