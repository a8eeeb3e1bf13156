// SPDX-License-Identifier: MIT OR Apache-2.0
//! Needs of a test from the machine; a missing need skips loudly, or fails
//! where the need must be there.
//!
//! `TARE_TESTS_REQUIRE=all` turns every skip into a failure; a list such as
//! `root,overlay,image` those needs; `all,-pids_v2` all but `pids_v2`. `make
//! test` requires all but the needs of other machines, for which the same test
//! runs in a guest.
#![forbid(unsafe_code)]

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use crate::{images, users};

/// Declares a test's needs at its top: `need!(root, overlay, image("debian"))`.
///
/// Each need is a function of [`needs`](crate::needs). For a missing need, the
/// test prints `SKIPPED: ...` on standard error, past the capture of the test
/// harness, and returns; under `TARE_TESTS_REQUIRE` it panics instead.
#[macro_export]
macro_rules! need {
    ($($need:ident $(($($argument:expr),*))?),+ $(,)?) => {
        $(
            if let Err(why) = $crate::needs::probe(|| $crate::needs::$need($($($argument),*)?)) {
                $crate::needs::missing(stringify!($need), &why);
                return;
            }
        )+
    };
}

/// Reports a missing need; `why` names the cure.
///
/// # Panics
/// When `TARE_TESTS_REQUIRE` requires the need.
pub fn missing(need: &str, why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let required = env::var("TARE_TESTS_REQUIRE").unwrap_or_default();
    assert!(
        !is_required(&required, need),
        "{test} needs {why} (TARE_TESTS_REQUIRE={required})"
    );
    // Not eprintln!, which the harness would hold back from a passing test. A
    // closed standard error must not fail a skipped test.
    let _ = writeln!(io::stderr(), "SKIPPED: {test} needs {why}");
}

/// Returns whether `required` (`all`, or names separated by commas) has `need`,
/// and has no `-need`.
fn is_required(required: &str, need: &str) -> bool {
    let excused = |word: &str| word.strip_prefix('-') == Some(need);
    required
        .split(',')
        .any(|word| word == "all" || word == need)
        && !required.split(',').any(excused)
}

/// The answer of a need: empty, or the missing thing.
pub type Need = Result<(), String>;

/// Held shared by a probe, and alone by a snapshot of the process: the file
/// that a probe reads in another thread is no descriptor of the test.
static PROBES: RwLock<()> = RwLock::new(());

/// Runs a probe of a need, while no snapshot looks at the process.
///
/// # Errors
/// The missing thing, as `need` says it.
pub fn probe(need: impl FnOnce() -> Need) -> Need {
    let _probing = PROBES.read().unwrap_or_else(PoisonError::into_inner);
    need()
}

/// Holds back the probes of other threads until the guard is dropped.
pub(crate) fn no_probes() -> RwLockWriteGuard<'static, ()> {
    PROBES.write().unwrap_or_else(PoisonError::into_inner)
}

/// `found`, or the words for the missing thing.
fn found(found: bool, missing: impl FnOnce() -> String) -> Need {
    if found { Ok(()) } else { Err(missing()) }
}

/// Effective uid 0 in the initial user namespace.
pub fn root() -> Need {
    let whole = fs::read_to_string("/proc/self/uid_map")
        .is_ok_and(|map| map.split_whitespace().eq(["0", "0", &u32::MAX.to_string()]));
    found(nix::unistd::geteuid().is_root() && whole, || "root".into())
}

/// Effective uid 0, of the machine or of a user namespace: it may make other
/// namespaces and mount there.
pub fn namespace_root() -> Need {
    found(nix::unistd::geteuid().is_root(), || "uid 0".into())
}

/// A file system named in `/proc/filesystems`, for example `overlay`.
pub fn filesystem(name: &str) -> Need {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    found(known.split_whitespace().any(|word| word == name), || {
        format!("the file system {name} (modprobe {name})")
    })
}

/// Overlay mounts.
pub fn overlay() -> Need {
    filesystem("overlay")
}

/// FUSE file systems.
pub fn fuse() -> Need {
    let device = "/dev/fuse";
    found(Path::new(device).exists(), || {
        format!("{device}: modprobe fuse")
    })
}

/// Landlock, landlock(7).
pub fn landlock() -> Need {
    kernel(5, 13)?;
    let enabled = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    found(enabled.is_empty() || enabled.contains("landlock"), || {
        "a kernel with Landlock".into()
    })
}

/// Ordinary users may make user namespaces.
pub fn userns() -> Need {
    let limit =
        |path: &str| fs::read_to_string(path).map_or(true, |text| text.trim().parse() != Ok(0_u64));
    found(
        Path::new("/proc/self/ns/user").exists()
            && limit("/proc/sys/user/max_user_namespaces")
            && limit("/proc/sys/kernel/unprivileged_userns_clone"),
        || "user namespaces for ordinary users (sysctl user.max_user_namespaces)".into(),
    )
}

/// A caller that tests may become, by its kind in [`users::CALLERS`].
pub fn user(name: &str) -> Need {
    root().map_err(|_| format!("root, to become the ordinary user {name:?}"))?;
    let subids = users::wants_subids(name)?;
    users::ensure(subids).map(drop)
}

/// Sandboxes with an overlay for each of [`users::CALLERS`].
pub fn callers() -> Need {
    user("plain")?;
    user("subids")?;
    userns()?;
    overlay()?;
    kernel(5, 11)
}

/// An image or archive that `tests/images.sh` makes.
pub fn image(name: &str) -> Need {
    found(images::image(name).exists(), || {
        format!("the image {name:?} (tests/images.sh)")
    })
}

/// A virtual machine with another kernel, see `tests/guest.sh`.
pub fn guest() -> Need {
    program("qemu-system-x86_64").map_err(|_| "qemu (tests/guest.sh -p)".to_owned())?;
    let kernel = images::guests().join("linux-image-cloud-amd64");
    found(kernel.is_dir(), || "a kernel (tests/guest.sh -p)".into())
}

/// The same with the kernel of another Debian release.
pub fn guest_of(release: &str) -> Need {
    guest()?;
    let kernel = format!("linux-image-cloud-amd64.{release}");
    let found_both = [kernel, format!("qemu.{release}")]
        .iter()
        .all(|dir| images::guests().join(dir).is_dir());
    found(found_both, || {
        format!("a kernel (tests/guest.sh -r {release} -p)")
    })
}

/// A program in `PATH`.
pub fn program(name: &str) -> Need {
    let path = env::var_os("PATH").unwrap_or_default();
    found(
        env::split_paths(&path).any(|dir| dir.join(name).is_file()),
        || format!("the program {name} (scripts/setup.sh)"),
    )
}

/// A cgroup controller, in a v1 hierarchy or in the v2 one.
pub fn controller(name: &str) -> Need {
    let v2 = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
        .iter()
        .filter_map(|dir| fs::read_to_string(format!("{dir}/cgroup.controllers")).ok())
        .any(|list| list.split_whitespace().any(|c| c == name));
    let v1 = fs::read_to_string("/proc/self/mountinfo")
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.split_once(" - cgroup ")?.1.split_once(' '))
        .any(|(_, options)| options.split(',').any(|o| o == name));
    found(v1 || v2, || format!("the cgroup controller {name}"))
}

/// A mounted cgroup v2 hierarchy, alone or beside v1.
pub fn cgroup_v2() -> Need {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    found(mounts.contains(" - cgroup2 "), || {
        "a cgroup v2 hierarchy".into()
    })
}

/// A kernel at least this new, for features without another check.
pub fn kernel(major: u32, minor: u32) -> Need {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(['.', '-']).map_while(|n| n.parse().ok());
    let running = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    found(running >= (major, minor), || {
        format!("kernel {major}.{minor}, not {}", release.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn required_reads_all_and_lists() {
        for (required, need, expected) in [
            ("", "root", false),
            ("all", "root", true),
            ("image,root", "root", true),
            ("image,rooted", "root", false),
            ("all,-image", "root", true),
            ("all,-root", "root", false),
        ] {
            assert_eq!(is_required(required, need), expected, "{required} {need}");
        }
    }

    #[test]
    fn needs_tell_present_from_missing() {
        assert_eq!(filesystem("proc"), Ok(()));
        assert!(filesystem("no-such-fs").is_err());
        assert_eq!(program("sh"), Ok(()));
        assert!(program("no-such-program").is_err());
        assert_eq!(kernel(5, 10), Ok(()));
        assert!(kernel(999, 0).is_err());
        assert!(image("no-such-image").is_err());
        assert!(user("no-such-kind").is_err());
    }
}
