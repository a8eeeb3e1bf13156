// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lists the ways to open a sandbox, in the order in which they are tried.
//!
//! A machine may refuse the best way: the kernel may mount no overlay for this
//! caller, or attach nothing to a detached mount. Only a trial shows that, so a
//! sandbox is opened by attempts. Each is made if the attempt before failed for
//! the cause that the attempt avoids. An attempt is a back end, a namespace and
//! an init; the init changes first, the back end last:
//!
//! 1. Back end: the preferred; a copy of the image, if the kernel mounts no
//!    overlay; the preferred again, each of the machine's mounts tried first,
//!    if one of them seems to be unlike its type.
//! 2. Mount namespace: empty, where the detached path is possible; a copy of
//!    the host's, if the kernel seems to lack detached mounts.
//! 3. Init: prestarted, if such an init waits; new, if the resumed init failed.
//!
//! A cause that was seen to be the machine's is remembered, so that the next
//! sandbox begins with the way that works.
#![forbid(unsafe_code)]

use super::fallback;
use crate::backend::{self, Backend, Lower};
use crate::error::{Error, Step};
use crate::helper::Spawner;
use crate::plan::suits_empty_ns;
use crate::spec::{Spec, Storage};

/// A way to open a sandbox.
#[derive(Clone, Copy)]
pub(super) struct Attempt {
    pub(super) backend: &'static dyn Backend,
    /// True for the detached path, into an empty mount namespace; false for the
    /// attached path, in a copy of the host's.
    pub(super) empty_ns: bool,
    /// True if a prestarted init may be resumed.
    pub(super) may_resume: bool,
    pub(super) cause: Cause,
}

/// The failure that makes an attempt worthwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// No failure: the first attempt.
    First,
    /// A resumed init failed, for any reason.
    Resumed,
    /// The kernel seems to lack detached mounts.
    NoDetachedMounts,
    /// The kernel mounts no such overlay, and a copy serves as well.
    NoOverlay,
    /// A mount of the machine seems to be unlike its type.
    View,
}

/// An attempt that failed.
pub(super) struct Failed {
    pub(super) error: Error,
    /// True if a prestarted init was resumed.
    pub(super) resumed: bool,
    pub(super) empty_ns: bool,
}

/// Returns the attempts in order.
pub(super) fn attempts(
    spawner: &Spawner,
    spec: &Spec,
    lower: &Lower,
) -> impl Iterator<Item = Attempt> + use<> {
    let preferred = fallback::preferred(spawner, spec, lower);
    let copy = backend::choose(Storage::Copy, lower, spawner.ids.ordinary());
    let backends = [
        (preferred, Cause::First),
        (copy, Cause::NoOverlay),
        // Once more: `prepare` has each mount tried, and a bad one left out.
        (preferred, Cause::View),
    ];
    // A lack that was seen once is not tried again for each sandbox.
    let may_use = spawner.missing.detached.get().is_none();
    // Where the detached path is impossible, both attempts would be the same.
    let backends = backends.map(|(backend, cause)| {
        let empty_ns = may_use && suits_empty_ns(spec, &spawner.ids, backend);
        (backend, empty_ns, cause)
    });
    backends
        .into_iter()
        .flat_map(move |(backend, empty_ns, cause)| {
            let detached = empty_ns.then_some((true, cause));
            let attached = match empty_ns {
                true => Cause::NoDetachedMounts,
                false => cause,
            };
            let namespaces = detached.into_iter().chain([(false, attached)]);
            namespaces.flat_map(move |(empty_ns, cause)| {
                [(true, cause), (false, Cause::Resumed)].map(|(may_resume, cause)| Attempt {
                    backend,
                    empty_ns,
                    may_resume,
                    cause,
                })
            })
        })
}

impl Attempt {
    /// Returns whether the attempt may succeed where `last` failed.
    pub(super) fn is_due(&self, last: Option<&Failed>, spec: &Spec, lower: &Lower) -> bool {
        let Some(last) = last else {
            return self.cause == Cause::First;
        };
        match self.cause {
            Cause::First => false,
            // A new init shows whether the failure was the prestarted one's.
            Cause::Resumed => last.resumed,
            Cause::NoDetachedMounts => last.empty_ns && may_lack_detached_mounts(&last.error),
            Cause::NoOverlay => {
                fallback::may_copy(spec, lower) && fallback::is_refused(&last.error)
            }
            Cause::View => fallback::is_of_a_view(&last.error, spec, lower),
        }
    }

    /// Prepares the helper for the attempt. Remembers a missing overlay already
    /// here, because the refusal of an empty overlay is certain.
    pub(super) fn prepare(&self, spawner: &Spawner) {
        match self.cause {
            Cause::NoOverlay => fallback::try_any_overlay(spawner),
            Cause::View => spawner.verdicts().distrust(),
            Cause::First | Cause::Resumed | Cause::NoDetachedMounts => {}
        }
    }

    /// Remembers the cause of the failure before, now that the attempt
    /// succeeded.
    pub(super) fn remember(&self, spawner: &Spawner, last: Option<&Failed>) {
        // Taken as the kernel's lack, or this process's lack of rights. A
        // passing EPERM of a bind would be remembered as well.
        if !self.empty_ns && last.is_some_and(|last| last.empty_ns) {
            let _ = spawner.missing.detached.set(());
        }
    }
}

/// Returns whether the kernel may lack detached mounts. KERNEL(6.15): before,
/// overlayfs rejects detached lower layers, and move_mount(2) a detached
/// target. In a user namespace procfs may be mounted only where one is visible
/// already.
fn may_lack_detached_mounts(error: &Error) -> bool {
    const STEPS: [Step; 9] = [
        Step::MakeEmptyMountNamespace,
        Step::EnterEmptyMountNamespace,
        Step::MountOverlay,
        Step::Bind,
        // The first mounts with a detached target. What stands in the way of
        // another mount is the image's, and may differ the next time.
        Step::AttachKernelMount,
        Step::AttachRoot,
        Step::ChangeRoot,
        Step::MountProc,
        Step::MountSysfs,
    ];
    const ERRNOS: [i32; 4] = [libc::EINVAL, libc::ENOSYS, libc::EPERM, libc::EOPNOTSUPP];
    STEPS.contains(&error.at()) && error.errno().is_some_and(|e| ERRNOS.contains(&e))
}

#[cfg(test)]
mod tests {
    use nix::errno::Errno;

    use super::*;
    use crate::spec::UserNamespace;

    #[test]
    fn detached_mounts_are_not_missing_because_of_an_image() {
        let failed = |step, errno| may_lack_detached_mounts(&Error::os(step, "", errno));
        assert!(failed(Step::AttachKernelMount, Errno::EINVAL));
        assert!(failed(Step::AttachRoot, Errno::EINVAL));
        assert!(!failed(Step::AttachMount, Errno::EINVAL));
        assert!(!failed(Step::AttachKernelMount, Errno::ENOMEM));
    }

    /// Returns the attempts that are due after a failure: back end, detached
    /// path, prestarted init.
    fn due(spec: &Spec, failed: Option<(Step, bool, bool)>) -> Vec<(&'static str, bool, bool)> {
        let lower = Lower::Layers(Vec::new());
        let last = failed.map(|(step, resumed, empty_ns)| Failed {
            error: Error::os(step, "", Errno::EINVAL),
            resumed,
            empty_ns,
        });
        let due = attempts(&Spawner::absent(), spec, &lower)
            .filter(|attempt| attempt.is_due(last.as_ref(), spec, &lower));
        due.map(|a| (a.backend.name(), a.empty_ns, a.may_resume))
            .collect()
    }

    #[test]
    fn attempts_without_the_detached_path_are_made_once() {
        let mut spec = Spec::default();
        spec.namespaces.user = UserNamespace::Maps {
            uids: Vec::new(),
            gids: Vec::new(),
        };
        assert_eq!(due(&spec, None), [("overlay", false, true)]);
        let failed = Some((Step::MountOverlay, false, false));
        assert_eq!(due(&spec, failed), [("copy", false, true)]);
    }

    #[test]
    fn attempts_follow_only_what_they_avoid() {
        let due = |failed| due(&Spec::default(), failed);
        assert_eq!(due(None), [("overlay", true, true)]);
        // No cause that another way would avoid.
        assert_eq!(due(Some((Step::SetHostname, false, true))), []);
        let resumed = due(Some((Step::SetHostname, true, true)));
        assert!(resumed.iter().all(|(.., may_resume)| !may_resume));
        assert_eq!(resumed.len(), 6);
        let root = due(Some((Step::AttachRoot, false, true)));
        assert!(root.iter().all(|(_, empty_ns, _)| !empty_ns));
        let overlay = due(Some((Step::MountOverlay, false, false)));
        assert_eq!(overlay, [("copy", true, true)]);
    }
}
