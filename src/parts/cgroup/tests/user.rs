// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cgroups of an ordinary user, with and without a delegation.

use std::io::Write as _;

use super::*;

/// An id without any rights.
const USER: u32 = 65534;

/// Runs the ignored test `body` of this file in another process, as an ordinary
/// user; `place` may move that process before it begins.
fn run_as_user(body: &str, place: impl FnOnce(u32)) {
    // By the link, since the user may not be able to walk to the file.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--ignored", "--exact", "--nocapture"]);
    command.arg(format!("parts::cgroup::tests::user::{body}"));
    command
        .uid(USER)
        .gid(USER)
        .current_dir("/")
        .stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    place(child.id());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Waits until the other side of [`run_as_user`] has put us into our place.
fn wait_for_place() {
    std::io::stdin().read_line(&mut String::new()).unwrap();
    assert_eq!(nix::unistd::geteuid().as_raw(), USER);
}

/// A directory given to the user in each of `hierarchies`, with one inside it
/// that is not.
struct Delegated(Vec<PathBuf>);

impl Delegated {
    fn new(name: &str) -> Self {
        let layout = Layout::detect().unwrap();
        let memory = layout
            .v1()
            .iter()
            .find(|h| h.controllers.iter().any(|c| c == "memory"));
        let mut dirs = Vec::new();
        if let Some(v2) = layout.v2() {
            if layout.home("memory") == layout::Home::V2 {
                v2::find_parent(v2, &["memory"]).unwrap();
            }
            dirs.push(v2.mount.join(name));
        }
        dirs.extend(memory.map(|h| h.own.join(name)));
        for dir in &dirs {
            std::fs::create_dir_all(dir.join("host")).unwrap();
            let chown = |path: &Path| std::os::unix::fs::chown(path, Some(USER), Some(USER));
            chown(dir).unwrap();
            for file in ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
                // v1 lacks the last two.
                let _ = chown(&dir.join(file));
            }
        }
        Self(dirs)
    }

    /// Moves `pid` in: of v1 into what was given, of v2 one below, since it is
    /// to have limits.
    fn take(&self, pid: u32) {
        for dir in &self.0 {
            let inner = match dir.join("cgroup.subtree_control").exists() {
                true => dir.join("host"),
                false => dir.clone(),
            };
            std::fs::write(inner.join("cgroup.procs"), pid.to_string()).unwrap();
        }
    }
}

impl Drop for Delegated {
    fn drop(&mut self) {
        for dir in &self.0 {
            let _ = std::fs::remove_dir(dir.join("host"));
            let gone = std::fs::remove_dir(dir);
            assert!(std::thread::panicking() || gone.is_ok(), "{gone:?}");
        }
    }
}

#[test]
fn user_without_delegation_is_told_the_cure() {
    need!(root);
    run_as_user("body_without_delegation", |_| {});
}

#[test]
#[ignore = "runs as another user, started by the test above"]
fn body_without_delegation() {
    wait_for_place();
    let layout = Layout::detect().unwrap();
    let none = Limits::default();
    let cgroup = Cgroup::create(&layout, &new_id(), &none, &[], None).unwrap();
    assert!(cgroup.paths().is_empty(), "{:?}", cgroup.paths());

    let asked = limits(r#"{"memory": "64m"}"#);
    let error = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(error.errno(), Some(libc::EACCES));
    let cure = match layout.home("memory") {
        layout::Home::V1(_) => "chown -R 65534 /sys/fs/cgroup/memory",
        _ => "systemd-run --user --scope -p Delegate=yes PROGRAM",
    };
    let text = error.to_string();
    assert!(
        text.starts_with("set limits.memory: make a cgroup in /sys/fs/cgroup"),
        "{text}"
    );
    assert!(error.cure().unwrap().contains(cure), "{text}");

    let best_effort = ["limits.memory".into()];
    let cgroup = Cgroup::create(&layout, &new_id(), &asked, &best_effort, None).unwrap();
    assert_eq!(cgroup.left_out()[0].key, "limits.memory");
}

#[test]
fn user_with_delegation_gets_limits_and_kill() {
    need!(root);
    let delegated = Delegated::new("tare_test_delegated");
    run_as_user("body_with_delegation", |pid| delegated.take(pid));
}

#[test]
#[ignore = "runs as another user, started by the test above"]
fn body_with_delegation() {
    wait_for_place();
    let cgroup = Scratch::new(r#"{"memory": "64m"}"#);
    assert_eq!(cgroup.limit("limits.memory"), (64 << 20).to_string());
    assert!(
        cgroup
            .paths()
            .iter()
            .all(|p| p.to_str().unwrap().contains("tare_test_delegated/"))
    );
    let mut child = cgroup.starts("sleep 60 & sleep 60");
    cgroup.kill();
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}
