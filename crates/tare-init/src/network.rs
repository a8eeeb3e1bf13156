// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one interface of a new network namespace.

use crate::sys::{Fd, Result, nr, sys};

/// netdevice(7): the flags IFF_UP and IFF_RUNNING for `lo`, in the caller's network namespace.
pub(crate) fn loopback_up() -> Result<()> {
    const SIOCSIFFLAGS: usize = 0x8914;
    // AF_INET, SOCK_DGRAM | SOCK_CLOEXEC
    let socket = Fd(sys!(nr::SOCKET, 2, 0x80002, 0)? as i32);
    let mut request = [0u8; 40];
    request[..2].copy_from_slice(b"lo");
    request[16] = 0x41;
    sys!(nr::IOCTL, socket.0, SIOCSIFFLAGS, request.as_mut_ptr()).map(drop)
}
