// SPDX-License-Identifier: MIT OR Apache-2.0
//! The escapes of the kernel's table of mounts.

/// Undoes the octal escapes of proc_pid_mountinfo(5): `\040` is a space.
pub fn unescape(mut field: &[u8]) -> impl Iterator<Item = u8> {
    let is_octal = |byte: &u8| (b'0'..=b'7').contains(byte);
    core::iter::from_fn(move || {
        let byte;
        (byte, field) = match field {
            [b'\\', a @ b'0'..=b'3', b, c, rest @ ..] if is_octal(b) && is_octal(c) => {
                ((a & 3) << 6 | (b & 7) << 3 | c & 7, rest)
            }
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        Some(byte)
    })
}
