// SPDX-License-Identifier: MIT OR Apache-2.0
//! bpf(2): loading a device program and attaching it to a cgroup.

use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::errno::Errno;

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;

/// The part of `union bpf_attr` that loading reads; the kernel takes the rest
/// as zero.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

/// Loads `program`, each word one instruction of the eBPF instruction set, as
/// a `BPF_PROG_TYPE_CGROUP_DEVICE` program. The descriptor is close-on-exec.
///
/// # Errors
/// `EPERM` without CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN before 5.8) in the
/// first user namespace; `EINVAL` without `CONFIG_CGROUP_BPF` or for a program
/// that the verifier refuses.
pub(crate) fn load_device_program(program: &[u64]) -> nix::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::E2BIG)?,
        insns: program.as_ptr() as u64,
        license: license.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: `attr` is a repr(C) prefix of `union bpf_attr` of the size
    // passed, and both of its pointers are to borrows that outlive the call;
    // the kernel only reads them.
    let fd = Errno::result(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_LOAD,
            &raw const attr,
            size_of::<Load>(),
        )
    })?;
    // SAFETY: the call succeeded, so `fd` is a new descriptor without another
    // owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Attaches a device program to the cgroup v2 directory `cgroup`, beside those
/// of the ancestors; access needs the consent of all of them.
///
/// # Errors
/// `EPERM` without the capabilities, or below a cgroup whose own program was
/// attached for it alone.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> nix::Result<()> {
    let attr = Attach {
        target_fd: cgroup.as_raw_fd() as u32,
        attach_bpf_fd: program.as_raw_fd() as u32,
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI,
    };
    // SAFETY: `attr` is a repr(C) prefix of `union bpf_attr` of the size passed
    // and holds no pointers; both descriptors are borrowed for the length of
    // the call.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_PROG_ATTACH,
            &raw const attr,
            size_of::<Attach>(),
        )
    })
    .map(drop)
}
