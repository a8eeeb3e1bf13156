// SPDX-License-Identifier: MIT OR Apache-2.0
//! Capabilities: names, sets, and the set that a spec asks for.
#![forbid(unsafe_code)]

use std::str::FromStr as _;

use caps::Capability;

use crate::error::{Error, Result, Step};
use crate::spec::{Profile, Security};

/// A set of capabilities, bit `n` for capability number `n`, capabilities(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CapSet(u64);

/// Docker's default: what container root keeps.
const DEFAULT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

impl CapSet {
    /// No capability.
    pub(crate) const EMPTY: Self = Self(0);

    /// Every capability that this library knows by name.
    pub(crate) fn all() -> Self {
        caps::all().into_iter().collect()
    }

    /// The bits as capset(2) takes them.
    pub(crate) fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether `cap` is in the set.
    pub(crate) fn has(self, cap: Capability) -> bool {
        self.0 & cap.bitmask() != 0
    }

    /// Returns the capabilities in both sets.
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The names in numeric order, `CAP_CHOWN` first.
    pub(crate) fn names(self) -> Vec<String> {
        let mut known: Vec<_> = caps::all().into_iter().filter(|c| self.has(*c)).collect();
        known.sort_by_key(|c| c.index());
        known.iter().map(ToString::to_string).collect()
    }

    /// The set that `security` asks for: the profile's, less `cap_drop`, plus
    /// `cap_add`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a name that is not a capability.
    pub(crate) fn of(security: &Security) -> Result<Self> {
        let base = match security.profile {
            Profile::Default => DEFAULT.into_iter().collect(),
            Profile::Strict => Self::EMPTY,
            Profile::Privileged => Self::all(),
        };
        let dropped = Self::parse(Step::CheckSpec, "security.cap_drop", &security.cap_drop)?;
        let added = Self::parse(Step::CheckSpec, "security.cap_add", &security.cap_add)?;
        Ok(Self(base.0 & !dropped.0 | added.0))
    }

    /// Returns the set of a command, where this is its sandbox's: less `drop`,
    /// plus `add`.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for an unknown name, for a capability that `security`
    /// does not ask for, and where a program could regain a dropped capability.
    pub(crate) fn of_command(
        self,
        security: &Security,
        add: &[String],
        drop: &[String],
    ) -> Result<Self> {
        let added = Self::parse(Step::CheckCommand, "cap_add", add)?;
        let dropped = Self::parse(Step::CheckCommand, "cap_drop", drop)?;
        let missing = Self(added.0 & !Self::of(security)?.0).names();
        if !missing.is_empty() {
            let why = format_args!("the sandbox has no {}", missing.join(", "));
            let cure = format!("security.cap_add {missing:?} in the sandbox's spec");
            return Err(Error::invalid(Step::CheckCommand.key("cap_add"), why).with_cure(cure));
        }
        // The sandbox's set has nothing that the caller lacks, so `ALL` has not
        // either.
        let left = Self((self.0 & !dropped.0 | added.0) & self.0);
        let can_narrow = security.no_new_privs() || self.has(Capability::CAP_SETPCAP);
        if left != self && !can_narrow {
            let why = "without no_new_privs, dropping takes CAP_SETPCAP in the sandbox";
            let error = Error::invalid(Step::CheckCommand.key("cap_drop"), why);
            return Err(error.with_cure(
                "security.cap_add [\"SETPCAP\"] or no_new_privs true in the sandbox's spec",
            ));
        }
        Ok(left)
    }

    /// Returns what of the set a helper can give: all of it in a user namespace
    /// of its own, else what the helper has, as bits.
    pub(crate) fn available(self, ordinary: bool, own: u64) -> Self {
        match ordinary {
            true => self,
            false => Self(self.0 & own),
        }
    }

    /// The set that the resident init needs to start commands with this set,
    /// and to reach files for the host: to become any user, to reach files of
    /// any user and give them any owner and mode, to end what it started;
    /// `mounts`, also to mount a console, to attach a filter without
    /// no_new_privs, and to raise limits. Devices and file capabilities it
    /// makes only where commands may.
    pub(crate) fn for_init(self, mounts: bool) -> Self {
        let needed = [
            Capability::CAP_CHOWN,
            Capability::CAP_DAC_OVERRIDE,
            Capability::CAP_FOWNER,
            Capability::CAP_FSETID,
            Capability::CAP_KILL,
            Capability::CAP_SETGID,
            Capability::CAP_SETUID,
        ];
        let more = [Capability::CAP_SYS_ADMIN, Capability::CAP_SYS_RESOURCE];
        let more = more.into_iter().filter(|_| mounts);
        Self(self.0 | needed.into_iter().chain(more).collect::<Self>().0)
    }

    fn parse(step: Step, key: &str, names: &[String]) -> Result<Self> {
        let mut set = Self::EMPTY;
        for name in names {
            let upper = name.to_ascii_uppercase();
            let full = match upper.strip_prefix("CAP_") {
                Some(_) => upper,
                None => format!("CAP_{upper}"),
            };
            set.0 |= match (full.as_str(), Capability::from_str(&full)) {
                ("CAP_ALL", _) => Self::all().0,
                (_, Ok(cap)) => cap.bitmask(),
                (_, Err(_)) => {
                    return Err(Error::invalid(
                        step.key(key),
                        format_args!("{name:?} is not a capability"),
                    )
                    .with_cure("a name of capabilities(7) such as NET_ADMIN, or ALL"));
                }
            };
        }
        Ok(set)
    }
}

impl FromIterator<Capability> for CapSet {
    fn from_iter<T: IntoIterator<Item = Capability>>(caps: T) -> Self {
        Self(caps.into_iter().fold(0, |bits, cap| bits | cap.bitmask()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(profile: Profile, add: &[&str], drop: &[&str]) -> Result<CapSet> {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        CapSet::of(&Security {
            profile,
            cap_add: list(add),
            cap_drop: list(drop),
            ..Security::default()
        })
    }

    #[test]
    fn caps_default_are_dockers_fourteen() {
        // The value that `docker run` shows as CapEff.
        assert_eq!(of(Profile::Default, &[], &[]).unwrap().bits(), 0xa804_25fb);
    }

    #[test]
    fn caps_drop_comes_before_add() {
        let set = of(Profile::Default, &["cap_net_admin", "KILL"], &["ALL"]).unwrap();
        assert_eq!(set.names(), ["CAP_KILL", "CAP_NET_ADMIN"]);
        assert_eq!(of(Profile::Strict, &[], &[]).unwrap(), CapSet::EMPTY);
        assert!(
            of(Profile::Privileged, &[], &[])
                .unwrap()
                .has(Capability::CAP_SYS_ADMIN)
        );
    }

    fn of_command(security: &Security, add: &[&str], drop: &[&str]) -> Result<CapSet> {
        let list = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        CapSet::of(security)?.of_command(security, &list(add), &list(drop))
    }

    #[test]
    fn caps_of_a_command_are_some_of_the_sandboxs() {
        let security = Security::default();
        let has = |add: &[&str], drop: &[&str]| of_command(&security, add, drop).unwrap().names();
        assert_eq!(has(&[], &[]).len(), 14);
        assert_eq!(has(&["kill"], &["ALL"]), ["CAP_KILL"]);
        assert_eq!(has(&["KILL"], &["KILL"]).len(), 14);
        assert_eq!(has(&[], &["CAP_KILL", "chown"]).len(), 12);
        let error = of_command(&security, &["KILL", "SYS_ADMIN", "BPF"], &[]).unwrap_err();
        assert_eq!(error.subject(), "the sandbox has no CAP_SYS_ADMIN, CAP_BPF");
        assert!(of_command(&security, &["ALL"], &[]).is_err());
        let security = Security {
            profile: Profile::Privileged,
            ..Security::default()
        };
        assert_eq!(
            of_command(&security, &["ALL"], &["ALL"]).unwrap(),
            CapSet::all()
        );
    }

    #[test]
    fn caps_of_a_command_lack_what_the_caller_lacks() {
        let security = Security {
            profile: Profile::Privileged,
            ..Security::default()
        };
        let sandbox = CapSet::all().available(false, !Capability::CAP_SYS_RESOURCE.bitmask());
        let all = ["ALL".to_owned()];
        let command = sandbox.of_command(&security, &all, &[]).unwrap();
        assert_eq!(command, sandbox);
    }

    #[test]
    fn caps_of_a_command_are_dropped_for_good_or_not_at_all() {
        for (no_new_privs, caps, can) in [
            (true, &[][..], true),
            (false, &["SETPCAP", "KILL"], true),
            (false, &["KILL"], false),
        ] {
            let security = Security {
                profile: Profile::Strict,
                cap_add: caps.iter().map(ToString::to_string).collect(),
                no_new_privs: Some(no_new_privs),
                ..Security::default()
            };
            assert_eq!(
                of_command(&security, &[], &["KILL"]).is_ok(),
                can,
                "{caps:?}"
            );
            assert!(of_command(&security, &[], &["CHOWN"]).is_ok(), "{caps:?}");
        }
    }

    #[test]
    fn caps_unknown_name_is_refused() {
        let error = of(Profile::Default, &["NET_ADMINN"], &[]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("\"NET_ADMINN\" is not a capability")
        );
    }
}
