// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copies whole trees in and out, as archives and as the caller's own files.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::path::Path;

use super::export::{self, Fidelity};
use super::report::Copied;
use super::{Files, local, unpack};
use crate::error::{Result, Step};
use crate::sys::file_size::WithoutSignal;
use crate::wire;

impl Files<'_> {
    /// Unpacks a tar archive below the existing directory `dir`: contents,
    /// modes, owners, times, links, pipes, `user.*` attributes, file
    /// capabilities and devices (the last two if the sandbox may make them).
    /// Accepts archives compressed by gzip or zstd.
    ///
    /// Makes no file outside `dir`: links in names count as if `dir` were the
    /// root. Replaces an existing file or link; uses an existing directory, or
    /// a link to a directory. If the sandbox maps a single id, every file is
    /// 0:0.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] with the entry and its offset for a broken
    /// archive, or an archive that two programs would read differently; else
    /// those of the calls that make files. A part of the tree is made then.
    pub fn put_tar(&self, dir: impl AsRef<Path>, archive: impl Read) -> Result<Copied> {
        let (step, path) = (Step::PutArchive, dir.as_ref());
        let _without = WithoutSignal::begin();
        let top = self.root(step, path)?.enter(step, path, wire::FOLLOW)?;
        unpack::unpack(step, &top, archive)
    }

    /// Writes a tar archive of the file at `path`: of a directory with all
    /// below it, under names relative to it and itself as `./`; of a regular
    /// file under its own name. Keeps everything that [`Files::put_tar`] makes;
    /// holes stay holes.
    ///
    /// Leaves out sockets, extended attributes of other names, file systems
    /// that do not store files (`/proc`, say, is an empty directory), and files
    /// that the sandbox removes meanwhile.
    ///
    /// # Errors
    /// Those of the calls that read files, and of `archive`; the archive is cut
    /// then. [`crate::Kind::Busy`] if a file shrinks while it is read.
    pub fn get_tar(&self, path: impl AsRef<Path>, archive: impl Write) -> Result<Copied> {
        let (step, path) = (Step::GetArchive, path.as_ref());
        let _without = WithoutSignal::begin();
        let root = self.root(step, path)?;
        export::export(step, &root, path, archive, Fidelity::Whole)
    }

    /// Copies a file or directory of the caller to `path` inside; the parent of
    /// `path` must exist.
    ///
    /// Copies contents, permissions without setuid and setgid, times and
    /// symbolic links. The owner is 0:0, hard links become separate files, and
    /// devices, pipes and sockets are left out. Follows no link in the tree,
    /// but follows `local` itself. Replaces a file at `path` or in a directory
    /// that exists.
    ///
    /// # Errors
    /// Those of the calls that read here and make files inside; a part is
    /// copied then.
    pub fn put(&self, local: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Copied> {
        let (step, path) = (Step::PutFiles, path.as_ref());
        let _without = WithoutSignal::begin();
        local::put(step, &self.root(step, path)?, local.as_ref(), path)
    }

    /// Copies a file or directory from inside to `local`; follows a link at
    /// `path`.
    ///
    /// The sandbox is not trusted with files of the host. The caller owns every
    /// file, even as root, without setuid and setgid bits, file capabilities,
    /// devices, pipes and sockets. Symbolic links are copied unchanged, so
    /// follow none of them. A file replaces `local` whole and at once. A
    /// directory needs a new or empty `local`, and may be 256 levels deep.
    /// [`Files::get_tar`] keeps more.
    ///
    /// # Errors
    /// ENOTEMPTY for a directory that is not empty; else those of the calls
    /// that read inside and make files here. A part of a directory is copied
    /// then.
    pub fn get(&self, path: impl AsRef<Path>, local: impl AsRef<Path>) -> Result<Copied> {
        let (step, path) = (Step::GetFiles, path.as_ref());
        let _without = WithoutSignal::begin();
        local::get(step, &self.root(step, path)?, path, local.as_ref())
    }
}
