// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files with holes: finds the data, and copies without filling holes.
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::image::tar::{SEGMENTS_MAX, Segment};

/// Bytes of a file that are held at once.
const CHUNK: usize = 128 << 10;

/// Returns the data segments of a file that takes `blocks` of 512 bytes; `None`
/// for a file without holes.
pub(super) fn segments(file: &File, size: u64, blocks: u64) -> Result<Option<Vec<Segment>>, Errno> {
    if blocks.saturating_mul(512) >= size {
        return Ok(None);
    }
    let end = i64::try_from(size).map_err(|_| Errno::EFBIG)?;
    let mut segments = Vec::new();
    let mut at = 0;
    while at < end {
        let data = match lseek(file.as_fd(), at, Whence::SeekData) {
            // The rest is a hole.
            Err(Errno::ENXIO) => break,
            // The file system has no holes.
            Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
            other => other?,
        };
        if data >= end {
            break;
        }
        let hole = match lseek(file.as_fd(), data, Whence::SeekHole) {
            // Truncated meanwhile.
            Err(Errno::ENXIO) => break,
            other => other?.min(end),
        };
        if hole > data {
            segments.push(Segment {
                offset: data as u64,
                length: (hole - data) as u64,
            });
        }
        if segments.len() >= SEGMENTS_MAX {
            return Err(Errno::E2BIG);
        }
        at = hole.max(data + 1);
    }
    let whole = segments.len() == 1 && segments[0].length == size;
    Ok((!whole).then_some(segments))
}

/// Passes the bytes of a segment to `each`, in parts; returns false if the file
/// ends before.
pub(super) fn read(
    mut file: &File,
    segment: Segment,
    mut each: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<bool> {
    let at = i64::try_from(segment.offset).map_err(|_| Errno::EFBIG)?;
    lseek(file, at, Whence::SeekSet)?;
    let mut left = segment.length;
    let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
    let mut buffer = vec![0; most];
    while left > 0 {
        let most = most.min(usize::try_from(left).unwrap_or(most));
        match file.read(&mut buffer[..most]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(0) => return Ok(false),
            Ok(n) => {
                each(&buffer[..n])?;
                left -= n as u64;
            }
        }
    }
    Ok(true)
}

/// Copies the first `size` bytes into an empty file; returns false if the file
/// ends before.
pub(super) fn copy(from: &File, mut to: &File, size: u64, blocks: u64) -> io::Result<bool> {
    let Some(segments) = segments(from, size, blocks)? else {
        let whole = Segment {
            offset: 0,
            length: size,
        };
        return read(from, whole, |bytes| to.write_all(bytes));
    };
    for segment in segments {
        lseek(to, segment.offset as i64, Whence::SeekSet)?;
        if !read(from, segment, |bytes| to.write_all(bytes))? {
            return Ok(false);
        }
    }
    to.set_len(size).map(|()| true)
}
