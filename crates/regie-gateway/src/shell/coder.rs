//! The three codings as one kind of writer: bytes in, coded bytes out, and a flush after which the client can unpack all
//! that went in.
//!
//! Levels and windows are chosen for pages of text that are made anew for each request. On 60 KB of HTML zstd's level 3
//! costs a quarter of what gzip's level 4 costs and gains about the same; brotli's level 4 costs and gains a little more
//! than gzip. Windows of 256 KB keep what a stream holds in memory below 2 MB.

use std::fmt;
use std::io::{self, Write};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::encoding::Coding;

const GZIP_LEVEL: Compression = Compression::new(4);
const BROTLI_LEVEL: i32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// Of brotli's and zstd's windows, as a power of two.
const WINDOW: u8 = 18;

/// What brotli's writer moves at once to where it writes.
const BROTLI_BUFFER: usize = 4 * 1024;

/// Codes a body piece by piece.
pub(crate) enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl fmt::Debug for Coder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Brotli(_) => "Brotli",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl Coder {
    pub(crate) fn new(coding: Coding) -> io::Result<Self> {
        Ok(match coding {
            Coding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), GZIP_LEVEL)),
            Coding::Brotli => Self::Brotli(Box::new(brotli(Vec::new(), 0))),
            Coding::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.window_log(WINDOW.into())?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Codes `data`. It comes out at once, later, or at the next flush.
    pub(crate) fn write(&mut self, data: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(data),
            Self::Brotli(encoder) => encoder.write_all(data),
            Self::Zstd(encoder) => encoder.write_all(data),
        }
    }

    /// Has all come out that went in.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.flush(),
            Self::Brotli(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }

    /// How much has come out and was not taken.
    pub(crate) fn ready(&self) -> usize {
        match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Brotli(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        }
    }

    /// Takes what has come out.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Brotli(encoder) => encoder.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        })
    }

    /// Ends the body, and gives what has come out and was not taken.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Brotli(encoder) => Ok(encoder.into_inner()),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

/// Codes a body that is there as a whole.
pub(crate) fn whole(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(bytes.len() / 3);
    match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(out, GZIP_LEVEL);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Brotli => {
            let mut encoder = brotli(out, bytes.len());
            encoder.write_all(bytes)?;
            Ok(encoder.into_inner())
        }
        Coding::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
    }
}

fn brotli(out: Vec<u8>, length: usize) -> CompressorWriter<Vec<u8>> {
    let params = BrotliEncoderParams {
        quality: BROTLI_LEVEL,
        lgwin: WINDOW.into(),
        size_hint: length,
        ..BrotliEncoderParams::default()
    };
    CompressorWriter::with_params(out, BROTLI_BUFFER, &params)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Unpacks what has come so far, whether or not it is complete.
    fn unpack(coding: Coding, coded: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut reader: Box<dyn Read + '_> = match coding {
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(coded)),
            Coding::Brotli => Box::new(brotli::Decompressor::new(coded, 4_096)),
            Coding::Zstd => Box::new(zstd::stream::read::Decoder::new(coded).unwrap()),
        };
        let mut piece = [0; 4_096];
        // A body that is not complete ends with an error, after all that can be unpacked.
        while let Ok(read @ 1..) = reader.read(&mut piece) {
            out.extend_from_slice(&piece[..read]);
        }
        out
    }

    #[test]
    fn what_was_flushed_can_be_unpacked() {
        for coding in Coding::ALL {
            let mut coder = Coder::new(coding).unwrap();
            let (mut plain, mut coded) = (Vec::new(), Vec::new());
            for round in 0..5 {
                let text = format!("<p>round {round}</p>").repeat(1 + 2_000 * round);
                coder.write(text.as_bytes()).unwrap();
                plain.extend_from_slice(text.as_bytes());
                coder.flush().unwrap();
                coded.extend(coder.take());
                assert_eq!(coder.ready(), 0);
                assert_eq!(unpack(coding, &coded), plain, "{coding:?}");
            }
            coded.extend(coder.finish().unwrap());
            assert_eq!(unpack(coding, &coded), plain, "{coding:?}");
            assert!(coded.len() < plain.len() / 10);
        }
    }

    #[test]
    fn whole_bodies() {
        for coding in Coding::ALL {
            for plain in [String::new(), "x".to_owned(), "hello, world; ".repeat(100_000)] {
                let coded = whole(coding, plain.as_bytes()).unwrap();
                assert_eq!(unpack(coding, &coded), plain.as_bytes(), "{coding:?}");
            }
        }
    }
}
