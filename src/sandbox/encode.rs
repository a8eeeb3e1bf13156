// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encodes a command as the wire carries it: its user, directory, arguments and
//! environment.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::hash::Hash;
use std::time::Duration;

use crate::backend::Lower;
use crate::command::{Command, Size, c_string};
use crate::error::{Error, Kind, Result, Step};
use crate::instance::{Instance, Rootfs};
use crate::parts::caps::CapSet;
use crate::parts::rlimit;
use crate::spec::Spec;
use crate::wire::{self, Field as _, ListBuf, Run};

/// The search path of programs without another one; Docker's default.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A command as the wire carries it; owns what a [`Run`] borrows.
pub(super) struct EncodedRun {
    pub(super) user: CString,
    pub(super) cwd: CString,
    argv: ListBuf,
    env: ListBuf,
    path: CString,
    flags: u32,
    fds: Vec<u8>,
    timeout_ms: u64,
    size: Size,
    caps: u64,
    rlimits: Vec<u8>,
    umask: u32,
}

/// The umask of a command without one. No spec key or image word sets a umask.
const UMASK: u32 = 0o022;

impl EncodedRun {
    pub(super) fn new(
        instance: &Instance,
        spec: &Spec,
        rootfs: &Rootfs,
        command: &Command,
    ) -> Result<Self> {
        command.validate()?;
        let config = &rootfs.config;
        // Precedence: command, spec, image, default.
        let user = [&command.user, &spec.user, &config.user]
            .into_iter()
            .flatten()
            .next();
        let cwd = [&command.cwd, &spec.workdir, &config.workdir]
            .into_iter()
            .flatten()
            .next();
        let argv: Result<Vec<CString>> = command.argv.iter().map(|a| c_string("argv", a)).collect();
        let env = environment(instance, spec, rootfs, command);
        let lookup = |name: &str| {
            env.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| *value)
        };
        let mut flags = if lookup("HOME").is_none() {
            wire::ADD_HOME
        } else {
            0
        };
        if command.tty.is_some() {
            flags |= wire::TTY;
        }
        // The host's directories are as they are, and a caller that names one
        // for a command means one that is there.
        if command.cwd.is_none() && rootfs.lower != Lower::Host {
            flags |= wire::MAKE_CWD;
        }
        let mut fds = Vec::new();
        for (_, number) in &command.fds {
            number.put(&mut fds);
        }
        // Rounded up: 0 stands for no limit.
        let timeout = |t: Duration| {
            u64::try_from(t.as_nanos().div_ceil(1_000_000))
                .unwrap_or(u64::MAX)
                .max(1)
        };
        let user = user_and_groups(user.map_or("", String::as_str), &spec.groups)?;
        Ok(Self {
            user: c_string("user", OsStr::new(&*user))?,
            cwd: c_string("cwd", cwd.map_or(OsStr::new("/"), |dir| dir.as_os_str()))?,
            argv: argv?.iter().collect(),
            path: c_string("env", lookup("PATH").unwrap_or(OsStr::new(PATH)))?,
            env: variables(&env)?,
            flags,
            fds,
            timeout_ms: command.timeout.map_or(0, timeout),
            size: command.tty.unwrap_or(Size {
                rows: 0,
                columns: 0,
            }),
            caps: caps(instance, spec, command)?.bits(),
            rlimits: rlimit::of_command(&spec.limits.rlimits, &command.rlimits),
            umask: command.umask.unwrap_or(UMASK),
        })
    }

    pub(super) fn run(&self, id: u64) -> Run<'_> {
        Run {
            id,
            flags: self.flags,
            user: &self.user,
            cwd: &self.cwd,
            argv: self.argv.as_list(),
            env: self.env.as_list(),
            path: &self.path,
            fds: &self.fds,
            timeout_ms: self.timeout_ms,
            rows: self.size.rows.into(),
            columns: self.size.columns.into(),
            caps: self.caps,
            rlimits: &self.rlimits,
            umask: self.umask,
        }
    }
}

/// The capabilities of a command, for which those of its sandbox are the start.
fn caps(instance: &Instance, spec: &Spec, command: &Command) -> Result<CapSet> {
    match (&command.cap_add[..], &command.cap_drop[..]) {
        ([], []) => Ok(instance.setup.caps),
        (add, drop) => instance.setup.caps.of_command(&spec.security, add, drop),
    }
}

/// The user, and a supplementary group in each line behind it.
fn user_and_groups<'a>(user: &'a str, groups: &[String]) -> Result<Cow<'a, str>> {
    if user.contains('\n') {
        let why = format_args!("user {user:?} is no name of passwd(5)");
        return Err(Error::new(Kind::Invalid, Step::CheckCommand, why));
    }
    Ok(match groups {
        [] => Cow::Borrowed(user),
        groups => Cow::Owned(format!("{user}\n{}", groups.join("\n"))),
    })
}

/// The variables of a command: the image's, the spec's over them, the command's
/// over those, and the ones that other engines add. The last value of a name
/// wins, in the place of the first.
fn environment<'a>(
    instance: &'a Instance,
    spec: &'a Spec,
    rootfs: &'a Rootfs,
    command: &'a Command,
) -> Vec<(&'a OsStr, &'a OsStr)> {
    let term = command.tty.map(|_| ("TERM", "xterm"));
    let added = [("PATH", PATH), ("HOSTNAME", &instance.setup.hostname)];
    let added = added.into_iter().chain(term);
    let image = rootfs.config.env.iter().map(|(n, v)| (&**n, &**v));
    let spec = spec.env.iter().map(|(n, v)| (&**n, &**v));
    let texts = added.chain(image).chain(spec);
    let texts = texts.map(|(n, v)| (OsStr::new(n), OsStr::new(v)));
    let command = command.env.iter().map(|(n, v)| (&**n, &**v));
    merge(texts.chain(command))
}

/// Names up to which comparing with each is cheaper than a table.
const FEW: usize = 32;

/// Keeps each name once. An image may bring as many names as it likes, so above
/// [`FEW`] a table finds them.
fn merge<'a, N: Copy + Eq + Hash>(
    variables: impl Iterator<Item = (N, &'a OsStr)>,
) -> Vec<(N, &'a OsStr)> {
    let mut merged: Vec<(N, &OsStr)> = Vec::new();
    let mut places: HashMap<N, usize> = HashMap::new();
    for (name, value) in variables {
        if merged.len() == FEW && places.is_empty() {
            places.extend(merged.iter().enumerate().map(|(at, (n, _))| (*n, at)));
        }
        let place = match merged.len() < FEW {
            true => merged.iter().position(|(n, _)| *n == name),
            false => places.get(&name).copied(),
        };
        match place {
            Some(at) => merged[at].1 = value,
            None => {
                if merged.len() >= FEW {
                    places.insert(name, merged.len());
                }
                merged.push((name, value));
            }
        }
    }
    merged
}

fn variables(env: &[(&OsStr, &OsStr)]) -> Result<ListBuf> {
    let mut list = ListBuf::default();
    for (name, value) in env {
        let mut pair = name.to_os_string();
        pair.push("=");
        pair.push(value);
        list.push(&c_string("env", &pair)?);
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::hash::Hasher;

    use super::*;

    fn texts(count: usize) -> Vec<(String, String)> {
        (0..count).map(|n| (format!("V{n}"), "x".into())).collect()
    }

    fn of(texts: &[(String, String)]) -> Vec<(&OsStr, &OsStr)> {
        let pairs = texts.iter().map(|(n, v)| (n.as_ref(), v.as_ref()));
        merge(pairs)
    }

    #[test]
    fn environment_last_value_wins_in_the_first_place() {
        for count in [3, FEW - 1, FEW, FEW + 1, 3 * FEW] {
            let mut all = texts(count);
            for at in 0..count {
                all.push((format!("V{at}"), format!("new{at}")));
            }
            all.push(("LAST".into(), "z".into()));
            let merged = of(&all);
            assert_eq!(merged.len(), count + 1);
            for (at, (name, value)) in merged[..count].iter().enumerate() {
                assert_eq!(*name, OsStr::new(&format!("V{at}")));
                assert_eq!(*value, OsStr::new(&format!("new{at}")));
            }
            assert_eq!(merged[count].0, "LAST");
        }
    }

    /// A name that counts how often it is compared.
    #[derive(Clone, Copy)]
    struct Counted<'a>(usize, &'a Cell<usize>);

    impl PartialEq for Counted<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.1.set(self.1.get() + 1);
            self.0 == other.0
        }
    }

    impl Eq for Counted<'_> {}

    impl Hash for Counted<'_> {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.hash(state);
        }
    }

    #[test]
    fn environment_of_any_size_is_compared_a_few_times_each() {
        const MANY: usize = 20_000;
        let count = Cell::new(0);
        let twice = (0..MANY).chain(0..MANY);
        let merged = merge(twice.map(|n| (Counted(n, &count), OsStr::new("x"))));
        assert_eq!(merged.len(), MANY);
        assert!(count.get() < MANY * 4, "{} comparisons", count.get());
    }
}
