// SPDX-License-Identifier: MIT OR Apache-2.0
//! getauxval(3): values that the kernel gave this program at its exec.

/// Returns whether the program runs with more rights than its caller:
/// set-user-id, set-group-id, file capabilities. The environment is the
/// caller's then and does not count, secure_getenv(3).
pub(crate) fn is_secure() -> bool {
    // SAFETY: getauxval takes no pointers and reads a table of the C library.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
