// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacks an archive as files below a directory inside.
#![forbid(unsafe_code)]

use std::ffi::{CString, OsStr};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::makedev;

use super::dir::{DirHandle, quoted};
use super::import::{Attributes, Import};
use super::report::Copied;
use crate::error::{Error, Result, Step};
use crate::image::layer::{Bounds, Name};
use crate::image::tar::{Archive, Entry, Fault, Input, Map, What, shown};

/// Bytes of the archive that are read at once.
const CHUNK: usize = 128 << 10;
/// Depth of directories.
const DEPTH: u32 = 2048;

/// Unpacks an archive below `top`.
pub(super) fn unpack(step: Step, top: &DirHandle, archive: impl Read) -> Result<Copied> {
    let plain = crate::image::inflate(archive, u64::MAX);
    let plain = plain.map_err(|e| Error::io(step, "read archive", e))?;
    let mut archive = Archive::new(Plain::new(plain));
    let mut import = Import::new(step, top);
    let mut used = Used::default();
    let done = loop {
        match archive.next() {
            Ok(Some(entry)) => {
                if let Err(wrong) = one(&mut import, &mut used, entry, &mut archive) {
                    break Err(wrong);
                }
            }
            Ok(None) => break Ok(()),
            Err(fault) => break Err(Wrong::Archive(fault)),
        }
    };
    let has_trailer = archive.has_trailer();
    let site = {
        let (name, offset) = archive.site();
        (name.to_vec(), offset)
    };
    // An archive with a read error looks cut, so report the read error instead.
    if let Some(error) = archive.into_input().failed {
        return Err(Error::io(step, "read archive", error));
    }
    if has_trailer {
        import
            .copied
            .leave_out(b".", "what follows the end of the archive");
    }
    match done {
        Ok(()) => import.complete(),
        Err(Wrong::Archive(fault)) => Err(fault.at((step, ""), &site.0, site.1)),
        Err(Wrong::Inside(error)) => Err(error),
    }
}

enum Wrong {
    Archive(Fault),
    Inside(Error),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Self {
        Self::Archive(fault)
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self::Inside(error)
    }
}

type Unpacked<T> = std::result::Result<T, Wrong>;

/// Use of the bounds so far.
#[derive(Default)]
struct Used {
    entries: u64,
    apparent: u64,
    allocated: u64,
}

impl Used {
    fn spend(&mut self, what: &What) -> Unpacked<()> {
        let bounds = Bounds::default();
        let (stored, apparent) = match what {
            What::File(size, None) => (*size, *size),
            What::File(size, Some(map)) => (*size, map.size),
            _ => (0, 0),
        };
        self.entries += 1;
        self.allocated = self.allocated.saturating_add(stored);
        self.apparent = self.apparent.saturating_add(apparent);
        for (name, used, most) in [
            ("entries", self.entries, bounds.entries),
            ("allocated", self.allocated, bounds.allocated),
            ("apparent", self.apparent, bounds.apparent),
        ] {
            if used > most {
                return Err(Fault::Beyond(name, most).into());
            }
        }
        Ok(())
    }
}

fn one<I: Input>(
    import: &mut Import<'_>,
    used: &mut Used,
    entry: Entry,
    archive: &mut Archive<I>,
) -> Unpacked<()> {
    used.spend(&entry.what)?;
    let name = path(&entry.name)?;
    let attributes = attributes(import, &name, &entry);
    if name.as_os_str().is_empty() {
        let What::Directory = entry.what else {
            return Err(import.refuse(&name, "the root is not a directory").into());
        };
        import.root(&attributes)?;
        return Ok(());
    }
    let made = match entry.what {
        What::File(_, map) => file(import, &name, &attributes, map, archive)?,
        What::Link(target) => {
            let original = path(&target)?;
            import.link(&original, &name)
        }
        What::Symlink(target) => import.symlink(&name, &target, &attributes),
        What::Directory => import.directory(&name, &attributes, true),
        What::Fifo => import.special(&name, libc::S_IFIFO, 0, &attributes),
        What::Char(0, 0) => {
            let why = "a character device 0:0, which is an overlay's whiteout";
            import.copied.leave_out(&entry.name, why);
            Ok(())
        }
        What::Char(major, minor) => {
            let device = makedev(major.into(), minor.into());
            import.special(&name, libc::S_IFCHR, device, &attributes)
        }
        What::Block(major, minor) => {
            let device = makedev(major.into(), minor.into());
            import.special(&name, libc::S_IFBLK, device, &attributes)
        }
    };
    made.map_err(|error| import.explained(error, &attributes).into())
}

/// Returns a name of the archive, below the directory.
fn path(name: &[u8]) -> Unpacked<PathBuf> {
    let name = Name::parse(name, DEPTH)?;
    Ok(PathBuf::from(OsStr::from_bytes(name.as_bytes())))
}

/// Returns an entry's attributes: extended attributes that every user may set,
/// and file capabilities, but none that an overlay would obey.
fn attributes(import: &mut Import<'_>, path: &Path, entry: &Entry) -> Attributes {
    let mut xattrs = Vec::new();
    for (name, value) in &entry.xattrs {
        let user = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
        match CString::new(&name[..]) {
            Ok(known) if user || name == b"security.capability" => {
                xattrs.push((known, value.clone()))
            }
            _ => {
                let why = format!("the extended attribute {}", shown(name));
                import.copied.leave_out(path.as_os_str().as_bytes(), &why);
            }
        }
    }
    if entry.mtime != entry.mtime.kept() {
        let why = "the time, which is before 1901 or after 2446";
        import.copied.leave_out(path.as_os_str().as_bytes(), why);
    }
    Attributes {
        mode: entry.mode,
        owner: Some((entry.uid, entry.gid)),
        mtime: entry.mtime.kept(),
        xattrs,
    }
}

/// Makes a regular file. The outer result is about the archive, the inner
/// result about the file.
fn file<I: Input>(
    import: &mut Import<'_>,
    path: &Path,
    attributes: &Attributes,
    map: Option<Map>,
    archive: &mut Archive<I>,
) -> Unpacked<Result<()>> {
    let (step, shown) = (import.step, import.top.shown(path));
    let mut fault = None;
    let made = import.file(path, attributes, |file| {
        match archive.copy_body(file, map.as_ref()) {
            // The file's error is the sandbox's and not the archive's.
            Err(Fault::Os(_, errno)) => return Err(Error::os(step, quoted(&shown), errno)),
            copied => fault = copied.err(),
        }
        Ok(())
    });
    match fault {
        Some(fault) => Err(fault.into()),
        None => Ok(made),
    }
}

/// Adapts a reader to the parser.
struct Plain<R> {
    from: R,
    chunk: Vec<u8>,
    at: usize,
    end: usize,
    offset: u64,
    failed: Option<io::Error>,
}

impl<R: Read> Plain<R> {
    fn new(from: R) -> Self {
        Self {
            from,
            chunk: vec![0; CHUNK],
            at: 0,
            end: 0,
            offset: 0,
            failed: None,
        }
    }
}

impl<R: Read> Input for Plain<R> {
    /// Fills a chunk before it is shown, because the parser recognises an
    /// archive by its beginning.
    fn peek(&mut self) -> &[u8] {
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
            while self.end < self.chunk.len() && self.failed.is_none() {
                match self.from.read(&mut self.chunk[self.end..]) {
                    Ok(0) => break,
                    Ok(n) => self.end += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => self.failed = Some(error),
                }
            }
        }
        &self.chunk[self.at..self.end]
    }

    fn consume(&mut self, n: usize) {
        self.at += n;
        self.offset += n as u64;
    }

    fn offset(&self) -> u64 {
        self.offset
    }
}
