// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes a tree inside to an archive, and reads each file only when its turn
//! comes.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{major, minor};

use super::dir::{Answer, DirHandle, quoted, unclear};
use super::holes;
use super::metadata::{FileType, Metadata};
use super::read_dir::{DirEntry, ReadDir};
use super::report::Copied;
use super::request::request;
use crate::error::{Error, Kind, Result, Step};
use crate::image::tar::{Builder, Entry, Map, Segment, Time, What};
use crate::wire::{self, FOLLOW, Field as _, FileRequest, NO_LINKS, Reader, WANT_XATTRS};

/// Entries above this limit come from a sandbox that makes them faster than
/// they are read.
const ENTRIES_MAX: u64 = 4_000_000;

/// Times that readers of archives accept: the years 1697 to 2514.
const TIMES: std::ops::RangeInclusive<i64> = -0x2_0000_0000..=0x4_0000_0000;

/// Choice of the metadata in an archive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fidelity {
    /// All metadata.
    Whole,
    /// Only harmless metadata, for an unwary reader: contents, names,
    /// permissions and times of files, directories and links, but no owners,
    /// setuid bits, file capabilities, devices or pipes.
    Plain,
}

/// Writes the file at `path` to an archive: a directory with all below it under
/// names relative to it, another file under its own name.
pub(super) fn export(
    step: Step,
    root: &DirHandle,
    path: &Path,
    out: impl Write,
    fidelity: Fidelity,
) -> Result<Copied> {
    let mut export = Export {
        step,
        builder: Builder::new(out),
        fidelity,
        first: HashMap::new(),
        copied: Copied::default(),
    };
    match root.enter_with(step, path, FOLLOW | WANT_XATTRS) {
        Ok((top, answer)) => export.tree(&top, &answer)?,
        Err(error) if error.errno() == Some(libc::ENOTDIR) => export.single(root, path)?,
        Err(error) => return Err(error),
    }
    let ended = export.builder.complete();
    ended.map_err(|e| Error::io(step, "write archive", e))?;
    Ok(export.copied.complete())
}

struct Export<W> {
    step: Step,
    builder: Builder<W>,
    fidelity: Fidelity,
    /// First name of each file that has several, by device and inode.
    first: HashMap<(u64, u64), Vec<u8>>,
    copied: Copied,
}

impl<W: Write> Export<W> {
    /// Writes a single file.
    fn single(&mut self, root: &DirHandle, path: &Path) -> Result<()> {
        let Some(name) = path.file_name() else {
            return Err(Error::os(self.step, quoted(path), Errno::EINVAL));
        };
        let asked = request(wire::FILE_OPEN, FOLLOW | WANT_XATTRS);
        let (file, answer) = root.open(self.step, path, &asked)?;
        self.file(root, path, name.as_bytes(), &file, &answer)
    }

    /// Writes the directory `top` with all below it.
    fn tree(&mut self, top: &DirHandle, answer: &Answer) -> Result<()> {
        self.directory(top, b"./", answer)?;
        let mut left = Vec::new();
        let dir = top.enter(self.step, Path::new("."), 0)?;
        self.content(ReadDir::new(self.step, dir), b"", &mut left)?;
        while let Some(name) = left.pop() {
            let path = Path::new(OsStr::from_bytes(&name));
            match top.enter_with(self.step, path, NO_LINKS | WANT_XATTRS) {
                Ok((dir, answer)) => {
                    let slash = [&name[..], b"/"].concat();
                    self.directory(&dir, &slash, &answer)?;
                    self.content(ReadDir::new(self.step, dir), &slash, &mut left)?;
                }
                Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => {
                    let slash = [&name[..], b"/"].concat();
                    let asked = request(wire::FILE_STAT, NO_LINKS);
                    let answer = top.ask(self.step, path, &asked)?;
                    self.directory(top, &slash, &answer)?;
                    let why = "what is in it is on no file system that stores files";
                    self.copied.leave_out(&name, why);
                }
                other => self.unless_gone(&name, other.map(drop))?,
            }
        }
        Ok(())
    }

    /// Writes all files of a directory; defers directories.
    fn content(&mut self, mut dir: ReadDir, prefix: &[u8], left: &mut Vec<Vec<u8>>) -> Result<()> {
        while let Some(entry) = dir.next() {
            let entry = entry?;
            let name = [prefix, entry.file_name().as_bytes()].concat();
            match entry.file_type() {
                FileType::Directory => left.push(name),
                kind => {
                    let done = self.other(dir.handle(), &entry, kind, &name);
                    self.unless_gone(&name, done)?;
                }
            }
            if left.len() as u64 > ENTRIES_MAX {
                return Err(self.too_many());
            }
        }
        Ok(())
    }

    /// Writes a file that is no directory.
    fn other(
        &mut self,
        dir: &DirHandle,
        entry: &DirEntry,
        kind: FileType,
        name: &[u8],
    ) -> Result<()> {
        let path = Path::new(entry.file_name());
        let stat = entry.metadata();
        if self.is_second(stat, name)? {
            return Ok(());
        }
        let whole = self.fidelity == Fidelity::Whole;
        let (device, empty) = (stat.rdev(), Vec::new());
        let (major, minor) = (major(device) as u32, minor(device) as u32);
        let what = match kind {
            FileType::File => {
                let asked = request(wire::FILE_OPEN, WANT_XATTRS);
                let (file, answer) = dir.open(self.step, path, &asked)?;
                return self.file(dir, path, name, &file, &answer);
            }
            FileType::Symlink => {
                let asked = FileRequest::new(wire::FILE_STAT);
                let answer = dir.ask(self.step, path, &asked)?;
                if answer.tail.is_empty() || answer.tail.contains(&0) {
                    return Err(unclear(self.step, &dir.shown(path)));
                }
                What::Symlink(answer.tail)
            }
            FileType::Fifo if whole => What::Fifo,
            // 0:0 is an overlay's whiteout, and no device.
            FileType::CharDevice if whole && device != 0 => What::Char(major, minor),
            FileType::BlockDevice if whole => What::Block(major, minor),
            kind => {
                self.copied.leave_out(name, kind.as_str());
                return Ok(());
            }
        };
        self.remember(stat, name);
        self.head(name, what, stat, empty)
    }

    /// Writes a regular file with its content.
    fn file(
        &mut self,
        dir: &DirHandle,
        path: &Path,
        name: &[u8],
        file: &File,
        answer: &Answer,
    ) -> Result<()> {
        let (step, shown) = (self.step, dir.shown(path));
        let stat = Metadata::new(answer.stat);
        let size = stat.len();
        let holes = holes::segments(file, size, stat.blocks());
        let segments = holes.map_err(|e| Error::os(step, quoted(&shown), e))?;
        let whole = Segment {
            offset: 0,
            length: size,
        };
        let data = segments.clone().unwrap_or_else(|| vec![whole]);
        let map = segments.map(|segments| Map { segments, size });
        let xattrs = self.xattrs(dir, path, name, answer)?;
        self.remember(stat, name);
        self.head(name, What::File(size, map), stat, xattrs)?;
        for segment in data {
            let mut failed = None;
            let read = holes::read(file, segment, |bytes| {
                self.builder.data(bytes).map_err(|error| {
                    failed = Some(error);
                    io::ErrorKind::Other.into()
                })
            });
            if let Some(error) = failed {
                return Err(Error::io(step, "write archive", error));
            }
            if !read.map_err(|e| Error::io(step, quoted(&shown), e))? {
                return Err(cut(step, &shown));
            }
        }
        Ok(())
    }

    fn directory(&mut self, dir: &DirHandle, name: &[u8], answer: &Answer) -> Result<()> {
        let xattrs = self.xattrs(dir, Path::new(""), name, answer)?;
        self.head(name, What::Directory, Metadata::new(answer.stat), xattrs)
    }

    /// Writes a further name of a file that was copied before.
    fn is_second(&mut self, stat: Metadata, name: &[u8]) -> Result<bool> {
        let first = match stat.nlink() > 1 {
            true => self.first.get(&(stat.dev(), stat.ino())).cloned(),
            false => None,
        };
        match first {
            None => Ok(false),
            Some(first) => self
                .head(name, What::Link(first), stat, Vec::new())
                .map(|()| true),
        }
    }

    fn remember(&mut self, stat: Metadata, name: &[u8]) {
        if stat.nlink() > 1 {
            self.first.insert((stat.dev(), stat.ino()), name.to_vec());
        }
    }

    fn head(&mut self, name: &[u8], what: What, stat: Metadata, xattrs: Pairs) -> Result<()> {
        self.copied.entries += 1;
        if self.copied.entries > ENTRIES_MAX {
            return Err(self.too_many());
        }
        let whole = self.fidelity == Fidelity::Whole;
        let keep = match (whole, &what) {
            (true, _) => 0o7777,
            (false, What::Directory) => 0o1777,
            (false, _) => 0o777,
        };
        let (seconds, nanoseconds) = stat.mtime();
        let seconds = seconds.clamp(*TIMES.start(), *TIMES.end());
        let entry = Entry {
            name: name.to_vec(),
            what,
            mode: stat.permissions() & keep,
            uid: if whole { stat.uid() } else { 0 },
            gid: if whole { stat.gid() } else { 0 },
            mtime: Time::new(seconds, nanoseconds.min(999_999_999)),
            xattrs,
        };
        let written = self.builder.entry(&entry);
        written.map_err(|e| Error::io(self.step, "write archive", e))
    }

    /// Returns the extended attributes that came with a file.
    fn xattrs(
        &mut self,
        dir: &DirHandle,
        path: &Path,
        name: &[u8],
        answer: &Answer,
    ) -> Result<Pairs> {
        let mut pairs = Vec::new();
        let mut reader = Reader::new(&answer.tail);
        while !reader.is_empty() {
            let pair = <&CStr>::get(&mut reader)
                .and_then(|name| Some((name.to_bytes(), <&[u8]>::get(&mut reader)?)));
            let Some((key, value)) = pair else {
                return Err(unclear(self.step, &dir.shown(path)));
            };
            if self.fidelity == Fidelity::Plain && !key.starts_with(b"user.") {
                continue;
            }
            // A PAX record could not tell the end of such a name.
            match std::str::from_utf8(key) {
                Ok(text) if !text.contains('=') => pairs.push((key.to_vec(), value.to_vec())),
                _ => self
                    .copied
                    .leave_out(name, "an extended attribute of an odd name"),
            }
        }
        Ok(pairs)
    }

    /// Leaves out a file that the sandbox removed or replaced meanwhile.
    fn unless_gone(&mut self, name: &[u8], done: Result<()>) -> Result<()> {
        const GONE: [i32; 6] = [
            libc::ENOENT,
            libc::ENOTDIR,
            libc::EISDIR,
            libc::ELOOP,
            libc::EINVAL,
            libc::ESTALE,
        ];
        match done {
            Err(error) if error.errno().is_some_and(|e| GONE.contains(&e)) => {
                self.copied.leave_out(name, "it changed meanwhile");
                Ok(())
            }
            other => other,
        }
    }

    fn too_many(&self) -> Error {
        let why = format_args!("more than {ENTRIES_MAX} entries");
        Error::new(Kind::Exhausted, self.step, why).with_cure("a smaller directory")
    }
}

/// Returns the error about a file that has shrunk since it was opened.
pub(super) fn cut(step: Step, path: &Path) -> Error {
    let why = format_args!("{path:?} was cut while it was read");
    Error::new(Kind::Busy, step, why).with_cure("again, or end what writes to it")
}

type Pairs = Vec<(Vec<u8>, Vec<u8>)>;
