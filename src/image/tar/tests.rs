// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares the library's reader with others: archives of every oddity, and the
//! list of each reader.
#![forbid(unsafe_code)]

// Built block by block, as in the tests of unpacking.
#[allow(dead_code, reason = "the tests of unpacking use the rest")]
#[path = "../../../tests/layer/tar.rs"]
mod build;
mod compose;
mod corpus;
mod differential;

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use super::{Archive, Entry, Map, Parsed, Slice, What};

/// Bytes of a file to compare; sparse files may claim to be huge.
const CONTENT_MAX: u64 = 64 << 10;

/// Lists an archive with the library's reader, in the form of
/// `tests/peers/list.py`.
fn list(bytes: &[u8]) -> Result<Vec<String>, String> {
    let mut archive = Archive::new(Slice::new(bytes));
    let mut lines = Vec::new();
    loop {
        let line = archive.next().and_then(|entry| match entry {
            Some(entry) => line(entry, &mut archive).map(Some),
            None => Ok(None),
        });
        match line {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => return Ok(lines),
            Err(fault) => {
                let (name, offset) = archive.site();
                return Err(fault.at(("list", ""), name, offset).to_string());
            }
        }
    }
}

fn line(entry: Entry, archive: &mut Archive<Slice<'_>>) -> Parsed<String> {
    let (mut link, mut size, mut device) = (Vec::new(), 0, (0, 0));
    let mut content = Vec::new();
    let kind = match entry.what {
        What::File(_, map) => {
            let stored = archive.read_body()?;
            (content, size) = spread(stored, map);
            "file"
        }
        What::Link(to) => {
            link = to;
            "link"
        }
        What::Symlink(to) => {
            link = to;
            "symlink"
        }
        What::Char(major, minor) => {
            device = (major, minor);
            "char"
        }
        What::Block(major, minor) => {
            device = (major, minor);
            "block"
        }
        What::Directory => "dir",
        What::Fifo => "fifo",
    };
    let digest = hex(&Sha256::digest(content)[..8]);
    let (name, link) = (hex(&entry.name), hex(&link));
    let Entry { mode, uid, gid, .. } = entry;
    let (time, (major, minor)) = (entry.mtime.seconds, device);
    Ok(format!(
        "{kind} x{name} x{link} {size} {mode:o} {uid} {gid} {time} {major}:{minor} {digest}"
    ))
}

/// Returns the beginning of a file with filled holes, and the size of the whole
/// file.
fn spread(stored: Vec<u8>, map: Option<Map>) -> (Vec<u8>, u64) {
    let Some(map) = map else {
        let size = stored.len() as u64;
        let shown = stored.into_iter().take(CONTENT_MAX as usize).collect();
        return (shown, size);
    };
    let mut content = vec![0; map.size.min(CONTENT_MAX) as usize];
    let mut stored = &stored[..];
    for segment in &map.segments {
        let (data, rest) = stored.split_at(segment.length as usize);
        stored = rest;
        for (n, byte) in (segment.offset..).zip(data) {
            if let Some(place) = usize::try_from(n).ok().and_then(|n| content.get_mut(n)) {
                *place = *byte;
            }
        }
    }
    (content, map.size)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
