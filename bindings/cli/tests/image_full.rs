// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare image rm` on full disks of each kind, where removing images helps.

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Said, Tare, everybody};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use tare_oracle::{image, need};
use tempfile::TempDir;

/// Size above the minimum of mkfs.xfs(8); the file stays sparse.
const SIZE: u64 = 320 << 20;

/// A small file system, mounted for this thread and its children.
struct Disk {
    dir: TempDir,
}

impl Disk {
    fn new(program: &str, flags: &[&str]) -> Self {
        let dir = TempDir::new().unwrap();
        let (image, at) = (dir.path().join("image"), dir.path().join("disk"));
        File::create(&image).unwrap().set_len(SIZE).unwrap();
        fs::create_dir(&at).unwrap();
        let mut make = Command::new(program);
        assert!(make.args(flags).arg(&image).status().unwrap().success());
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-o", "loop"]).args([&image, &at]).status();
        assert!(mounted.unwrap().success());
        // The user's directory is below the mount point.
        fs::set_permissions(
            dir.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        Self { dir }
    }

    fn at(&self) -> PathBuf {
        self.dir.path().join("disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = umount2(&self.at(), MntFlags::MNT_DETACH);
    }
}

/// Leaves no block, but inodes and room for them.
fn fill(disk: &Path) {
    let dir = disk.join("full");
    fs::create_dir(&dir).unwrap();
    let mut number = 0;
    for len in [64 << 20, 1 << 20, 65_536] {
        let takes = |number: i32| {
            let file = File::create(dir.join(number.to_string()));
            file.is_ok_and(|file| fallocate(&file, FallocateFlags::empty(), 0, len).is_ok())
        };
        while takes(number) {
            number += 1;
        }
        number += 1;
    }
    if let Ok(mut file) = File::create(dir.join("rest")) {
        for len in [4096, 512, 1] {
            while file.write_all(&vec![1; len]).is_ok() {}
            let _ = file.sync_all();
        }
    }
    // A directory that must grow finds no block either.
    (0..1000).all(|n| File::create(dir.join(format!("empty{n}"))).is_ok());
    let written = File::create(disk.join("more")).and_then(|mut file| {
        file.write_all(&[1; 8192])?;
        file.sync_all()
    });
    assert!(written.is_err(), "it is not full");
    let _ = fs::remove_file(disk.join("more"));
}

/// Removes an image, name by name.
fn removes_on(tare: &Tare, disk: &Path, names: &[&str]) {
    let owner = fs::metadata(tare.store.path()).unwrap();
    let own = disk.join("own");
    fs::create_dir(&own).unwrap();
    chown(&own, Some(owner.uid()), Some(owner.gid())).unwrap();
    let run = |args: &[&str]| {
        let mut command = tare.command(args);
        Said::of(
            command
                .env("TARE_STORE", own.join("store"))
                .output()
                .unwrap(),
        )
    };
    let source = format!("oci:{}", image("busybox").display());
    run(&["image", "import", &source, "box"]).ok();
    for name in &names[1..] {
        run(&["image", "tag", "box", name]).ok();
    }
    fill(disk);
    // Removing a name frees no block while another name is left.
    for (left, name) in names.iter().enumerate().rev() {
        let freed = if left == 0 { " 3 blobs " } else { " 0 blobs " };
        assert!(run(&["image", "rm", name]).ok().contains(freed), "{name}");
    }
    assert_eq!(run(&["image", "list", "--json"]).ok(), "[]");
    assert!(run(&["store", "check"]).ok().ends_with(" 0 problems"));
    // The freed blocks can be written.
    fs::write(disk.join("more"), vec![1; 100_000]).unwrap();
    for path in [own, disk.join("full"), disk.join("more")] {
        let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
    }
}

fn everybody_removes_on(program: &str, flags: &[&str], names: &[&str]) {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let disk = Disk::new(program, flags);
    everybody()
        .iter()
        .for_each(|tare| removes_on(tare, &disk.at(), names));
}

#[test]
fn image_goes_from_a_full_ext4() {
    need!(root, userns, program("mkfs.ext4"), image("busybox"));
    everybody_removes_on("mkfs.ext4", &["-qF", "-m0"], &["box", "other"]);
}

#[test]
fn image_goes_from_a_full_xfs() {
    need!(
        root,
        userns,
        filesystem("xfs"),
        program("mkfs.xfs"),
        image("busybox")
    );
    // XFS makes no file of its last blocks, so a second change of the index may
    // find no room.
    everybody_removes_on("mkfs.xfs", &["-qf"], &["box"]);
}

#[test]
fn image_goes_from_a_full_btrfs() {
    need!(
        root,
        userns,
        filesystem("btrfs"),
        program("mkfs.btrfs"),
        image("busybox")
    );
    everybody_removes_on("mkfs.btrfs", &["-qf"], &["box", "other"]);
}
