// SPDX-License-Identifier: MIT OR Apache-2.0
//! Maps of sparse files: GNU's old blocks and the checks common to all formats.
#![forbid(unsafe_code)]

use super::fault::{Fault, Parsed, refuse};
use super::header::{BLOCK, number};

/// More segments than any honest file has; 4 MiB of memory.
pub(crate) const SEGMENTS_MAX: usize = 1 << 18;

/// A run of bytes in the archive; holes are between runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Length in bytes.
    pub(crate) length: u64,
}

/// A checked map: in order, without overlap, within the file's size.
#[derive(Debug)]
pub(crate) struct Map {
    /// The runs of data.
    pub(crate) segments: Vec<Segment>,
    /// The file's apparent size.
    pub(crate) size: u64,
}

impl Map {
    /// Checks `segments` against the apparent size and the bytes in the
    /// archive.
    pub(super) fn check(segments: Vec<Segment>, size: u64, stored: u64) -> Parsed<Self> {
        let mut end = 0;
        let mut sum = 0;
        for segment in &segments {
            let next = segment.offset.checked_add(segment.length);
            let fits = next.is_some_and(|next| next <= size);
            if segment.offset < end || !fits {
                return refuse("sparse map that overlaps or passes the file's end");
            }
            end = segment.offset + segment.length;
            sum += segment.length;
        }
        if sum != stored {
            return refuse("sparse map that disagrees with the entry's size");
        }
        Ok(Self { segments, size })
    }
}

/// Reads the first part of an old GNU map, from the header itself: segments,
/// whether blocks follow, the apparent size.
pub(super) fn old_header(block: &[u8; BLOCK]) -> Parsed<(Vec<Segment>, bool, u64)> {
    let mut segments = Vec::new();
    old_segments(&block[386..482], &mut segments)?;
    let size = length(&block[483..495])?;
    Ok((segments, block[482] != 0, size))
}

/// Reads a following block of an old GNU map; returns true if another block
/// follows.
pub(super) fn old_extension(block: &[u8; BLOCK], segments: &mut Vec<Segment>) -> Parsed<bool> {
    old_segments(&block[..504], segments)?;
    if segments.len() > SEGMENTS_MAX {
        return Err(Fault::Beyond("sparse_segments", SEGMENTS_MAX as u64));
    }
    Ok(block[504] != 0)
}

fn old_segments(fields: &[u8], segments: &mut Vec<Segment>) -> Parsed<()> {
    for field in fields.chunks_exact(24) {
        if field[0] == 0 {
            if fields_left(field) {
                return refuse("sparse map with a gap");
            }
            break;
        }
        segments.push(Segment {
            offset: length(&field[..12])?,
            length: length(&field[12..])?,
        });
    }
    Ok(())
}

fn fields_left(field: &[u8]) -> bool {
    field.iter().any(|&b| b != 0)
}

fn length(field: &[u8]) -> Parsed<u64> {
    match u64::try_from(number(field)?) {
        Ok(value) => Ok(value),
        Err(_) => refuse("negative number in a sparse map"),
    }
}
