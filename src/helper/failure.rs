// SPDX-License-Identifier: MIT OR Apache-2.0
//! Turns the numbers of a failed reply into a step, a subject and a cure.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::limits::{more_namespaces, more_processes, switched_off};
use crate::error::{Error, Kind, Step};
use crate::ops::Ops;
use crate::parts::rlimit;
use crate::sys::mountinfo::Mounts;
use crate::wire::{self, Reply};

const UNCONFINED: &str = "--security-opt seccomp=unconfined for the outer sandbox or container";

/// Returns the error of a failed reply; `ops` are the operations that were
/// sent.
pub(super) fn failure(reply: &Reply, ops: &[u8]) -> Error {
    let errno = Errno::from_raw(reply.code);
    let (step, subject) = match reply.place {
        wire::AT_OP => Ops::describe(ops, reply.index),
        wire::AT_CLONE => (Step::Clone3, "namespaces".into()),
        wire::AT_ID_MAP => (Step::WriteIdMap, "uid_map".into()),
        wire::AT_USER_NAMESPACE => (Step::MakeUserNamespace, "CLONE_NEWUSER".into()),
        wire::AT_TERMINAL => (Step::MakeTerminal, String::new()),
        wire::AT_FDS => (Step::PlaceFileDescriptors, String::new()),
        wire::AT_SESSION => (Step::StartSession, String::new()),
        wire::AT_CWD => (Step::ChangeDirectory, String::new()),
        wire::AT_RLIMIT.. => (
            Step::SetResourceLimits,
            resource(reply).map_or_else(String::new, |(name, _)| name.into()),
        ),
        wire::AT_USER => (Step::LookUpUser, String::new()),
        wire::AT_SETUID => (Step::SetUserAndGroups, String::new()),
        wire::AT_CAPS => (Step::SetCapabilities, String::new()),
        wire::AT_NO_NEW_PRIVS => (Step::SetNoNewPrivs, String::new()),
        wire::AT_SECCOMP => (Step::AttachSeccompFilter, String::new()),
        wire::AT_EXEC => (Step::Execute, String::new()),
        wire::AT_INIT => (Step::StartInit, "process 1 of the sandbox".into()),
        wire::AT_SPAWNER => (Step::StartSpawner, "the helper's own start".into()),
        wire::AT_EMPTY_NS => (Step::MakeEmptyMountNamespace, "CLONE_NEWNS".into()),
        wire::AT_AUTHORITY => (
            Step::TalkToSpawner,
            "it works for the process, user and group that started it".into(),
        ),
        wire::AT_KILL => (Step::KillSandbox, "its process 1".into()),
        wire::AT_START => (
            Step::StartCommand,
            "something in the sandbox kept it from starting".into(),
        ),
        _ => (Step::TalkToSpawner, "malformed message".into()),
    };
    if (reply.place, errno) == (wire::AT_EMPTY_NS, Errno::EOWNERDEAD) {
        return Error::new(Kind::Broken, step, "who made it was killed");
    }
    let error = Error::os(step, subject, errno);
    match (reply.place, errno) {
        (wire::AT_OP, Errno::EPERM | Errno::EACCES) if error.at() == Step::MakeMountsPrivate => {
            error.with_cure(
                "a process that no security module keeps from mounting, \
                 as Landlock does: open sandboxes before landlock_restrict_self(2)",
            )
        }
        // Docker's default filter refuses keyctl(2) with any capabilities.
        (wire::AT_OP, Errno::EPERM)
            if error.at() == Step::JoinANewSessionKeyring && has_filter() =>
        {
            error.with_cure(UNCONFINED)
        }
        // Outer containers may show a read-only /proc.
        (wire::AT_ID_MAP, Errno::EROFS) => error.with_cure("mount -o remount,rw /proc"),
        // KERNEL(5.12): a map of user 0 takes CAP_SETFCAP, user_namespaces(7).
        (wire::AT_ID_MAP, Errno::EPERM) if geteuid().is_root() => error.with_cure(
            "a user 0 with CAP_SETFCAP, or an ordinary user: the kernel maps user 0 for no other",
        ),
        (wire::AT_CLONE | wire::AT_USER_NAMESPACE, Errno::EPERM | Errno::EACCES) => {
            error.with_cure(what_forbids_namespaces())
        }
        (wire::AT_CLONE | wire::AT_USER_NAMESPACE | wire::AT_SPAWNER, Errno::EAGAIN) => {
            error.with_cure(more_processes())
        }
        (wire::AT_CLONE | wire::AT_USER_NAMESPACE, Errno::ENOSPC | Errno::EUSERS) => {
            error.with_cure(more_namespaces())
        }
        (wire::AT_RLIMIT.., Errno::EPERM) => match resource(reply) {
            Some((name, hard)) => error.with_cure(format!(
                "{name} of at most {hard}, this process's own hard limit"
            )),
            None => error,
        },
        _ => error,
    }
}

/// Returns the resource whose limit could not be set, and this process's own
/// hard limit.
fn resource(reply: &Reply) -> Option<(&'static str, u64)> {
    rlimit::own(reply.place.checked_sub(wire::AT_RLIMIT)?)
}

/// Returns the cure where the kernel makes no namespaces for this process,
/// user_namespaces(7).
fn what_forbids_namespaces() -> Cow<'static, str> {
    let in_chroot = Mounts::now().is_ok_and(|mounts| mounts.showing(Path::new("/")).is_none());
    if has_filter() {
        UNCONFINED.into()
    } else if in_chroot {
        "pivot_root(8) or systemd-nspawn in place of chroot(8), in which no user namespace is made"
            .into()
    } else if let Some(switch) = switched_off() {
        switch.into()
    } else {
        "a security module, or an outer container, that allows user namespaces".into()
    }
}

/// Returns whether a seccomp filter is attached, as to all that an outer
/// sandbox runs.
fn has_filter() -> bool {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status.lines().any(|line| line == "Seccomp:\t2")
}
