// SPDX-License-Identifier: MIT OR Apache-2.0
//! Copy-on-write trees: read-only layers below, a writable layer on top, on a
//! back end that works here.
#![forbid(unsafe_code)]

mod copy;
mod host_view;
mod overlay;
mod plain;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result, Step};
use crate::helper::Spawner;
use crate::ops::{Ops, Slot};
use crate::spec::{ByteSize, Storage, Write};
use crate::wire::Op;

pub(crate) use host_view::{Filled, Survey, ViewPlace, aliases, fill_directory, tmpfs};

/// The read-only part of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lower {
    /// The machine's own `/`.
    Host,
    /// Directories, bottom first.
    Layers(Vec<PathBuf>),
    /// A directory without copy-on-write: writes go into the directory.
    Plain(PathBuf),
}

impl Lower {
    /// Returns whether all layers are on the device of `dir`; false if the
    /// devices are unknown.
    pub(crate) fn is_on_device_of(&self, dir: &Path) -> bool {
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
        let wanted = device(dir);
        let is_there = |path: &Path| wanted.is_some() && device(path) == wanted;
        match self {
            Self::Host => is_there(Path::new("/")),
            Self::Layers(layers) => layers.iter().all(|layer| is_there(layer)),
            Self::Plain(path) => is_there(path),
        }
    }
}

/// The inputs of a tree.
#[derive(Debug)]
pub(crate) struct TreeRequest<'a> {
    /// The read-only layers.
    pub(crate) lower: &'a Lower,
    /// The place of the writable layer.
    pub(crate) write: Write,
    /// Size of the writable layer; only a layer [in
    /// memory](Backend::in_memory) has a size.
    pub(crate) size: Option<ByteSize>,
    /// True if the caller is an ordinary user.
    pub(crate) ordinary: bool,
    /// An empty directory on disk for this tree alone, if [`Backend::on_disk`]
    /// asks for a directory.
    pub(crate) scratch: PathBuf,
    /// Runs operations that need ids which the caller lacks.
    pub(crate) spawner: &'a Spawner,
    /// True if mounts of the machine that may not answer are tried; else they
    /// are an error that [`is_trial`] knows.
    pub(crate) may_try: bool,
}

/// Returns whether an error says that a mount of the machine has to be tried
/// first.
pub(crate) fn is_trial(error: &Error) -> bool {
    error.at() == Step::TryMount && error.errno() == Some(libc::EAGAIN)
}

/// A way to make a copy-on-write tree.
pub(crate) trait Backend: Sync {
    /// As in the spec: `overlay`, `copy`.
    fn name(&self) -> &'static str;

    /// Returns whether the tree works without the host's mount namespace once
    /// it is made, and needs no mount that is attached there.
    fn is_portable(&self) -> bool {
        true
    }

    /// Returns whether the tree needs a directory on disk.
    fn on_disk(&self, write: Write) -> bool {
        write == Write::Disk
    }

    /// Returns whether written files are in a tmpfs of the sandbox, whose size
    /// can be set.
    fn in_memory(&self, write: Write) -> bool {
        write == Write::Memory && !self.on_disk(write)
    }

    /// Does the work outside, such as making directories on disk.
    fn prepare(&self, _request: &TreeRequest<'_>) -> Result<()> {
        Ok(())
    }

    /// Appends the operations that make the tree as a mount that is not
    /// attached yet, in a new slot. `stage` is a tmpfs, attached unless on the
    /// detached path, and empty but for names of this library.
    fn make_tree(&self, ops: &mut Ops, stage: Slot, request: &TreeRequest<'_>) -> Result<Slot>;

    /// Appends the operations that attach the other mounts of the tree to its
    /// root.
    ///
    /// KERNEL(6.15): before, the root must be attached itself.
    fn fill(
        &self,
        _ops: &mut Ops,
        _stage: Slot,
        _root: Slot,
        _request: &TreeRequest<'_>,
    ) -> Result<Filled> {
        Ok(Filled::default())
    }

    /// Appends the operations that make the tree and attach it on top of the
    /// root, in a new slot.
    fn mount(&self, ops: &mut Ops, stage: Slot, request: &TreeRequest<'_>) -> Result<Mounted> {
        let root = self.make_tree(ops, stage, request)?;
        ops.push(Op::AttachRoot {
            from: root.number(),
        });
        let filled = self.fill(ops, stage, root, request)?;
        Ok(Mounted { root, filled })
    }
}

/// A tree on top of the root.
#[derive(Debug)]
pub(crate) struct Mounted {
    /// The root of the tree.
    pub(crate) root: Slot,
    /// The content that is attached to the root.
    pub(crate) filled: Filled,
}

/// Returns the size of a writable layer, if the spec sets one.
///
/// # Errors
/// [`Kind::Unsupported`] where nothing would enforce the size.
pub(crate) fn size(
    backend: &dyn Backend,
    write: Write,
    asked: Option<ByteSize>,
) -> Result<Option<ByteSize>> {
    match asked {
        Some(_) if write == Write::None => Ok(None),
        Some(_) if !backend.in_memory(write) => {
            let why = "only a writable layer in memory has a size";
            let error = Error::new(Kind::Unsupported, Step::SetLimitsDisk, why);
            Err(error.with_cure("write \"memory\" with storage \"overlay\""))
        }
        asked => Ok(asked),
    }
}

/// Returns the back end for a request: the storage of the spec, else the
/// fastest that works here.
pub(crate) fn choose(storage: Storage, lower: &Lower, ordinary: bool) -> &'static dyn Backend {
    match (storage, lower) {
        (_, Lower::Plain(_)) => &plain::Plain,
        (Storage::Copy, _) => &copy::Copy,
        (_, Lower::Host) if ordinary => &host_view::HostView,
        (Storage::Auto | Storage::Overlay, _) => &overlay::Overlay,
    }
}
