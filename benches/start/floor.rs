// SPDX-License-Identifier: MIT OR Apache-2.0
//! The floor: the same sandbox by a straightforward sequence of raw system
//! calls.
//!
//! The floor asks the kernel for the same as libtare: namespaces, a cgroup, an
//! overlay on a tmpfs, devices, masks, capabilities, a filter. It does so in
//! the obvious way: one clone, mounts by path, one wait.

use std::ffi::{CStr, CString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::null;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use libc::{
    MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REC, MS_REMOUNT, MS_STRICTATIME,
    O_CREAT, O_WRONLY,
};

const LOCKED: u64 = MS_NOSUID | MS_NODEV | MS_NOEXEC;

/// A static x86-64 program of a single system call: `exit(0)`.
// The ELF header, one program header, and the code: mov eax, 60; xor edi, edi;
// syscall.
pub(crate) const EXIT: &[u8] = b"\
    \x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\
    \x02\0>\0\x01\0\0\0x\0@\0\0\0\0\0@\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0@\0\x38\0\x01\0\0\0\0\0\0\0\
    \x01\0\0\0\x05\0\0\0\0\0\0\0\0\0\0\0\0\0@\0\0\0\0\0\
    \0\0@\0\0\0\0\0\x81\0\0\0\0\0\0\0\x81\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\
    \xb8\x3c\0\0\0\x31\xff\x0f\x05";

/// Fails the whole child, because a floor that skips a step is no floor.
fn must(what: &CStr, ret: impl Into<i64>) -> i64 {
    let ret = ret.into();
    if ret < 0 {
        let error = io::Error::last_os_error();
        eprintln!("floor: {what:?}: {error}");
        // SAFETY: ends this child without running anything of its parent's.
        unsafe { libc::_exit(1) };
    }
    ret
}

fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, data: &CStr) {
    let [source, target, kind] = [source, target, kind].map(CStr::as_ptr);
    // SAFETY: five pointers to strings that live through the call.
    let ret = unsafe { libc::mount(source, target, kind, flags, data.as_ptr().cast()) };
    must(c"mount", ret);
}

/// Mounts a file system with its type as the source.
fn mount_new(kind: &CStr, target: &CStr, flags: u64, data: &CStr) {
    mount(kind, target, kind, flags, data);
}

fn mkdir(path: &CStr, mode: u32) {
    // SAFETY: a string.
    must(c"mkdir", unsafe { libc::mkdir(path.as_ptr(), mode) });
}

/// A cgroup for this process's, where this machine has the second version
/// mounted.
static CGROUP: LazyLock<CString> = LazyLock::new(|| {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = mounts.lines().find(|line| line.contains(" - cgroup2 "));
    let line = line.expect("a mounted cgroup2");
    let path = line.split(' ').nth(4).unwrap();
    CString::new(format!("{path}/tare-floor-{}", std::process::id())).unwrap()
});

/// Makes the sandbox, runs `/exit`, waits for its end; returns the time,
/// without the removal of the cgroup. Without `filter` the result is no
/// sandbox: the difference is the cost of a filter of that shape.
pub(crate) fn run(root: &Path, filter: bool) -> Duration {
    let root = CString::new(root.as_os_str().as_bytes()).unwrap();
    let cgroup = CGROUP.as_c_str();
    let began = Instant::now();
    // SAFETY: a string; the directory is removed below.
    unsafe { libc::mkdir(cgroup.as_ptr(), 0o755) };
    let flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWNET
        | libc::SIGCHLD;
    // SAFETY: like fork; the bench has a single thread, and the child only
    // makes system calls.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    if pid == 0 {
        inside(&root, cgroup, filter);
    }
    let mut status = 0;
    // SAFETY: waits for the child just made.
    let waited = unsafe { libc::waitpid(pid as i32, &raw mut status, 0) };
    assert_eq!((waited, status), (pid as i32, 0));
    let took = began.elapsed();
    // SAFETY: a string.
    unsafe { libc::rmdir(cgroup.as_ptr()) };
    took
}

fn inside(root: &CStr, cgroup: &CStr, filter: bool) -> ! {
    enter(cgroup);
    tree(root);
    kernel();
    network();
    devices();
    hide();
    pivot();
    confine();
    if filter {
        attach();
    }
    let argv = [c"/exit".as_ptr(), null()];
    let envp = [c"PATH=/bin".as_ptr(), null()];
    // SAFETY: two arrays of strings that end with a null pointer.
    must(c"execve", unsafe {
        libc::execve(argv[0], argv.as_ptr(), envp.as_ptr())
    });
    unreachable!()
}

fn enter(cgroup: &CStr) {
    // SAFETY: strings, buffers and structures that live through each call; the
    // descriptors are this child's own.
    unsafe {
        let dir = must(c"open", libc::open(cgroup.as_ptr(), libc::O_PATH)) as i32;
        let procs = must(
            c"open",
            libc::openat(dir, c"cgroup.procs".as_ptr(), O_WRONLY),
        ) as i32;
        must(c"write", libc::write(procs, c"0".as_ptr().cast(), 1) as i64);
        must(c"unshare", libc::unshare(libc::CLONE_NEWCGROUP));
        mount(c"", c"/", c"", MS_REC | libc::MS_PRIVATE, c"");
        must(c"keyctl", libc::syscall(libc::SYS_keyctl, 1, 0));
        must(c"sethostname", libc::sethostname(c"floor".as_ptr(), 5));
        let socket = must(c"socket", libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0)) as i32;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as i8;
        request.ifr_name[1] = b'o' as i8;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        must(
            c"ioctl",
            libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request),
        );
        libc::close(socket);
    }
}

fn tree(root: &CStr) {
    mount_new(c"tmpfs", c"/mnt", 0, c"mode=755");
    for (dir, mode) in [
        (c"/mnt/u", 0o755),
        (c"/mnt/w", 0o700),
        (c"/mnt/m", 0o755),
        (c"/mnt/empty", 0o755),
    ] {
        mkdir(dir, mode);
    }
    let root = root.to_str().unwrap();
    let options = format!("lowerdir={root},upperdir=/mnt/u,workdir=/mnt/w");
    let options = CString::new(options).unwrap();
    mount_new(c"overlay", c"/mnt/m", 0, &options);
    for (file, target) in [
        (c"/mnt/hostname", c"/mnt/m/etc/hostname"),
        (c"/mnt/hosts", c"/mnt/m/etc/hosts"),
        (c"/mnt/resolv.conf", c"/mnt/m/etc/resolv.conf"),
    ] {
        for path in [file, target] {
            // SAFETY: a string; the descriptor is closed.
            unsafe { libc::close(libc::open(path.as_ptr(), O_CREAT | O_WRONLY, 0o644)) };
        }
        mount(file, target, c"", MS_BIND, c"");
    }
}

fn kernel() {
    let fixed = LOCKED | MS_RDONLY;
    mount_new(c"proc", c"/mnt/m/proc", LOCKED, c"");
    mount_new(c"sysfs", c"/mnt/m/sys", fixed, c"");
    mount_new(c"cgroup2", c"/mnt/m/sys/fs/cgroup", fixed, c"");
    let dev = c"mode=755,size=65536k";
    mount_new(c"tmpfs", c"/mnt/m/dev", MS_NOSUID | MS_STRICTATIME, dev);
    for dir in [c"/mnt/m/dev/pts", c"/mnt/m/dev/shm", c"/mnt/m/dev/mqueue"] {
        mkdir(dir, 0o755);
    }
    let pts = c"newinstance,ptmxmode=0666,mode=0620,gid=5";
    mount_new(c"devpts", c"/mnt/m/dev/pts", MS_NOSUID | MS_NOEXEC, pts);
    let shm = c"mode=1777,size=65536k";
    mount_new(c"tmpfs", c"/mnt/m/dev/shm", LOCKED, shm);
    mount_new(c"mqueue", c"/mnt/m/dev/mqueue", LOCKED, c"");
}

/// Settings of Docker's default in the sandbox's own network.
fn network() {
    for (setting, value) in [
        (c"/mnt/m/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
        (c"/mnt/m/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ] {
        // SAFETY: a string and a buffer with its length; the descriptor is this
        // child's own.
        unsafe {
            let fd = must(c"open", libc::open(setting.as_ptr(), O_WRONLY)) as i32;
            let wrote = libc::write(fd, value.as_ptr().cast(), value.len());
            must(c"write", wrote as i64);
            libc::close(fd);
        }
    }
}

fn devices() {
    let nodes = [
        (c"null", 3),
        (c"zero", 5),
        (c"full", 7),
        (c"random", 8),
        (c"urandom", 9),
    ];
    for (name, minor) in nodes {
        node(name, libc::makedev(1, minor));
    }
    node(c"tty", libc::makedev(5, 0));
    for (target, link) in [
        (c"/proc/self/fd", c"/mnt/m/dev/fd"),
        (c"/proc/self/fd/0", c"/mnt/m/dev/stdin"),
        (c"/proc/self/fd/1", c"/mnt/m/dev/stdout"),
        (c"/proc/self/fd/2", c"/mnt/m/dev/stderr"),
        (c"/proc/kcore", c"/mnt/m/dev/core"),
        (c"pts/ptmx", c"/mnt/m/dev/ptmx"),
    ] {
        // SAFETY: two strings.
        must(c"symlink", unsafe {
            libc::symlink(target.as_ptr(), link.as_ptr())
        });
    }
}

fn node(name: &CStr, device: u64) {
    let path = CString::new(format!("/mnt/m/dev/{}", name.to_str().unwrap())).unwrap();
    // SAFETY: a string.
    must(c"mknod", unsafe {
        libc::mknod(path.as_ptr(), libc::S_IFCHR | 0o666, device)
    });
}

fn hide() {
    let exists = |path: &CStr| {
        // SAFETY: a string.
        unsafe { libc::access(path.as_ptr(), libc::F_OK) == 0 }
    };
    for file in [
        "interrupts",
        "kcore",
        "keys",
        "latency_stats",
        "sched_debug",
        "timer_list",
        "timer_stats",
    ] {
        let path = CString::new(format!("/mnt/m/proc/{file}")).unwrap();
        if exists(&path) {
            mount(c"/mnt/m/dev/null", &path, c"", MS_BIND, c"");
        }
    }
    for dir in [
        c"/mnt/m/proc/acpi",
        c"/mnt/m/proc/asound",
        c"/mnt/m/proc/scsi",
        c"/mnt/m/sys/firmware",
        c"/mnt/m/sys/devices/virtual/powercap",
    ] {
        if exists(dir) {
            mount_new(c"tmpfs", dir, MS_RDONLY, c"");
        }
    }
    for path in [
        c"/mnt/m/proc/bus",
        c"/mnt/m/proc/fs",
        c"/mnt/m/proc/irq",
        c"/mnt/m/proc/sys",
        c"/mnt/m/proc/sysrq-trigger",
    ] {
        if exists(path) {
            mount(path, path, c"", MS_BIND | MS_REC, c"");
            let again = MS_BIND | MS_REMOUNT | LOCKED | MS_RDONLY;
            mount(c"", path, c"", again, c"");
        }
    }
}

fn pivot() {
    // SAFETY: strings only.
    unsafe {
        must(c"chdir", libc::chdir(c"/mnt/m".as_ptr()));
        must(
            c"pivot_root",
            libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()),
        );
        must(c"umount2", libc::umount2(c".".as_ptr(), libc::MNT_DETACH));
        must(c"chdir", libc::chdir(c"/".as_ptr()));
    }
}

/// Docker's fourteen capabilities and no_new_privs.
fn confine() {
    const KEEP: u64 = 0xa804_25fb;
    let header = [0x2008_0522u32, 0];
    let data = [KEEP as u32, KEEP as u32, 0, 0, 0, 0];
    // SAFETY: numbers, and structures that live through each call.
    unsafe {
        libc::setsid();
        for cap in (0..41).filter(|cap| KEEP & 1 << cap == 0) {
            must(c"prctl", libc::prctl(libc::PR_CAPBSET_DROP, cap));
        }
        must(c"setgroups", libc::setgroups(1, [0].as_ptr()));
        must(c"setresgid", libc::setresgid(0, 0, 0));
        must(c"setresuid", libc::setresuid(0, 0, 0));
        must(
            c"capset",
            libc::syscall(libc::SYS_capset, header.as_ptr(), data.as_ptr()),
        );
        must(c"prctl", libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    }
}

/// A filter that compares each allowed number in turn, behind a comparison of
/// the architecture and another for x32: as many instructions as libseccomp
/// emits for x86-64. Without the first the kernel would run all others for each
/// number of i386 as well.
fn attach() {
    const ARCH_X86_64: u32 = 0xc000_003e;
    const X32: u32 = 0x4000_0000;
    const NO_SUCH_CALL: u32 = 0x0005_0026;
    let instruction = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let statement = |code, k| instruction(code, 0, 0, k);
    let mut filter = vec![
        statement(0x20, 4),
        instruction(0x15, 1, 0, ARCH_X86_64),
        statement(0x06, NO_SUCH_CALL),
        statement(0x20, 0),
        instruction(0x35, 0, 1, X32),
        statement(0x06, NO_SUCH_CALL),
    ];
    let allowed = (0..361u32).filter(|n| ![165, 166, 272, 308].contains(n));
    // A conditional jump reaches 255 instructions.
    for numbers in allowed.collect::<Vec<_>>().chunks(200) {
        for (at, &number) in numbers.iter().enumerate() {
            let to_allow = (numbers.len() - at) as u8;
            filter.push(instruction(0x15, to_allow, 0, number));
        }
        filter.push(statement(0x05, 1));
        filter.push(statement(0x06, 0x7fff_0000));
    }
    filter.push(statement(0x06, 0x0005_0001));
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: a program with its length, which lives through the call.
    let ret = unsafe { libc::syscall(libc::SYS_seccomp, 1, 0, &raw const program) };
    must(c"seccomp", ret);
}
