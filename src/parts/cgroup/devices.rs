// SPDX-License-Identifier: MIT OR Apache-2.0
//! Devices that a sandbox of root may open: the rules, as an eBPF program (v2)
//! or as text (v1).
#![forbid(unsafe_code)]

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use nix::errno::Errno;

use super::layout::Layout;
use crate::error::{Error, Result, Step};
use crate::spec::{Profile, Security};
use crate::sys::bpf;

/// The type of a rule's devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeviceType {
    Block,
    Char,
}

/// A permission; accesses without a permission are refused. `None` stands for
/// any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) kind: DeviceType,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
    /// `BPF_DEVCG_ACC_*` bits: [`MKNOD`], [`READ`], [`WRITE`].
    pub(crate) access: u32,
}

pub(crate) const MKNOD: u32 = 1;
pub(crate) const READ: u32 = 2;
pub(crate) const WRITE: u32 = 4;
const ALL: u32 = MKNOD | READ | WRITE;

const fn char_device(major: u32, minor: Option<u32>) -> DeviceRule {
    DeviceRule {
        kind: DeviceType::Char,
        major: Some(major),
        minor,
        access: ALL,
    }
}

const fn any_node(kind: DeviceType) -> DeviceRule {
    DeviceRule {
        kind,
        major: None,
        minor: None,
        access: MKNOD,
    }
}

fn bits(read: bool, write: bool, mknod: bool) -> u32 {
    let each = [(read, READ), (write, WRITE), (mknod, MKNOD)];
    let each = each.into_iter().filter(|(on, _)| *on);
    each.map(|(_, bit)| bit).sum()
}

/// Docker's list: the pseudo devices and terminals; nodes of any other may be
/// made, as images hold them, but not opened.
const DEFAULT: [DeviceRule; 11] = [
    char_device(1, Some(3)), // null
    char_device(1, Some(5)), // zero
    char_device(1, Some(7)), // full
    char_device(1, Some(8)), // random
    char_device(1, Some(9)), // urandom
    char_device(5, Some(0)), // tty
    char_device(5, Some(1)), // console
    char_device(5, Some(2)), // ptmx
    char_device(136, None),  // pts/*
    any_node(DeviceType::Char),
    any_node(DeviceType::Block),
];

/// The devices that a sandbox may open: Docker's list and those of
/// `security.devices`.
///
/// For sandboxes of root without a user namespace only; in a user namespace the
/// kernel refuses mknod(2), and every mount there is nodev.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeviceRules(Vec<DeviceRule>);

impl DeviceRules {
    /// The rules that `security` asks for; none for `privileged`.
    ///
    /// # Errors
    /// When a device of `security.devices` is not there, or is no device.
    pub(crate) fn of(security: &Security) -> Result<Option<Self>> {
        if security.profile == Profile::Privileged {
            return Ok(None);
        }
        let mut rules = DEFAULT.to_vec();
        for device in &security.devices {
            let step = Step::LookUpSecurityDevices;
            let path = device.source.display();
            let meta = std::fs::metadata(&device.source).map_err(|e| Error::io(step, path, e))?;
            let kind = match meta.file_type() {
                t if t.is_char_device() => DeviceType::Char,
                t if t.is_block_device() => DeviceType::Block,
                _ => {
                    let path = device.source.display();
                    let why = format_args!("{path} is not a device");
                    return Err(Error::invalid(step, why));
                }
            };
            rules.push(DeviceRule {
                kind,
                major: Some(libc::major(meta.rdev())),
                minor: Some(libc::minor(meta.rdev())),
                access: bits(device.read, device.write, device.mknod),
            });
        }
        for rule in &security.device_rules {
            let kinds = [
                (rule.character, DeviceType::Char),
                (rule.block, DeviceType::Block),
            ];
            let kinds = kinds.into_iter().filter(|(is_meant, _)| *is_meant);
            rules.extend(kinds.map(|(_, kind)| DeviceRule {
                kind,
                major: rule.major,
                minor: rule.minor,
                access: bits(rule.read, rule.write, rule.mknod),
            }));
        }
        Ok(Some(Self(rules)))
    }

    /// The rules as a program for `BPF_PROG_TYPE_CGROUP_DEVICE`, kernel 4.15:
    /// returns 1 when a rule permits all that is asked, else 0.
    pub(super) fn program(&self) -> Vec<u64> {
        use insn::{AND, JNE, JNE_REG, LDX, MOV, MOV_REG, RSH, exit, op};
        // struct bpf_cgroup_dev_ctx { u32 access_type; u32 major; u32 minor; },
        // where access_type is access << 16 | type. r2 type, r3 access, r4
        // major, r5 minor.
        let mut program = vec![
            op(LDX, 2, 1, 0, 0),
            op(MOV_REG, 3, 2, 0, 0),
            op(AND, 2, 0, 0, 0xffff),
            op(RSH, 3, 0, 0, 16),
            op(LDX, 4, 1, 4, 0),
            op(LDX, 5, 1, 8, 0),
        ];
        for rule in &self.0 {
            let kind = match rule.kind {
                DeviceType::Block => 1,
                DeviceType::Char => 2,
            };
            let mut tests = vec![(JNE, 2, kind)];
            tests.extend(rule.major.map(|n| (JNE, 4, n)));
            tests.extend(rule.minor.map(|n| (JNE, 5, n)));
            let partial = rule.access != ALL;
            // Each test jumps past the rest of its rule, the two last
            // instructions included.
            let length = tests.len() + if partial { 3 } else { 0 } + 2;
            for (at, (code, register, number)) in tests.into_iter().enumerate() {
                program.push(op(code, register, 0, length - at - 1, number));
            }
            if partial {
                program.push(op(MOV_REG, 0, 3, 0, 0));
                program.push(op(AND, 0, 0, 0, rule.access));
                program.push(op(JNE_REG, 0, 3, 2, 0));
            }
            program.extend([op(MOV, 0, 0, 0, 1), exit()]);
        }
        program.extend([op(MOV, 0, 0, 0, 0), exit()]);
        program
    }

    /// The rules as lines for `devices.allow`, kernel doc
    /// `cgroup-v1/devices.rst`.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(ToString::to_string)
    }
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
        let kind = match self.kind {
            DeviceType::Block => 'b',
            DeviceType::Char => 'c',
        };
        write!(f, "{kind} {}:{} ", number(self.major), number(self.minor))?;
        for (bit, letter) in [(READ, "r"), (WRITE, "w"), (MKNOD, "m")] {
            f.write_str(if self.access & bit != 0 { letter } else { "" })?;
        }
        Ok(())
    }
}

/// Rules made ready for the kernel. Made once per set of rules and shared by
/// any number of sandboxes: loading costs 0.1 to 1 ms, attaching a few
/// microseconds.
#[derive(Debug)]
pub(crate) struct DeviceGate {
    pub(super) rules: DeviceRules,
    /// The loaded program, or why there is none.
    pub(super) program: Result<OwnedFd, Errno>,
}

impl DeviceGate {
    /// Loads the program where a v2 hierarchy is mounted, with or without
    /// controllers. Where that fails, the v1 controller is left to try.
    pub(crate) fn load(layout: &Layout, rules: DeviceRules) -> Self {
        let program = match layout.v2() {
            // KERNEL(<5.11): the program counts against RLIMIT_MEMLOCK; it
            // takes one page.
            Some(_) => bpf::load_device_program(&rules.program()),
            None => Err(Errno::ENODEV),
        };
        Self { rules, program }
    }
}

/// The instructions used here, kernel doc `bpf/instruction-set.rst`.
mod insn {
    /// Load 32 bits: `dst = *(u32 *)(src + offset)`.
    pub(super) const LDX: u8 = 0x61;
    /// `dst = (u32) src`.
    pub(super) const MOV_REG: u8 = 0xbc;
    /// `dst = number`.
    pub(super) const MOV: u8 = 0xb4;
    /// `dst &= number`.
    pub(super) const AND: u8 = 0x54;
    /// `dst >>= number`.
    pub(super) const RSH: u8 = 0x74;
    /// Skip `offset` instructions if `dst != number`.
    pub(super) const JNE: u8 = 0x55;
    /// Skip `offset` instructions if `dst != src`.
    pub(super) const JNE_REG: u8 = 0x5d;
    const EXIT: u8 = 0x95;

    /// One instruction word: opcode, registers, offset, number.
    pub(super) fn op(code: u8, dst: u8, src: u8, offset: usize, number: u32) -> u64 {
        let offset = u16::try_from(offset).expect("a rule is shorter than ten instructions");
        u64::from_ne_bytes({
            let mut bytes = [0; 8];
            bytes[0] = code;
            // The registers share a byte, and swap their halves with the byte
            // order.
            bytes[1] = if cfg!(target_endian = "little") {
                src << 4 | dst
            } else {
                dst << 4 | src
            };
            bytes[2..4].copy_from_slice(&offset.to_ne_bytes());
            bytes[4..8].copy_from_slice(&number.to_ne_bytes());
            bytes
        })
    }

    pub(super) fn exit() -> u64 {
        op(EXIT, 0, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the program's answer, by the instructions' definition.
    fn verdict(program: &[u64], kind: u32, access: u32, major: u32, minor: u32) -> u32 {
        let context = [access << 16 | kind, major, minor];
        let mut r = [0u32; 11];
        let mut at = 0;
        loop {
            let bytes = program[at].to_le_bytes();
            let (dst, src) = (usize::from(bytes[1] & 15), usize::from(bytes[1] >> 4));
            let offset = usize::from(u16::from_le_bytes([bytes[2], bytes[3]]));
            let number = u32::from_le_bytes(bytes[4..].try_into().unwrap());
            at += 1;
            match bytes[0] {
                insn::LDX => r[dst] = context[offset / 4],
                insn::MOV_REG => r[dst] = r[src],
                insn::MOV => r[dst] = number,
                insn::AND => r[dst] &= number,
                insn::RSH => r[dst] >>= number,
                insn::JNE => at += if r[dst] != number { offset } else { 0 },
                insn::JNE_REG => at += if r[dst] != r[src] { offset } else { 0 },
                0x95 => return r[0],
                other => panic!("instruction {other:#x}"),
            }
        }
    }

    #[test]
    fn devices_default_permits_dockers_list_only() {
        let rules = DeviceRules::of(&Security::default()).unwrap().unwrap();
        let program = rules.program();
        const BLOCK: u32 = 1;
        const CHAR: u32 = 2;
        for (kind, major, minor, access, allowed) in [
            (CHAR, 1, 3, READ | WRITE, 1), // null
            (CHAR, 1, 9, READ, 1),         // urandom
            (CHAR, 136, 77, ALL, 1),       // pts/77
            (CHAR, 10, 229, READ, 0),      // fuse
            (CHAR, 1, 1, READ, 0),         // mem
            (CHAR, 1, 1, MKNOD, 1),
            (CHAR, 1, 1, MKNOD | READ, 0),
            (BLOCK, 8, 0, READ, 0), // sda
            (BLOCK, 8, 0, MKNOD, 1),
            (BLOCK, 1, 3, READ, 0), // a block device with null's numbers
            (BLOCK, 7, 0, WRITE | MKNOD, 0),
        ] {
            assert_eq!(
                verdict(&program, kind, access, major, minor),
                allowed,
                "type {kind} access {access} {major}:{minor}"
            );
        }
    }

    #[test]
    fn devices_of_spec_are_added_with_their_access() {
        let security = Security {
            devices: vec!["/dev/kmsg:/dev/kmsg:r".parse().unwrap()],
            ..Security::default()
        };
        let rules = DeviceRules::of(&security).unwrap().unwrap();
        assert_eq!(rules.lines().last().unwrap(), "c 1:11 r");
        assert_eq!(rules.lines().next().unwrap(), "c 1:3 rwm");
        assert_eq!(rules.lines().nth(8).unwrap(), "c 136:* rwm");
        assert_eq!(verdict(&rules.program(), 2, READ, 1, 11), 1);
        assert_eq!(verdict(&rules.program(), 2, WRITE, 1, 11), 0);
        let privileged = Security {
            profile: Profile::Privileged,
            ..security
        };
        assert!(DeviceRules::of(&privileged).unwrap().is_none());
    }

    #[test]
    fn devices_regular_file_is_refused() {
        let security = Security {
            devices: vec!["/etc/passwd:/dev/x".parse().unwrap()],
            ..Security::default()
        };
        let error = DeviceRules::of(&security).unwrap_err();
        assert_eq!(
            error.to_string(),
            "look up security.devices: /etc/passwd is not a device"
        );
    }
}
