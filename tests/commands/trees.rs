// SPDX-License-Identifier: MIT OR Apache-2.0
//! The places of writes: the root, the caller's mounts, and a plain directory.

use std::fs;
use std::path::Path;
use std::process;

use tare::{Command, Sandbox, Spec};
use tare_oracle::need;
use tare_oracle::tree::manifest;

use crate::harness::{Ground, busybox_tree, line, run, sh, text};

#[test]
fn write_memory_and_disk_leave_the_image_alone() {
    let ground = Ground::new();
    let before = manifest(ground.root()).unwrap();
    for write in ["memory", "disk"] {
        let json = format!(r#"{{"write": "{write}"}}"#);
        let sandbox = ground.open_with(&json);
        run(
            &sandbox,
            sh(
                "echo new >/new; rm /etc/group; echo more >>/etc/passwd; chmod 700 /bin; mv /home /house",
            ),
        );
        assert_eq!(
            line(&sandbox, "cat /new; ls /house; tail -n 1 /etc/passwd"),
            "new\nalice\nmore"
        );
        // The directory and its lock.
        let scratch = fs::read_dir(ground.scratch()).unwrap().count();
        assert_eq!(scratch, 2 * usize::from(write == "disk"));
        let other = ground.open_with(&json);
        assert_eq!(
            line(&other, "ls /new 2>/dev/null; ls /etc/group"),
            "/etc/group"
        );
        sandbox.close().unwrap();
        other.close().unwrap();
        assert_eq!(
            fs::read_dir(ground.scratch()).unwrap().count(),
            0,
            "{write}"
        );
    }
    let left = tare_oracle::tree::compare(&before, &manifest(ground.root()).unwrap());
    assert!(left.is_empty(), "{left:?}");
}

/// A mount of the test's own, gone when the test is.
pub(crate) struct Mounted(std::path::PathBuf);

impl Mounted {
    pub(crate) fn tmpfs(on: &Path) -> Self {
        mount_tmpfs(on);
        Self(on.into())
    }
}

fn mount_tmpfs(on: &Path) {
    fs::create_dir_all(on).unwrap();
    let done = process::Command::new("mount")
        .args(["-t", "tmpfs", "none"])
        .arg(on)
        .status();
    assert!(done.unwrap().success());
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[test]
fn mount_bind_read_only_reaches_what_is_mounted_below() {
    need!(root, program("mount"));
    let ground = Ground::new();
    let work = ground.dir("work");
    // All entries below go with the directory.
    let _mounted = Mounted::tmpfs(&work);
    // A mount below another, both covered by two more; a name that
    // proc_pid_mountinfo(5) writes in octal.
    let odd = "be low\\\n\t";
    for name in ["below", "below/deep", "below", "below/deep", odd] {
        mount_tmpfs(&work.join(name));
        fs::write(work.join(name).join("file"), name).unwrap();
    }
    let json = format!(
        r#"{{"mounts": ["{0}:/w:ro", "{0}:/rw"], "security": {{"readonly_paths": ["/rw/below"]}}}}"#,
        work.display()
    );
    let sandbox = ground.open_with(&json);
    for dir in [
        "/w",
        "/w/below",
        "/w/below/deep",
        "/w/be?low*",
        "/rw/below",
        "/rw/below/deep",
    ] {
        let refused = run(&sandbox, sh(&format!("cd {dir} && echo x >new")));
        let shown = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(shown.contains("Read-only file system"), "{dir}: {shown}");
    }
    assert_eq!(line(&sandbox, "cat /w/below/file"), "below");
    assert_eq!(line(&sandbox, "cat /w/be?low*/file"), odd.trim_end());
    assert_eq!(line(&sandbox, "cd /rw/be?low*; echo x >new; cat new"), "x");
}

#[test]
fn plain_directory_keeps_what_is_written() {
    let ground = Ground::new();
    let root = ground.path("plain");
    busybox_tree(&root);
    let sandbox = Sandbox::open_in(&ground.store, &root, &Spec::default()).unwrap();
    let effective = sandbox.effective().unwrap();
    assert_eq!(
        (&*effective.storage, effective.unique_inodes),
        ("plain", None)
    );
    line(&sandbox, "echo kept >/kept");
    sandbox.close().unwrap();
    assert_eq!(fs::read_to_string(root.join("kept")).unwrap(), "kept\n");
    let again = Sandbox::open_in(&ground.store, &root, &Spec::default()).unwrap();
    assert_eq!(line(&again, "cat /kept"), "kept");
}

#[test]
fn image_with_separators_in_its_name_is_mounted() {
    let ground = Ground::new();
    let root = ground.path("a,b:c\\d e\u{fc}");
    fs::rename(ground.root(), &root).unwrap();
    for storage in ["overlay", "copy"] {
        let mut spec = ground.spec_with(&format!(r#"{{"storage": "{storage}"}}"#));
        spec.image = format!("dir:{}", root.display());
        let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
        assert_eq!(line(&sandbox, "echo x >/new; cat /new"), "x");
        assert_eq!(sandbox.effective().unwrap().storage, storage);
    }
    assert!(!root.join("new").exists());
}

#[test]
fn host_view_runs_its_programs_and_keeps_its_files() {
    let ground = Ground::new();
    let marker = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    fs::write(marker.path(), "outside").unwrap();
    let sandbox = ground.open_host();
    let script = format!("echo inside >{0}; cat {0}", marker.path().display());
    assert_eq!(line(&sandbox, &script), "inside");
    assert_eq!(fs::read_to_string(marker.path()).unwrap(), "outside");
}

/// An ordinary user's root is more than one file system.
#[test]
fn host_view_is_held_to_its_size() {
    let ground = Ground::new();
    let spec = Spec::from_json(r#"{"limits": {"disk": "2m"}}"#).unwrap();
    let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
    for dir in ["", "/tmp"] {
        let script = format!("dd if=/dev/zero of={dir}/big bs=64k count=64");
        let full = run(&sandbox, sh(&script));
        let shown = String::from_utf8_lossy(&full.stderr);
        assert!(shown.contains("No space left"), "{dir}: {shown}");
    }
}

/// Empty files take no bytes of a tmpfs, but memory of the kernel.
#[test]
fn mounts_in_memory_are_held_to_their_inodes() {
    let ground = Ground::new();
    let tmpfs = r#"{"mounts": [{"type": "tmpfs", "target": "/t", "options": ["size=1m"]}]}"#;
    let host = Spec::from_json(r#"{"limits": {"disk": "2m"}}"#).unwrap();
    for (spec, dirs) in [
        (ground.spec_with(tmpfs), &["/t"][..]),
        (host, &["/many", "/tmp/many"]),
    ] {
        for dir in dirs {
            let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
            let script = format!("mkdir -p {dir}; cd {dir} && seq 3000 | xargs touch; ls | wc -l");
            let full = run(&sandbox, sh(&script));
            let shown = String::from_utf8_lossy(&full.stderr);
            assert!(shown.contains("No space left"), "{dir}: {full:?}");
            let count: usize = String::from_utf8_lossy(&full.stdout)
                .trim()
                .parse()
                .unwrap();
            assert!((1..=1024).contains(&count), "{dir}: {count}");
        }
    }
}

/// Prints each entry below a few directories with differing numbers.
pub(crate) const NUMBERS: &str = r#"
import os, sys
try:
    open("/etc/new", "w").close()
except PermissionError:
    pass
for top in sys.argv[1:]:
    for entry in os.scandir(top):
        said = os.lstat(entry.path)
        if entry.inode() != said.st_ino or said.st_dev != os.lstat(top).st_dev:
            print(entry.path, entry.inode(), said.st_ino, said.st_dev)
"#;

#[test]
fn host_has_one_device_and_one_number_for_each_file() {
    need!(overlay, program("python3"));
    let ground = Ground::new();
    for write in ["memory", "disk"] {
        let spec = Spec::from_json(&format!(r#"{{"write": "{write}"}}"#)).unwrap();
        let sandbox = Sandbox::open(&ground.store, &spec).unwrap();
        let argv = ["python3", "-c", NUMBERS, "/etc", "/usr/share", "/usr/bin"];
        assert_eq!(text(&sandbox, Command::from_argv(argv)), "", "{write}");
        let unique = sandbox.effective().unwrap().unique_inodes;
        assert_eq!(unique, Some(true), "{write}");
    }
}

/// du(1) `-x` skips files of other devices, and df(1) finds no file system of a
/// device that no mount has.
#[test]
fn host_in_memory_has_one_device_for_du_and_df() {
    need!(overlay, program("du"), program("df"));
    let ground = Ground::new();
    let sandbox = Sandbox::open(&ground.store, &Spec::default()).unwrap();
    let counted = "all=$(du -s /usr/bin 2>/dev/null | cut -f1); one=$(du -sx /usr/bin 2>/dev/null | cut -f1); \
        test $all -gt 1000 -a $all = $one; echo $?; df --output=source /usr/bin/du | tail -n 1";
    assert_eq!(line(&sandbox, counted), "0\noverlay");
}
