// SPDX-License-Identifier: MIT OR Apache-2.0
//! The place of a host: a store and a busybox tree that belong to its user.

use std::path::PathBuf;
use std::process::Command;

use tare_oracle::User;

use crate::harness::busybox_tree;

/// A temporary directory of the host's.
pub(crate) struct Place {
    temp: tempfile::TempDir,
    /// The owner, if not the caller.
    pub(crate) user: Option<User>,
}

impl Place {
    pub(crate) fn new(user: Option<User>) -> Self {
        let temp = match &user {
            None => tempfile::tempdir().unwrap(),
            Some(user) => user.tempdir(),
        };
        busybox_tree(&temp.path().join("root"));
        if let Some(User { uid, gid, .. }) = &user {
            let mut chown = Command::new("chown");
            let status = chown.arg("-R").arg(format!("{uid}:{gid}")).arg(temp.path());
            assert!(status.status().unwrap().success());
        }
        Self { temp, user }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// The directory of sandboxes' writes to disk.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path("store/scratch")
    }
}
