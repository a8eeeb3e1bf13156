// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trees as full copies: slow, but without demands on the file system and the
//! kernel.
#![forbid(unsafe_code)]

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::backend::{Backend, Lower, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::ops::{Ops, Slot, c_path};
use crate::spec::Write;
use crate::wire::Op;

fn opened(dir: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(dir, flags, Mode::empty())
        .map_err(|e| Error::os(Step::MakeTree, format_args!("{dir:?}"), e))
}

/// Works everywhere.
pub(crate) struct Copy;

impl Backend for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn on_disk(&self, _write: Write) -> bool {
        true
    }

    fn prepare(&self, request: &TreeRequest<'_>) -> Result<()> {
        let Lower::Layers(layers) = request.lower else {
            let why = "the whole host cannot be copied";
            let error = Error::new(Kind::Unsupported, Step::MakeTree, why);
            return Err(error.with_cure("storage \"overlay\", or an image"));
        };
        let make = |name| {
            let dir = request.scratch.join(name);
            std::fs::create_dir(&dir)
                .map_err(|e| Error::io(Step::MakeTree, format_args!("{dir:?}"), e))?;
            Ok((opened(&dir)?, dir))
        };
        let (target, _) = make("root")?;
        let (links, names) = make("links")?;
        for layer in layers {
            let source = opened(layer)?;
            let mut ops = Ops::default();
            ops.push(Op::CopyTree {
                from: 1,
                to: 2,
                links: 3,
            });
            let fds = [source.as_fd(), target.as_fd(), links.as_fd()];
            request.spawner.job(&ops, 0, &fds)?;
        }
        std::fs::remove_dir_all(&names)
            .map_err(|e| Error::io(Step::MakeTree, format_args!("{names:?}"), e))
    }

    fn make_tree(&self, ops: &mut Ops, _stage: Slot, request: &TreeRequest<'_>) -> Result<Slot> {
        Ok(ops.clone_tree(&c_path(&request.scratch.join("root"))?, false))
    }
}
