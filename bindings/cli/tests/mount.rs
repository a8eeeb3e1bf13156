// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare mount` and `tare umount`: views outlive tare, leave no files, and keep
//! their layers in the store.

mod common;

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use common::Tare;
use tare_oracle::{image, need};

fn busybox() -> String {
    format!("oci:{}", image("busybox").display())
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Counts the mounts on a directory.
fn mounts_on(dir: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let on = |line: &&str| line.split(' ').nth(4) == dir.to_str();
    mounts.lines().filter(on).count()
}

/// Counts the records of mounts in the store.
fn records(tare: &Tare) -> usize {
    fs::read_dir(tare.store.path().join("mounts")).map_or(0, Iterator::count)
}

/// Undoes a mount. Each start of a sandbox copies all mounts of the machine,
/// and keeps each busy for a moment.
#[track_caller]
fn umount(tare: &Tare, dir: &Path) {
    let began = Instant::now();
    loop {
        let said = tare.run(&["umount", text(dir)]);
        if !said.stderr.contains("EBUSY") || began.elapsed() > Duration::from_secs(30) {
            said.ok();
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn mount_shows_a_view_and_umount_takes_it_away() {
    need!(root, overlay, image("busybox"));
    let tare = Tare::new();
    let image = busybox();
    for flags in [
        &[][..],
        &["--write", "memory", "--disk", "1m"],
        &["--write", "disk"],
        &["--write", "disk", "--storage", "copy"],
    ] {
        let dir = tare.tempdir();
        let args = [&["mount"][..], flags, &[&image, text(dir.path())]].concat();
        for _ in 0..2 {
            tare.run(&args).ok();
            assert_eq!(mounts_on(dir.path()), 1, "{flags:?}");
            assert!(dir.path().join("bin/sh").exists(), "{flags:?}");
            // Earlier writes are gone.
            assert!(!dir.path().join("written").exists(), "{flags:?}");
            fs::write(dir.path().join("written"), "x").unwrap();
            let full = fs::write(dir.path().join("big"), vec![0; 2 << 20]).is_err();
            assert_eq!(full, flags.contains(&"1m"), "{flags:?}");
            tare.run(&["store", "recover"]).ok();
            assert!(dir.path().join("written").exists(), "{flags:?}");
            umount(&tare, dir.path());
            assert_eq!((mounts_on(dir.path()), records(&tare)), (0, 0), "{flags:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{flags:?}");
        }
    }
}

#[test]
fn mount_without_writes_is_read_only() {
    need!(root, overlay, image("busybox"));
    let tare = Tare::new();
    let dir = tare.tempdir();
    tare.run(&["mount", "--write", "none", &busybox(), text(dir.path())])
        .ok();
    let denied = fs::write(dir.path().join("written"), "x").unwrap_err();
    assert_eq!(denied.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    umount(&tare, dir.path());
}

#[test]
fn mount_of_the_host_and_of_a_directory_leave_both_alone() {
    need!(root, overlay);
    let tare = Tare::new();
    let dir = tare.tempdir();
    let lower = tare.tempdir();
    fs::write(lower.path().join("old"), "x").unwrap();
    let source = format!("dir:{}", lower.path().display());
    tare.run(&["mount", &source, text(dir.path())]).ok();
    fs::remove_file(dir.path().join("old")).unwrap();
    assert!(lower.path().join("old").exists());
    umount(&tare, dir.path());
    tare.run(&["mount", "host", text(dir.path())]).ok();
    assert!(dir.path().join("etc/passwd").exists());
    umount(&tare, dir.path());
    assert_eq!(mounts_on(dir.path()), 0);
}

#[test]
fn mounted_layers_stay_when_their_image_is_removed() {
    need!(root, overlay, image("busybox"));
    let tare = Tare::new();
    let dir = tare.tempdir();
    tare.run(&["image", "import", &busybox(), "box"]).ok();
    tare.run(&["mount", "box", text(dir.path())]).ok();
    let said = tare.run(&["image", "remove", "box"]);
    assert!(said.ok().contains("1 in use"), "{said:?}");
    assert!(dir.path().join("bin/sh").exists());
    umount(&tare, dir.path());
    let said = tare.run(&["store", "gc"]);
    assert!(said.ok().contains("1 unpacked layers"), "{said:?}");
}

#[test]
fn mount_in_use_is_busy_unless_lazy() {
    need!(root, overlay);
    let tare = Tare::new();
    let dir = tare.tempdir();
    tare.run(&["mount", "--write", "disk", "host", text(dir.path())])
        .ok();
    let held = fs::File::open(dir.path().join("etc/passwd")).unwrap();
    tare.run(&["umount", text(dir.path())])
        .fails(125, &["EBUSY", "--lazy"]);
    assert_eq!(mounts_on(dir.path()), 1);
    tare.run(&["umount", "--lazy", text(dir.path())]).ok();
    assert_eq!((mounts_on(dir.path()), records(&tare)), (0, 0));
    drop(held);
}

#[test]
fn mount_that_cannot_be_leaves_nothing() {
    need!(root, overlay, user("plain"));
    let tare = Tare::new();
    let dir = tare.tempdir();
    let at = text(dir.path());
    tare.run(&["mount", "host", "/no/such"])
        .fails(125, &["/no/such", "ENOENT"]);
    tare.run(&["mount", "no-such-image", at])
        .fails(125, &["not in the store"]);
    tare.run(&["mount", "host", "/etc/passwd"])
        .fails(125, &["/etc/passwd", "ENOTDIR"]);
    tare.run(&["mount", "--storage", "copy", "host", at])
        .fails(125, &["cannot be copied"]);
    tare.run(&["umount", at])
        .fails(125, &["nothing of this store"]);
    assert_eq!((mounts_on(dir.path()), records(&tare)), (0, 0));
    let user = Tare::of(tare_oracle::ordinary_user(false));
    let dir = user.tempdir();
    user.run(&["mount", "host", text(dir.path())])
        .fails(125, &["ordinary user", "try: root"]);
    assert_eq!(records(&user), 0);
}
