// SPDX-License-Identifier: MIT OR Apache-2.0
//! A seccomp program of refused calls, and of calls to ask about.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF};
use libc::{c_long, sock_filter, sock_fprog};

/// The first call that Linux 5.10 does not have.
const FIRST_AFTER_5_10: c_long = libc::SYS_epoll_pwait2;
/// Numbers from here on are other architectures' (x32) or unused.
const END_OF_NUMBERS: c_long = 512;

const NAMES: &[(&str, c_long)] = &[
    ("cachestat", 451),
    ("chroot", libc::SYS_chroot),
    ("clone3", libc::SYS_clone3),
    ("close_range", libc::SYS_close_range),
    ("copy_file_range", libc::SYS_copy_file_range),
    ("execveat", libc::SYS_execveat),
    ("faccessat2", libc::SYS_faccessat2),
    ("fchmodat2", libc::SYS_fchmodat2),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("getrandom", libc::SYS_getrandom),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("keyctl", libc::SYS_keyctl),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("listmount", 458),
    ("memfd_create", libc::SYS_memfd_create),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("openat2", libc::SYS_openat2),
    ("pidfd_getfd", libc::SYS_pidfd_getfd),
    ("pidfd_open", libc::SYS_pidfd_open),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
    ("renameat2", libc::SYS_renameat2),
    ("seccomp", libc::SYS_seccomp),
    ("setns", libc::SYS_setns),
    ("statmount", 457),
    ("statx", libc::SYS_statx),
    ("unshare", libc::SYS_unshare),
];

/// The condition of a refusal.
#[derive(Debug, PartialEq, Eq)]
pub enum Rule {
    /// Always.
    Call(c_long),
    /// Numbers from the first up to but not including the second.
    Range(c_long, c_long),
    /// Never by the program itself: the supervisor is asked.
    Ask(c_long),
    /// Never, before any later rule.
    Allow(c_long),
    /// Calls that no earlier rule named: the supervisor is asked.
    AskRest,
    /// With EINVAL, when the argument of this index has one of these bits.
    Flags(c_long, u32, u32),
}

/// The refusals of a word of the command line of `enosys`.
///
/// # Errors
/// For a name that is not known.
pub fn rules(word: &str) -> Result<Vec<Rule>, String> {
    if word == "linux-5.10" {
        return Ok(vec![
            Rule::Range(FIRST_AFTER_5_10, END_OF_NUMBERS),
            Rule::Flags(libc::SYS_close_range, 2, libc::CLOSE_RANGE_CLOEXEC),
            Rule::Flags(
                libc::SYS_memfd_create,
                1,
                libc::MFD_EXEC | libc::MFD_NOEXEC_SEAL,
            ),
        ]);
    }
    if let Ok(number) = word.parse() {
        return Ok(vec![Rule::Call(number)]);
    }
    match NAMES.iter().find(|(name, _)| *name == word) {
        Some((_, number)) => Ok(vec![Rule::Call(*number)]),
        None => Err(format!("{word:?} is not in the table; try: its number")),
    }
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (BPF_JMP | code | BPF_K) as u16,
        jt,
        jf,
        k,
    }
}

/// Offset of an argument's lower half in `struct seccomp_data`, little-endian.
fn argument(index: u32) -> u32 {
    16 + 8 * index
}

/// The instructions that refuse the calls of `rules` and allow the rest.
pub fn program(rules: &[Rule], errno: i32) -> Vec<sock_filter> {
    let load = |offset| statement(BPF_LD | BPF_W | BPF_ABS, offset);
    let fail = |errno: i32| statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32);
    let mut program = vec![load(0)];
    for rule in rules {
        match *rule {
            Rule::Call(number) => {
                program.extend([jump(BPF_JEQ, number as u32, 0, 1), fail(errno)]);
            }
            Rule::Ask(number) => program.extend([
                jump(BPF_JEQ, number as u32, 0, 1),
                statement(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
            ]),
            Rule::Allow(number) => program.extend([
                jump(BPF_JEQ, number as u32, 0, 1),
                statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
            ]),
            Rule::AskRest => program.push(statement(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)),
            Rule::Range(first, end) => program.extend([
                jump(BPF_JGE, first as u32, 0, 2),
                jump(BPF_JGE, end as u32, 1, 0),
                fail(errno),
            ]),
            Rule::Flags(number, index, bits) => program.extend([
                jump(BPF_JEQ, number as u32, 0, 4),
                load(argument(index)),
                jump(BPF_JSET, bits, 0, 1),
                fail(libc::EINVAL),
                load(0),
            ]),
        }
    }
    program.push(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    program
}

/// seccomp(2) with these flags; the answer is 0, or a listener's descriptor.
fn set(program: &mut [sock_filter], flags: libc::c_ulong) -> c_long {
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: `program` points to `len` instructions that outlive the call.
    unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) }
}

/// Installs `program` for this process and later programs in it.
///
/// # Errors
/// As seccomp(2), in words.
pub fn install(program: &mut [sock_filter]) -> Result<(), String> {
    install_with(program, 0)
        .map(drop)
        .map_err(|e| format!("install filter: {e}"))
}

/// Installs `program` with flags of seccomp(2) and returns the call's result.
/// Allocates nothing, so it may be called between fork and exec.
///
/// # Errors
/// As seccomp(2).
pub fn install_with(program: &mut [sock_filter], flags: libc::c_ulong) -> std::io::Result<i32> {
    let mut answer = set(program, flags);
    if answer < 0 {
        // Without CAP_SYS_ADMIN the kernel wants no_new_privs; with it, tests
        // of no_new_privs keep their meaning.
        // SAFETY: takes numbers only.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        answer = set(program, flags);
    }
    if answer < 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(answer as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_known() {
        assert!(NAMES.is_sorted());
        assert_eq!(rules("clone3"), Ok(vec![Rule::Call(libc::SYS_clone3)]));
        assert_eq!(rules("5"), Ok(vec![Rule::Call(5)]));
        assert!(rules("no_such_call").is_err());
    }
}
