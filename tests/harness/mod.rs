// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes for tests: a store and a small busybox tree in a temporary
//! directory, and short ways to run things in them.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub(crate) mod settle;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process;

use tare::{Command, Output, Sandbox, Spec, Store};

/// The tree's users and groups.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      alice:x:1000:1000::/home/alice:/bin/sh\n\
                      bob:x:1001:100::relative:/bin/sh\n";
const GROUP: &str =
    "root:x:0:\nwheel:x:10:alice,bob\nstaff:x:50:alice\nusers:x:100:\nalice:x:1000:\n";

/// A store with its own helper process, beside a busybox tree.
pub(crate) struct Ground {
    temp: tempfile::TempDir,
    name: &'static str,
    pub(crate) store: Store,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::named("ground")
    }

    /// With this as a part of every path.
    pub(crate) fn named(name: &'static str) -> Self {
        let temp = tempfile::tempdir().unwrap();
        busybox_tree(&temp.path().join(name).join("root"));
        let store = Store::open(&temp.path().join(name).join("store")).unwrap();
        Self { temp, name, store }
    }

    /// The same directory with a new handle of its store: the old helper ends.
    pub(crate) fn without_helper(self) -> Self {
        let Self { temp, name, store } = self;
        drop(store);
        let store = Store::open(&temp.path().join(name).join("store")).unwrap();
        Self { temp, name, store }
    }

    /// A file of a test's own.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(self.name).join(name)
    }

    /// A new directory here.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir(&path).unwrap();
        path
    }

    /// The busybox tree.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// The directory of sandboxes' writes to disk.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.path("store/scratch")
    }

    /// Defaults on the busybox tree.
    pub(crate) fn spec(&self) -> Spec {
        Spec {
            image: format!("dir:{}", self.root().display()),
            ..Spec::default()
        }
    }

    /// The defaults with these keys over them, as JSON.
    pub(crate) fn spec_with(&self, json: &str) -> Spec {
        let mut spec = Spec::from_json(json).unwrap_or_else(|e| panic!("{json}: {e}"));
        if spec.image == "host" {
            spec.image = self.spec().image;
        }
        spec
    }

    pub(crate) fn open(&self) -> Sandbox {
        self.open_with("{}")
    }

    #[track_caller]
    pub(crate) fn open_with(&self, json: &str) -> Sandbox {
        let sandbox = Sandbox::open(&self.store, &self.spec_with(json));
        sandbox.unwrap_or_else(|e| panic!("{json}: {e}"))
    }

    /// A sandbox that sees the machine's own programs.
    pub(crate) fn open_host(&self) -> Sandbox {
        Sandbox::open(&self.store, &Spec::default()).unwrap()
    }
}

/// A new ground, and a sandbox with the defaults on it.
pub(crate) fn open_default() -> (Ground, Sandbox) {
    let ground = Ground::new();
    let sandbox = ground.open();
    (ground, sandbox)
}

/// A root directory with busybox for everything, a few users, and links to
/// follow.
pub(crate) fn busybox_tree(root: &Path) {
    for dir in ["bin", "etc", "home/alice", "root", "tmp", "usr/bin"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    copy_program(&busybox_path(), &busybox);
    let list = process::Command::new(busybox_path()).arg("--list").output();
    for applet in String::from_utf8(list.unwrap().stdout).unwrap().lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
    }
    fs::write(root.join("etc/passwd"), PASSWD).unwrap();
    fs::write(root.join("etc/group"), GROUP).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("/etc", root.join("link")).unwrap();
}

/// A tree as a layer of an image.
pub(crate) fn tar_of_tree(root: &Path) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    tar.follow_symlinks(false);
    tar.mode(tar::HeaderMode::Deterministic);
    tar.append_dir_all(".", root).unwrap();
    tar.into_inner().unwrap()
}

/// Copies by another process: a file open for writing cannot be executed, even
/// if only a child of another test holds the file before its exec.
pub(crate) fn copy_program(from: &Path, to: &Path) {
    let copied = process::Command::new("cp").arg(from).arg(to).status();
    assert!(copied.unwrap().success());
}

/// A static busybox of this machine.
fn busybox_path() -> PathBuf {
    let found = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    let found = found.into_iter().find(|p| p.exists());
    found.expect("busybox-static is installed (scripts/setup.sh)")
}

/// Asserts that `check` holds in a fork of this process, which gets `held`,
/// too: a check calls the library alone, and panics nowhere.
#[track_caller]
pub(crate) fn holds_in_a_fork<T>(held: T, check: impl FnOnce(T) -> bool) -> T {
    // SAFETY: the child only calls the library, which takes no lock that
    // another thread could hold here, and _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let holds = check(held);
        // SAFETY: ends this process without running anything of the parent's.
        unsafe { libc::_exit(i32::from(!holds)) };
    }
    let mut status = -1;
    // SAFETY: `status` outlives the call.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0);
    held
}

/// A line for the shell.
pub(crate) fn sh(line: &str) -> Command {
    Command::from_argv(["sh", "-c", line])
}

/// Runs a command.
#[track_caller]
pub(crate) fn run(sandbox: &Sandbox, command: Command) -> Output {
    sandbox.run(command).unwrap_or_else(|e| panic!("{e}"))
}

/// Returns standard output; the command must succeed and write nothing to
/// standard error.
#[track_caller]
pub(crate) fn text(sandbox: &Sandbox, command: Command) -> String {
    let output = run(sandbox, command);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the line's output, without the newline at its end.
#[track_caller]
pub(crate) fn line(sandbox: &Sandbox, line: &str) -> String {
    text(sandbox, sh(line)).trim_end().to_owned()
}
