// SPDX-License-Identifier: MIT OR Apache-2.0
//! The program: a tree of ranges of call numbers, and behind it what answers by
//! arguments.
//!
//! The tree uses only the instructions that the kernel can emulate when a
//! filter is attached (`seccomp_is_const_allow`, since 5.11), so allowed calls
//! cost a bit test and attaching costs the tree's depth, not its length, per
//! number.
#![forbid(unsafe_code)]

use libc::{BPF_ABS, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_LD, BPF_W};
use libc::{seccomp_data, sock_filter};
use std::mem::offset_of;

use super::action::Action;
use super::arguments;
use super::instruction::{answer, instruction, jump, statement};
use super::policy::{Call, Policy};
use crate::error::{Error, Result, Step};

/// `AUDIT_ARCH_X86_64` of `linux/audit.h`: the machine, 64 bits, little endian.
pub(super) const AUDIT_ARCH_X86_64: u32 = 62 | 0x8000_0000 | 0x4000_0000;

/// Set in the numbers of the x32 ABI.
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Instructions of a program at most: the kernel's `BPF_MAXINSNS`.
const LONGEST: usize = 4096;

/// The answer to a range of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaf {
    Answer(Action),
    /// The answer of the nth block of instructions behind the tree.
    Block(usize),
}

/// Compiles `policy`.
///
/// The machine's other ABIs, i386 and x32, answer `ENOSYS` to every call:
/// their own tables of names and numbers are a second way into the kernel.
///
/// # Errors
/// [`crate::Kind::Invalid`] if there are more conditions than a program can
/// hold.
pub(super) fn compile(policy: &Policy) -> Result<Vec<sock_filter>> {
    let mut code = vec![
        statement(
            BPF_LD | BPF_W | BPF_ABS,
            offset_of!(seccomp_data, arch) as u32,
        ),
        jump(BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        answer(Action::ENOSYS),
        statement(
            BPF_LD | BPF_W | BPF_ABS,
            offset_of!(seccomp_data, nr) as u32,
        ),
    ];
    let mut blocks = Vec::new();
    code.extend(branch(&ranges(policy, &mut blocks)));
    let tree = code.len();
    let mut starts = Vec::new();
    for block in blocks {
        starts.push(code.len());
        code.extend(block);
    }
    for (after, instruction) in (1..=tree).zip(&mut code) {
        if instruction.jt == TO_BLOCK && instruction.code == TO_BLOCK_CODE {
            let distance = starts[instruction.k as usize] - after;
            *instruction = statement(BPF_JMP | BPF_JA, distance as u32);
        }
    }
    if code.len() > LONGEST {
        let why = format!(
            "{} instructions, and the kernel takes {LONGEST}",
            code.len()
        );
        return Err(Error::invalid(Step::CompileSeccompProfile, why)
            .with_cure("fewer rules with args in security.seccomp"));
    }
    Ok(code)
}

/// The leaves, each with the first number that gets it; blocks are added to
/// `blocks`.
fn ranges(policy: &Policy, blocks: &mut Vec<Vec<sock_filter>>) -> Vec<(u32, Leaf)> {
    let mut ranges = Vec::new();
    let mut push = |start, leaf| match ranges.last() {
        Some((_, last)) if *last == leaf => {}
        _ => ranges.push((start, leaf)),
    };
    let end = policy.calls.keys().next_back().map_or(0, |last| last + 1);
    for number in 0..end {
        let leaf = match policy.calls.get(&number) {
            Some(call) if !call.conditional.is_empty() => block(policy, call, blocks),
            Some(call) => Leaf::Answer(call.always.unwrap_or(policy.default)),
            None => Leaf::Answer(policy.default),
        };
        push(number, leaf);
    }
    match policy.newest {
        Some(newest) => push(newest + 1, Leaf::Answer(Action::ENOSYS)),
        None => push(end, Leaf::Answer(policy.default)),
    }
    push(X32_BIT, Leaf::Answer(Action::ENOSYS));
    ranges
}

/// Calls with the same rules share a block.
fn block(policy: &Policy, call: &Call, blocks: &mut Vec<Vec<sock_filter>>) -> Leaf {
    let new = arguments::compile(call, policy.default);
    let known = blocks.iter().position(|block| *block == new);
    Leaf::Block(known.unwrap_or_else(|| {
        blocks.push(new);
        blocks.len() - 1
    }))
}

/// A little more than there are calls.
const CALLS: u32 = 512;

/// Marks, in an unconditional jump, that `k` is the number of a block and not
/// yet a distance.
const TO_BLOCK: u8 = 1;
const TO_BLOCK_CODE: u16 = (BPF_JMP | BPF_JA) as u16;

/// The most ranges whose returns can be shared: with one fewer jumps and at
/// most as many returns, every jump stays within the 255 instructions it can
/// reach.
const SHARING: usize = 128;

fn branch(ranges: &[(u32, Leaf)]) -> Vec<sock_filter> {
    if ranges.len() <= SHARING {
        return Cluster::compile(ranges);
    }
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let start = high[0].0;
    let (low, high) = (branch(low), branch(high));
    // An unconditional jump reaches any distance.
    let over = statement(BPF_JMP | BPF_JA, low.len() as u32);
    let mut code = vec![jump(BPF_JGE, start, 0, 1), over];
    code.extend(low);
    code.extend(high);
    code
}

/// A tree whose jumps come first, each before its low and then its high half,
/// and whose returns, one per answer, come last: attaching costs by length too.
struct Cluster {
    code: Vec<sock_filter>,
    jumps: usize,
    leaves: Vec<Leaf>,
}

impl Cluster {
    fn compile(ranges: &[(u32, Leaf)]) -> Vec<sock_filter> {
        let mut leaves = Vec::new();
        for (_, leaf) in ranges {
            if !leaves.contains(leaf) {
                leaves.push(*leaf);
            }
        }
        let mut cluster = Self {
            code: Vec::new(),
            jumps: ranges.len() - 1,
            leaves,
        };
        cluster.push(ranges, CALLS);
        let ends = cluster.leaves.iter().map(|leaf| match *leaf {
            Leaf::Answer(action) => answer(action),
            // Where it is will be known when all of the tree is.
            Leaf::Block(n) => instruction(BPF_JMP | BPF_JA, n as u32, TO_BLOCK, 0),
        });
        cluster.code.extend(ends);
        cluster.code
    }

    /// Appends the jumps among `ranges`, which reach to `end`; there is one
    /// between any two of them.
    fn push(&mut self, ranges: &[(u32, Leaf)], end: u32) {
        if ranges.len() < 2 {
            return;
        }
        let (low, high) = ranges.split_at(middle(ranges, end));
        let after = self.code.len() + 1;
        let yes = self.target(high, after + low.len() - 1) - after;
        let no = self.target(low, after) - after;
        let reach = |distance| u8::try_from(distance).expect("a cluster is within reach");
        let next = jump(BPF_JGE, high[0].0, reach(yes), reach(no));
        self.code.push(next);
        self.push(low, high[0].0);
        self.push(high, end);
    }

    /// Returns the place that decides on `ranges`: their own jumps, which begin
    /// at `at`, or a return if there is a single range.
    fn target(&self, ranges: &[(u32, Leaf)], at: usize) -> usize {
        let [(_, only)] = ranges else {
            return at;
        };
        let leaf = self.leaves.iter().position(|leaf| leaf == only);
        self.jumps + leaf.expect("the leaves were collected from the ranges")
    }
}

/// Returns the place to split at least two ranges, which reach to `end`, so
/// that about as many numbers are on both sides: the kernel walks the tree once
/// for each number.
fn middle(ranges: &[(u32, Leaf)], end: u32) -> usize {
    let first = ranges[0].0;
    let half = first + end.saturating_sub(first) / 2;
    let nearest = (1..ranges.len()).min_by_key(|n| ranges[*n].0.abs_diff(half));
    nearest.expect("there are two ranges")
}
