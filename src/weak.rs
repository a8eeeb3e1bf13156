// SPDX-License-Identifier: MIT OR Apache-2.0
//! Switches one defence off, in builds of `tests/weakened.sh` alone.
//!
//! `is_weak!("NAME")` is `false` unless the crate is compiled with `--cfg
//! tare_weak`. No cargo feature sets that, because features unify: any crate of
//! a program could then weaken the library for all others. A weak build keeps
//! every defence but the one that `TARE_WEAK` names, so that one build serves
//! all lines of `tests/weakened.txt`.
#![forbid(unsafe_code)]

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
        $crate::weak::asked() == $name
    };
}

/// Returns what `TARE_WEAK` names; empty without one.
#[cfg(tare_weak)]
pub(crate) fn asked() -> &'static str {
    use std::sync::OnceLock;

    static ASKED: OnceLock<String> = OnceLock::new();
    ASKED.get_or_init(|| std::env::var("TARE_WEAK").unwrap_or_default())
}

/// Writes what `TARE_WEAK` names into a copy of the helper, which has no
/// environment: `crates/tare-init/src/weak.rs` keeps a marker and room behind
/// it.
#[cfg(tare_weak)]
pub(crate) fn told(helper: &[u8]) -> Vec<u8> {
    const MARKER: &[u8] = b"tare_weak:";

    let mut told = helper.to_vec();
    let at = helper.windows(MARKER.len()).position(|w| w == MARKER);
    let at = at.expect("a weak helper has a marker") + MARKER.len();
    told[at..at + asked().len()].copy_from_slice(asked().as_bytes());
    told
}
