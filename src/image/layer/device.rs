// SPDX-License-Identifier: MIT OR Apache-2.0
//! Makes devices, or leaves them out with a note.
#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, makedev};

use super::pending::LeftOut;
use super::write::{Meta, Writer};
use super::{Ids, Whiteouts, whiteout};
use crate::image::tar::{Fault, Parsed, shown};

impl Writer<'_> {
    pub(super) fn device(
        &mut self,
        base: &[u8],
        meta: Meta,
        kind: SFlag,
        (major, minor): (u32, u32),
    ) -> Parsed<()> {
        if self.options.ids != Ids::Root {
            return self.leave_out(base, LeftOut::Device);
        }
        match self.node(base, meta, kind, makedev(major.into(), minor.into())) {
            // Root of a user namespace, or a cgroup that forbids devices.
            Err(Fault::Os(call, Errno::EPERM)) if call == "mknodat" => {
                self.leave_out(base, LeftOut::Device)
            }
            made => made,
        }
    }

    /// Leaves `base` out, and removes the file of an earlier entry there. Later
    /// hard links to `base` are left out, too.
    ///
    /// Other engines make a device 0:0 unchanged. An overlay then shows no file
    /// there, as behind a whiteout.
    pub(super) fn leave_out(&mut self, base: &[u8], what: LeftOut) -> Parsed<()> {
        let path = self.dirs.path_of(base);
        self.notes.add(match what {
            LeftOut::Device => format!("skipped device {}", shown(&path)),
            LeftOut::Whiteout => "took devices 0:0, an overlay's whiteouts, for whiteouts".into(),
        });
        self.forget(&path);
        whiteout::remove(self.dirs.top(), base)?;
        if what == LeftOut::Device {
            self.whited.needs_top(&mut self.dirs)?;
        }
        // An earlier whiteout of the name goes on hiding.
        if what == LeftOut::Whiteout || self.dirs.hidden.contains(&path) {
            match self.options.whiteouts {
                Whiteouts::Convert => whiteout::convert(&mut self.dirs, base)?,
                _ => self.dirs.hidden.hide(path.clone()),
            }
        }
        self.pending.left_out.insert(path, what);
        Ok(())
    }

    /// Returns the reason if an entry for `name` of `dir` was left out.
    pub(super) fn left_out(&mut self, dir: &OwnedFd, name: &[u8]) -> Parsed<Option<LeftOut>> {
        if self.pending.left_out.is_empty() {
            return Ok(None);
        }
        let path = self.dirs.path_in(dir, name)?;
        Ok(self.pending.left_out.get(&path).copied())
    }
}
