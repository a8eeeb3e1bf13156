// SPDX-License-Identifier: MIT OR Apache-2.0
//! Homes of users of the machine, which a view of the host shows.
#![forbid(unsafe_code)]

use std::env;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use nix::unistd::geteuid;

use crate::sys::accounts::User;
use crate::sys::auxv;

/// Returns the caller's home: `$HOME` if that directory is the caller's, as in
/// `unshare -r`, where the passwd(5) line of user 0 is another user's; else
/// that of the passwd(5) line.
pub(crate) fn of_caller() -> Option<PathBuf> {
    let user = geteuid();
    let is_own = |home: &PathBuf| {
        let found = home.is_absolute().then(|| std::fs::metadata(home));
        found.is_some_and(|dir| dir.is_ok_and(|dir| dir.is_dir() && dir.uid() == user.as_raw()))
    };
    // The environment of a set-user-id program is its caller's.
    let named = env::var_os("HOME").filter(|_| !auxv::is_secure());
    let named = named.map(PathBuf::from).filter(is_own);
    named.or_else(|| {
        let home = User::find(user.as_raw())?.home;
        home.is_absolute().then_some(home)
    })
}
