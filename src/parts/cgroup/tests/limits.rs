// SPDX-License-Identifier: MIT OR Apache-2.0
//! Each limit, as its processes feel it.

use super::*;

/// I02: memory counts in every form.
#[test]
fn memory_limit_kills_and_counts() {
    need!(root);
    let dir = tempfile::tempdir_in("/dev/shm").unwrap();
    let tmpfs = format!(
        "exec dd if=/dev/zero of={}/x bs=1M count=64",
        dir.path().display()
    );
    for script in ["exec dd if=/dev/zero of=/dev/null bs=64M count=1", &tmpfs] {
        let cgroup = Scratch::new(r#"{"memory": "16m", "swap": "0"}"#);
        assert_eq!(cgroup.limit("limits.memory"), (16 << 20).to_string());
        assert_eq!(cgroup.oom_kills(), Some(0));
        let output = cgroup.run(script);
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
        assert_eq!(cgroup.oom_kills(), Some(1));
        let peak = cgroup.usage().memory_peak.unwrap();
        assert!(
            (12 << 20..=16 << 20).contains(&peak),
            "{script}: peak {peak}"
        );
    }
}

#[test]
fn pids_limit_stops_fork_bomb() {
    need!(root);
    let cgroup = Scratch::new(r#"{"pids": 6}"#);
    assert_eq!(cgroup.limit("limits.pids"), "6");
    let output = cgroup.run("for i in 1 2 3 4 5 6 7 8 9; do sleep 60 >&- 2>&- & done; true");
    assert!(!output.status.success(), "nine sleeps ran: {output:?}");
    cgroup.kill();
    wait_until("killed", || cgroup.is_empty());
}

#[test]
fn cpus_limit_holds_back() {
    need!(root);
    let cgroup = Scratch::new(r#"{"cpus": 0.2}"#);
    assert!(cgroup.limit("limits.cpus").starts_with("20000"));
    let started = Instant::now();
    let mut child = cgroup.starts("while :; do :; done");
    std::thread::sleep(Duration::from_millis(600));
    child.kill().unwrap();
    child.wait().unwrap();
    let usage = cgroup.usage();
    if let (Some(user), Some(system)) = (usage.user_us, usage.system_us) {
        let used = (user + system) as f64 / 1e6 / started.elapsed().as_secs_f64();
        assert!((0.05..0.5).contains(&used), "{used} processors used");
    }
}

#[test]
fn cpu_weight_is_in_the_words_of_each_version() {
    need!(root, controller("cpu"));
    let cgroup = Scratch::new(r#"{"cpu_weight": 200}"#);
    let found = cgroup.limit("limits.cpu_weight");
    assert!(["200", "2048"].contains(&found.as_str()), "{found}");
}

#[test]
fn limits_are_changed_while_processes_are_inside() {
    need!(root, controller("cpu"));
    let spec = r#"{"memory": "32m", "swap": "8m", "pids": 9, "cpus": 0.5, "cpu_weight": 100}"#;
    let cgroup = Scratch::new(spec);
    let mut child = cgroup.starts("exec sleep 60");
    let layout = Layout::detect().unwrap();
    // Both directions: v1 keeps the sum of memory and swap above memory.
    for (memory, pids, cpus) in [(64_u64, 99, 1.5), (16, 5, 0.25)] {
        let mut changed = limits(spec);
        changed.memory = Some(crate::spec::ByteSize::new(memory << 20));
        changed.pids = Some(pids);
        changed.cpus = Some(cpus);
        let keys = ["limits.memory", "limits.swap", "limits.pids", "limits.cpus"];
        cgroup.change(&layout, &changed, &keys).unwrap();
        assert_eq!(cgroup.limit("limits.memory"), (memory << 20).to_string());
        assert_eq!(cgroup.limit("limits.pids"), pids.to_string());
        let quota = format!("{:.0}", cpus * 100_000.0);
        assert!(cgroup.limit("limits.cpus").starts_with(&quota));
    }
    let cpuset = limits(r#"{"cpuset": "0"}"#);
    let error = cgroup.change(&layout, &cpuset, &["limits.cpuset"]);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert_eq!(error.cure(), Some("open with limits.cpuset"));
    child.kill().unwrap();
    child.wait().unwrap();
    let usage = cgroup.usage();
    assert!(usage.memory.is_some() && usage.pids.is_some(), "{usage:?}");
}

#[test]
fn cpuset_limit_is_felt() {
    need!(root);
    let cgroup = Scratch::new(r#"{"cpuset": "0"}"#);
    let output = cgroup.run("grep Cpus_allowed_list /proc/self/status");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "Cpus_allowed_list:\t0"
    );
}

#[test]
fn cpuset_of_missing_processor_is_refused() {
    need!(root);
    let layout = Layout::detect().unwrap();
    let id = new_id();
    let asked = limits(r#"{"cpuset": "0,4000"}"#);
    // Even for a key that may be left out: a wrong value is not a lack of the
    // machine.
    let best_effort = ["limits".into()];
    let error = Cgroup::create(&layout, &id, &asked, &best_effort, None).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let text = error.to_string();
    assert!(
        text.contains(r#"set limits.cpuset: processor 4000 of "0,4000""#),
        "{text}"
    );
    assert_nothing_left(&layout, &id);
}

#[test]
fn io_weight_without_scheduler_is_refused_or_left_out() {
    need!(root);
    let layout = Layout::detect().unwrap();
    let (id, asked) = (new_id(), limits(r#"{"io": 200}"#));
    let Err(error) = Cgroup::create(&layout, &id, &asked, &[], None) else {
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

    let best_effort = ["limits.io".into()];
    let cgroup = Scratch(Cgroup::create(&layout, &id, &asked, &best_effort, None).unwrap());
    let [left_out] = cgroup.left_out() else {
        panic!("{:?}", cgroup.left_out());
    };
    assert_eq!((left_out.key, &*left_out.why), ("limits.io", &*text));
}
