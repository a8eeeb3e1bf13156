// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks the caller, and the obstacles between an ordinary user and a sandbox.
#![forbid(unsafe_code)]

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{Uid, geteuid};

use super::{Check, setting};
use crate::error::more_files_of_root;
use crate::parts::idmap::{Ids, lacks};
use crate::sys::accounts::User;
use crate::sys::user;

pub(super) fn checks() -> Vec<Check> {
    let ids = Ids::detect();
    let mut checks = vec![who(&ids)];
    if ids.ordinary() {
        checks.push(subordinate(&ids));
    }
    checks.extend(switches(ids.ordinary()));
    checks.extend(open_files());
    checks
}

fn name(uid: Uid) -> String {
    match User::find(uid.as_raw()) {
        Some(user) => user.name,
        // A user missing in /etc/passwd, as in outer containers.
        None => uid.to_string(),
    }
}

fn who(ids: &Ids) -> Check {
    let uid = geteuid();
    let kind = match (ids.ordinary(), uid.is_root(), user::owns_system()) {
        (false, ..) => "root",
        (true, true, true) => {
            "root without all of SYS_ADMIN, NET_ADMIN, MKNOD and SYS_CHROOT: an ordinary user"
        }
        (true, true, false) => "root of a user namespace: an ordinary user",
        (true, false, _) => "an ordinary user",
    };
    Check::needed("user", true).found(format!("{} ({uid}), {kind}", name(uid)))
}

/// Checks subordinate ids. Without them, root is the only user inside.
fn subordinate(ids: &Ids) -> Check {
    let Ids::Many { uids, gids, .. } = ids else {
        return none_subordinate();
    };
    let count = |map: &[crate::spec::IdMap]| map.iter().map(|m| u64::from(m.count)).sum::<u64>();
    Check::optional("subordinate ids", true).found(format!(
        "{} users, {} groups",
        count(uids),
        count(gids)
    ))
}

fn none_subordinate() -> Check {
    let lacks = lacks().into_iter().map(|lack| (lack.why, lack.cure));
    let (why, cures): (Vec<_>, Vec<_>) = lacks.unzip();
    Check::optional("subordinate ids", false)
        .found(format!("{}: only root exists inside", why.join(", ")))
        .cure(cures.join("; "))
}

/// Checks the hard limit of descriptors: process 1 of a sandbox keeps its own
/// above 64.
fn open_files() -> Option<Check> {
    const NEEDED: u64 = 96;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    (hard < NEEDED).then(|| {
        Check::needed("open files", false)
            .found(format!("{hard}, where one sandbox needs {NEEDED}"))
            .cure(more_files_of_root(1024))
    })
}

/// A setting that may forbid user namespaces.
struct Switch {
    name: &'static str,
    forbids: bool,
    cure: &'static str,
}

/// Checks settings that forbid user namespaces; a kernel may lack each.
fn switches(ordinary: bool) -> Vec<Check> {
    let is = |value: &str, path: &str| setting(path).is_some_and(|found| found == value);
    let all = [
        Switch {
            name: "user.max_user_namespaces",
            forbids: is("0", "/proc/sys/user/max_user_namespaces"),
            cure: "sysctl user.max_user_namespaces=15000",
        },
        Switch {
            name: "kernel.unprivileged_userns_clone",
            forbids: is("0", "/proc/sys/kernel/unprivileged_userns_clone"),
            cure: "sysctl kernel.unprivileged_userns_clone=1",
        },
        Switch {
            name: "apparmor restricts user namespaces",
            forbids: is(
                "1",
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            ),
            cure: "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
        },
    ];
    let forbidding = all.into_iter().filter(|switch| switch.forbids);
    let found: Vec<Check> = forbidding
        .map(|switch| {
            let check = match ordinary {
                true => Check::needed(switch.name, false),
                false => Check::optional(switch.name, false),
            };
            check
                .found("ordinary users cannot open sandboxes")
                .cure(switch.cure)
        })
        .collect();
    if found.is_empty() {
        return vec![
            Check::optional("user namespaces", true)
                .found("no setting forbids them to ordinary users"),
        ];
    }
    found
}
