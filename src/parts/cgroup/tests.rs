// SPDX-License-Identifier: MIT OR Apache-2.0
//! What the kernel does with our cgroups, as root on whatever layout this machine has.
//!
//! These need root and writable cgroups, and fail without them.

use std::io::Read as _;
use std::os::fd::AsFd as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::*;
use crate::spec::{Limits, Require, Security};

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
        let made = Cgroup::create(&layout, &new_id(), &limits(json), &Require::All, None);
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
            let _ = self.0.kill();
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

#[test]
fn memory_limit_kills_and_counts() {
    let cgroup = Scratch::new(r#"{"memory": "16m", "swap": "0"}"#);
    assert_eq!(cgroup.limit("limits.memory"), (16 << 20).to_string());
    assert_eq!(cgroup.oom_kills(), Some(0));
    let output = cgroup.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
    assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
    assert_eq!(cgroup.oom_kills(), Some(1));
    let peak = cgroup.usage().memory_peak.unwrap();
    assert!((12 << 20..=16 << 20).contains(&peak), "peak {peak}");
}

#[test]
fn pids_limit_stops_fork_bomb() {
    let cgroup = Scratch::new(r#"{"pids": 6}"#);
    assert_eq!(cgroup.limit("limits.pids"), "6");
    let output = cgroup.run("for i in 1 2 3 4 5 6 7 8 9; do sleep 60 >&- 2>&- & done; true");
    assert!(!output.status.success(), "nine sleeps ran: {output:?}");
    cgroup.kill().unwrap();
    wait_until("killed", || cgroup.is_empty());
}

#[test]
fn cpus_limit_holds_back() {
    let cgroup = Scratch::new(r#"{"cpus": 0.2}"#);
    assert!(cgroup.limit("limits.cpus").starts_with("20000"));
    let started = Instant::now();
    let mut child = cgroup.starts("while :; do :; done");
    std::thread::sleep(Duration::from_millis(600));
    child.kill().unwrap();
    child.wait().unwrap();
    let usage = cgroup.usage();
    if let (Some(user), Some(system)) = (usage.cpu_user, usage.cpu_system) {
        let used = (user + system).as_secs_f64() / started.elapsed().as_secs_f64();
        assert!((0.05..0.5).contains(&used), "{used} processors used");
    }
}

#[test]
fn cpuset_limit_is_felt() {
    let cgroup = Scratch::new(r#"{"cpuset": "0"}"#);
    let output = cgroup.run("grep Cpus_allowed_list /proc/self/status");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "Cpus_allowed_list:\t0"
    );
}

#[test]
fn cpuset_of_missing_processor_is_refused() {
    let layout = Layout::detect().unwrap();
    let id = new_id();
    let asked = limits(r#"{"cpuset": "0,4000"}"#);
    // Even where it may degrade: a wrong value is not the machine's lack.
    let require = Require::AllBut(vec!["limits".into()]);
    let error = Cgroup::create(&layout, &id, &asked, &require, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    assert!(
        text.contains(r#"set limits.cpuset: processor 4000 of "0,4000""#),
        "{text}"
    );
    assert_nothing_left(&layout, &id);
}

/// Asserts that no directory is called after `id`, wherever it might have been made.
fn assert_nothing_left(layout: &Layout, id: &str) {
    for hierarchy in layout.v1().iter().chain(layout.v2()) {
        for dir in hierarchy.own.ancestors() {
            let path = dir.join(format!("{PREFIX}{id}"));
            assert!(!path.exists(), "{} is left", path.display());
        }
    }
}

#[test]
fn io_weight_without_scheduler_is_refused_or_let_go() {
    let layout = Layout::detect().unwrap();
    let (id, asked) = (new_id(), limits(r#"{"io": 200}"#));
    let Err(error) = Cgroup::create(&layout, &id, &asked, &Require::All, None) else {
        panic!("this machine has a disk scheduled by bfq: run where it has none");
    };
    assert_eq!(error.kind(), Kind::Unsupported);
    let text = error.to_string();
    assert!(
        text.starts_with("set limits.io: no disk is scheduled by bfq"),
        "{text}"
    );
    assert!(
        text.ends_with("; try: as root: echo bfq > /sys/block/DISK/queue/scheduler"),
        "{text}"
    );
    assert_nothing_left(&layout, &id);

    let require = Require::AllBut(vec!["limits.io".into()]);
    let cgroup = Scratch(Cgroup::create(&layout, &id, &asked, &require, None).unwrap());
    let degraded = cgroup.effective().unwrap().degraded;
    assert_eq!(
        degraded.iter().map(|d| d.key).collect::<Vec<_>>(),
        ["limits.io"]
    );
    assert_eq!(degraded[0].why, text);
}

#[test]
fn create_in_a_machine_without_cgroups_names_the_mount() {
    let layout = Layout::parse("", "");
    let none = Limits::default();
    let cgroup = Cgroup::create(&layout, &new_id(), &none, &Require::All, None).unwrap();
    assert!(cgroup.paths().is_empty());
    assert_eq!(cgroup.effective().unwrap().version, "none");
    assert_eq!(cgroup.kill().unwrap_err().kind(), Kind::Unsupported);

    let asked = limits(r#"{"pids": 9}"#);
    let error = Cgroup::create(&layout, &new_id(), &asked, &Require::All, None).unwrap_err();
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
        let made = Cgroup::create(&layout, id, &Limits::default(), &Require::All, None);
        assert_eq!(made.unwrap_err().kind(), Kind::Invalid, "{id:?}");
    }
}

#[test]
fn create_of_taken_id_leaves_the_first() {
    let layout = Layout::detect().unwrap();
    let first = Scratch::new(r#"{"pids": 9, "memory": "64m"}"#);
    let name = first.paths()[0].file_name().unwrap().to_str().unwrap();
    let id = name.strip_prefix(PREFIX).unwrap();
    let asked = limits(r#"{"pids": 9, "memory": "64m"}"#);
    let error = Cgroup::create(&layout, id, &asked, &Require::All, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Exists);
    assert!(first.paths().iter().all(|p| p.exists()));
}

#[test]
fn tasks_files_let_another_process_in() {
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
fn kill_reaches_every_process_with_and_without_cgroup_kill() {
    for fallback in [false, true] {
        let mut cgroup = Scratch::new(r#"{"pids": 99}"#);
        if fallback && !cgroup.0.v1.is_empty() {
            // The v1 directory alone, as on a machine without cgroup2.
            cgroup.0.v2.take().unwrap().remove().unwrap();
        }
        let mut child = cgroup.starts("(sleep 60 & sleep 60) & setsid sleep 60 & wait");
        cgroup.kill().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        wait_until("killed", || cgroup.is_empty());
    }
}

#[test]
fn freeze_stops_and_thaw_lets_go_on() {
    let cgroup = Scratch::new("{}");
    let mut child = cgroup.starts("while :; do :; done");
    let ticks = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let user: u64 = stat.split(' ').nth(13).unwrap().parse().unwrap();
        user
    };
    cgroup.freeze().unwrap();
    let frozen = ticks();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ticks(), frozen);
    cgroup.thaw().unwrap();
    wait_until("running again", || ticks() > frozen + 2);
    cgroup.freeze().unwrap();
    cgroup.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn child_kill_spares_the_sandbox() {
    let cgroup = Scratch::new(r#"{"pids": 99}"#);
    let child = cgroup.child("1").unwrap().unwrap();
    let mut outer = cgroup.starts("sleep 60");
    let mut command = cgroup.shell(&format!(
        "echo 0 > {}/cgroup.procs; sleep 60 & exec sleep 60",
        child.path().display()
    ));
    let mut inner = command.spawn().unwrap();
    wait_until("inside", || child.processes().len() == 2);
    child.kill().unwrap();
    assert_eq!(inner.wait().unwrap().signal(), Some(libc::SIGKILL));
    child.remove().unwrap();
    assert!(outer.try_wait().unwrap().is_none());
    cgroup.kill().unwrap();
    outer.wait().unwrap();
}

#[test]
fn remove_takes_cgroups_below_with_it_and_is_idempotent() {
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
    let layout = Layout::detect().unwrap();
    let make = |id: &str| {
        let asked = limits(r#"{"pids": 99}"#);
        Scratch(Cgroup::create(&layout, id, &asked, &Require::All, None).unwrap())
    };
    let swept = |id: &str| {
        let swept = recover(&layout, Sweep::Everywhere, |found| found != id);
        assert!(swept.failed.is_empty(), "{:?}", swept.failed);
        swept.removed.len()
    };
    // Number 0 is nobody's; the time of start of process 1 is not 77777777.
    let (dead, reused) = (&*format!("0-{}-1", std::process::id()), "1-77777777-1");
    assert!(!Owner::of(dead).unwrap().is_alive() && !Owner::of(reused).unwrap().is_alive());
    assert!(Owner::of(&new_id()).unwrap().is_alive());
    assert!(Owner::of("a-1-1").is_none() && Owner::of("1-1").is_none());

    let mut cgroup = make(dead);
    let mut child = cgroup.starts("sleep 60");
    assert_eq!(swept(dead), 0, "the lock shows that the owner lives");
    let paths: Vec<_> = cgroup.paths().iter().map(|p| p.to_path_buf()).collect();
    (cgroup.0.v2, cgroup.0.v1) = (None, Vec::new());
    swept(dead);
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    assert!(paths.iter().all(|p| !p.exists()));

    let live = make(&new_id());
    recover(&layout, Sweep::Near, |id| {
        Owner::of(id).is_none_or(Owner::is_alive)
    });
    assert!(live.paths().iter().all(|p| p.exists()));
}

/// D08: what container root can open.
#[test]
fn devices_outside_the_list_cannot_be_opened() {
    let layout = Layout::detect().unwrap();
    let rules = DeviceRules::of(&Security::default()).unwrap().unwrap();
    let mut gates = vec![(DeviceGate::load(&layout, rules.clone()), "ebpf")];
    if layout.home("devices") != layout::Home::Absent {
        gates.push((
            DeviceGate {
                rules,
                program: Err(Errno::EPERM),
            },
            "v1",
        ));
    }
    for (gate, way) in gates {
        let made = Cgroup::create(
            &layout,
            &new_id(),
            &Limits::default(),
            &Require::All,
            Some(&gate),
        );
        let cgroup = Scratch(made.unwrap());
        assert_eq!(cgroup.effective().unwrap().devices, Some(way));
        let dir = tempfile::tempdir().unwrap();
        let script = format!(
            "cd {}; mknod mem c 1 1 && mknod disk b 8 0 && mknod null c 1 3 || exit 9
             echo x > null || exit 8; echo x > /dev/null || exit 7; head -c 1 /dev/urandom > null || exit 6
             for d in mem disk /dev/kmsg; do (: < $d) 2>&1; done",
            dir.path().display()
        );
        let output = cgroup.run(&script);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code().is_some_and(|c| c < 6), "{output:?}");
        assert_eq!(text.matches("not permitted").count(), 3, "{way}: {text}");
    }
}

#[test]
fn devices_that_cannot_be_restricted_are_an_error() {
    let rules = DeviceRules::of(&Security::default()).unwrap().unwrap();
    let gate = DeviceGate::load(&Layout::default(), rules);
    let create = |require| {
        Cgroup::create(
            &Layout::default(),
            &new_id(),
            &Limits::default(),
            &require,
            Some(&gate),
        )
    };
    let error = create(Require::All).unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (Kind::Unsupported, "set security.devices")
    );
    let cgroup = create(Require::AllBut(vec!["security.devices".into()])).unwrap();
    assert_eq!(
        cgroup.effective().unwrap().degraded[0].key,
        "security.devices"
    );
}

/// `cargo test --release cgroup_cost -- --ignored --nocapture` prints a table.
#[test]
#[ignore = "a measurement"]
#[allow(clippy::print_stdout, reason = "its result is the table")]
fn cgroup_cost() {
    let layout = Layout::detect().unwrap();
    let rules = DeviceRules::of(&Security::default()).unwrap().unwrap();
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2].as_secs_f64() * 1e6
    };
    let loads = (0..50).map(|_| {
        let started = Instant::now();
        drop(DeviceGate::load(&layout, rules.clone()));
        started.elapsed()
    });
    println!(
        "{:40} {:8.1} us",
        "load eBPF program",
        median(loads.collect())
    );
    let ebpf = DeviceGate::load(&layout, rules.clone());
    let v1 = DeviceGate {
        rules,
        program: Err(Errno::EPERM),
    };
    let all = r#"{"memory": "64m", "pids": 99, "cpus": 1, "cpuset": "0"}"#;
    let rows = [
        ("{}", None),
        ("{}", Some(("ebpf", &ebpf))),
        ("{}", Some(("v1 devices", &v1))),
        (r#"{"memory": "64m"}"#, None),
        (r#"{"memory": "64m", "swap": "0"}"#, None),
        (r#"{"pids": 99}"#, None),
        (r#"{"cpus": 1}"#, None),
        (r#"{"cpuset": "0"}"#, None),
        (all, None),
        (all, Some(("ebpf", &ebpf))),
    ];
    for (json, gate) in rows {
        let (mut makes, mut removes) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            let (id, asked) = (new_id(), limits(json));
            let started = Instant::now();
            let made = Cgroup::create(&layout, &id, &asked, &Require::All, gate.map(|(_, g)| g));
            makes.push(started.elapsed());
            let Ok(cgroup) = made else { break };
            let started = Instant::now();
            cgroup.remove().unwrap();
            removes.push(started.elapsed());
        }
        if removes.is_empty() {
            continue;
        }
        let name = format!("{json} {}", gate.map_or("", |(name, _)| name));
        println!(
            "{name:70} create {:7.1} us, remove {:7.1} us",
            median(makes),
            median(removes)
        );
    }
    let started = Instant::now();
    Layout::detect().unwrap();
    println!("detect layout {:?}", started.elapsed());
}
