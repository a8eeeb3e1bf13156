// SPDX-License-Identifier: MIT OR Apache-2.0
//! Chooses the back end of a tree: an overlay, or a copy where the kernel
//! mounts none.
#![forbid(unsafe_code)]

use crate::backend::{self, Backend, Lower, TreeRequest};
use crate::error::{Error, Step};
use crate::helper::Spawner;
use crate::plan;
use crate::spec::{MountKind, Spec, Storage, UserNamespace, Write};

/// Returns the back end to begin with.
pub(super) fn preferred(spawner: &Spawner, spec: &Spec, lower: &Lower) -> &'static dyn Backend {
    // In a user namespace of the sandbox's own the kernel refuses the mounts
    // that it refuses ordinary users. A view of the host needs such mounts.
    let own_users = matches!(spec.namespaces.user, UserNamespace::Maps { .. });
    let ordinary = spawner.ids.ordinary() || (own_users && *lower == Lower::Host);
    // An explicit `overlay` is tried each time, for the sake of its error.
    match may_copy(spec, lower) && spawner.missing.overlay.get().is_some() {
        true => backend::choose(Storage::Copy, lower, ordinary),
        false => backend::choose(spec.storage, lower, ordinary),
    }
}

/// Tries an overlay of nothing. If the kernel refuses that as well, remembers
/// that the caller gets no overlay, so that the next sandbox need not try.
pub(super) fn try_any_overlay(spawner: &Spawner) {
    let ordinary = spawner.ids.ordinary();
    let nothing = Lower::Layers(Vec::new());
    // The same operations as for a real image, so that only a refusal of every
    // overlay fails.
    let request = TreeRequest {
        lower: &nothing,
        write: Write::Memory,
        size: None,
        ordinary,
        scratch: "".into(),
        spawner,
        may_try: true,
    };
    let overlay = backend::choose(Storage::Overlay, &nothing, ordinary);
    let tried = plan::try_tree(overlay, &request)
        .and_then(|ops| spawner.job(&ops, plan::MOUNT_NAMESPACE, &[]));
    if tried.is_err_and(|e| is_refused(&e)) {
        let _ = spawner.missing.overlay.set(());
    }
}

/// Returns whether a copy serves as well as an overlay. A private view of a
/// host directory is an overlay in any case, and the whole host is not copied.
pub(super) fn may_copy(spec: &Spec, lower: &Lower) -> bool {
    spec.storage == Storage::Auto && matches!(lower, Lower::Layers(_)) && !has_cow(spec)
}

pub(super) fn has_cow(spec: &Spec) -> bool {
    spec.mounts
        .iter()
        .any(|m| matches!(m.kind, MountKind::Cow(_)))
}

/// Returns whether a mount of the machine may not be as the type promises.
pub(super) fn is_of_a_view(error: &Error, spec: &Spec, lower: &Lower) -> bool {
    let is_view = *lower == Lower::Host || has_cow(spec);
    is_view && (error.at() == Step::MountOverlay || error.errno() == Some(libc::ETIMEDOUT))
}

/// Returns whether the kernel mounts no such overlay. Other errors are a lack
/// of memory, or of a layer.
pub(super) fn is_refused(error: &Error) -> bool {
    // ENODEV is a kernel without overlayfs, EPERM a user namespace before 5.11.
    use libc::{EINVAL, ENODEV, ENOSYS, EOPNOTSUPP, EPERM};
    let errnos = [EINVAL, EPERM, ENODEV, EOPNOTSUPP, ENOSYS];
    error.at() == Step::MountOverlay && error.errno().is_some_and(|e| errnos.contains(&e))
}
