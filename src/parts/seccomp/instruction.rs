// SPDX-License-Identifier: MIT OR Apache-2.0
//! The instructions of classic BPF that a filter is made of.
#![forbid(unsafe_code)]

use libc::{BPF_JMP, BPF_K, BPF_RET, sock_filter};

use super::action::Action;

/// Ends the program.
pub(super) fn answer(action: Action) -> sock_filter {
    statement(BPF_RET | BPF_K, action.value())
}

/// An instruction without jumps.
pub(super) fn statement(code: u32, k: u32) -> sock_filter {
    instruction(code, k, 0, 0)
}

/// Compares with `k`, and skips so many instructions.
pub(super) fn jump(condition: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    instruction(BPF_JMP | condition | BPF_K, k, jt, jf)
}

/// Any.
pub(super) fn instruction(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    // An instruction's code is below 0x100 by construction.
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}
