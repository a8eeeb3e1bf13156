// SPDX-License-Identifier: MIT OR Apache-2.0
//! Trials of mounts that may be refused, or never answer: made in a child, for
//! a bounded time.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use crate::error::Result;
use crate::helper::Spawner;
use crate::ops::{Ops, c_path};
use crate::parts::mounts::{options, overlay_at};
use crate::parts::shown::ShownAs;
use crate::wire::Op;

const CLONE_NEWNS: u64 = libc::CLONE_NEWNS as u64;

/// A file system that answers later than this is left out.
const PATIENCE: Duration = Duration::from_secs(1);

/// Tries to show a directory of the host by an overlay with these flags, else
/// by a bind. Returns true with the result if the file system did not answer.
///
/// # Errors
/// When no child can be made: the helper is gone.
pub(super) fn of(spawner: &Spawner, dir: &Path, flags: u32) -> Result<(ShownAs, bool)> {
    let path = c_path(dir)?;
    let mut ops = Ops::default();
    ops.push(Op::MakePrivate {});
    let stage = ops.new_fs(c"tmpfs", &options([c"mode", c"755"]), 0);
    ops.push(Op::AttachRoot {
        from: stage.number(),
    });
    for name in [c"u", c"w"] {
        ops.make_dir(stage, name, 0o755);
    }
    let lowers = [path.as_c_str()].into_iter().collect();
    overlay_at(&mut ops, stage, lowers, [c"u", c"w"], 0, flags);
    let left_out = |errno| {
        ShownAs::LeftOut(match errno {
            Errno::ETIMEDOUT => format!("no answer within {} s", PATIENCE.as_secs()),
            errno => errno.to_string(),
        })
    };
    match spawner.job_within(&ops, CLONE_NEWNS, PATIENCE)? {
        None => return Ok((ShownAs::Cow, false)),
        // A bind would succeed, and processes that look inside would hang.
        Some(Errno::ETIMEDOUT) => return Ok((left_out(Errno::ETIMEDOUT), true)),
        Some(_) => {}
    }
    let mut ops = Ops::default();
    ops.push(Op::MakePrivate {});
    ops.clone_tree(&path, false);
    let bound = spawner.job_within(&ops, CLONE_NEWNS, PATIENCE)?;
    let is_silent = bound == Some(Errno::ETIMEDOUT);
    Ok((bound.map_or(ShownAs::ReadOnly, left_out), is_silent))
}
