// SPDX-License-Identifier: MIT OR Apache-2.0
//! The cost of cgroups, as a table.

use super::*;

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
            let made = Cgroup::create(&layout, &id, &asked, &[], gate.map(|(_, g)| g));
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
