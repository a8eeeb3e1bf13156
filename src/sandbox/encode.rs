// SPDX-License-Identifier: MIT OR Apache-2.0
//! Encodes a command as the wire carries it: its user, directory, arguments and
//! environment.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::time::Duration;

use crate::backend::Lower;
use crate::command::{Command, Size, c_string};
use crate::error::{Error, Kind, Result, Step};
use crate::instance::{Instance, Rootfs};
use crate::parts::caps::CapSet;
use crate::parts::rlimit;
use crate::spec::Spec;
use crate::wire::{self, Field as _, ListBuf, Run};

/// The default search path of programs, as Docker's.
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
        let user = command.user.as_ref().or(spec.user.as_ref());
        let user = user.or(config.user.as_ref());
        let cwd = command.cwd.as_ref().or(spec.workdir.as_ref());
        let cwd = cwd.or(config.workdir.as_ref());
        let argv: Result<Vec<CString>> = command.argv.iter().map(|a| c_string("argv", a)).collect();
        let env = environment(instance, spec, rootfs, command);
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        let mut flags = 0;
        if lookup("HOME").is_none() {
            flags |= wire::ADD_HOME;
        }
        if command.tty.is_some() {
            flags |= wire::TTY;
        }
        // A view of the host gets no new directories, and a caller that names a
        // directory for a command means an existing one.
        if command.cwd.is_none() && rootfs.lower != Lower::Host {
            flags |= wire::MAKE_CWD;
        }
        let mut fds = Vec::new();
        for (_, number) in &command.fds {
            number.put(&mut fds);
        }
        // Rounded up, because 0 stands for no limit.
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

/// Returns the capabilities of a command: those of its sandbox, changed.
fn caps(instance: &Instance, spec: &Spec, command: &Command) -> Result<CapSet> {
    match (&command.cap_add[..], &command.cap_drop[..]) {
        ([], []) => Ok(instance.setup.caps),
        (add, drop) => instance.setup.caps.of_command(&spec.security, add, drop),
    }
}

/// Returns the user, and each supplementary group in a line of its own.
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

/// Returns the variables of a command: first those that other engines add, then
/// the image's, the spec's and the command's. The last value of a name wins, in
/// the place of the first.
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

/// Keeps each name once. Looks names up in a table, because an image may bring
/// any number of them.
fn merge<'a>(
    variables: impl Iterator<Item = (&'a OsStr, &'a OsStr)>,
) -> Vec<(&'a OsStr, &'a OsStr)> {
    /// More names than most commands have, so that nothing grows.
    const USUAL: usize = 32;
    let mut merged: Vec<(&OsStr, &OsStr)> = Vec::with_capacity(USUAL);
    let mut places: HashMap<&OsStr, usize> = HashMap::with_capacity(USUAL);
    for (name, value) in variables {
        let at = *places.entry(name).or_insert(merged.len());
        match merged.get_mut(at) {
            Some(pair) => pair.1 = value,
            None => merged.push((name, value)),
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
    use super::*;

    #[test]
    fn environment_last_value_wins_in_the_first_place() {
        let pairs = [("A", "1"), ("B", "2"), ("A", "3"), ("C", "4"), ("A", "5")];
        let merged = merge(pairs.iter().map(|(n, v)| (n.as_ref(), v.as_ref())));
        let expected = [("A", "5"), ("B", "2"), ("C", "4")];
        assert_eq!(merged, expected.map(|(n, v)| (n.as_ref(), v.as_ref())));
    }
}
