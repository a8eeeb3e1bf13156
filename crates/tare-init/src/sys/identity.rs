// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids, groups, capabilities and limits of the caller.

use super::{Result, syscall};

/// RLIMIT_NOFILE, the number of descriptors.
pub(crate) const RLIMIT_NOFILE: u32 = 7;
/// RLIMIT_LOCKS; no kernel since 2.4.25 enforces it.
pub(crate) const RLIMIT_LOCKS: u32 = 10;

/// Sets real, effective and saved user id.
pub(crate) fn setresuid(uid: u32) -> Result<()> {
    // SAFETY: three numbers.
    unsafe { syscall!(SETRESUID, uid, uid, uid) }.map(drop)
}

/// Sets real, effective and saved group id.
pub(crate) fn setresgid(gid: u32) -> Result<()> {
    // SAFETY: three numbers.
    unsafe { syscall!(SETRESGID, gid, gid, gid) }.map(drop)
}

/// Sets the supplementary groups.
pub(crate) fn setgroups(groups: &[u32]) -> Result<()> {
    // SAFETY: the kernel reads `groups.len()` integers.
    unsafe { syscall!(SETGROUPS, groups.len(), groups.as_ptr()) }.map(drop)
}

/// Returns soft and hard limit of a resource.
pub(crate) fn getrlimit(resource: u32) -> Result<[u64; 2]> {
    let mut limit = [0u64; 2];
    // SAFETY: a null new limit changes no limit; the kernel writes two
    // integers.
    unsafe { syscall!(PRLIMIT64, 0, resource, 0, limit.as_mut_ptr()) }?;
    Ok(limit)
}

/// Sets soft and hard limit of a resource.
pub(crate) fn setrlimit(resource: u32, limit: &[u64; 2]) -> Result<()> {
    // SAFETY: the kernel reads two integers; a null old limit is allowed.
    unsafe { syscall!(PRLIMIT64, 0, resource, limit.as_ptr(), 0) }.map(drop)
}

/// Lifts the soft limit of descriptors to the hard limit; returns both old
/// values.
///
/// The caller may have chosen a limit for its own needs, but this program holds
/// descriptors of many sandboxes.
pub(crate) fn lift_files() -> Result<[u64; 2]> {
    let old = getrlimit(RLIMIT_NOFILE)?;
    setrlimit(RLIMIT_NOFILE, &[old[1], old[1]])?;
    Ok(old)
}

/// `struct __user_cap_header_struct` of the caller:
/// _LINUX_CAPABILITY_VERSION_3.
const CAP_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Effective, permitted and inheritable capabilities.
struct Caps([u64; 3]);

fn capget() -> Result<Caps> {
    let (header, mut data) = (CAP_HEADER, [0u32; 6]);
    // SAFETY: the kernel reads the header and writes two structures of three
    // integers, as its version says.
    unsafe { syscall!(CAPGET, header.as_ptr(), data.as_mut_ptr()) }?;
    // The second structure has the upper halves.
    Ok(Caps(core::array::from_fn(|n| {
        u64::from(data[n + 3]) << 32 | u64::from(data[n])
    })))
}

/// Sets effective and permitted capabilities to `bits`, inheritable ones to
/// `inheritable`.
pub(crate) fn capset(bits: u64, inheritable: u64) -> Result<()> {
    let (low, high) = (bits as u32, (bits >> 32) as u32);
    let (low_inherit, high_inherit) = (inheritable as u32, (inheritable >> 32) as u32);
    let (header, data) = (
        CAP_HEADER,
        [low, low, low_inherit, high, high, high_inherit],
    );
    // SAFETY: the kernel reads the header and two structures of three integers.
    unsafe { syscall!(CAPSET, header.as_ptr(), data.as_ptr()) }.map(drop)
}

/// Keeps of the permitted capabilities only those in `bits`.
pub(crate) fn keep_caps(bits: u64) -> Result<()> {
    let Caps([_, permitted, _]) = capget()?;
    capset(bits & permitted, 0)
}

/// Gives up all capabilities that are not in `bits`, for good. Calls no
/// capset(2) without need.
pub(crate) fn drop_caps_beyond(bits: u64) -> Result<()> {
    let Caps([_, permitted, inheritable]) = capget()?;
    if permitted & !bits == 0 {
        return Ok(());
    }
    capset(permitted & bits, inheritable & bits)
}

/// Calls prctl(2) with numbers.
fn prctl(option: u32, value: u32) -> Result<usize> {
    // SAFETY: all callers pass an option that takes a number.
    unsafe { syscall!(PRCTL, option, value, 0, 0, 0) }
}

/// Lets or forbids other processes of the same user to look into the caller.
pub(crate) fn set_dumpable(dumpable: bool) -> Result<()> {
    const PR_SET_DUMPABLE: u32 = 4;
    prctl(PR_SET_DUMPABLE, u32::from(dumpable)).map(drop)
}

/// Sets the signal that the caller gets when its parent ends.
pub(crate) fn set_death_signal(signal: u32) -> Result<()> {
    const PR_SET_PDEATHSIG: u32 = 1;
    prctl(PR_SET_PDEATHSIG, signal).map(drop)
}

/// Sets no_new_privs, for good.
pub(crate) fn set_no_new_privs() -> Result<()> {
    const PR_SET_NO_NEW_PRIVS: u32 = 38;
    prctl(PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Drops a capability from the bounding set.
pub(crate) fn drop_bounding_cap(cap: u32) -> Result<()> {
    const PR_CAPBSET_DROP: u32 = 24;
    prctl(PR_CAPBSET_DROP, cap).map(drop)
}

/// Returns whether the bounding set holds a capability.
pub(crate) fn has_bounding_cap(cap: u32) -> Result<bool> {
    const PR_CAPBSET_READ: u32 = 23;
    prctl(PR_CAPBSET_READ, cap).map(|held| held == 1)
}

/// Joins a new session keyring, keyctl(2).
pub(crate) fn join_new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;
    // SAFETY: a null name means a new keyring without one.
    unsafe { syscall!(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, 0) }.map(drop)
}
