// SPDX-License-Identifier: MIT OR Apache-2.0
//! Unpacks one layer: a compressed tar archive becomes a directory, in one pass.
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

use crate::error::{Error, Result};
use crate::image::digest::Digest;
use crate::image::tar::Archive;
use crate::parts::idmap;
use crate::sys::file_size::WithoutSignal;
pub(crate) use listing::{Listing, Shown, to_show};
pub(crate) use name::Name;
pub(crate) use pending::Pending;
use stream::Stream;
use write::{Writer, Written};

/// How a layer is unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Who owns the files.
    pub ids: Ids,
    /// What becomes of whiteouts.
    pub whiteouts: Whiteouts,
    /// The namespace of the overlay's own attributes, when converting.
    pub overlay_xattr: OverlayXattr,
    /// How much an archive may ask for.
    pub bounds: Bounds,
}

impl Default for Options {
    /// A tree of its own: whiteouts delete, root sets the archive's owners, anybody else has all files.
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
    /// The attribute of opaque directories, if there are to be any.
    fn opaque_name(&self) -> Option<&'static CStr> {
        match (self.whiteouts, self.overlay_xattr) {
            (Whiteouts::Apply | Whiteouts::Keep, _) => None,
            (Whiteouts::Convert, OverlayXattr::Trusted) => Some(c"trusted.overlay.opaque"),
            (Whiteouts::Convert, OverlayXattr::User) => Some(c"user.overlay.opaque"),
        }
    }
}

/// Who owns the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// The archive's ids are set: for root, or root of a user namespace.
    Root,
    /// All files stay ours; devices and file capabilities are left out.
    Single,
    /// All files stay ours for now: [`Unpacked::fixups`] lists what somebody who
    /// holds subordinate ids has to do. Our own id stands for 0:0, devices are left out.
    Deferred,
}

/// What becomes of whiteouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whiteouts {
    /// They become what overlayfs understands: the directory holds this layer alone.
    Convert,
    /// They delete: the directory holds the layers below already.
    Apply,
    /// They are files like any other: the archive is no layer.
    Keep,
}

/// The namespace of the attribute that makes a directory opaque. The whiteout of
/// a single name is the same for both: a character device 0:0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OverlayXattr {
    /// `trusted.overlay.opaque`: overlays mounted by root.
    Trusted,
    /// `user.overlay.opaque`: overlays mounted with `userxattr` (since Linux 5.11).
    User,
}

/// How much an archive may ask for; beyond it, it is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files by their apparent sizes, holes included. Default: 1 TiB.
    pub apparent: u64,
    /// Bytes of all files that are really written. Default: 128 GiB.
    pub allocated: u64,
    /// Entries of the archive. Default: 4 million.
    pub entries: u64,
    /// Archive bytes per blob byte, looked at from 256 MiB on. Default: 200.
    pub ratio: u32,
    /// Directories above one another; each needs a file descriptor. Default: 256.
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

/// What somebody who holds subordinate ids has to do to one file, in this order:
/// change the owner, set the mode again, set the capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixup {
    /// The file, below the unpacked directory; no part but the last is a symlink.
    pub path: CString,
    /// The owner inside.
    pub uid: u32,
    /// The group inside.
    pub gid: u32,
    /// The mode, which changing the owner may have cleared; not for symlinks.
    pub mode: u32,
    /// The value of `security.capability`.
    pub capability: Option<Vec<u8>>,
}

/// What was unpacked. Nothing of it may be used before both digests are compared
/// with those that the image names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// The digest of the blob as it was read.
    pub blob_digest: Digest,
    /// The blob's size.
    pub blob_bytes: u64,
    /// The digest of the uncompressed archive.
    pub diff_id: Digest,
    /// The uncompressed archive's size.
    pub diff_bytes: u64,
    /// The archive's entries.
    pub entries: u64,
    /// With [`Ids::Deferred`]: what is left to do, before the next layer is applied.
    #[serde(skip)]
    pub fixups: Vec<Fixup>,
    /// Whether the root itself is opaque, which overlayfs does not look at: the
    /// layers below this one are to be left out of the mount.
    pub opaque_root: bool,
    /// Which directories entries list.
    #[serde(skip)]
    pub(crate) listing: Listing,
    /// What was left out and why, in words.
    pub notes: Vec<String>,
}

/// Unpacks `blob`, a tar archive compressed by gzip, zstd or not at all, into the
/// directory `into`, which nobody else may write to meanwhile.
///
/// Reads the blob once, to its end; `progress` is told the bytes read so far.
/// A second thread writes the files, a third one hashes; both have ended when the call returns. Nothing
/// is made outside `into` whatever the archive holds, and archives that two
/// programs would read differently are refused with the entry's name and the
/// offset of its header in the uncompressed archive. Nothing is synced.
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

/// The same as one layer of several, whose owners are set after the last: until
/// then every file is ours, so that a later layer may change any directory.
/// `pending` is what the layers below put off; `fixups` stays empty.
pub(crate) fn unpack_onto(
    blob: impl Read + Send,
    into: BorrowedFd<'_>,
    options: &Options,
    pending: &mut Pending,
    progress: &mut dyn FnMut(u64),
) -> Result<Unpacked> {
    let before = std::mem::take(pending);
    // The threads have the mask from here.
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
        // A broken blob ends the archive early: its own error comes first.
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
    started.map_err(|error| Error::io("unpack layer", "start a thread", error))
}

/// What fails in the writing thread.
const STEP: (&str, &str) = ("unpack layer", "");

/// The writing thread.
fn write(
    into: BorrowedFd<'_>,
    options: &Options,
    pending: Pending,
    stream: Stream,
) -> Result<Written> {
    // The host's handlers must not run here. It cannot fail with a valid set, and
    // if it did, a handler would merely run on this thread.
    let _ = SigSet::all().thread_block();
    // A umask of our own makes modes exact without touching the host's. Where the
    // call is forbidden, each mode is set after the file is made.
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

/// A bounded list of remarks, each said once.
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
