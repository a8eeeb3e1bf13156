// SPDX-License-Identifier: MIT OR Apache-2.0
//! Paths that other users own a part of: a store is refused there, an unpacked
//! image stays together.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::{env, fs};

use images::count;
use layout::{Codec, simple};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use tare::Kind;
use tare::image::{Images, UnpackOptions, unpack};
use tare_oracle::again::{passes_again, this_program};
use tare_oracle::{CALLERS, caller, need, ordinary_user};
use tempfile::tempdir;

/// The owner of a parent moves it all the time: what is unpacked stays
/// together.
#[test]
fn unpack_while_a_parent_is_swapped_stays_in_one_directory() {
    let dir = tempdir().unwrap();
    let (_, from) = simple(dir.path().join("oci"), Codec::Gzip);
    let place = dir.path().join("place");
    let (mine, other) = (place.join("mine"), place.join("other"));
    fs::create_dir_all(&mine).unwrap();
    fs::create_dir(&other).unwrap();
    let stop = AtomicBool::new(false);
    let expected = {
        let to = dir.path().join("expected");
        unpack(&from, &to, UnpackOptions::default(), &mut ()).unwrap();
        names_below(&to)
    };
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &mine, AT_FDCWD, &other, flags).unwrap();
            }
        });
        let options = || UnpackOptions {
            sync: false,
            ..UnpackOptions::default()
        };
        for round in 0..200 {
            let to = mine.join(format!("root{round}"));
            if let Err(error) = unpack(&from, &to, options(), &mut ()) {
                stop.store(true, Ordering::Relaxed);
                panic!("round {round}: {error}");
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    let trees = [&mine, &other].map(count);
    assert_eq!(trees.iter().sum::<usize>(), 200, "{trees:?}");
    for parent in [&mine, &other] {
        for tree in fs::read_dir(parent).unwrap() {
            assert_eq!(names_below(&tree.unwrap().path()), expected);
        }
    }
}

fn names_below(dir: &Path) -> BTreeSet<PathBuf> {
    let listing = layout::listing(dir).into_iter();
    let below = |path: PathBuf| path.strip_prefix(dir).unwrap().to_owned();
    listing.map(|(path, _)| below(path)).collect()
}

/// Entries that could lead a sweep of root's to a directory of another user's
/// choice.
#[test]
fn store_that_others_could_redirect_is_refused() {
    need!(root, user("plain"));
    let user = ordinary_user(false);
    let dir = tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let victim = dir.path().join("victim");
    fs::create_dir_all(victim.join("scratch/kept")).unwrap();
    let at = |name: &str| dir.path().join(name);
    let refused = |path: PathBuf, why: &str| {
        let error = Images::open(&path).unwrap_err();
        assert_eq!(error.kind(), Kind::Permission, "{error}");
        assert!(error.to_string().contains(why), "{error}");
        assert!(victim.join("scratch/kept").exists());
        assert_eq!(count(&victim), 1);
    };
    // The parent is theirs: a link there, or a directory that they can swap.
    fs::create_dir(at("theirs")).unwrap();
    symlink(&victim, at("theirs/link")).unwrap();
    fs::create_dir(at("theirs/dir")).unwrap();
    chown(at("theirs"), Some(user.uid), None).unwrap();
    refused(at("theirs/link"), "belongs to user");
    refused(at("theirs/dir/store"), "belongs to user");
    // Everybody's, with and without the sticky bit.
    fs::create_dir(at("shared")).unwrap();
    fs::create_dir(at("shared/dir")).unwrap();
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    refused(at("shared/dir/store"), "other users may write to it");
    fs::set_permissions(at("shared"), fs::Permissions::from_mode(0o1777)).unwrap();
    Images::open(at("shared/dir/store")).unwrap();
    symlink(&victim, at("shared/link")).unwrap();
    lchown(at("shared/link"), Some(user.uid), None).unwrap();
    refused(at("shared/link"), "a link of user");
    // A link of one's own leads there, and `..` goes back on the real path.
    symlink(at("shared/dir/store"), at("mine")).unwrap();
    let store = Images::open(at("mine/../store")).unwrap();
    assert_eq!(store.path(), at("shared/dir/store").canonicalize().unwrap());
}

/// The directory of a caller in the test below.
const DIR: &str = "TARE_TEST_STORE_DIR";
/// Set if that caller is uid 0 of a user namespace.
const IN_NAMESPACE: &str = "TARE_TEST_STORE_IN_NAMESPACE";

#[test]
fn store_below_others_is_refused_to_any_caller() {
    need!(root, user("plain"), user("subids"), userns);
    for kind in CALLERS {
        let user = caller(kind);
        let [plain, subids] = [false, true].map(ordinary_user);
        let other = if user.uid == plain.uid { subids } else { plain };
        let dir = user.tempdir();
        for (name, owner) in [("theirs", other.uid), ("theirs/dir", user.uid)] {
            let path = dir.path().join(name);
            fs::create_dir(&path).unwrap();
            chown(&path, Some(owner), None).unwrap();
        }
        let mut command = user.command(this_program());
        command.env(DIR, dir.path());
        if user.is_namespace_root {
            command.env(IN_NAMESPACE, "1");
        }
        passes_again(&mut command, "store_of_a_caller_below_others");
    }
}

#[test]
fn store_of_a_caller_below_others() {
    let Some(dir) = env::var_os(DIR).map(PathBuf::from) else {
        // The test above runs this.
        return;
    };
    let refused = |path: &str, why: &str| {
        let error = Images::open(dir.join(path)).unwrap_err();
        assert_eq!(error.kind(), Kind::Permission, "{error}");
        assert!(error.to_string().contains(why), "{error}");
    };
    fs::create_dir_all(dir.join("shared/dir")).unwrap();
    fs::set_permissions(dir.join("shared"), fs::Permissions::from_mode(0o777)).unwrap();
    refused("shared/dir/store", "other users may write to it");
    if env::var_os(IN_NAMESPACE).is_none() {
        return refused("theirs/dir/store", "belongs to user");
    }
    // A user without an id in the namespace looks as root of the machine does.
    Images::open(dir.join("theirs/dir/store")).unwrap();
    fs::create_dir_all(dir.join("mapped/dir")).unwrap();
    if chown(dir.join("mapped"), Some(5), None).is_ok() {
        refused("mapped/dir/store", "belongs to user 5");
    }
}

/// The user of a parent swaps a store of root's for another directory all the
/// time.
#[test]
fn store_open_while_a_parent_is_swapped_sweeps_nothing_else() {
    need!(root, user("plain"));
    let user = ordinary_user(false);
    let dir = user.tempdir();
    let (place, victim) = (dir.path().join("place"), dir.path().join("victim"));
    for tree in [&place, &victim] {
        fs::create_dir_all(tree.join("store/scratch/kept")).unwrap();
    }
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let flags = RenameFlags::RENAME_EXCHANGE;
                renameat2(AT_FDCWD, &place, AT_FDCWD, &victim, flags).unwrap();
            }
        });
        let opened = (0..200).filter(|_| Images::open(place.join("store")).is_ok());
        let opened = opened.count();
        stop.store(true, Ordering::Relaxed);
        assert_eq!(opened, 0);
    });
    for tree in [&place, &victim] {
        assert!(tree.join("store/scratch/kept").exists());
    }
}
