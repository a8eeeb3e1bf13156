// SPDX-License-Identifier: MIT OR Apache-2.0
//! getauxval(3): what the kernel told this program when it was executed.

/// Returns whether the program runs with more rights than its caller:
/// set-user-id, set-group-id, file capabilities. Its environment is the
/// caller's then, so nothing in it counts, secure_getenv(3).
pub(crate) fn is_secure() -> bool {
    // SAFETY: getauxval takes no pointers and reads what the C library keeps.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
