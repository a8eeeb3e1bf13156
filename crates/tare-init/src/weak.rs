// SPDX-License-Identifier: MIT OR Apache-2.0
//! Switches one defence off, in builds of `tests/weakened.sh` alone: see
//! `src/weak.rs`.

/// Returns whether the defence of this name is switched off.
#[cfg(not(tare_weak))]
macro_rules! is_weak {
    ($name:literal) => {
        false
    };
}

/// Returns whether the defence of this name is switched off.
#[cfg(tare_weak)]
macro_rules! is_weak {
    ($name:literal) => {
        $crate::weak::is_asked($name)
    };
}

/// A marker, and room for the name that the host writes behind it before it
/// starts this program.
#[cfg(tare_weak)]
static ASKED: [u8; 32] = *b"tare_weak:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

/// Returns whether the host wrote this name.
#[cfg(tare_weak)]
pub(crate) fn is_asked(name: &str) -> bool {
    // SAFETY: a static of this program is valid for reads. Volatile, because
    // the compiler takes its bytes for known.
    let asked = unsafe { core::ptr::read_volatile(&raw const ASKED) };
    let (name, room) = (name.as_bytes(), &asked[10..]);
    room[..name.len()] == *name && room[name.len()] == 0
}
