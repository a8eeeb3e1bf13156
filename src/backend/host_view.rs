// SPDX-License-Identifier: MIT OR Apache-2.0
//! Shows the machine's own `/`, with the file systems that are mounted below.
//!
//! Root's view is an overlay of `/`, on which each other mount has an overlay
//! of its own. An ordinary user's view is a tmpfs with an overlay for each
//! top-level directory, because the kernel refuses `/` itself as a lower layer
//! in a user namespace: the mounts below are locked there, mount_namespaces(7).
//! A directory without mounts below is taken whole. A directory with mounts
//! below is taken apart: its files are copied, its sockets bound. See
//! `docs/design.md`, "What is seen of the machine?".
//!
//! The kernel copies up only files of ids that are mapped here (EOVERFLOW
//! otherwise). A top-level directory takes new files; a deeper directory that
//! belongs to another user does not. So the caller's home and working directory
//! have overlays of their own if a directory above belongs to another user.
//!
//! With `write: disk` the upper layer of each overlay is on disk; a directory
//! that is taken apart is a tmpfs in any case.
#![forbid(unsafe_code)]

mod alias;
mod class;
mod copies;
mod over;
mod part;
mod survey;
mod trial;
mod view;

use std::env::current_dir;
use std::ffi::CString;
use std::path::{Path, PathBuf};

use crate::backend::{Backend, Mounted, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::ops::{Ops, Slot};
use crate::parts::mounts::{options, push_size};
use crate::spec::{ByteSize, Write};
use crate::wire::Op;

pub(crate) use alias::aliases;
pub(crate) use part::{Filled, ViewPlace};
pub(crate) use survey::Survey;

/// Works for ordinary users from 5.11 on.
pub(crate) struct HostView;

impl Backend for HostView {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn is_portable(&self) -> bool {
        false
    }

    fn make_tree(&self, _ops: &mut Ops, _stage: Slot, _request: &TreeRequest<'_>) -> Result<Slot> {
        Err(Error::new(
            Kind::Unsupported,
            Step::MountTree,
            "an ordinary user's view of the host exists only in a sandbox",
        ))
    }

    fn mount(&self, ops: &mut Ops, stage: Slot, request: &TreeRequest<'_>) -> Result<Mounted> {
        let root = tmpfs(ops, 0o755, request.size, 0);
        // KERNEL(6.15): before, only an attached mount takes mounts inside.
        ops.push(Op::AttachRoot {
            from: root.number(),
        });
        let survey = Survey::new(request, true)?;
        let place = whole(root, stage, request, self.on_disk(request.write));
        let home = request.spawner.home().map(Path::to_path_buf);
        let own: Vec<PathBuf> = home.into_iter().chain(current_dir().ok()).collect();
        let filled = view::fill(ops, &survey, &place, request.size, &own)?;
        Ok(Mounted { root, filled })
    }
}

/// Appends the operations that show the machine's mounts in root's overlay of
/// `/`.
pub(super) fn fill(
    ops: &mut Ops,
    root: Slot,
    stage: Slot,
    request: &TreeRequest<'_>,
    on_disk: bool,
) -> Result<Filled> {
    let survey = Survey::new(request, false)?;
    let place = whole(root, stage, request, on_disk);
    let attrs = survey.attrs(place.dir, place.dir);
    if attrs != 0 {
        ops.set_attr(root, attrs, false);
    }
    over::fill(ops, &survey, &place, request.size)
}

/// Returns the place of the whole machine.
fn whole<'a>(
    root: Slot,
    stage: Slot,
    request: &'a TreeRequest<'_>,
    on_disk: bool,
) -> ViewPlace<'a> {
    ViewPlace {
        root,
        stage,
        dir: Path::new("/"),
        inside: Path::new("/"),
        names: "h",
        scratch: on_disk.then_some(request.scratch.as_path()),
        attrs: 0,
        read_only: request.write == Write::None,
    }
}

/// Appends the operations that show the mounts below a directory in the
/// directory's copy-on-write view. An ordinary user's view is a [`tmpfs`] that
/// gets all entries of the directory.
///
/// # Errors
/// When the directory cannot be listed, or the helper is gone.
pub(crate) fn fill_directory(
    ops: &mut Ops,
    survey: &Survey<'_>,
    place: &ViewPlace<'_>,
    size: Option<ByteSize>,
) -> Result<Filled> {
    match survey.ordinary {
        true => view::fill(ops, survey, place, size, &[]),
        false => over::fill(ops, survey, place, size),
    }
}

/// Appends the operation that makes a tmpfs.
pub(crate) fn tmpfs(ops: &mut Ops, mode: u32, size: Option<ByteSize>, attrs: u32) -> Slot {
    let mode = CString::new(format!("{mode:o}")).expect("digits hold no NUL");
    let mut list = options([c"mode", &mode]);
    if let Some(size) = size {
        push_size(&mut list, size);
    }
    ops.new_fs(c"tmpfs", &list, attrs)
}
