// SPDX-License-Identifier: MIT OR Apache-2.0
//! `USER[:GROUP]`, a passwd file and a group file, with a byte 1 between them.
#![forbid(unsafe_code)]

// The helper's own sources, which make no system call.
#[path = "../../../crates/tare-init/src/decimal.rs"]
mod decimal;
#[expect(clippy::module_inception, reason = "its name in the helper")]
#[path = "../../../crates/tare-init/src/passwd.rs"]
mod passwd;

use passwd::{HOME_MAX, Identity, identify};

pub(super) fn passwd(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == 1);
    let mut part = || parts.next().unwrap_or_default();
    let (text, passwd, group) = (part(), part(), part());
    let mut identity = Identity::room();
    if identify(text, passwd, group, &mut identity).is_err() {
        return;
    }
    let greatest = i32::MAX as u32;
    let groups = identity.groups();
    assert!(identity.uid <= greatest && groups.iter().all(|gid| *gid <= greatest));
    assert_eq!(groups.first(), Some(&identity.gid), "the base group first");
    let mut sorted = groups.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), groups.len(), "each group once");
    let home = identity.home().to_bytes().strip_prefix(b"HOME=");
    assert!(home.is_some_and(|home| home.starts_with(b"/") && home.len() < HOME_MAX));
    // A numeric user is that number, in spite of the file.
    let line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let user = line.split(|b| *b == b':').next().unwrap_or_default();
    match decimal::number(user) {
        Some(uid) => assert_eq!(identity.uid, uid as u32),
        None if user.is_empty() => assert_eq!(identity.uid, 0),
        None => {
            let named = |line: &[u8]| line.starts_with(&[user, b":"].concat());
            assert!(passwd.split(|b| matches!(b, b'\n' | 0)).any(named));
        }
    }
    // A requested group is the only group, except for groups on later lines.
    let more = line.len() < text.len();
    let asked = line.splitn(2, |b| *b == b':').nth(1);
    assert!(more || asked.is_none_or(<[u8]>::is_empty) || groups.len() == 1);
}
