// SPDX-License-Identifier: MIT OR Apache-2.0
//! Work on files that waits until a tree is whole, by path.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use nix::fcntl::OFlag;

use super::Fixup;
use super::lookup::walk;

/// Work that the layers of a tree defer until the last layer is applied.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    /// Owners that only a holder of subordinate ids can set.
    pub(super) fixups: ByPath<Fixup>,
    /// Entries that made no file.
    pub(super) left_out: ByPath<LeftOut>,
}

impl Pending {
    /// Drops the work on `path` and on all below.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.fixups.forget(path);
        self.left_out.forget(path);
    }

    /// Forgets that a file was left out, because it exists now.
    pub(super) fn no_longer_left_out(&mut self, path: impl FnOnce() -> Vec<u8>) {
        if !self.left_out.is_empty() {
            self.left_out.remove(&path());
        }
    }

    /// Drops the work on removed files at `path` and below.
    pub(super) fn forget_removed(&mut self, root: BorrowedFd<'_>, path: &[u8]) {
        self.fixups.forget_removed(root, path);
        self.left_out.forget(path);
    }

    /// Returns the owners to be set, in the order of their paths.
    pub(crate) fn into_fixups(self) -> Vec<Fixup> {
        self.fixups.0.into_values().collect()
    }
}

/// An entry that makes no file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// A device that the caller cannot make.
    Device,
    /// A character device 0:0: the whiteout of an overlay, in the image of a
    /// host that ran containers.
    Whiteout,
}

/// Values by the paths of files: below the root and free of symlinks.
#[derive(Debug)]
pub(super) struct ByPath<T>(BTreeMap<Vec<u8>, T>);

impl<T> Default for ByPath<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> ByPath<T> {
    /// Sets the value of `path`.
    pub(super) fn insert(&mut self, path: Vec<u8>, value: T) {
        self.0.insert(path, value);
    }

    /// Sets the value of `path` unless it has a value.
    pub(super) fn insert_first(&mut self, path: Vec<u8>, value: T) {
        self.0.entry(path).or_insert(value);
    }

    /// Returns the value of `path`.
    pub(super) fn get(&self, path: &[u8]) -> Option<&T> {
        self.0.get(path)
    }

    /// Returns whether no path has a value.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops the value of `path` alone.
    pub(super) fn remove(&mut self, path: &[u8]) {
        self.0.remove(path);
    }

    /// Drops the values of `path` and of all below.
    pub(super) fn forget(&mut self, path: &[u8]) {
        self.forget_if(path, |_| true);
    }

    /// Drops the values of removed files at `path` and below.
    pub(super) fn forget_removed(&mut self, root: BorrowedFd<'_>, path: &[u8]) {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.forget_if(path, |path| walk(root, path, flags).is_err());
    }

    fn forget_if(&mut self, path: &[u8], gone: impl Fn(&[u8]) -> bool) {
        if self.0.is_empty() {
            return;
        }
        let stale: Vec<_> = match path {
            // The root itself stays.
            b"" => {
                let below = self.0.keys().filter(|path| !path.is_empty());
                below.filter(|path| gone(path)).cloned().collect()
            }
            path => {
                let below = [path, b"/"].concat()..[path, b"0"].concat();
                let all = self.0.range(below).map(|(path, _)| path.clone());
                all.chain([path.to_vec()]).filter(|p| gone(p)).collect()
            }
        };
        for path in stale {
            self.0.remove(&path);
        }
    }

    /// Returns all values, the deepest paths first.
    pub(super) fn into_deepest_first(self) -> Vec<(Vec<u8>, T)> {
        let mut all: Vec<_> = self.0.into_iter().collect();
        all.sort_by_key(|(path, _)| std::cmp::Reverse(path.split(|&b| b == b'/').count()));
        all
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::{self, File};
    use std::os::fd::AsFd as _;

    use super::*;

    fn paths(map: &ByPath<u8>) -> Vec<&str> {
        let paths = map.0.keys().map(|path| std::str::from_utf8(path).unwrap());
        paths.collect()
    }

    #[test]
    fn pending_of_a_tree_is_forgotten_with_the_tree() {
        let mut map = ByPath::default();
        for path in ["a", "a/b", "a/b/c", "a-", "a0", "\u{10ffff}"] {
            map.insert(path.into(), 0);
        }
        map.forget(b"a");
        assert_eq!(paths(&map), ["a-", "a0", "\u{10ffff}"]);
    }

    #[test]
    fn pending_of_what_is_still_there_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let root = File::open(dir.path()).unwrap();
        let all = ["", "a", "a/b", "a/c/d", "x/y"];
        for (path, left) in [
            ("", ["", "a", "a/b"].as_slice()),
            ("a", &["", "a", "a/b", "x/y"]),
            ("a/c", &["", "a", "a/b", "x/y"]),
            ("x/y", &["", "a", "a/b", "a/c/d"]),
        ] {
            let mut map = ByPath::default();
            for path in all {
                map.insert(path.into(), 0);
            }
            map.forget_removed(root.as_fd(), path.as_bytes());
            assert_eq!(paths(&map), left, "{path:?}");
        }
    }

    #[test]
    fn pending_paths_of_any_number_are_looked_at_a_few_times_each() {
        const MANY: usize = 20_000;
        let path = |n: usize| format!("d{n}").into_bytes();
        let mut map = ByPath::default();
        (0..MANY).for_each(|n| map.insert(path(n), 0));
        let count = Cell::new(0);
        for n in 0..MANY {
            map.forget_if(&path(n), |_| {
                count.set(count.get() + 1);
                true
            });
        }
        assert!(map.is_empty());
        assert!(count.get() < MANY * 4, "{} looks", count.get());
    }
}
