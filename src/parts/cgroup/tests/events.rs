// SPDX-License-Identifier: MIT OR Apache-2.0
//! Notices of kills for want of memory.

use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;
use crate::sys::event;

#[test]
fn oom_notice_comes_with_each_kill() {
    need!(root);
    let cgroup = Scratch::new(r#"{"memory": "16m", "swap": "0"}"#);
    let notice = cgroup.watch_oom().unwrap();
    let any = event::any_of(&[notice.source()]).unwrap();
    let is_told = |within: u16| {
        let mut fds = [PollFd::new(any.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::from(within)).unwrap() == 1
    };
    assert!(!is_told(0));
    assert!(cgroup.run("exit 0").status.success());
    assert!(!is_told(0));
    for kills in 1..4 {
        let output = cgroup.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1");
        assert_eq!(output.status.signal(), Some(libc::SIGKILL), "{output:?}");
        assert!(is_told(10_000), "{kills}");
        notice.take();
        assert_eq!(cgroup.oom_kills(), Some(kills));
    }
}

#[test]
fn oom_notice_needs_a_limit_of_memory() {
    need!(root);
    let error = Scratch::new(r#"{"pids": 6}"#).watch_oom().unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}
