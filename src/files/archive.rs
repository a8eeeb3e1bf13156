// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whole trees in and out, as archives and as the caller's own files.
#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::path::Path;

use super::export::{self, Fidelity};
use super::report::Copied;
use super::{Files, local, unpack};
use crate::error::Result;
use crate::sys::file_size::WithoutSignal;
use crate::wire;

impl Files<'_> {
    /// Makes what a tar archive holds below the directory `dir`, which must be there: contents, modes,
    /// owners, times, links, pipes, `user.*` attributes, file capabilities and devices (the last two
    /// where the sandbox may make them). The archive may be compressed by gzip or zstd.
    ///
    /// Nothing is made outside of `dir`: links in names count as if it were the root. What is there and
    /// is no directory is replaced, as is a link; a directory, or a link to one, is used. Where only one
    /// id is mapped, everything is 0:0.
    ///
    /// # Errors
    /// [`crate::Kind::Corrupt`] with the entry and its offset for an archive that is broken, or that two programs
    /// would read differently; else those of the calls that make files. A part is made then.
    pub fn put_tar(&self, dir: impl AsRef<Path>, archive: impl Read) -> Result<Copied> {
        let (step, path) = ("put archive", dir.as_ref());
        let _without = WithoutSignal::begin();
        let top = self.root(step, path)?.enter(step, path, wire::FOLLOW)?;
        unpack::unpack(step, &top, archive)
    }

    /// Writes a tar archive of what is at `path`: of a directory with all below it, under names relative
    /// to it and itself as `./`; of a regular file under its own name. Everything that [`Files::put_tar`]
    /// makes is in it; holes stay holes.
    ///
    /// What is not: sockets, extended attributes of other names, what lies on file systems that do not
    /// store files (`/proc`, say, is an empty directory), and what the sandbox removes meanwhile.
    ///
    /// # Errors
    /// Those of the calls that read files, and of `archive`; the archive is cut then.
    /// [`crate::Kind::Busy`] if a file becomes shorter while it is read.
    pub fn get_tar(&self, path: impl AsRef<Path>, archive: impl Write) -> Result<Copied> {
        let (step, path) = ("get archive", path.as_ref());
        let _without = WithoutSignal::begin();
        export::export(
            step,
            &self.root(step, path)?,
            path,
            archive,
            Fidelity::Whole,
        )
    }

    /// Copies a file or directory of the caller's own to `path` inside, whose parent must be there.
    ///
    /// Contents, permissions without setuid and setgid, times and symbolic links are copied; the owner
    /// is 0:0, hard links become files of their own, devices, pipes and sockets are left out. Links in
    /// the tree are not followed, `local` itself may be one. What is at `path` and is no directory is
    /// replaced, in a directory that is there as well.
    ///
    /// # Errors
    /// Those of the calls that read here and make files inside; a part is copied then.
    pub fn put(&self, local: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<Copied> {
        let (step, path) = ("put files", path.as_ref());
        let _without = WithoutSignal::begin();
        local::put(step, &self.root(step, path)?, local.as_ref(), path)
    }

    /// Copies a file or directory from inside to `local`; a link at `path` is followed.
    ///
    /// The sandbox is not trusted with what it leaves here: everything is the caller's, without setuid
    /// and setgid bits, file capabilities, devices, pipes and sockets, as root too. Symbolic links
    /// are copied as they are, so follow none of them. A file replaces what is at `local`, at once and
    /// whole; a directory needs a new or empty one, and may be 256 levels deep. [`Files::get_tar`] keeps
    /// more.
    ///
    /// # Errors
    /// ENOTEMPTY for a directory that holds something; else those of the calls that read inside
    /// and make files here. A part of a directory is copied then.
    pub fn get(&self, path: impl AsRef<Path>, local: impl AsRef<Path>) -> Result<Copied> {
        let (step, path) = ("get files", path.as_ref());
        let _without = WithoutSignal::begin();
        local::get(step, &self.root(step, path)?, path, local.as_ref())
    }
}
