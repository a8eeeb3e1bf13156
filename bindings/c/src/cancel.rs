// SPDX-License-Identifier: MIT OR Apache-2.0
//! Keeps pthread_cancel(3) out of the library: the C library ends a cancelled
//! thread by unwinding its stack. An unwind would skip half of a call, and Rust
//! answers with an abort.

use std::ffi::c_int;
use std::ptr;

const PTHREAD_CANCEL_DISABLE: c_int = 1;
const PTHREAD_CANCEL_DEFERRED: c_int = 0;

/// Functions of the C library, without a place in `tare.h`.
/// cbindgen:ignore
mod c {
    use std::ffi::c_int;

    unsafe extern "C" {
        pub(super) fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
        pub(super) fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
    }

    #[allow(
        clashing_extern_declarations,
        reason = "the ABIs differ on purpose: one call may unwind"
    )]
    unsafe extern "C-unwind" {
        /// The same, where a pending cancellation may take effect.
        #[link_name = "pthread_setcanceltype"]
        pub(super) fn set_cancel_type_and_unwind(kind: c_int, old: *mut c_int) -> c_int;
    }
}

/// Cancelability of a thread, pthread_setcancelstate(3).
#[derive(Clone, Copy)]
#[repr(C)]
struct Cancelability {
    state: c_int,
    kind: c_int,
}

/// Runs a body during which the thread cannot be cancelled. A cancellation
/// requested meanwhile takes effect afterwards.
///
/// A thread of the asynchronous type may unwind in the first instructions, or
/// inside of `restore`. So no frame there may need a cleanup, for which Rust
/// would abort: `T` has no destructor, the body is moved first of all, and all
/// but `restore` cannot unwind by the ABI.
pub(crate) fn uncancelled<T: Copy>(body: impl FnOnce() -> T) -> T {
    let (done, before) = disabled(body);
    restore(before);
    done
}

/// Disables cancellation, without a system call, and calls the body.
#[allow(
    improper_ctypes_definitions,
    reason = "Rust calls it, with types of Rust"
)]
extern "C" fn disabled<T: Copy, F: FnOnce() -> T>(body: F) -> (T, Cancelability) {
    let before = disable();
    (contained(body), before)
}

/// Calls the body in a separate frame for values with destructors.
#[allow(
    improper_ctypes_definitions,
    reason = "Rust calls it, with types of Rust"
)]
#[inline(never)]
extern "C" fn contained<T: Copy, F: FnOnce() -> T>(body: F) -> T {
    body()
}

/// Disables cancellation and returns the earlier state.
///
/// The type is set as well, and first: glibc decides to interrupt a thread
/// before the signal arrives, and the handler of some versions looks at the
/// type alone.
extern "C" fn disable() -> Cancelability {
    let (mut state, mut kind) = (PTHREAD_CANCEL_DISABLE, PTHREAD_CANCEL_DEFERRED);
    // SAFETY: both values are valid, and the pointers are locals'. Neither call
    // unwinds: a thread of the deferred type is cancelled only at a
    // cancellation point, and neither call has such a point.
    unsafe {
        c::pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &raw mut kind);
        c::pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &raw mut state);
    }
    Cancelability { state, kind }
}

/// Undoes [`disable`]. The type comes last: a thread with a pending
/// cancellation ends there.
fn restore(before: Cancelability) {
    // SAFETY: both values come from `disable`, and a null pointer is allowed.
    // If the second call unwinds, this frame and the frames of its callers have
    // no cleanup.
    unsafe {
        c::pthread_setcancelstate(before.state, ptr::null_mut());
        c::set_cancel_type_and_unwind(before.kind, ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PTHREAD_CANCEL_ENABLE: c_int = 0;
    const PTHREAD_CANCEL_ASYNCHRONOUS: c_int = 1;

    #[test]
    fn uncancelled_body_leaves_state_and_type_as_they_were() {
        for state in [PTHREAD_CANCEL_ENABLE, PTHREAD_CANCEL_DISABLE] {
            for kind in [PTHREAD_CANCEL_DEFERRED, PTHREAD_CANCEL_ASYNCHRONOUS] {
                let first = disable();
                restore(Cancelability { state, kind });
                let (nested, inside) = uncancelled(|| (uncancelled(|| 7), disable()));
                let after = disable();
                restore(first);
                let disabled = (PTHREAD_CANCEL_DISABLE, PTHREAD_CANCEL_DEFERRED);
                assert_eq!(nested, 7);
                assert_eq!((inside.state, inside.kind), disabled);
                assert_eq!((after.state, after.kind), (state, kind));
            }
        }
    }
}
