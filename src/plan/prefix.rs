// SPDX-License-Identifier: MIT OR Apache-2.0
//! Which operations of a start need to know neither its image nor its name:
//! they can be done before anybody asks for it.
#![forbid(unsafe_code)]

use crate::wire::{Field as _, Op, Reader, SLOTS};

/// Operations, divided. Each part in its order; all of the first before any of
/// the second come to the same as all in their order.
#[derive(Default)]
pub(super) struct Split {
    pub(super) prefix: Vec<u8>,
    pub(super) rest: Vec<u8>,
}

/// Divides the operations of a start.
pub(super) fn split(ops: &[u8]) -> Split {
    let (mut reader, mut slots) = (Reader::new(ops), Slots::default());
    let mut split = Split::default();
    while let Some(op) = Op::get(&mut reader) {
        if op == (Op::MakePrivate {}) {
            // Until it is asked for, an init with a copy of the host's mounts
            // keeps none of them busy that is unmounted.
            Op::MakeSlave {}.put(&mut split.prefix);
        }
        let to = match slots.is_early(&op) {
            true => &mut split.prefix,
            false => &mut split.rest,
        };
        op.put(to);
    }
    split
}

#[derive(Default)]
struct Slots {
    /// File systems that are made early, and to which nothing has been done
    /// that was not early.
    prefix: Bits,
    /// Those that hold, or have held, anything.
    used: Bits,
}

/// A set of slots.
#[derive(Default)]
struct Bits([u64; SLOTS.div_ceil(64)]);

impl Bits {
    fn contains(&self, slot: u32) -> bool {
        self.0[slot as usize / 64] & 1 << (slot % 64) != 0
    }

    /// Returns whether it was not in it.
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
    fn is_early(&mut self, op: &Op<'_>) -> bool {
        match *op {
            Op::NewFs { into, kind, .. } => {
                // Not an overlay, which is of an image.
                let kinds = [
                    c"tmpfs", c"devpts", c"mqueue", c"sysfs", c"proc", c"cgroup2",
                ];
                let prefix = self.used.insert(into) && kinds.contains(&kind);
                prefix && self.prefix.insert(into)
            }
            Op::MakeDir { root, .. } | Op::MakeLink { root, .. } | Op::MakeNode { root, .. } => {
                self.prefix.contains(root)
            }
            Op::SetSysctl { proc, .. } => self.prefix.contains(proc),
            // The stage, in a mount namespace of the sandbox's own.
            Op::AttachRoot { from } => self.prefix.contains(from),
            Op::EnterCgroup { .. }
            | Op::Unshare { .. }
            | Op::MakeSlave {}
            | Op::LoopbackUp {}
            | Op::NewKeyring {}
            | Op::DropBounding { .. } => true,
            // On 6.15 and newer, before anything is attached to the root; else
            // what is attached has been touched.
            Op::Attach { from, root, .. } => self.all(&[from, root]),
            Op::Mask {
                root, dev, stage, ..
            } => self.all(&[root, dev, stage]),
            Op::MakeReadOnly { root, .. } => self.all(&[root]),
            // Whatever is made in these from now on may depend on what this
            // does.
            Op::MakeFile { root, .. }
            | Op::CopyFile { root, .. }
            | Op::AddLine { root, .. }
            | Op::Chown { root, .. }
            | Op::RemoveTree { root, .. } => self.touch(&[root]),
            Op::SetAttr { slot, .. } | Op::CloseSlot { slot } | Op::Detach { slot } => {
                self.touch(&[slot])
            }
            Op::CopyTree { to, links, .. } => self.touch(&[to, links]),
            Op::NewOverlay { into, stage, .. } => {
                self.used.insert(into);
                self.touch(&[into, stage])
            }
            Op::CloneTree { into, .. } | Op::OpenDir { into, .. } => {
                self.used.insert(into);
                self.touch(&[into])
            }
            Op::Setns { .. }
            | Op::MakePrivate {}
            | Op::SetHostname { .. }
            | Op::PivotRoot { .. }
            | Op::EnterEmptyNs {}
            | Op::ChangeRoot { .. } => false,
        }
    }

    /// Returns whether it is all done to what is early. If not, it is done
    /// late, and whatever follows it may depend on it.
    fn all(&mut self, slots: &[u32]) -> bool {
        slots.iter().all(|slot| self.prefix.contains(*slot)) || self.touch(slots)
    }

    fn touch(&mut self, slots: &[u32]) -> bool {
        for slot in slots {
            self.prefix.remove(*slot);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Ops;
    use crate::parts::mounts::options;
    use crate::plan;
    use crate::testing::bench::with_default;

    fn names(ops: &[u8]) -> Vec<String> {
        let mut reader = Reader::new(ops);
        let all = std::iter::from_fn(|| Op::get(&mut reader));
        let name = |op| {
            format!("{op:?}")
                .split([' ', '{'])
                .next()
                .unwrap()
                .to_owned()
        };
        all.map(name).collect()
    }

    #[test]
    fn early_is_what_is_made_in_a_file_system_before_anything_else_is_done_to_it() {
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
        // They would be made below what is mounted there.
        ops.make_dir(one, c"y", 0o755);
        ops.attach(other, one, c"y", 0);
        ops.make_dir(other, c"y", 0o755);
        let split = split(ops.bytes());
        assert_eq!(
            names(&split.prefix),
            [
                "MakeSlave",
                "LoopbackUp",
                "NewFs",
                "MakeDir",
                "NewFs",
                "Attach",
                "MakeDir"
            ]
        );
        assert_eq!(
            names(&split.rest),
            [
                "MakePrivate",
                "SetHostname",
                "CloneTree",
                "Attach",
                "MakeDir",
                "Attach",
                "MakeDir"
            ]
        );
    }

    #[test]
    fn early_is_no_file_system_in_a_slot_that_was_used() {
        let mut ops = Ops::default();
        let clone = ops.clone_tree(c"/x", false);
        ops.close(clone);
        let again = ops.new_fs(c"tmpfs", &options([]), 0);
        assert_eq!(again, clone);
        ops.make_dir(again, c"x", 0o755);
        ops.close(again);
        ops.new_fs(c"tmpfs", &options([]), 0);
        let split = split(ops.bytes());
        assert_eq!(names(&split.prefix), [""; 0]);
        assert_eq!(split.rest, ops.bytes());
    }

    #[test]
    fn early_is_all_but_the_image_the_names_and_their_places() {
        with_default(|inputs| {
            let plan = plan::start(inputs).unwrap();
            let (_, rest) = plan.split().unwrap();
            let name_of_etc = ["MakeFile", "CloneTree", "Attach", "CloseSlot"];
            let expected = [
                &["SetHostname", "NewOverlay", "EnterEmptyNs", "AttachRoot"][..],
                // The kernel's file systems, whole.
                &["Attach", "Attach", "Attach"],
                &name_of_etc,
                &name_of_etc,
                &name_of_etc,
                &["ChangeRoot"],
            ];
            assert_eq!(names(&rest), expected.concat());
        });
    }
}
