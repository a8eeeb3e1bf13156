// SPDX-License-Identifier: MIT OR Apache-2.0
//! Splits the operations of a start into a prefix, which may run before the
//! caller asks for the sandbox, and the rest.
//!
//! A prestarted init has run a prefix and waits. The caller's spec then names
//! an image, and the sandbox has a name; the rest depends on these. For the
//! rest to do the same as all operations in their order, moving an operation
//! into the prefix must not change any effect. The rules:
//!
//! - An operation that needs the image or a name never moves:
//!   [`Op::needs_image`], declared with the operation.
//! - An operation that works on slots moves if all of them hold file systems
//!   from the prefix, to which only the prefix has done anything so far. So
//!   `/proc`, `/sys` and `/dev` are mounted, filled and masked in the prefix.
//! - As soon as an operation of the rest works on a slot, no later operation on
//!   that slot moves: what it makes may depend on the operation before. A
//!   directory made after a mount would otherwise lie below the mount.
//! - A file system in a slot that held another one before does not move: the
//!   prefix would close, or cover, the earlier one.
//! - Any other operation moves: cgroups, loopback, keyring, bounding set.
//!
//! Both parts keep their order. Two plans fit if their prefixes are equal byte
//! by byte, so a wrong split costs a start from scratch, or fails a test here.
#![forbid(unsafe_code)]

use crate::wire::{Field as _, Op, Reader, SLOTS};

/// The operations of a start in two parts.
#[derive(Default)]
pub(super) struct Split {
    pub(super) prefix: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

/// Splits the operations of a start.
pub(super) fn split(ops: &[u8]) -> Split {
    let (mut reader, mut slots) = (Reader::new(ops), Slots::default());
    let mut split = Split::default();
    while let Some(op) = Op::get(&mut reader) {
        if op == (Op::MakePrivate {}) {
            // A prestarted init may wait for long. With its copy of the host's
            // mounts private, a file system that the host unmounts would stay
            // busy all that time.
            Op::MakeSlave {}.put(&mut split.prefix);
        }
        let to = match slots.moves(&op) {
            true => &mut split.prefix,
            false => &mut split.rest,
        };
        op.put(to);
    }
    split
}

#[derive(Default)]
struct Slots {
    /// Slots with file systems of the prefix, untouched by the rest.
    prefix: Bits,
    /// Slots that hold anything, or did.
    used: Bits,
}

/// A set of slots.
#[derive(Default)]
struct Bits([u64; SLOTS.div_ceil(64)]);

impl Bits {
    fn contains(&self, slot: u32) -> bool {
        self.0[slot as usize / 64] & 1 << (slot % 64) != 0
    }

    /// Inserts `slot`; returns true if the set did not contain the slot.
    fn insert(&mut self, slot: u32) -> bool {
        let new = !self.contains(slot);
        self.0[slot as usize / 64] |= 1 << (slot % 64);
        new
    }

    fn remove(&mut self, slot: u32) {
        self.0[slot as usize / 64] &= !(1 << (slot % 64));
    }
}

impl Slots {
    /// Returns whether an operation moves into the prefix, and notes its
    /// effect.
    fn moves(&mut self, op: &Op<'_>) -> bool {
        let mut moves = !op.needs_image();
        op.slots(|slot| moves &= self.prefix.contains(slot));
        if let Some(into) = op.fills() {
            // In this order: a slot counts as used by an operation of the rest,
            // too.
            moves = self.used.insert(into) && moves;
            match moves {
                true => _ = self.prefix.insert(into),
                false => self.prefix.remove(into),
            }
        }
        if !moves {
            // Later operations on these slots may depend on this one.
            op.slots(|slot| self.prefix.remove(slot));
        }
        moves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Ops;
    use crate::parts::mounts::options;
    use crate::plan;
    use crate::testing::bench::with_default;

    fn names(ops: &[u8]) -> String {
        let mut reader = Reader::new(ops);
        let all = std::iter::from_fn(|| Op::get(&mut reader)).map(|op| format!("{op:?}"));
        let names = all.map(|op| op.split([' ', '{']).next().unwrap().to_owned());
        names.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn prefix_fills_a_file_system_until_the_rest_touches_it() {
        let mut ops = Ops::default();
        ops.push(Op::MakePrivate {});
        ops.push(Op::LoopbackUp {});
        ops.push(Op::SetHostname { name: c"n" });
        let one = ops.new_fs(c"tmpfs", &options([c"mode", c"755"]), 0);
        ops.make_dir(one, c"x", 0o755);
        let other = ops.new_fs(c"devpts", &options([]), 0);
        ops.attach(other, one, c"x", 0);
        ops.make_dir(one, c"x", 0o755);
        let clone = ops.clone_tree(c"/", false);
        ops.attach(one, clone, c"y", 0);
        // In the prefix this directory would lie below the mount.
        ops.make_dir(one, c"y", 0o755);
        ops.attach(other, one, c"y", 0);
        ops.make_dir(other, c"y", 0o755);
        let split = split(ops.bytes());
        let prefix = "MakeSlave LoopbackUp NewFs MakeDir NewFs Attach MakeDir";
        assert_eq!(names(&split.prefix), prefix);
        let rest = "MakePrivate SetHostname CloneTree Attach MakeDir Attach MakeDir";
        assert_eq!(names(&split.rest), rest);
    }

    #[test]
    fn prefix_has_no_file_system_in_a_slot_that_was_used() {
        let mut ops = Ops::default();
        let clone = ops.clone_tree(c"/x", false);
        ops.close(clone);
        let again = ops.new_fs(c"tmpfs", &options([]), 0);
        assert_eq!(again, clone);
        ops.make_dir(again, c"x", 0o755);
        ops.close(again);
        ops.new_fs(c"tmpfs", &options([]), 0);
        let split = split(ops.bytes());
        assert_eq!(names(&split.prefix), "");
        assert_eq!(split.rest, ops.bytes());
    }

    #[test]
    fn prefix_is_all_but_the_image_the_names_and_their_places() {
        with_default(|inputs| {
            let plan = plan::start(inputs).unwrap();
            let (_, rest) = plan.split().unwrap();
            // The tree, the whole file systems of the kernel, three files of
            // names.
            let expected = "SetHostname NewOverlay EnterEmptyNs AttachRoot \
                Attach Attach Attach \
                MakeFile CloneTree Attach CloseSlot \
                MakeFile CloneTree Attach CloseSlot \
                MakeFile CloneTree Attach CloseSlot \
                ChangeRoot";
            assert_eq!(names(&rest), expected);
        });
    }
}
