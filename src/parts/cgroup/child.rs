// SPDX-License-Identifier: MIT OR Apache-2.0
//! A cgroup for a command of a sandbox, to kill that command's whole tree.
#![forbid(unsafe_code)]

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Cgroup, Node, is_denied};
use crate::error::{Error, Kind, Result, Step};
use nix::fcntl::AT_FDCWD;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// A cgroup below a sandbox's own in v2. It gets no controllers, so the rule
/// against processes in inner cgroups does not apply and the sandbox's limits
/// go on to hold for all together.
#[derive(Debug)]
pub(crate) struct ChildCgroup(Node);

impl Cgroup {
    /// Makes a cgroup for a command; `None` for a sandbox without a cgroup in
    /// v2.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a name that is not plain, [`Kind::Exists`] for a
    /// taken name.
    pub(crate) fn child(&self, name: &str) -> Result<Option<ChildCgroup>> {
        let name = super::directory_name(name)?;
        let Some(parent) = &self.v2 else {
            return Ok(None);
        };
        match Node::create(parent.path(), &name) {
            Ok(node) => Ok(Some(ChildCgroup(node))),
            Err(errno) if is_denied(errno) => Ok(None),
            Err(errno) => {
                let path = parent.path().join(name);
                let error = Error::os(Step::MakeCgroup, path.display(), errno);
                Err(match errno {
                    // cgroup.max.depth or cgroup.max.descendants, not a
                    // try-again.
                    Errno::EAGAIN => error.with_kind(Kind::Exhausted),
                    _ => error,
                })
            }
        }
    }
}

impl ChildCgroup {
    /// The directory, for `CLONE_INTO_CGROUP`.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.0.fd()
    }

    /// Removes the cgroup if nothing is inside. Otherwise returns the path, for
    /// another try with [`remove_empty`]; at the latest the cgroup goes with
    /// the sandbox's own.
    pub(crate) fn retire(self) -> Option<PathBuf> {
        let path = self.0.path().to_path_buf();
        (!remove_empty(&path)).then_some(path)
    }
}

/// Removes a retired cgroup; false if something is inside.
pub(crate) fn remove_empty(path: &Path) -> bool {
    let removed = unlinkat(AT_FDCWD, path, UnlinkatFlags::RemoveDir);
    matches!(removed, Ok(()) | Err(Errno::ENOENT))
}
