// SPDX-License-Identifier: MIT OR Apache-2.0
//! No copy-on-write at all: a directory is the root, and writes go into it.
#![forbid(unsafe_code)]

use crate::backend::{Backend, Lower, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::ops::{Ops, Slot, c_path};
use crate::spec::Write;

/// Works everywhere; what commands write stays.
pub(crate) struct Plain;

impl Backend for Plain {
    fn name(&self) -> &'static str {
        "plain"
    }

    fn on_disk(&self, _write: Write) -> bool {
        false
    }

    fn in_memory(&self, _write: Write) -> bool {
        false
    }

    fn make_tree(&self, ops: &mut Ops, _stage: Slot, request: &TreeRequest<'_>) -> Result<Slot> {
        match request.lower {
            Lower::Plain(dir) => Ok(ops.clone_tree(&c_path(dir)?, true)),
            _ => {
                let why = "only a directory can be used as it is";
                Err(Error::new(Kind::Invalid, Step::MountTree, why))
            }
        }
    }
}
