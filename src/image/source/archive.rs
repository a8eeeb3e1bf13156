// SPDX-License-Identifier: MIT OR Apache-2.0
//! An archive file as a source: its members are found once and then read in any order.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tar::EntryType;

use super::{Files, Member, open_regular};
use crate::error::{Error, Kind, Result};
use crate::image::inflate::inflate;

/// Members of one archive; images have a few per layer.
const MEMBERS_MAX: usize = 100_000;
const NAME_MAX: usize = 4096;
/// Links followed from one name to the next.
const HOPS_MAX: usize = 8;

/// A tar file, plain or compressed, with its members by name.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    file: File,
    members: HashMap<String, Place>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Bytes { at: u64, size: u64 },
    Link(String),
    Dir,
}

impl Archive {
    /// Opens the archive and looks at every header. A compressed one is first
    /// written out to the file that `spool` makes.
    pub(crate) fn open(path: &Path, spool: impl FnOnce() -> io::Result<File>) -> Result<Self> {
        let wrong = |e| Error::io("open image archive", format_args!("{path:?}"), e);
        let (mut file, size) = open_regular(path).map_err(wrong)?;
        if let Some(plain) = expand(&file, size, spool).map_err(wrong)? {
            file = plain;
        }
        let members = scan(&mut file).map_err(|why| {
            Error::new(
                Kind::Corrupt,
                "read image archive",
                format_args!("{path:?}: {why}"),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            members,
        })
    }

    /// Where the bytes of a member are, through links.
    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name.to_owned();
        for _ in 0..HOPS_MAX {
            match self.members.get(&name)? {
                Place::Bytes { at, size } => return Some((*at, *size)),
                Place::Link(target) => name.clone_from(target),
                Place::Dir => return None,
            }
        }
        None
    }
}

impl Files for Archive {
    fn open(&self, name: &str) -> Result<Member<'_>> {
        let (at, size) = self.place(name).ok_or_else(|| {
            let subject = format!("{:?}: no member {name:?}", self.path);
            Error::new(Kind::NotFound, "read image archive", subject)
        })?;
        let window = Window {
            file: &self.file,
            at,
            left: size,
        };
        Ok(Member {
            reader: Box::new(BufReader::with_capacity(1 << 17, window)),
            size,
        })
    }

    fn label(&self) -> String {
        format!("archive:{}", self.path.display())
    }
}

/// A part of a file, read without moving the file's own offset.
struct Window<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive is cut short",
            ));
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

/// Writes out a compressed archive; none if it is a plain one.
fn expand(
    file: &File,
    size: u64,
    spool: impl FnOnce() -> io::Result<File>,
) -> io::Result<Option<File>> {
    let mut magic = [0; 4];
    let n = file.read_at(&mut magic, 0)?;
    let compressed = matches!(&magic[..n], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]);
    if !compressed {
        return Ok(None);
    }
    let mut plain = spool()?;
    io::copy(&mut inflate(file, size)?, &mut plain)?;
    Ok(Some(plain))
}

fn scan(file: &mut File) -> Result<HashMap<String, Place>, String> {
    let end = file.metadata().map_err(|e| e.to_string())?.len();
    file.seek(SeekFrom::Start(0)).map_err(|e| e.to_string())?;
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(&*file);
    let entries = archive.entries_with_seek().map_err(|e| e.to_string())?;
    for entry in entries {
        let entry = entry.map_err(|e| e.to_string())?;
        let offset = entry.raw_header_position();
        let shown = String::from_utf8_lossy(&entry.path_bytes())
            .chars()
            .take(200)
            .collect::<String>();
        let wrong = |why: &str| format!("entry {shown:?} at offset {offset}: {why}");
        let Some(name) = plain_name(&entry.path_bytes()).map_err(wrong)? else {
            continue;
        };
        let place = place(&entry, &name, end).map_err(|why| wrong(&why))?;
        let dir = place == Place::Dir;
        match members.insert(name, place) {
            Some(Place::Dir) if dir => {}
            Some(_) => return Err(wrong("its name is there twice")),
            None => {}
        }
        if members.len() > MEMBERS_MAX {
            return Err("more than 100000 entries".to_owned());
        }
    }
    Ok(members)
}

fn place<R: Read>(entry: &tar::Entry<'_, R>, name: &str, end: u64) -> Result<Place, String> {
    match entry.header().entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let (at, size) = (entry.raw_file_position(), entry.size());
            if at.checked_add(size).is_none_or(|last| last > end) {
                return Err("the archive is cut short".to_owned());
            }
            Ok(Place::Bytes { at, size })
        }
        EntryType::Directory => Ok(Place::Dir),
        EntryType::Symlink => Ok(Place::Link(target(entry, parent(name))?)),
        EntryType::Link => Ok(Place::Link(target(entry, "")?)),
        kind => Err(format!("{kind:?} has no place in an image archive")),
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Where a link leads inside the archive, by its words alone.
fn target<R: Read>(entry: &tar::Entry<'_, R>, base: &str) -> Result<String, String> {
    let target = entry.link_name_bytes().ok_or("a link without a target")?;
    let target = std::str::from_utf8(&target).map_err(|_| "a link's target is not UTF-8")?;
    if target.starts_with('/') || target.contains('\0') {
        return Err(format!("a link to {target:?} leads out"));
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(
                parts
                    .pop()
                    .ok_or_else(|| format!("a link to {target:?} leads out"))?,
            ),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// The member's name without `./` in front; none for the root itself.
fn plain_name(name: &[u8]) -> Result<Option<String>, &'static str> {
    let name = std::str::from_utf8(name).map_err(|_| "its name is not UTF-8")?;
    if name.len() > NAME_MAX {
        return Err("its name is longer than 4096 bytes");
    }
    if name.starts_with('/') || name.contains('\0') || name.is_empty() {
        return Err("its name is empty, absolute or holds a NUL");
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err("its name leads out");
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}
