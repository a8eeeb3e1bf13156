// SPDX-License-Identifier: MIT OR Apache-2.0
//! Limits of a cgroup that processes are in, changed.
#![forbid(unsafe_code)]

use nix::errno::Errno;

use super::create::{Failure, refuse_write};
use super::layout::Layout;
use super::limit::{Limit, Refusal, Setting};
use super::{Cgroup, Written, v1, v2};
use crate::error::Result;
use crate::spec::Limits;

impl Cgroup {
    /// Writes the limits of `limits` that `keys` name. Each must be in force,
    /// because a controller cannot take over running processes.
    ///
    /// # Errors
    /// [`crate::Kind::Unsupported`] for a limit that is not in force, the
    /// kernel's errno for a refused value; earlier limits are changed then.
    pub(crate) fn change(&self, layout: &Layout, limits: &Limits, keys: &[&str]) -> Result<()> {
        let asked = Limit::asked(limits);
        let mut asked: Vec<_> = asked.iter().filter(|l| keys.contains(&l.key())).collect();
        if self.grows_memory(&asked) {
            asked.reverse();
        }
        for limit in asked {
            self.change_one(layout, limit).map_err(|e| match e {
                Failure::Refused(refusal) => refusal.of(limit.key()),
                Failure::Fatal(error) => error,
            })?;
        }
        Ok(())
    }

    /// v1 keeps the sum of memory and swap at or above memory: a greater memory
    /// takes the greater sum first.
    fn grows_memory(&self, asked: &[&Limit<'_>]) -> bool {
        let memory = asked.iter().find_map(|limit| match limit {
            Limit::Memory(bytes) => Some(*bytes),
            _ => None,
        });
        let now = self
            .v1_node("memory")
            .and_then(|node| node.number("memory.limit_in_bytes"));
        matches!((memory, now), (Some(memory), Some(now)) if memory > now)
    }

    fn change_one(&self, layout: &Layout, limit: &Limit<'_>) -> Result<(), Failure> {
        let written = self.written.iter().find(|w| w.key == limit.key());
        let Some(Written { v1, .. }) = written else {
            let why = "it was not set when the sandbox was opened";
            let cure = format!("open with {}", limit.key());
            return Err(Failure::Refused(Refusal::new(why, cure)));
        };
        let gone = || {
            let why = "its hierarchy is not mounted any more";
            Failure::Refused(Refusal::new(why, "open another"))
        };
        let (node, settings) = match v1 {
            Some(at) => {
                let of = &self.v1[*at];
                let mut hierarchies = layout.v1().iter();
                let hierarchy = hierarchies.find(|h| h.controllers == of.controllers);
                (&of.node, v1::settings(limit, hierarchy.ok_or_else(gone)?)?)
            }
            None => {
                let node = self.v2.as_ref().ok_or_else(gone)?;
                let hierarchy = layout.v2().ok_or_else(gone)?;
                let parent = node.path().parent().ok_or_else(gone)?;
                (node, v2::settings(limit, hierarchy, parent)?)
            }
        };
        for Setting { file, value } in settings {
            node.write(file, &value).map_err(|errno| match errno {
                // v1 reclaims as much as possible before the error.
                Errno::EBUSY => {
                    let why = format!("write {value:?} to {}", node.path().join(file).display());
                    let cure = "a higher limit: so much is in use";
                    Failure::Refused(Refusal::os(why, errno, cure))
                }
                _ => refuse_write(node, file, &value, errno),
            })?;
        }
        Ok(())
    }
}
