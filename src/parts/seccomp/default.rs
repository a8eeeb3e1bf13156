// SPDX-License-Identifier: MIT OR Apache-2.0
//! Docker's default profile as a table, and the profile made from it.
#![forbid(unsafe_code)]

use caps::Capability;

use super::action::Action;
use super::profile::{Condition, Gate, Operator, Profile, Rule};
use crate::parts::caps::CapSet;

/// Allowed to everybody. Names that x86-64 does not have are left out.
const ALWAYS: &str = "\
    accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir chmod chown \
    clock_adjtime clock_getres clock_gettime clock_nanosleep close close_range connect \
    copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old \
    epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit \
    exit_group faccessat faccessat2 fadvise64 fallocate fanotify_mark fchdir fchmod fchmodat \
    fchmodat2 fchown fchownat fcntl fdatasync fgetxattr flistxattr flock fork fremovexattr \
    fsetxattr fstat fstatfs fsync ftruncate futex futex_requeue futex_wait futex_waitv \
    futex_wake futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups \
    getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid \
    getresuid getrlimit get_robust_list getrusage getsid getsockname getsockopt \
    get_thread_area gettid gettimeofday getuid getxattr getxattrat inotify_add_watch \
    inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents \
    io_pgetevents ioprio_get ioprio_set io_setup io_submit kill landlock_add_rule \
    landlock_create_ruleset landlock_restrict_self lchown lgetxattr link linkat listen \
    listmount listxattr listxattrat llistxattr lremovexattr lseek lsetxattr lstat madvise \
    map_shadow_stack membarrier memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat \
    mlock mlock2 mlockall mmap mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
    mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall \
    munmap name_to_handle_at nanosleep newfstatat open openat openat2 pause pidfd_open \
    pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll prctl pread64 \
    preadv preadv2 prlimit64 process_mrelease pselect6 pwrite64 pwritev pwritev2 read \
    readahead readlink readlinkat readv recvfrom recvmmsg recvmsg remap_file_pages removexattr \
    removexattrat rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait \
    rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max \
    sched_get_priority_min sched_getscheduler sched_rr_get_interval sched_setaffinity \
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp select semctl semget \
    semop semtimedop sendfile sendmmsg sendmsg sendto setfsgid setfsuid setgid setgroups \
    setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit \
    set_robust_list setsid setsockopt set_thread_area set_tid_address setuid setxattr \
    setxattrat shmat shmctl shmdt shmget shutdown sigaltstack signalfd signalfd4 socketpair \
    splice stat statfs statmount statx symlink symlinkat sync sync_file_range syncfs sysinfo \
    tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime \
    timerfd_create timerfd_gettime timerfd_settime times tkill truncate umask uname unlink \
    unlinkat uretprobe utime utimensat utimes vfork vmsplice wait4 waitid write writev \
    arch_prctl modify_ldt process_vm_readv process_vm_writev ptrace";

/// Allowed to holders of a capability; a holder of several gets all their
/// lines.
const BY_CAPABILITY: [(Capability, &str); 14] = [
    (Capability::CAP_DAC_READ_SEARCH, "open_by_handle_at"),
    (
        Capability::CAP_SYS_ADMIN,
        "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie \
         lsm_get_self_attr lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount \
         open_tree perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog \
         umount2 unshare",
    ),
    (Capability::CAP_SYS_BOOT, "reboot"),
    (Capability::CAP_SYS_CHROOT, "chroot"),
    (
        Capability::CAP_SYS_MODULE,
        "delete_module init_module finit_module",
    ),
    (Capability::CAP_SYS_PACCT, "acct"),
    (
        Capability::CAP_SYS_PTRACE,
        "kcmp pidfd_getfd process_madvise",
    ),
    (Capability::CAP_SYS_RAWIO, "iopl ioperm"),
    (Capability::CAP_SYS_TIME, "settimeofday clock_settime"),
    (Capability::CAP_SYS_TTY_CONFIG, "vhangup"),
    (
        Capability::CAP_SYS_NICE,
        "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
    ),
    (Capability::CAP_SYSLOG, "syslog"),
    (Capability::CAP_BPF, "bpf"),
    (Capability::CAP_PERFMON, "perf_event_open"),
];

/// Families that socket(2) may open: all but AF_ALG (38) and AF_VSOCK (40),
/// kernel surface that ordinary programs do without.
const SOCKET_FAMILIES: [(Operator, u64); 3] =
    [(Operator::Lt, 38), (Operator::Eq, 39), (Operator::Gt, 40)];

/// Values that personality(2) may set: PER_LINUX, PER_LINUX32, both with
/// UNAME26, and the query.
const PERSONALITIES: [u64; 5] = [0, 0x0008, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Flags of clone(2) that make a namespace, all but the time namespace, which
/// clone cannot make. Docker's rule forbids each.
const NAMESPACES: u64 = 0x7e02_0000;

/// Docker's default profile, in effect that of moby/profiles at cd3bed8: the
/// verdicts are compared call by call in the tests.
pub(super) fn profile() -> Profile {
    let enosys = Rule {
        excludes: holds(Capability::CAP_SYS_ADMIN),
        action: Action::ENOSYS,
        // The flags are behind a pointer that no filter can follow; libraries
        // fall back to clone, whose flags can be seen.
        ..allow("clone3", None)
    };
    let clone = Rule {
        excludes: holds(Capability::CAP_SYS_ADMIN),
        ..allow("clone", Some((Operator::MaskedEq(NAMESPACES), 0)))
    };
    let mut rules = vec![allow(ALWAYS, None), enosys, clone];
    rules.extend(BY_CAPABILITY.map(|(capability, names)| Rule {
        includes: holds(capability),
        ..allow(names, None)
    }));
    rules.extend(SOCKET_FAMILIES.map(|when| allow("socket", Some(when))));
    rules.extend(PERSONALITIES.map(|value| allow("personality", Some((Operator::Eq, value)))));
    let default = match is_weak!("seccomp_allow") {
        true => Action::Allow,
        false => Action::Errno(libc::EPERM as u16),
    };
    Profile { default, rules }
}

fn allow(names: &str, first_argument: Option<(Operator, u64)>) -> Rule {
    let condition = |(operator, value)| Condition {
        index: 0,
        operator,
        value,
    };
    Rule {
        names: names.split_ascii_whitespace().map(Into::into).collect(),
        action: Action::Allow,
        args: first_argument.map(condition).into_iter().collect(),
        includes: Gate::default(),
        excludes: Gate::default(),
    }
}

fn holds(capability: Capability) -> Gate {
    Gate {
        caps: CapSet::from_iter([capability]),
        ..Gate::default()
    }
}
