// SPDX-License-Identifier: MIT OR Apache-2.0
//! The spec that the flags of `tare run` ask for, over the one of `--spec`.
#![forbid(unsafe_code)]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use tare::spec::{Limits, Profile, Seccomp, Security, Write};
use tare::{Error, Kind, Result, Spec};

use super::flags::Flags;
use crate::value::{self, SecurityOption};

impl Flags {
    /// The spec, and what is to run in it; nothing for the image's own command.
    pub(super) fn spec(&self) -> Result<(Spec, &[OsString])> {
        let mut spec = self.base()?;
        let command = match self.words.split_first() {
            // `--` came first: the spec has the image.
            _ if self.spec.is_some() && self.words.len() == after_dashes() => &self.words[..],
            Some((image, rest)) => {
                spec.image = text("image", image)?;
                match rest.split_first() {
                    Some((dashes, command)) if dashes == "--" => command,
                    _ => rest,
                }
            }
            None if self.spec.is_some() => &[],
            None => {
                let why = "IMAGE was not provided";
                return Err(Error::new(Kind::Invalid, "read command line", why)
                    .with_cure("tare run host, or tare run --help"));
            }
        };
        spec.mounts.extend(self.mounts.iter().cloned());
        spec.labels.extend(self.label.iter().cloned());
        over(&mut spec.workdir, &self.workdir);
        over(&mut spec.user, &self.user);
        over(&mut spec.hostname, &self.hostname);
        replace(&mut spec.network, &self.network);
        replace(&mut spec.require, &self.require);
        replace(&mut spec.storage, &self.storage);
        replace(&mut spec.write, &self.write);
        if self.read_only {
            spec.write = Write::None;
        }
        self.limit(&mut spec.limits)?;
        self.secure(&mut spec.security)?;
        Ok((spec, command))
    }

    /// The spec of `--spec`, or an empty one.
    fn base(&self) -> Result<Spec> {
        let Some(path) = &self.spec else {
            return Ok(Spec::default());
        };
        let read = match path == Path::new("-") {
            true => {
                let mut text = String::new();
                io::stdin().read_to_string(&mut text).map(|_| text)
            }
            false => fs::read_to_string(path),
        };
        let json = read.map_err(|e| Error::io("read spec", format_args!("{path:?}"), e))?;
        Spec::from_json(&json).map_err(|e| {
            let why = format!("{path:?}: {}", e.subject());
            e.with_subject(why)
        })
    }

    fn limit(&self, limits: &mut Limits) -> Result<()> {
        over(&mut limits.memory, &self.memory);
        if let Some(sum) = &self.memory_swap {
            limits.swap = value::swap(sum, limits.memory)?;
        }
        over(&mut limits.cpus, &self.cpus);
        over(&mut limits.cpuset, &self.cpuset_cpus);
        if let Some(pids) = self.pids_limit {
            // Docker's -1, and its 0, are no limit.
            limits.pids = u64::try_from(pids).ok().filter(|pids| *pids > 0);
        }
        over(&mut limits.io, &self.blkio_weight);
        over(&mut limits.disk, &self.disk);
        replace(&mut limits.shm, &self.shm_size);
        replace(&mut limits.output, &self.output_limit);
        limits.rlimits.extend(self.ulimit.iter().cloned());
        Ok(())
    }

    fn secure(&self, security: &mut Security) -> Result<()> {
        if self.privileged {
            security.profile = Profile::Privileged;
        }
        security.cap_add.extend(self.cap_add.iter().cloned());
        security.cap_drop.extend(self.cap_drop.iter().cloned());
        security.devices.extend(self.device.iter().cloned());
        for option in &self.security_opt {
            match option {
                SecurityOption::NoNewPrivileges(on) => security.no_new_privs = Some(*on),
                SecurityOption::SeccompOff => security.seccomp = Seccomp::Off,
                SecurityOption::SeccompDefault => security.seccomp = Seccomp::Default,
                SecurityOption::SeccompFile(path) => {
                    security.seccomp = Seccomp::Custom(profile(path)?);
                }
                SecurityOption::SystemPathsUnconfined => {
                    security.masked_paths = Some(Vec::new());
                    security.readonly_paths = Some(Vec::new());
                }
            }
        }
        Ok(())
    }
}

fn over<T: Clone>(key: &mut Option<T>, flag: &Option<T>) {
    if flag.is_some() {
        key.clone_from(flag);
    }
}

fn replace<T: Clone>(key: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        key.clone_from(value);
    }
}

/// How many arguments follow the first `--` of the command line; clap takes that away
/// without a trace when no word came before it.
fn after_dashes() -> usize {
    std::env::args_os()
        .skip_while(|a| a != "--")
        .skip(1)
        .count()
}

fn text(what: &str, word: &OsStr) -> Result<String> {
    word.to_str().map(str::to_owned).ok_or_else(|| {
        let why = format_args!("{what} {word:?} is not UTF-8");
        Error::new(Kind::Invalid, "read command line", why)
    })
}

fn profile(path: &Path) -> Result<serde_json::Value> {
    let wrong = |e| Error::io("read seccomp profile", format_args!("{path:?}"), e);
    let bytes = fs::read(path).map_err(wrong)?;
    serde_json::from_slice(&bytes).map_err(|e| {
        let why = format_args!("{path:?}: {e}");
        Error::new(Kind::Invalid, "read seccomp profile", why)
    })
}
