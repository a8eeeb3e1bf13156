// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacks one layer: a compressed tar archive becomes a directory, in one
//! pass.
#![forbid(unsafe_code)]

mod attributes;
mod codec;
mod device;
mod dirs;
mod hash;
mod hidden;
mod link;
mod listing;
mod lookup;
mod name;
mod pending;
mod stream;
mod unlock;
mod whiteout;
mod write;

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io::Read;
use std::os::fd::BorrowedFd;
use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Scope, ScopedJoinHandle};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use serde::Serialize;

use crate::error::{Error, Result, Step};
use crate::image::digest::Digest;
use crate::image::tar::Archive;
use crate::parts::idmap;
use crate::sys::file_size::WithoutSignal;
pub(crate) use listing::{Listing, Shown, to_show};
pub(crate) use name::Name;
pub(crate) use pending::Pending;
use stream::Stream;
use write::{Writer, Written};

/// Options of unpacking a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Owner of the files.
    pub ids: Ids,
    /// Handling of whiteouts.
    pub whiteouts: Whiteouts,
    /// Namespace of overlayfs attributes, for [`Whiteouts::Convert`].
    pub overlay_xattr: OverlayXattr,
    /// Most that an archive may ask for.
    pub bounds: Bounds,
}

impl Default for Options {
    /// Options for a plain tree: whiteouts delete; root sets the archive's
    /// owners, other users own all files.
    fn default() -> Self {
        Self {
            ids: match idmap::Ids::detect().gives_files_away() {
                true => Ids::Root,
                false => Ids::Single,
            },
            whiteouts: Whiteouts::Apply,
            overlay_xattr: OverlayXattr::Trusted,
            bounds: Bounds::default(),
        }
    }
}

impl Options {
    /// Returns the attribute of opaque directories, if whiteouts are converted.
    fn opaque_name(&self) -> Option<&'static CStr> {
        match (self.whiteouts, self.overlay_xattr) {
            (Whiteouts::Apply | Whiteouts::Keep, _) => None,
            (Whiteouts::Convert, OverlayXattr::Trusted) => Some(c"trusted.overlay.opaque"),
            (Whiteouts::Convert, OverlayXattr::User) => Some(c"user.overlay.opaque"),
        }
    }
}

/// Owner of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Sets the archive's ids: for root, or root of a user namespace.
    Root,
    /// Leaves all files to the caller, without devices and file capabilities.
    Single,
    /// Leaves all files to the caller for now: [`Unpacked::fixups`] lists the
    /// work for a holder of subordinate ids. The caller's id stands for 0:0;
    /// devices are left out.
    Deferred,
}

/// Handling of whiteouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// Converts to the whiteouts of overlayfs: the directory holds only this
    /// layer.
    Convert,
    /// Deletes: the directory already holds the layers below.
    Apply,
    /// Keeps whiteouts as plain files: the archive is no layer.
    Keep,
}

/// Namespace of the attribute that makes a directory opaque. A whiteout of a
/// single name is a character device 0:0 in both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattr {
    /// `trusted.overlay.opaque`: overlays mounted by root.
    Trusted,
    /// `user.overlay.opaque`: overlays mounted with `userxattr` (since Linux
    /// 5.11).
    User,
}

/// Most that an archive may ask for; a larger archive is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Apparent sizes of all files, holes included. Default: 1 TiB.
    pub apparent: u64,
    /// Bytes written for all files. Default: 128 GiB.
    pub allocated: u64,
    /// Entries of the archive. Default: 4 million.
    pub entries: u64,
    /// Archive bytes per blob byte, checked from 256 MiB on. Default: 200.
    pub ratio: u32,
    /// Depth of directories; each level needs a file descriptor. Default: 256.
    pub depth: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            apparent: 1 << 40,
            allocated: 128 << 30,
            entries: 4_000_000,
            ratio: 200,
            depth: 256,
        }
    }
}

/// Work on a file for a holder of subordinate ids, in this order: change the
/// owner, set the mode again, set the capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixup {
    /// Path below the unpacked directory; only the last part may be a symlink.
    pub path: CString,
    /// Owner inside.
    pub uid: u32,
    /// Group inside.
    pub gid: u32,
    /// Mode, because a change of owner may clear bits; not for symlinks.
    pub mode: u32,
    /// Value of `security.capability`.
    pub capability: Option<Vec<u8>>,
}

/// An unpacked layer. Compare both digests with the digests in the image before
/// any use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// Digest of the blob as read.
    pub blob_digest: Digest,
    /// Size of the blob.
    pub blob_bytes: u64,
    /// Digest of the uncompressed archive.
    pub diff_id: Digest,
    /// Size of the uncompressed archive.
    pub diff_bytes: u64,
    /// Number of entries.
    pub entries: u64,
    /// Work that [`Ids::Deferred`] leaves, to be done before the next layer is
    /// applied.
    #[serde(skip)]
    pub fixups: Vec<Fixup>,
    /// True if the root is opaque. overlayfs ignores the attribute there, so
    /// leave the layers below out of the mount.
    pub opaque_root: bool,
    /// Directories that entries list.
    #[serde(skip)]
    pub(crate) listing: Listing,
    /// Sentences about parts that were left out.
    pub notes: Vec<String>,
}

/// Unpacks `blob`, a tar archive that gzip, zstd or no program has compressed,
/// into the directory `into`. No other process may write to `into` meanwhile.
///
/// Reads the blob once, to the end; `progress` receives the number of bytes
/// read so far. A second thread writes files and a third thread hashes; both
/// have ended when the call returns. Never makes a file outside `into`. Refuses
/// an archive that two programs would read differently, with the entry's name
/// and the offset of the header in the uncompressed archive. Syncs no file.
///
/// After an error the directory holds a part of the layer, to be thrown away.
/// Directories that entries imply without listing them get mode 0755.
///
/// Source: OCI image spec, "Image Layer Filesystem Changeset"; pax(1); GNU tar
/// manual, "Tar Internals". Needs Linux 5.8.
pub fn unpack(
    blob: impl Read + Send,
    into: BorrowedFd<'_>,
    options: &Options,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    let mut pending = Pending::default();
    let unpacked = unpack_onto(blob, into, options, &mut pending, progress)?;
    Ok(Unpacked {
        fixups: pending.into_fixups(),
        ..unpacked
    })
}

/// Unpacks a layer onto the layers below. The caller owns every file until the
/// last layer is unpacked, so that a later layer may change any directory;
/// `pending` collects the owners, and `fixups` stays empty.
pub(crate) fn unpack_onto(
    blob: impl Read + Send,
    into: BorrowedFd<'_>,
    options: &Options,
    pending: &mut Pending,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    let before = std::mem::take(pending);
    // The threads inherit the signal mask from here.
    let _without = WithoutSignal::begin();
    let (full, chunks) = sync_channel(codec::CHUNKS);
    let (back, spent) = sync_channel(2 * codec::CHUNKS + 2);
    let (feed, pieces) = hash::channel(codec::CHUNKS, back.clone());
    thread::scope(|scope| {
        let hasher = start(scope, "tare-hash", move || pieces.hash())?;
        let write = move || write(into, options, before, Stream::new(chunks, back));
        let writer = start(scope, "tare-unpack", write)?;
        let pumped = codec::pump(blob, full, spent, feed, &options.bounds, progress);
        let written = writer.join().unwrap_or_else(|panic| resume_unwind(panic));
        let (blob, diff) = hasher.join().unwrap_or_else(|panic| resume_unwind(panic));
        // A broken blob ends the archive early, so the blob's error goes first.
        let whole = pumped?;
        let written = written?;
        if !whole {
            unreachable!("the writer reads to the end unless it fails");
        }
        *pending = written.pending;
        Ok(Unpacked {
            blob_digest: blob.0,
            blob_bytes: blob.1,
            diff_id: diff.0,
            diff_bytes: diff.1,
            entries: written.entries,
            fixups: Vec::new(),
            opaque_root: written.opaque_root,
            listing: written.listing,
            notes: written.notes,
        })
    })
}

/// Starts a thread of this unpacking.
fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: &str,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let thread = thread::Builder::new().name(name.into());
    let started = thread.spawn_scoped(scope, work);
    started.map_err(|error| Error::io(Step::UnpackLayer, "start a thread", error))
}

/// Step of an error of the writing thread.
const STEP: (Step, &str) = (Step::UnpackLayer, "");

/// Runs the writing thread.
fn write(
    into: BorrowedFd<'_>,
    options: &Options,
    pending: Pending,
    stream: Stream,
) -> Result<Written> {
    // The host's handlers must not run on this thread. The call cannot fail
    // with a valid set; otherwise a handler would merely run here.
    let _ = SigSet::all().thread_block();
    // A private umask makes modes exact and keeps the host's umask. Where a
    // filter forbids the call, each mode is set after the file is made.
    let exact_modes = unshare(CloneFlags::CLONE_FS).is_ok();
    if exact_modes {
        umask(Mode::empty());
    }
    let mut archive = Archive::new(stream).allow_empty();
    let writer = Writer::open(into, options, exact_modes, pending);
    let mut writer = writer.map_err(|f| f.at(STEP, b"", 0))?;
    loop {
        let step = archive.next().and_then(|entry| match entry {
            Some(entry) => writer.entry(entry, &mut archive).map(|()| true),
            None => Ok(false),
        });
        match step {
            Ok(true) => {}
            Ok(false) => break,
            Err(fault) => {
                let (name, offset) = archive.site();
                return Err(fault.at(STEP, name, offset));
            }
        }
    }
    if archive.has_trailer() {
        writer
            .notes
            .add("ignored what follows the end of the archive".into());
    }
    let (_, offset) = archive.site();
    writer.complete().map_err(|f| f.at(STEP, b"", offset))
}

/// A bounded list of remarks without duplicates.
#[derive(Debug, Default)]
pub(in crate::image) struct Notes {
    texts: BTreeSet<String>,
    more: u64,
}

impl Notes {
    const MOST: usize = 64;

    pub(in crate::image) fn add(&mut self, text: String) {
        if self.texts.contains(&text) {
            return;
        }
        match self.texts.len() < Self::MOST {
            true => drop(self.texts.insert(text)),
            false => self.more += 1,
        }
    }

    pub(in crate::image) fn complete(self) -> Vec<String> {
        let mut texts: Vec<_> = self.texts.into_iter().collect();
        if self.more > 0 {
            texts.push(format!("and {} more", self.more));
        }
        texts
    }
}
