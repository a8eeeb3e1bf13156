// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that container root can open (D08).

use super::*;

/// D08: devices that container root can open.
#[test]
fn devices_outside_the_list_cannot_be_opened() {
    need!(root);
    let layout = Layout::detect().unwrap();
    let rules = DeviceRules::of(&Security::default()).unwrap().unwrap();
    let mut gates = Vec::new();
    if layout.v2().is_some() {
        gates.push((DeviceGate::load(&layout, rules.clone()), "ebpf"));
    }
    if layout.home("devices") != layout::Home::Absent {
        let program = Err(Errno::EPERM);
        gates.push((DeviceGate { rules, program }, "v1"));
    }
    assert!(!gates.is_empty());
    for (gate, way) in gates {
        let made = Cgroup::create(&layout, &new_id(), &Limits::default(), &[], Some(&gate));
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
    let create = |best_effort: &[String]| {
        Cgroup::create(
            &Layout::default(),
            &new_id(),
            &Limits::default(),
            best_effort,
            Some(&gate),
        )
    };
    let error = create(&[]).unwrap_err();
    assert_eq!(
        (error.kind(), error.step()),
        (Kind::Unsupported, "set security.devices")
    );
    let cgroup = create(&["security.devices".into()]).unwrap();
    assert_eq!(cgroup.left_out()[0].key, "security.devices");
}
