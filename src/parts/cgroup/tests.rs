// SPDX-License-Identifier: MIT OR Apache-2.0
//! Compares cgroups with the kernel's own account, as root, on the layout of
//! this machine.
//!
//! `guest` runs them again in virtual machines with the other layouts.

use std::io::Read as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tare_oracle::need;

use super::kill::kill_all;
use super::*;
use crate::error::Kind;
use crate::spec::{Limits, Security};

mod devices;
mod events;
mod guest;
mod kill;
mod limits;
mod user;

/// An id of this process that no other test has.
fn new_id() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("{}-{n}", Owner::current().unwrap())
}

fn limits(json: &str) -> Limits {
    serde_json::from_str(json).unwrap()
}

/// A cgroup that is killed and removed with its test.
struct Scratch(Cgroup);

impl Scratch {
    fn new(json: &str) -> Self {
        let layout = Layout::detect().unwrap();
        let made = Cgroup::create(&layout, &new_id(), &limits(json), &[], None);
        Self(made.unwrap())
    }

    /// A shell command that enters the cgroups, then runs `script`.
    fn shell(&self, script: &str) -> Command {
        let enter = |p: &&Path| format!("echo 0 > {}/cgroup.procs && ", p.display());
        let enter: String = self.paths().iter().map(enter).collect();
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{enter} {script}"));
        command
    }

    fn run(&self, script: &str) -> Output {
        self.shell(script).output().unwrap()
    }

    fn limit(&self, key: &str) -> String {
        let effective = self.effective().unwrap();
        let found = effective.limits.iter().rfind(|l| l.key == key);
        found
            .unwrap_or_else(|| panic!("{key} is not in {effective:?}"))
            .value
            .clone()
    }

    /// Kills everything inside.
    fn kill(&self) {
        self.nodes().for_each(|node| kill_all(node).unwrap());
    }

    fn is_empty(&self) -> bool {
        self.nodes()
            .all(|node| node.processes().is_ok_and(|list| list.is_empty()))
    }

    /// Starts `script` inside; returns once it is there.
    fn starts(&self, script: &str) -> Child {
        let mut child = self
            .shell(&format!("echo in; {script}"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut word = [0; 3];
        child
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut word)
            .unwrap();
        child
    }
}

impl std::ops::Deref for Scratch {
    type Target = Cgroup;
    fn deref(&self) -> &Cgroup {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.is_empty() {
            for node in self.nodes() {
                // A removed cgroup has no process to kill.
                let _ = kill_all(node);
            }
        }
        let removed = self.0.remove();
        if !std::thread::panicking() {
            removed.unwrap();
            for path in self.paths() {
                assert!(!path.exists(), "{} is left", path.display());
            }
        }
    }
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within five seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Asserts that no directory is called after `id`, wherever it might have been
/// made.
fn assert_nothing_left(layout: &Layout, id: &str) {
    for hierarchy in layout.v1().iter().chain(layout.v2()) {
        for dir in hierarchy.own.ancestors() {
            let path = dir.join(format!("{PREFIX}{id}"));
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
}

#[test]
fn create_in_a_machine_without_cgroups_names_the_mount() {
    let layout = Layout::parse("", "");
    let none = Limits::default();
    let cgroup = Cgroup::create(&layout, &new_id(), &none, &[], None).unwrap();
    assert!(cgroup.paths().is_empty());
    assert_eq!(cgroup.effective().unwrap().version, "none");
    assert_eq!(cgroup.freeze().unwrap_err().kind(), Kind::Unsupported);

    let asked = limits(r#"{"pids": 9}"#);
    let error = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(
        error.cure(),
        Some("as root: mount -t cgroup2 none /sys/fs/cgroup")
    );
}

#[test]
fn create_refuses_ids_that_are_no_plain_names() {
    let layout = Layout::default();
    let long = "x".repeat(65);
    for id in ["", "a/b", "../a", "a b", "a\n", "a\0", long.as_str()] {
        let made = Cgroup::create(&layout, id, &Limits::default(), &[], None);
        assert_eq!(made.unwrap_err().kind(), Kind::Invalid, "{id:?}");
    }
}

#[test]
fn create_of_taken_id_leaves_the_first() {
    need!(root);
    let layout = Layout::detect().unwrap();
    let first = Scratch::new(r#"{"pids": 9, "memory": "64m"}"#);
    let name = first.paths()[0].file_name().unwrap().to_str().unwrap();
    let id = name.strip_prefix(PREFIX).unwrap();
    let asked = limits(r#"{"pids": 9, "memory": "64m"}"#);
    let error = Cgroup::create(&layout, id, &asked, &[], None).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    assert!(first.paths().iter().all(|p| p.exists()));
}

#[test]
fn tasks_files_let_another_process_in() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 9, "memory": "64m"}"#);
    for file in cgroup.tasks_files() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo 0; cat /proc/self/cgroup >&2"]);
        command
            .stdout(Stdio::from(file.try_clone().unwrap()))
            .stderr(Stdio::piped());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains(PREFIX), "{text}");
    }
    let v1 = cgroup.paths().len() - usize::from(cgroup.v2_dir().is_some());
    assert_eq!(cgroup.tasks_files().len(), v1);
}

#[test]
fn remove_takes_cgroups_below_with_it_and_is_idempotent() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    for path in cgroup.paths() {
        std::fs::create_dir_all(path.join("a/b")).unwrap();
    }
    cgroup.remove().unwrap();
    cgroup.remove().unwrap();
    assert!(cgroup.paths().iter().all(|p| !p.exists()));
}

#[test]
fn recover_removes_dead_owners_only() {
    need!(root);
    let layout = Layout::detect().unwrap();
    let make = |id: &str| {
        let asked = limits(r#"{"pids": 99}"#);
        Scratch(Cgroup::create(&layout, id, &asked, &[], None).unwrap())
    };
    let swept = |id: &str| {
        let swept = sweep_cgroups(&layout, |found| found != id);
        assert!(swept.failed.is_empty(), "{:?}", swept.failed);
        swept.removed.len()
    };
    // Number 0 is no process's; the time of start of process 1 is not 77777777.
    let (dead, reused) = (&*format!("0-{}-1", std::process::id()), "1-77777777-1");
    assert!(!Owner::of(dead).unwrap().is_alive() && !Owner::of(reused).unwrap().is_alive());
    assert!(Owner::of(&new_id()).unwrap().is_alive());
    assert!(Owner::of("a-1-1").is_none() && Owner::of("1-1").is_none());

    let mut cgroup = make(dead);
    let mut child = cgroup.starts("sleep 60");
    assert_eq!(swept(dead), 0, "the lock shows that the owner lives");
    let paths: Vec<_> = cgroup.paths().iter().map(|p| p.to_path_buf()).collect();
    (cgroup.0.v2, cgroup.0.v1) = (None, Vec::new());
    // A child that another test forks holds a copy of the lock until its exec.
    wait_until("swept", || {
        swept(dead);
        paths.iter().all(|p| !p.exists())
    });
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));

    let live = make(&new_id());
    sweep_cgroups(&layout, may_live);
    assert!(live.paths().iter().all(|p| p.exists()));
}

#[test]
fn recover_cannot_be_kept_away_by_another_user() {
    need!(root, user("plain"));
    let layout = Layout::detect().unwrap();
    let id = format!("0-{}-7", std::process::id());
    let asked = limits(r#"{"pids": 99}"#);
    let mut cgroup = Scratch(Cgroup::create(&layout, &id, &asked, &[], None).unwrap());
    let paths: Vec<_> = cgroup.paths().iter().map(|p| p.to_path_buf()).collect();
    let user = tare_oracle::ordinary_user(false);
    for path in &paths {
        let mut attack = user.command("flock");
        let attack = attack.args(["-s", "-n"]).arg(path).arg("true");
        assert!(!attack.output().unwrap().status.success(), "{path:?}");
        let file = path.join("cgroup.procs");
        assert!(
            user.command("cat")
                .arg(file)
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    let hold = "for dir; do flock -s $dir sleep 60 & done; wait";
    let mut attack = user.command("sh");
    let mut attack = attack
        .args(["-c", hold, "sh"])
        .args(&paths)
        .spawn()
        .unwrap();
    (cgroup.0.v2, cgroup.0.v1) = (None, Vec::new());
    wait_until("swept", || {
        sweep_cgroups(&layout, |found| found != id);
        paths.iter().all(|p| !p.exists())
    });
    attack.kill().unwrap();
    attack.wait().unwrap();
}

#[test]
fn may_live_knows_the_dead_that_no_parent_has_reaped() {
    let own = Owner::current().unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    let stat = format!("/proc/{}/stat", child.id());
    let mut text = String::new();
    while !text.contains(") Z ") {
        text = std::fs::read_to_string(&stat).unwrap();
    }
    let start = text.rsplit(')').next().unwrap().split_whitespace().nth(19);
    let zombie = format!("{}-{}", child.id(), start.unwrap());
    let me = std::process::id();
    let ids = [
        ("a-1-1", true),
        (&format!("{own}-1"), true),
        (&format!("{own}-{me}.1"), true),
        // Its helper has ended.
        (&format!("{own}-{}.1", child.id()), false),
        (&format!("{own}-0.1"), false),
        (&format!("{zombie}-1"), false),
        // The helpers of others are their own affair.
        (&format!("1-77777777-{me}.1"), false),
    ];
    for (id, expected) in ids {
        assert_eq!(may_live(id), expected, "{id}");
    }
    child.wait().unwrap();
    assert!(!may_live(&format!("{zombie}-1")));
    assert!(!may_live(&format!("{own}-{}.1", child.id())));
}

/// Runs the command of a cure.
fn paste(command: &str) {
    let status = Command::new("sh").args(["-c", command]).status();
    assert!(status.unwrap().success(), "{command}");
}

/// As in a container of root that was given no controller.
#[test]
fn create_in_a_cgroup_without_controllers_names_the_way_out() {
    need!(root);
    let mut layout = Layout::detect().unwrap();
    if layout.home("pids") != layout::Home::V2 {
        return tare_oracle::needs::missing("pids_v2", "the pids controller in cgroup v2");
    }
    let top = layout.v2().unwrap().mount.clone();
    let above = top.join("tare_test_above");
    let own = above.join("own");
    std::fs::create_dir_all(&own).unwrap();
    layout.confine(&own);
    let asked = limits(r#"{"pids": 9}"#);
    let error = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap_err();
    let (_, command) = error.cure().unwrap().split_once(": ").unwrap();
    for dir in [&top, &above] {
        let pasted = command.replace("DIR", dir.to_str().unwrap());
        paste(&pasted);
    }
    let cured = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap();
    cured.remove().unwrap();
    [own, above]
        .iter()
        .for_each(|dir| std::fs::remove_dir(dir).unwrap());
}

/// As in a container of root, where no cgroup above is in sight.
#[test]
fn create_in_a_cgroup_with_processes_names_the_way_out() {
    need!(root);
    let mut layout = Layout::detect().unwrap();
    if layout.home("pids") != layout::Home::V2 {
        return tare_oracle::needs::missing("pids_v2", "the pids controller in cgroup v2");
    }
    let outer = Scratch::new(r#"{"pids": 99}"#);
    let mut inside = outer.starts("sleep 60");
    layout.confine(outer.paths()[0]);
    let asked = limits(r#"{"pids": 9}"#);
    let error = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap_err();
    let path = outer.paths()[0].display().to_string();
    assert_eq!(
        error.to_string(),
        format!(
            "set limits.pids: turn on pids below {path}: EBUSY (Device or resource busy); try: \
             run this program one level down: mkdir {path}/host; echo PID > {path}/host/cgroup.procs"
        )
    );
    let none = Limits::default();
    let inner = Cgroup::create(&layout, &new_id(), &none, &[], None).unwrap();
    assert!(inner.paths()[0].starts_with(outer.paths()[0]));
    inner.remove().unwrap();
    let (_, command) = error.cure().unwrap().split_once(": ").unwrap();
    let pasted = command.replace("PID", &inside.id().to_string());
    paste(&pasted);
    let cured = Cgroup::create(&layout, &new_id(), &asked, &[], None).unwrap();
    assert!(cured.paths()[0].starts_with(outer.paths()[0]));
    cured.remove().unwrap();
    outer.kill();
    inside.wait().unwrap();
}
