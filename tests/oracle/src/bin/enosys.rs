// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a command for which some system calls do not exist, as on an older kernel.
//!
//! `enosys SYSCALL[,SYSCALL...] [--errno NAME] [--] COMMAND...`
//!
//! A system call is a name from the table below or a number; `linux-5.10`
//! stands for everything that came after that kernel and that a filter can see:
//! every newer call, and the newer flags of `close_range` and `memfd_create`.
//! The filter cannot read memory: flags of `clone3` and keys of `fsconfig` go
//! only together with the whole call.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, c_long, sock_filter, sock_fprog};

/// The first call that Linux 5.10 does not have.
const FIRST_AFTER_5_10: c_long = libc::SYS_epoll_pwait2;
/// Numbers from here on are other architectures' (x32) or nobody's.
const END_OF_NUMBERS: c_long = 512;

const NAMES: &[(&str, c_long)] = &[
    ("cachestat", 451),
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

/// When a call is refused.
#[derive(Debug, PartialEq, Eq)]
enum Rule {
    /// Always.
    Call(c_long),
    /// Numbers from the first up to but not including the second.
    Range(c_long, c_long),
    /// With EINVAL, when the argument of this index has one of these bits.
    Flags(c_long, u32, u32),
}

fn rules(word: &str) -> Result<Vec<Rule>, String> {
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

fn filter(rules: &[Rule], errno: i32) -> Vec<sock_filter> {
    let load = |offset| statement(BPF_LD | BPF_W | BPF_ABS, offset);
    let fail = |errno: i32| statement(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | errno as u32);
    let mut program = vec![load(0)];
    for rule in rules {
        match *rule {
            Rule::Call(number) => {
                program.extend([jump(BPF_JEQ, number as u32, 0, 1), fail(errno)]);
            }
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

/// Installs `program` for this process and what it becomes.
fn install(program: &mut [sock_filter]) -> Result<(), String> {
    let program = sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    let set = || {
        // SAFETY: `program` points to `len` instructions that outlive the call.
        unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        }
    };
    if set() == 0 {
        return Ok(());
    }
    // Without CAP_SYS_ADMIN the kernel wants no_new_privs; with it, tests of
    // no_new_privs keep their meaning.
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } == 0 && set() == 0 {
        return Ok(());
    }
    Err(format!(
        "install filter: {}",
        std::io::Error::last_os_error()
    ))
}

fn errno(name: &str) -> Result<i32, String> {
    match name {
        "ENOSYS" => Ok(libc::ENOSYS),
        "EINVAL" => Ok(libc::EINVAL),
        "EPERM" => Ok(libc::EPERM),
        "EOPNOTSUPP" => Ok(libc::EOPNOTSUPP),
        other => other
            .parse()
            .map_err(|_| format!("errno {other:?}: not a number")),
    }
}

fn run(mut words: impl Iterator<Item = String>) -> Result<(), String> {
    let usage = || "usage: enosys SYSCALL[,SYSCALL...] [--errno NAME] [--] COMMAND...".to_owned();
    let mut refused = Vec::new();
    for word in words.next().ok_or_else(usage)?.split(',') {
        refused.extend(rules(word)?);
    }
    let mut number = libc::ENOSYS;
    let mut word = words.next().ok_or_else(usage)?;
    if word == "--errno" {
        number = errno(&words.next().ok_or_else(usage)?)?;
        word = words.next().ok_or_else(usage)?;
    }
    if word == "--" {
        word = words.next().ok_or_else(usage)?;
    }
    install(&mut filter(&refused, number))?;
    let error = Command::new(&word).args(words).exec();
    Err(format!("{word}: {error}"))
}

#[expect(clippy::print_stderr, reason = "a command line program")]
fn main() -> ExitCode {
    // Only failures come back: success is another program by then.
    if let Err(why) = run(env::args().skip(1)) {
        eprintln!("enosys: {why}");
    }
    ExitCode::from(125)
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
