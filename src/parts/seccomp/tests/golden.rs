// SPDX-License-Identifier: MIT OR Apache-2.0
//! The default against Docker's JSON: every call, arguments, capabilities,
//! ABIs.
#![forbid(unsafe_code)]

use super::docker::Docker;
use super::*;
use interpreter::is_constantly_allowed;
use tree::X32_BIT;

/// Intended differences from Docker's JSON, and their reasons.
fn difference(docker: &Docker, data: &Data) -> Option<(u32, &'static str)> {
    if data.arch != AUDIT_ARCH_X86_64 {
        return Some((ENOSYS, "i386 is another table of calls: closed"));
    }
    if data.number >= X32_BIT {
        return Some((ENOSYS, "x32 is another table of calls: closed"));
    }
    if data.number > docker.newest {
        return Some((ENOSYS, "newer than the profile: absent, as in runc"));
    }
    None
}

fn capability_sets(docker: &Docker) -> Vec<CapSet> {
    let single = docker.capabilities();
    let single = single.into_iter().map(|cap| CapSet::from_iter([cap]));
    let given = CapSet::of(&Security::default()).unwrap();
    [CapSet::EMPTY, CapSet::all(), given]
        .into_iter()
        .chain(single)
        .collect()
}

/// Calls `check` with every call, its name if any, and telling arguments.
fn for_every_call(docker: &Docker, mut check: impl FnMut(Option<&str>, &Data)) {
    let names: Vec<_> = table::calls().collect();
    let boundaries = docker.boundaries();
    let extremes = [0, u32::MAX.into(), u64::MAX];
    for n in (0..=600).chain([X32_BIT - 1, u32::MAX]) {
        let name = names.iter().find(|call| call.1 == n).map(|call| call.0);
        let values = match name {
            Some("clone" | "clone3" | "socket" | "personality" | "ptrace") => &boundaries[..],
            _ => &extremes[..],
        };
        for value in values {
            check(name, &native(n, [*value, 1, 2, 3, 4, 5]));
            check(name, &native(n, [*value; 6]));
        }
        for (arch, bit) in [(AUDIT_ARCH_X86_64, X32_BIT), (AUDIT_ARCH_I386, 0)] {
            for value in extremes {
                let args = [value; 6];
                check(
                    None,
                    &Data {
                        number: n | bit,
                        arch,
                        args,
                    },
                );
            }
        }
    }
}

#[test]
fn seccomp_default_gives_dockers_verdicts() {
    let docker = Docker::read();
    for caps in capability_sets(&docker) {
        let compiled = Compiled::of(&Seccomp::Default, caps).unwrap();
        for_every_call(&docker, |name, data| {
            let expected = match difference(&docker, data) {
                Some((verdict, _)) => verdict,
                None => docker.verdict(name, &data.args, caps),
            };
            let ours = run(&compiled.program, data);
            assert_eq!(ours, expected, "{name:?} {data:x?} {:?}", caps.names());
        });
    }
}

#[test]
fn seccomp_dockers_json_compiles_to_the_same_programs() {
    let docker = Docker::read();
    for caps in capability_sets(&docker) {
        let ours = Compiled::of(&Seccomp::Default, caps).unwrap();
        let theirs = Compiled::of(&Seccomp::Custom(docker.json().clone()), caps).unwrap();
        assert_eq!(ours.bytes(), theirs.bytes(), "{:?}", caps.names());
    }
}

#[test]
fn seccomp_answers_follow_the_capabilities() {
    // A golden that does not go through any JSON.
    let open = |caps: &[caps::Capability], name| {
        let caps = caps.iter().copied().collect();
        let compiled = Compiled::of(&Seccomp::Default, caps).unwrap();
        run(&compiled.program, &native(number(name), [0; 6]))
    };
    let admin = [caps::Capability::CAP_SYS_ADMIN];
    assert_eq!(open(&[], "mount"), EPERM);
    assert_eq!(open(&admin, "mount"), ALLOW);
    assert_eq!(open(&[], "clone3"), ENOSYS);
    assert_eq!(open(&admin, "clone3"), ALLOW);
    for name in [
        "keyctl",
        "add_key",
        "userfaultfd",
        "io_uring_setup",
        "kexec_load",
    ] {
        assert_eq!(open(&admin, name), EPERM, "{name}");
    }
    assert_eq!(open(&[], "file_getattr"), ENOSYS);
}

#[test]
fn seccomp_tree_is_known_to_the_kernel_at_attach() {
    let docker = Docker::read();
    let caps = CapSet::of(&Security::default()).unwrap();
    let compiled = Compiled::of(&Seccomp::Default, caps).unwrap();
    let by_arguments = ["clone", "socket", "personality"];
    for (name, n) in table::calls() {
        let data = native(n, [0; 6]);
        let constant = is_constantly_allowed(&compiled.program, &data);
        let expected = n <= docker.newest
            && docker.verdict(Some(name), &data.args, caps) == ALLOW
            && !by_arguments.contains(&name);
        assert_eq!(constant, expected, "{name}");
    }
}
