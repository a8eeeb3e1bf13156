// SPDX-License-Identifier: MIT OR Apache-2.0
//! The loopback interface of a new network namespace.
#![forbid(unsafe_code)]

use crate::sys::{self, Result};

/// Brings `lo` of the caller's network namespace up, netdevice(7).
pub(crate) fn loopback_up() -> Result<()> {
    const IFF_UP: u16 = 1;
    const IFF_RUNNING: u16 = 0x40;
    let socket = sys::interface_socket()?;
    let name = b"lo\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    sys::set_interface_flags(&socket, name, IFF_UP | IFF_RUNNING)
}
