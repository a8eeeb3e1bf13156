// SPDX-License-Identifier: MIT OR Apache-2.0
//! The network of a sandbox.

use std::fs;
use std::process;

use tare_oracle::need;

use crate::harness::{Ground, line};

fn own_namespace() -> String {
    fs::read_link("/proc/self/ns/net")
        .unwrap()
        .to_str()
        .unwrap()
        .into()
}

#[test]
fn network_host_is_the_callers() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"network": "host"}"#);
    assert_eq!(
        line(&sandbox, "readlink /proc/self/ns/net"),
        own_namespace()
    );
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    let own = line(&sandbox, "printf '127.0.0.1\\t'; hostname");
    assert_eq!(line(&sandbox, "cat /etc/hosts"), format!("{hosts}{own}"));
    // An ordinary user has the caller's own view of sysfs, with all that is
    // mounted there.
    let writable = "grep ' /sys' /proc/mounts | grep -v ' ro[ ,]'; ls /sys/class/net | grep -c .";
    assert_ne!(line(&sandbox, writable), "0");
    assert_eq!(line(&sandbox, writable).lines().count(), 1);
}

/// From the second on they may be made ahead.
#[test]
fn network_of_each_in_a_row_is_its_own_and_new() {
    let ground = Ground::new();
    let mut seen = vec![own_namespace()];
    for round in 0..8 {
        let sandbox = ground.open();
        seen.push(line(&sandbox, "readlink /proc/self/ns/net"));
        assert_eq!(
            line(&sandbox, "ls /sys/class/net; grep -c . /proc/net/route"),
            "lo\n1"
        );
        // Remains of a command end with the sandbox: the next finds no listener
        // on this port.
        let script = "ping -c 1 -w 5 127.0.0.1 >/dev/null && netstat -ltn | grep -c :4242; nc -l -p 4242 >/dev/null 2>&1 &";
        assert_eq!(line(&sandbox, script), "0");
        // A sandbox prestarted for the last spec does not fit a spec with the
        // host's network.
        if round >= 4 {
            let joins = ground.open_with(r#"{"network": "host"}"#);
            assert_eq!(line(&joins, "readlink /proc/self/ns/net"), seen[0]);
            joins.close().unwrap();
        }
        sandbox.close().unwrap();
    }
    // The kernel reuses numbers, but not those of living namespaces.
    let live: Vec<_> = (0..4).map(|_| ground.open()).collect();
    let mut names: Vec<_> = live
        .iter()
        .map(|sandbox| line(sandbox, "readlink /proc/self/ns/net"))
        .collect();
    names.push(own_namespace());
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(seen[1..].iter().all(|name| *name != seen[0]), "{seen:?}");
}

#[test]
fn network_join_is_the_named_one() {
    need!(root, program("unshare"));
    let ground = Ground::new();
    let mut holder = process::Command::new("unshare")
        .args(["--net", "sleep", "60"])
        .spawn()
        .unwrap();
    let path = format!("/proc/{}/ns/net", holder.id());
    let other = loop {
        match fs::read_link(&path) {
            Ok(link) if link.to_str() != Some(&own_namespace()) => break link,
            _ => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    };
    let sandbox = ground.open_with(&format!(r#"{{"network": {{"join": "{path}"}}}}"#));
    assert_eq!(
        line(&sandbox, "readlink /proc/self/ns/net"),
        other.to_str().unwrap()
    );
    holder.kill().unwrap();
    holder.wait().unwrap();
    let spec = ground.spec_with(r#"{"network": {"join": "/no/such/namespace"}}"#);
    let error = tare::Sandbox::open(&ground.store, &spec).unwrap_err();
    assert_eq!(
        (error.step(), error.kind()),
        ("join network namespace", tare::Kind::NotFound)
    );
}
