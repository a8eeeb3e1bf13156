// SPDX-License-Identifier: MIT OR Apache-2.0
//! The options of a mount: a table for parser, writer, schema and command line.
#![forbid(unsafe_code)]

use super::{Mount, MountKind, Tmpfs};
use crate::error::{Error, Result, Step};

/// Attributes of a mount, `MOUNT_ATTR_*` of mount_setattr(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MountAttrs(u32);

impl MountAttrs {
    /// No writing through the mount.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY as u32);
    /// No program is executed from the mount.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC as u32);

    /// Returns the bits of mount_setattr(2).
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Returns whether all of `attrs` are set.
    pub const fn contains(self, attrs: Self) -> bool {
        self.0 & attrs.0 == attrs.0
    }

    /// Sets `attrs`, beside those that are set.
    pub const fn insert(&mut self, attrs: Self) {
        self.0 |= attrs.0;
    }

    /// Clears `attrs`.
    pub const fn remove(&mut self, attrs: Self) {
        self.0 &= !attrs.0;
    }
}

/// A word, or a name in front of `=`, with an effect on a mount.
struct MountOption {
    name: &'static str,
    effect: Effect,
}

enum Effect {
    /// Sets attributes of the mount.
    Set(MountAttrs),
    /// Clears attributes that another option sets.
    Clear(MountAttrs),
    /// Makes a bind a copy-on-write view.
    Cow,
    /// Gives a tmpfs a value.
    Value {
        /// Stands for the value in help and cures.
        shown: &'static str,
        /// Matches right values, in the schema.
        #[cfg_attr(not(feature = "schema"), expect(dead_code, reason = "the schema's"))]
        pattern: &'static str,
        read: fn(&mut Tmpfs, &str) -> Result<()>,
        /// Writes the value, unless it is the kernel's own.
        write: fn(&Tmpfs) -> Option<String>,
    },
}

use Effect::{Clear, Cow, Set, Value};

const fn row(name: &'static str, effect: Effect) -> MountOption {
    MountOption { name, effect }
}

/// Every option. A new option is a row here, and a test.
const OPTIONS: [MountOption; 7] = [
    row("ro", Set(MountAttrs::READ_ONLY)),
    row("rw", Clear(MountAttrs::READ_ONLY)),
    row("noexec", Set(MountAttrs::NO_EXEC)),
    row("exec", Clear(MountAttrs::NO_EXEC)),
    row("cow", Cow),
    row(
        "size",
        Value {
            shown: "SIZE",
            pattern: ".+",
            read: |tmpfs, text| {
                tmpfs.size = Some(text.parse()?);
                Ok(())
            },
            write: |tmpfs| tmpfs.size.map(|size| size.to_string()),
        },
    ),
    row(
        "mode",
        Value {
            shown: "OCTAL",
            pattern: "[0-7]{1,4}",
            read: |tmpfs, text| {
                tmpfs.mode = octal(text)?;
                Ok(())
            },
            write: |tmpfs| Some(format!("{:o}", tmpfs.mode)),
        },
    ),
];

fn octal(text: &str) -> Result<u32> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o7777).ok_or_else(|| {
        let why = format_args!("{text:?} is not an octal mode");
        Error::invalid(Step::ParseMount, why).with_cure("mode=1777")
    })
}

impl MountOption {
    fn is_for(&self, kind: &MountKind) -> bool {
        match self.effect {
            Set(_) | Clear(_) => true,
            Cow => !matches!(kind, MountKind::Tmpfs(_)),
            Value { .. } => matches!(kind, MountKind::Tmpfs(_)),
        }
    }

    fn shown(&self) -> String {
        match self.effect {
            Value { shown, .. } => format!("{}={shown}", self.name),
            _ => self.name.to_owned(),
        }
    }

    #[cfg(feature = "schema")]
    fn pattern(&self) -> String {
        match self.effect {
            Value { pattern, .. } => format!("{}={pattern}", self.name),
            _ => self.name.to_owned(),
        }
    }
}

fn of_kind(kind: &MountKind) -> impl Iterator<Item = &'static MountOption> {
    OPTIONS.iter().filter(move |option| option.is_for(kind))
}

impl MountKind {
    /// Lists the options of such a mount as help shows them: `ro`, `size=SIZE`.
    pub fn options(&self) -> Vec<String> {
        of_kind(self).map(MountOption::shown).collect()
    }

    /// Lists patterns of the options of such a mount, for a schema.
    #[cfg(feature = "schema")]
    pub(in super::super) fn patterns(&self) -> Vec<String> {
        of_kind(self).map(MountOption::pattern).collect()
    }
}

impl Mount {
    /// Applies an option: `ro`, `size=64m`.
    ///
    /// # Errors
    /// [`crate::Kind::Invalid`] for a wrong value, and for an option that such
    /// a mount does not have.
    pub fn set_option(&mut self, option: &str) -> Result<()> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        let found = of_kind(&self.kind).find(|option| option.name == name);
        match (found.map(|option| &option.effect), value, &mut self.kind) {
            (Some(Set(attrs)), None, _) => self.attrs.insert(*attrs),
            (Some(Clear(attrs)), None, _) => self.attrs.remove(*attrs),
            (Some(Cow), None, MountKind::Bind(source)) => {
                self.kind = MountKind::Cow(std::mem::take(source));
            }
            (Some(Cow), None, MountKind::Cow(_)) => {}
            (Some(Value { read, .. }), Some(value), MountKind::Tmpfs(tmpfs)) => {
                read(tmpfs, value)?;
            }
            _ => {
                let why = format_args!("option {option:?} is not known here");
                let error = Error::invalid(Step::ParseMount, why);
                return Err(error.with_cure(self.kind.options().join(", ")));
            }
        }
        Ok(())
    }

    /// Lists the options that make such a mount of its kind and target.
    pub(super) fn written_options(&self) -> Vec<String> {
        let written = of_kind(&self.kind).filter_map(|option| match (&option.effect, &self.kind) {
            (Set(attrs), _) => self.attrs.contains(*attrs).then(|| option.name.to_owned()),
            (Value { write, .. }, MountKind::Tmpfs(tmpfs)) => {
                write(tmpfs).map(|value| format!("{}={value}", option.name))
            }
            _ => None,
        });
        written.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KERNEL(5.12): the fallback for mount_setattr(2) sets these four.
    const OLDEST: u64 = libc::MOUNT_ATTR_RDONLY
        | libc::MOUNT_ATTR_NOSUID
        | libc::MOUNT_ATTR_NODEV
        | libc::MOUNT_ATTR_NOEXEC;

    #[test]
    fn option_sets_attributes_that_old_kernels_have() {
        for option in &OPTIONS {
            if let Set(attrs) | Clear(attrs) = option.effect {
                let newer = u64::from(attrs.bits()) & !OLDEST;
                assert_eq!(
                    newer, 0,
                    "{}: mind crates/tare-init/src/remount.rs",
                    option.name
                );
            }
        }
    }

    #[test]
    fn option_is_written_as_it_is_read() {
        let tmpfs = MountKind::Tmpfs(Tmpfs::default());
        for kind in [MountKind::Bind("/a".into()), tmpfs] {
            for option in of_kind(&kind) {
                let mut mount = Mount::new(kind.clone(), "/b");
                let value = match option.name {
                    "size" => "=1m",
                    "mode" => "=700",
                    _ => "",
                };
                let text = format!("{}{value}", option.name);
                mount.set_option(&text).unwrap();
                let written = mount.written_options();
                let is_written = written.contains(&text) || matches!(option.effect, Clear(_) | Cow);
                assert!(is_written, "{text}: {written:?}");
            }
        }
    }
}
