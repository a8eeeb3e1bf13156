// SPDX-License-Identifier: MIT OR Apache-2.0
//! Credentials of the calling thread as the kernel keeps them: credentials(7).
//! Each differs from thread to thread; the C library's functions for a whole
//! process are made of calls for one thread.

use std::path::Path;

use nix::errno::Errno;

/// Capability sets of a thread, bit `n` for capability number `n`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

impl Capabilities {
    /// Reads all three by one capget(2).
    pub(crate) fn read() -> Result<Self, Errno> {
        // _LINUX_CAPABILITY_VERSION_3, and the calling thread.
        let mut header = [0x2008_0522u32, 0];
        // Effective, permitted, inheritable of the lower half; then of the
        // upper half.
        let mut sets = [0u32; 6];
        // SAFETY: capget(2) takes a header of two words and fills two records
        // of three words.
        let done =
            unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
        Errno::result(done)?;
        let set = |n: usize| u64::from(sets[n + 3]) << 32 | u64::from(sets[n]);
        Ok(Self {
            effective: set(0),
            permitted: set(1),
            inheritable: set(2),
        })
    }

    /// Returns whether the thread can do nothing that takes a capability, now
    /// or later.
    pub(crate) fn are_none(&self) -> bool {
        self.permitted == 0
    }
}

/// Reads the supplementary groups; none if there are more than `most`.
pub(crate) fn groups(most: usize) -> Result<Option<Vec<u32>>, Errno> {
    // A length of 0 would ask for their number.
    let mut groups = vec![0; most + 1];
    // SAFETY: the call fills at most `most + 1` entries, and fails with EINVAL
    // if there are more.
    let count = unsafe { libc::getgroups(most as i32 + 1, groups.as_mut_ptr()) };
    match Errno::result(count) {
        Ok(count) if count as usize <= most => {
            groups.truncate(count as usize);
            Ok(Some(groups))
        }
        Ok(_) | Err(Errno::EINVAL) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A directory by mount, device and inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Differs in each mount namespace.
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

/// Reads the thread's root directory, whose mount id also tells the mount
/// namespace.
pub(crate) fn root() -> Result<Place, Errno> {
    let mask = libc::STATX_INO | libc::STATX_MNT_ID;
    // SAFETY: zero bytes are an empty `statx`, which the call fills and which
    // outlives the call; the path ends with a NUL.
    let (done, file) = unsafe {
        let mut file: libc::statx = std::mem::zeroed();
        let flags = libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
        let path = c"/".as_ptr();
        let done = libc::statx(libc::AT_FDCWD, path, flags, mask, &raw mut file);
        (done, file)
    };
    Errno::result(done)?;
    Ok(Place {
        mount: file.stx_mnt_id,
        device: (file.stx_dev_major, file.stx_dev_minor),
        inode: file.stx_ino,
    })
}

/// Identifies a namespace: device and inode of its file, namespaces(7).
pub(crate) type Namespace = (u64, u64);

/// Reads the thread's namespace of a kind, such as `user`.
pub(crate) fn namespace(kind: &str) -> Result<Namespace, Errno> {
    let path = format!("/proc/thread-self/ns/{kind}");
    let file = nix::sys::stat::stat(Path::new(&path))?;
    Ok((file.st_dev, file.st_ino))
}

#[cfg(test)]
pub(crate) mod testing {
    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    /// Gives up root in the calling thread alone, which the C library's
    /// functions do not.
    pub(crate) fn drop_ids() {
        const OTHER: libc::c_long = 12345;
        // SAFETY: both calls take numbers only, and change nothing but this
        // thread's ids.
        let done = unsafe {
            libc::syscall(libc::SYS_setresgid, OTHER, OTHER, OTHER)
                | libc::syscall(libc::SYS_setresuid, OTHER, OTHER, OTHER)
        };
        assert_eq!(done, 0);
    }

    /// Runs `work` in a forked copy of this process. The copy may allocate, but
    /// take no lock of this crate's.
    pub(crate) fn in_a_fork(work: impl FnOnce()) {
        // SAFETY: the C library makes its allocator usable in the child;
        // nothing else is locked there.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                work();
                // SAFETY: the call takes a number, and does not return.
                unsafe { libc::_exit(0) }
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn status(key: &str) -> String {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.unwrap().trim().to_owned()
    }

    #[test]
    fn capabilities_are_those_that_proc_tells() {
        let read = Capabilities::read().unwrap();
        let bits = |key| u64::from_str_radix(&status(key), 16).unwrap();
        assert_eq!(read.effective, bits("CapEff:"));
        assert_eq!(read.permitted, bits("CapPrm:"));
        assert_eq!(read.inheritable, bits("CapInh:"));
    }

    #[test]
    fn groups_are_those_that_proc_tells_or_too_many() {
        let told = status("Groups:");
        let mut told: Vec<u32> = told.split(' ').filter_map(|g| g.parse().ok()).collect();
        let mut read = groups(65536).unwrap().unwrap();
        told.sort_unstable();
        read.sort_unstable();
        assert_eq!(read, told);
        assert_eq!(groups(read.len()).unwrap().unwrap().len(), told.len());
        if let Some(fewer) = read.len().checked_sub(1) {
            assert_eq!(groups(fewer).unwrap(), None);
        }
    }

    #[test]
    fn root_is_the_place_of_the_root_directory() {
        let read = root().unwrap();
        assert_eq!(read.inode, fs::metadata("/").unwrap().ino());
        assert_eq!(read, root().unwrap());
    }
}
