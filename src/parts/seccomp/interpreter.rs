// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs a filter program as the kernel does, for the tests.
#![forbid(unsafe_code)]

use libc::sock_filter;

/// The input of a program, `struct seccomp_data`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    pub(super) number: u32,
    pub(super) arch: u32,
    pub(super) args: [u64; 6],
}

/// Runs a program.
///
/// # Panics
/// On any instruction that the kernel cannot emulate when it is attached, on a
/// jump out of the program and on a program without an end.
pub(super) fn run(program: &[sock_filter], data: &Data) -> u32 {
    let mut accumulator = 0;
    let mut at = 0;
    loop {
        let i = program[at];
        at += 1;
        let jump = |yes| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 => accumulator = load(data, i.k),
            0x05 => at += i.k as usize,
            0x15 => at += jump(accumulator == i.k),
            0x25 => at += jump(accumulator > i.k),
            0x35 => at += jump(accumulator >= i.k),
            0x45 => at += jump(accumulator & i.k != 0),
            0x54 => accumulator &= i.k,
            0x06 => return i.k,
            code => panic!("instruction {code:#x} at {at}"),
        }
    }
}

/// Returns whether the kernel knows at attach time that the call `data.number`
/// is always allowed, `seccomp_is_const_allow` of `kernel/seccomp.c`.
#[cfg(test)]
pub(super) fn is_constantly_allowed(program: &[sock_filter], data: &Data) -> bool {
    let reads_arguments = |mut at: usize| loop {
        let i = program[at];
        let accumulator = data.number;
        at += 1;
        let jump = |yes| usize::from(if yes { i.jt } else { i.jf });
        match i.code {
            0x20 if i.k > 4 => return true,
            0x05 => at += i.k as usize,
            0x15 if program[at - 2].k == 4 => at += jump(data.arch == i.k),
            0x15 => at += jump(accumulator == i.k),
            0x35 => at += jump(accumulator >= i.k),
            0x06 => return false,
            _ => {}
        }
    };
    !reads_arguments(0) && run(program, data) == libc::SECCOMP_RET_ALLOW
}

fn load(data: &Data, offset: u32) -> u32 {
    let half = |value: u64, high: bool| match high {
        true => (value >> 32) as u32,
        false => value as u32,
    };
    match offset {
        0 => data.number,
        4 => data.arch,
        16..64 if offset.is_multiple_of(4) => {
            let index = (offset as usize - 16) / 8;
            half(data.args[index], offset % 8 == 4)
        }
        _ => panic!("load from {offset}"),
    }
}
