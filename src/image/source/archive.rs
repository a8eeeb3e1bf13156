// SPDX-License-Identifier: MIT OR Apache-2.0
//! An archive file as a source: found once, members are read in any order.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::input::{self, Room};
use super::{Member, Source};
use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::inflate::inflate;
use crate::image::tar::{self, Entry, Input, Parsed, What, refuse};

/// Members of one archive; images have a few per layer.
const MEMBERS_MAX: usize = 100_000;
const NAME_MAX: usize = 4096;
/// Links followed from one name to the next.
const HOPS_MAX: usize = 8;
/// Bytes read at once where headers are.
const READ: usize = 16 << 10;
/// Bytes that tell a tar archive: the first header.
const HEAD: usize = 512;

const STEP: Step = Step::ReadImageArchive;
const CURE: &str =
    "a file that docker save, podman save or skopeo wrote, plain or compressed by gzip or zstd";

/// A tar file, plain or compressed, with its members by name.
#[derive(Debug)]
pub(crate) struct Archive {
    path: PathBuf,
    file: File,
    members: HashMap<String, Location>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Bytes { at: u64, size: u64 },
    Link(String),
    Dir,
}

impl Archive {
    /// Opens the archive and reads every header. Writes a pipe or a compressed
    /// archive out to a file of the room first.
    pub(crate) fn open(path: &Path, room: &mut Room<'_>) -> Result<Self> {
        let file = input::open(path)
            .map_err(|e| Error::io(Step::OpenImageArchive, format_args!("{path:?}"), e))?;
        Self::of(file, path, room)
    }

    /// Reads an archive that is open; `path` names the archive in errors.
    pub(crate) fn of(file: File, path: &Path, room: &mut Room<'_>) -> Result<Self> {
        let subject = format!("{path:?}");
        let wrong = |e| Error::io(Step::OpenImageArchive, &subject, e);
        let opened = input::seekable(file, &subject, room);
        let mut file = opened.map_err(|e| match e.errno() {
            Some(libc::EISDIR) => e.with_cure(format!("oci:{}", path.display())),
            _ => e,
        })?;
        if is_compressed(&file).map_err(wrong)? {
            let size = file.metadata().map_err(wrong)?.len();
            let mut plain = inflate(&file, size).map_err(wrong)?;
            let written = input::pour(&mut plain, &subject, room)?;
            drop(plain);
            file = written;
        }
        let mut head = [0; HEAD];
        let n = file.read_at(&mut head, 0).map_err(wrong)?;
        if !tar::resembles(&head[..n]) {
            let why = format!("{subject}: {}, not a tar archive", kind(&head[..n]));
            return Err(Error::new(Kind::Corrupt, STEP, why).with_cure(CURE));
        }
        Ok(Self {
            path: path.to_owned(),
            members: scan(&file, &subject)?,
            file,
        })
    }

    /// Returns the position of a member's bytes, through links.
    fn place(&self, name: &str) -> Option<(u64, u64)> {
        let mut name = name.to_owned();
        for _ in 0..HOPS_MAX {
            match self.members.get(&name)? {
                Location::Bytes { at, size } => return Some((*at, *size)),
                Location::Link(target) => name.clone_from(target),
                Location::Dir => return None,
            }
        }
        None
    }
}

impl Source for Archive {
    fn open(&self, name: &str) -> Result<Member<'_>> {
        let (at, size) = self.place(name).ok_or_else(|| {
            let subject = format!("{:?}: no member {}", self.path, shown(name));
            Error::new(Kind::NotFound, Step::ReadImageArchive, subject)
        })?;
        Ok(Window::member(&self.file, at, size))
    }

    fn label(&self) -> String {
        format!("archive:{}", self.path.display())
    }
}

/// A part of a file, read without moving the file's offset.
pub(super) struct Window<'a> {
    file: &'a File,
    at: u64,
    left: u64,
}

impl<'a> Window<'a> {
    /// Returns the member of these bytes of a file.
    pub(super) fn member(file: &'a File, at: u64, size: u64) -> Member<'a> {
        let left = size;
        let window = Self { file, at, left };
        Member {
            reader: Box::new(BufReader::with_capacity(1 << 17, window)),
            size,
        }
    }
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let n = self.file.read_at(&mut buffer[..most], self.at)?;
        if n == 0 && most > 0 {
            let why = "the file is cut short";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.at += n as u64;
        self.left -= n as u64;
        Ok(n)
    }
}

fn is_compressed(file: &File) -> io::Result<bool> {
    let mut magic = [0; 4];
    let n = file.read_at(&mut magic, 0)?;
    Ok(matches!(
        &magic[..n],
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd]
    ))
}

/// Reads every header; `subject` names the archive in errors.
fn scan(file: &File, subject: &str) -> Result<HashMap<String, Location>> {
    let wrong = |e| Error::io(STEP, subject, e);
    let mut archive = tar::Archive::new(Headers::new(file).map_err(wrong)?);
    let mut members = HashMap::new();
    loop {
        let step = archive.next().and_then(|entry| match entry {
            Some(entry) => add(&mut members, entry, archive.body_offset()).map(|()| true),
            None => Ok(false),
        });
        match step {
            Ok(true) => {}
            Ok(false) => return Ok(members),
            Err(fault) => {
                let site = format!("{subject}: ");
                let (name, offset) = archive.site();
                let error = fault.at((STEP, &site), name, offset);
                return Err(archive.into_input().failure.map_or(error, wrong));
            }
        }
    }
}

fn add(members: &mut HashMap<String, Location>, entry: Entry, at: u64) -> Parsed<()> {
    let Some(name) = plain_name(&entry.name)? else {
        return Ok(());
    };
    let place = match entry.what {
        What::File(size, None) => Location::Bytes { at, size },
        What::Directory => Location::Dir,
        What::Symlink(to) => Location::Link(target(&to, parent(&name))?),
        What::Link(to) => Location::Link(target(&to, "")?),
        _ => {
            return refuse("neither file, directory nor link: it has no place in an image archive");
        }
    };
    let dir = place == Location::Dir;
    match members.insert(name, place) {
        Some(Location::Dir) if dir => {}
        Some(_) => return refuse("its name is there twice"),
        None => {}
    }
    if members.len() > MEMBERS_MAX {
        return refuse("more than 100000 entries");
    }
    Ok(())
}

/// The file of the archive, read without the bodies of entries.
struct Headers<'a> {
    file: &'a File,
    size: u64,
    /// Offset of `bytes` in the file.
    at: u64,
    bytes: Vec<u8>,
    used: usize,
    failure: Option<io::Error>,
}

impl<'a> Headers<'a> {
    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            size: file.metadata()?.len(),
            at: 0,
            bytes: Vec::with_capacity(READ),
            used: 0,
            failure: None,
        })
    }

    fn read(&mut self) -> io::Result<usize> {
        self.at = self.offset();
        self.used = 0;
        self.bytes.resize(READ, 0);
        let n = loop {
            match self.file.read_at(&mut self.bytes, self.at) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.bytes.truncate(*n.as_ref().unwrap_or(&0));
        n
    }
}

impl Input for Headers<'_> {
    fn peek(&mut self) -> &[u8] {
        if self.used == self.bytes.len()
            && let Err(e) = self.read()
        {
            self.failure = Some(e);
        }
        &self.bytes[self.used..]
    }

    fn consume(&mut self, n: usize) {
        self.used += n;
    }

    fn offset(&self) -> u64 {
        self.at + self.used as u64
    }

    fn skip_at_most(&mut self, n: u64) -> u64 {
        let n = n.min(self.size.saturating_sub(self.offset()));
        match usize::try_from(n) {
            Ok(n) if n <= self.bytes.len() - self.used => self.used += n,
            _ => {
                self.at = self.offset() + n;
                self.bytes.clear();
                self.used = 0;
            }
        }
        n
    }
}

/// Names the type of a file that is no tar archive by the first bytes. Shows
/// none of the bytes, which may be secret or drive a terminal.
fn kind(head: &[u8]) -> &'static str {
    const KINDS: [(&[u8], &str); 8] = [
        (b"BZh", "compressed by bzip2"),
        (b"\xfd7zXZ\0", "compressed by xz"),
        (b"\x04\x22\x4d\x18", "compressed by lz4"),
        (b"PK\x03\x04", "a zip archive"),
        (b"!<arch>\n", "an ar archive"),
        (b"hsqs", "a squashfs image"),
        (b"\x7fELF", "an ELF program"),
        (b"\x1f\x8b", "compressed twice"),
    ];
    let known = KINDS.iter().find(|(magic, _)| head.starts_with(magic));
    let plain = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
    match known {
        Some((_, name)) => name,
        None if head.is_empty() => "an empty file",
        None if head.iter().all(plain) => "plain text",
        None => "bytes of an unknown kind",
    }
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Resolves a link inside the archive, by the words alone.
fn target(to: &[u8], base: &str) -> Parsed<String> {
    let Ok(to) = std::str::from_utf8(to) else {
        return refuse("its target is not UTF-8");
    };
    let leads_out = || refuse("a link that leads out of the archive");
    if to.starts_with('/') {
        return leads_out();
    }
    let mut parts: Vec<&str> = base.split('/').filter(|part| !part.is_empty()).collect();
    for part in to.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                if parts.pop().is_none() {
                    return leads_out();
                }
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Returns the member's name without `./` in front; `None` for the root itself.
fn plain_name(name: &[u8]) -> Parsed<Option<String>> {
    let Ok(name) = std::str::from_utf8(name) else {
        return refuse("its name is not UTF-8");
    };
    if name.len() > NAME_MAX {
        return refuse("its name is longer than 4096 bytes");
    }
    if name.starts_with('/') || name.contains('\0') || name.is_empty() {
        return refuse("its name is empty, absolute or holds a NUL");
    }
    let parts: Vec<&str> = name
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return refuse("its name leads out of the archive");
    }
    Ok((!parts.is_empty()).then(|| parts.join("/")))
}
