// SPDX-License-Identifier: MIT OR Apache-2.0
//! Storage `auto`: overlay, and a copy where that does not work.
#![forbid(unsafe_code)]

use crate::backend::{self, Backend, Lower, TreeRequest};
use crate::error::{Error, Step};
use crate::helper::{Runtime, Spawner};
use crate::plan;
use crate::spec::{MountKind, Spec, Storage, UserNamespace, Write};

/// The back end to begin with.
pub(super) fn preferred(
    runtime: &Runtime,
    spec: &Spec,
    lower: &Lower,
    ordinary: bool,
) -> &'static dyn Backend {
    // In a user namespace of the sandbox's own the kernel refuses what it
    // refuses ordinary users.
    let own_users = matches!(spec.namespaces.user, UserNamespace::Maps { .. });
    let ordinary = ordinary || (own_users && *lower == Lower::Host);
    match may_copy(spec, lower) && runtime.overlay_is_missing() {
        true => backend::choose(Storage::Copy, lower, ordinary),
        false => backend::choose(spec.storage, lower, ordinary),
    }
}

/// The back end to go on with when the first one failed so, if there is one.
pub(super) fn after(
    runtime: &Runtime,
    spawner: &Spawner,
    spec: &Spec,
    lower: &Lower,
    error: &Error,
) -> Option<&'static dyn Backend> {
    if !may_copy(spec, lower) || !is_refused(error) {
        return None;
    }
    let ordinary = spawner.ids().ordinary();
    let nothing = Lower::Layers(Vec::new());
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
        // Not of these layers, but of any: the next sandbox need not try.
        runtime.set_overlay_missing();
    }
    Some(backend::choose(Storage::Copy, lower, ordinary))
}

/// Whether a copy is as good: a private view of a host directory is an overlay in any case, and
/// the whole host is not copied.
fn may_copy(spec: &Spec, lower: &Lower) -> bool {
    spec.storage == Storage::Auto && matches!(lower, Lower::Layers(_)) && !has_cow(spec)
}

pub(super) fn has_cow(spec: &Spec) -> bool {
    spec.mounts
        .iter()
        .any(|m| matches!(m.kind, MountKind::Cow(_)))
}

/// Returns whether a mount of the machine may not be as its type promises.
pub(super) fn is_of_a_view(error: &Error, spec: &Spec, lower: &Lower) -> bool {
    let is_view = *lower == Lower::Host || has_cow(spec);
    is_view && (error.at() == Step::MountOverlay || error.errno() == Some(libc::ETIMEDOUT))
}

/// Whether the kernel does not make such an overlay, as opposed to a lack of memory or of a layer.
pub(super) fn is_refused(error: &Error) -> bool {
    const ERRNOS: [i32; 5] = [
        libc::EINVAL,
        libc::EPERM,
        libc::ENODEV,
        libc::EOPNOTSUPP,
        libc::ENOSYS,
    ];
    error.at() == Step::MountOverlay && error.errno().is_some_and(|e| ERRNOS.contains(&e))
}
