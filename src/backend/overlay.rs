// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees as overlay mounts: the kernel copies a file up when it is first
//! written.
#![forbid(unsafe_code)]

use std::ffi::CString;

use super::host_view::{self, Filled};
use crate::backend::{Backend, Lower, TreeRequest};
use crate::error::{Error, Result, Step};
use crate::ops::{Ops, Slot, c_path};
use crate::parts::mounts::{overlay, overlay_at, overlay_flags};
use crate::spec::Write;
use crate::wire::ListBuf;

/// Root on any kernel, ordinary users from 5.11 on.
pub(crate) struct Overlay;

impl Backend for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn prepare(&self, request: &TreeRequest<'_>) -> Result<()> {
        if !self.on_disk(request.write) {
            return Ok(());
        }
        for dir in [request.scratch.join("upper"), request.scratch.join("work")] {
            std::fs::create_dir(&dir)
                .map_err(|e| Error::io(Step::MakeTree, format_args!("{dir:?}"), e))?;
        }
        Ok(())
    }

    fn make_tree(&self, ops: &mut Ops, stage: Slot, request: &TreeRequest<'_>) -> Result<Slot> {
        let lowers = lowers(request.lower)?;
        let flags = overlay_flags(request.ordinary);
        match request.write {
            // A read-only root is made writable as well: mount points may have
            // to be made inside before it becomes read-only.
            Write::Memory | Write::None => Ok(overlay(ops, stage, "root", lowers, 0, flags)),
            Write::Disk => {
                let [upper, work] = ["upper", "work"].map(|dir| c_path(&request.scratch.join(dir)));
                let dirs = [&*upper?, &*work?];
                Ok(overlay_at(ops, stage, lowers, dirs, 0, flags))
            }
        }
    }

    fn fill(
        &self,
        ops: &mut Ops,
        stage: Slot,
        root: Slot,
        request: &TreeRequest<'_>,
    ) -> Result<Filled> {
        match request.lower {
            Lower::Host => host_view::fill(ops, root, stage, request, self.on_disk(request.write)),
            Lower::Layers(_) | Lower::Plain(_) => Ok(Filled::default()),
        }
    }
}

/// Returns the lower layers, topmost first, as the kernel takes them.
fn lowers(lower: &Lower) -> Result<ListBuf> {
    match lower {
        Lower::Host => Ok([c"/"].into_iter().collect()),
        // The empty directory of the stage stands for an image without layers.
        Lower::Layers(dirs) if dirs.is_empty() => Ok([c"empty"].into_iter().collect()),
        Lower::Layers(dirs) => {
            let paths: Result<Vec<CString>> = dirs.iter().rev().map(|dir| c_path(dir)).collect();
            Ok(paths?.iter().collect())
        }
        Lower::Plain(dir) => Ok([c_path(dir)?].iter().collect()),
    }
}
