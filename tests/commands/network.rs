// SPDX-License-Identifier: MIT OR Apache-2.0
//! What of the network a sandbox sees.

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
fn network_none_is_a_loopback_that_is_up() {
    let ground = Ground::new();
    let sandbox = ground.open();
    assert_ne!(
        line(&sandbox, "readlink /proc/self/ns/net"),
        own_namespace()
    );
    assert_eq!(line(&sandbox, "ls /sys/class/net"), "lo");
    let script = "sleep 1 | nc -l -p 4242 & until netstat -ltn | grep -q :4242; do sleep 0.02; done; echo over lo | nc 127.0.0.1 4242; wait";
    assert_eq!(line(&sandbox, script), "over lo");
    assert_eq!(
        line(&sandbox, "ping -c 1 -w 5 127.0.0.1 | grep -c 'bytes from'"),
        "1"
    );
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
    assert_eq!(line(&sandbox, "cat /etc/hosts"), hosts.trim_end());
    // An ordinary user has the caller's own view of sysfs, with all that is mounted there.
    let writable = "grep ' /sys' /proc/mounts | grep -v ' ro[ ,]'; ls /sys/class/net | grep -c .";
    assert_ne!(line(&sandbox, writable), "0");
    assert_eq!(line(&sandbox, writable).lines().count(), 1);
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
