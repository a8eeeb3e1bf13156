// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids, groups, capabilities and limits of the caller.

use super::{Result, calls, syscall};

const PR_SET_PDEATHSIG: u32 = 1;
const PR_SET_DUMPABLE: u32 = 4;
const PR_CAPBSET_DROP: u32 = 24;
const PR_SET_NO_NEW_PRIVS: u32 = 38;
const KEYCTL_JOIN_SESSION_KEYRING: u32 = 1;

/// RLIMIT_NOFILE, the number of descriptors.
pub(crate) const RLIMIT_NOFILE: u32 = 7;
/// RLIMIT_LOCKS; no kernel since 2.4.25 enforces it.
pub(crate) const RLIMIT_LOCKS: u32 = 10;

calls! {
    /// Sets real, effective and saved user id.
    fn setresuid(uid: u32) = SETRESUID(uid, uid, uid);

    /// Sets real, effective and saved group id.
    fn setresgid(gid: u32) = SETRESGID(gid, gid, gid);

    /// Lets or forbids other processes of the same user to look into the
    /// caller.
    fn set_dumpable(dumpable: bool) = PRCTL(PR_SET_DUMPABLE, dumpable, 0, 0, 0);

    /// Sets the signal that the caller gets when its parent ends.
    fn set_death_signal(signal: u32) = PRCTL(PR_SET_PDEATHSIG, signal, 0, 0, 0);

    /// Sets no_new_privs, for good.
    fn set_no_new_privs() = PRCTL(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);

    /// Drops a capability from the bounding set.
    fn drop_bounding_cap(cap: u32) = PRCTL(PR_CAPBSET_DROP, cap, 0, 0, 0);

    /// Joins a new session keyring without a name, keyctl(2).
    fn join_new_session_keyring() = KEYCTL(KEYCTL_JOIN_SESSION_KEYRING, 0);
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

/// Returns effective, permitted and inheritable capabilities.
fn capget() -> Result<[u64; 3]> {
    let (header, mut data) = (CAP_HEADER, [0u32; 6]);
    // SAFETY: the kernel reads the header and writes two structures of three
    // integers, as its version says.
    unsafe { syscall!(CAPGET, header.as_ptr(), data.as_mut_ptr()) }?;
    // The second structure has the upper halves.
    Ok([0, 1, 2].map(|n| u64::from(data[n + 3]) << 32 | u64::from(data[n])))
}

/// Sets effective and permitted capabilities to `bits`, inheritable ones to
/// `inheritable`.
pub(crate) fn capset(bits: u64, inheritable: u64) -> Result<()> {
    let [low, high] = [0, 32].map(|by| [bits, bits, inheritable].map(|set| (set >> by) as u32));
    let (header, data) = (CAP_HEADER, [low, high]);
    // SAFETY: the kernel reads the header and two structures of three integers.
    unsafe { syscall!(CAPSET, header.as_ptr(), data.as_ptr()) }.map(drop)
}

/// Keeps of the permitted capabilities only those in `bits`.
pub(crate) fn keep_caps(bits: u64) -> Result<()> {
    let [_, permitted, _] = capget()?;
    capset(bits & permitted, 0)
}

/// Gives up all capabilities that are not in `bits`, for good. Calls no
/// capset(2) without need.
pub(crate) fn drop_caps_beyond(bits: u64) -> Result<()> {
    let [_, permitted, inheritable] = capget()?;
    if permitted & !bits == 0 {
        return Ok(());
    }
    capset(permitted & bits, inheritable & bits)
}

/// Returns whether the bounding set holds a capability.
pub(crate) fn has_bounding_cap(cap: u32) -> Result<bool> {
    const PR_CAPBSET_READ: u32 = 23;
    // SAFETY: numbers only.
    unsafe { syscall!(PRCTL, PR_CAPBSET_READ, cap, 0, 0, 0) }.map(|held| held == 1)
}
