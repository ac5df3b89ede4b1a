//! Taking a request's body in before a worker is asked for: a slow client then costs memory of a few pieces and a file,
//! and not a worker. What fits stays in memory, the rest goes to a file without a name, which vanishes with the
//! process.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::body::{BodyError, InBody};
use super::files::FileBody;

/// Bytes that are written to the file at once.
const PIECE: usize = 256 * 1024;

/// A body that was taken in.
#[derive(Debug)]
pub(crate) enum Taken {
    Memory(Bytes),
    Spooled(FileBody, u64),
}

/// Why a body was not taken in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SpoolError {
    #[error("{0}")]
    Body(#[from] BodyError),
    #[error("the body cannot be spooled: {0}")]
    Disk(#[from] io::Error),
}

/// Reads all of `body`, `limit` bytes at most, `in_memory` of them without a file.
pub(crate) async fn take_in(
    mut body: InBody,
    limit: u64,
    in_memory: usize,
    dir: &Path,
) -> Result<Taken, SpoolError> {
    let mut held = BytesMut::new();
    let mut file: Option<File> = None;
    let mut length: u64 = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len() as u64;
        if length > limit {
            return Err(BodyError::TooLarge.into());
        }
        if held.is_empty() && file.is_none() && http_body::Body::is_end_stream(&body) {
            return Ok(Taken::Memory(data));
        }
        held.extend_from_slice(&data);
        if held.len() >= if file.is_some() { PIECE } else { in_memory.max(1) } {
            file = Some(write(file, dir, &mut held).await?);
        }
    }
    if file.is_none() {
        return Ok(Taken::Memory(held.freeze()));
    }
    let file = write(file, dir, &mut held).await?;
    Ok(Taken::Spooled(FileBody::of(file, length), length))
}

/// Moves what is held to the file, beside the thread that serves.
async fn write(file: Option<File>, dir: &Path, held: &mut BytesMut) -> io::Result<File> {
    let piece = held.split();
    let dir = dir.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let mut file = match file {
            Some(file) => file,
            None => tempfile::tempfile_in(dir)?,
        };
        file.write_all(&piece)?;
        Ok((file, piece))
    });
    let (file, mut piece) = written.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)))?;
    // The buffer comes back, so that a long body needs one and not one per piece.
    piece.clear();
    *held = piece;
    Ok(file)
}
