// SPDX-License-Identifier: MIT OR Apache-2.0
//! Waits until ending processes have ended, and nothing of them is left.

use std::os::fd::{AsFd, AsRawFd as _};
use std::thread;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tare::{Error, Sandbox, Store};
use tare_oracle::Host;

/// Long, for machines with much other work: a passing test waits for nothing.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Returns whether a descriptor is readable, after so long at most.
pub(crate) fn is_readable(fd: impl AsFd, within: Duration) -> bool {
    let mut fds = [PollFd::new(fd.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::try_from(within).unwrap()).unwrap() == 1
}

/// Waits until `found` finds something, and returns that.
#[track_caller]
pub(crate) fn await_some<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < SOON, "{what}, {SOON:?} later");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until `holds` holds.
#[track_caller]
pub(crate) fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    await_some(what, || holds().then_some(()));
}

/// Waits until process `pid` has ended, reaped or not.
#[track_caller]
pub(crate) fn await_end(pid: i32) {
    let runs = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        stat.is_ok_and(|text| !text.contains(") Z ") && !text.contains(") X "))
    };
    await_that(&format!("{pid} lives"), || !runs());
}

/// Waits until the machine is unchanged, sweeping as every open of the store
/// does: helpers of ended hosts may still work during the first sweep.
#[track_caller]
pub(crate) fn assert_swept(before: &Host, store: &Store) {
    let began = Instant::now();
    loop {
        let swept = store.recover().unwrap();
        let left = before.settle(Duration::from_millis(100));
        if left.is_empty() && swept.left == 0 {
            return;
        }
        let took = began.elapsed();
        assert!(
            took < SOON,
            "{took:?} later: {swept:?}\n{}",
            left.join("\n")
        );
    }
}

/// Process id of a sandbox's helper, from the sandbox's name.
pub(crate) fn helper_of(sandbox: &Sandbox) -> i32 {
    try_helper_of(sandbox).unwrap()
}

/// The same for a sandbox that may have ended by now.
pub(crate) fn try_helper_of(sandbox: &Sandbox) -> Result<i32, Error> {
    let name = sandbox.effective()?.name;
    let number = name.rsplit('-').next().unwrap().split('.').next().unwrap();
    Ok(number.parse().unwrap())
}

/// Kills the process 1 of a sandbox, through the number that its descriptor
/// shows.
#[track_caller]
pub(crate) fn kill_init(sandbox: &Sandbox) {
    let fd = sandbox.pidfd().unwrap();
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).unwrap();
    let pid = info.lines().find_map(|l| l.strip_prefix("Pid:")).unwrap();
    kill(Pid::from_raw(pid.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

/// Process ids of a helper's children of this name: `tare-init`, or
/// `tare-ahead` for a waiting one.
pub(crate) fn children(helper: i32, name: &str) -> Vec<i32> {
    let path = format!("/proc/{helper}/task/{helper}/children");
    let children = std::fs::read_to_string(path).unwrap();
    let has_name = |pid: &&str| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        comm.is_ok_and(|comm| comm.trim_end() == name)
    };
    let found = children.split_whitespace().filter(has_name);
    found.map(|pid| pid.parse().unwrap()).collect()
}
