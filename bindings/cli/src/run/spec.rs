// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the spec of `tare run`: flags over the file of `--spec`.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};
use tare::spec::{Limits, Mount, MountKind, Profile, Seccomp, Security, UserNamespace, Write};
use tare::{Error, Kind, Result, Spec};

use super::flags::Flags;
use super::lines;
use crate::value::{self, SecurityOption};

impl Flags {
    /// Returns the spec and the command; no words for the image's own command.
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
        for path in &self.label_file {
            spec.labels.extend(lines::labels(path)?);
        }
        spec.labels.extend(self.label.iter().cloned());
        let name = self.name.iter().map(|name| ("name".into(), name.clone()));
        spec.labels.extend(name);
        over(&mut spec.workdir, &self.workdir);
        over(&mut spec.user, &self.user);
        over(&mut spec.hostname, &self.hostname);
        spec.extra_hosts.extend(self.add_host.iter().cloned());
        spec.groups.extend(self.group_add.iter().cloned());
        spec.sysctls.extend(self.sysctl.iter().cloned());
        replace(&mut spec.network, &self.network);
        spec.best_effort.extend(self.best_effort.iter().cloned());
        replace(&mut spec.storage, &self.storage);
        replace(&mut spec.write, &self.write);
        if self.switches.read_only {
            spec.write = Write::None;
        }
        self.limit(&mut spec.limits)?;
        self.secure(&mut spec.security)?;
        self.part(&mut spec);
        if spec.image == "host" && !self.switches.clean_env {
            as_caller(&mut spec);
        }
        Ok((spec, command))
    }

    /// Returns whether a missing working directory is the caller's own.
    pub(super) fn begins_where_the_caller_is(&self) -> bool {
        self.workdir.is_none() && self.spec.is_none() && !self.switches.clean_env
    }

    /// Sets the sandbox's own namespaces.
    fn part(&self, spec: &mut Spec) {
        replace(&mut spec.namespaces.ipc, &self.ipc);
        replace(&mut spec.namespaces.uts, &self.uts);
        replace(&mut spec.namespaces.cgroup, &self.cgroupns);
        if self.userns == Some(false) {
            spec.namespaces.user = UserNamespace::Host;
        }
        if self.ipc == Some(false) {
            // POSIX shared memory is files there, shm_overview(7).
            let shm = MountKind::Bind("/dev/shm".into());
            spec.mounts.push(Mount::new(shm, "/dev/shm"));
        }
    }

    /// Returns the spec of `--spec`, or an empty spec.
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
        let quota = self.cpu_quota;
        let of_periods = quota.map(|quota| f64::from(quota) / f64::from(self.cpu_period));
        over(&mut limits.cpus, &self.cpus.or(of_periods));
        over(&mut limits.cpu_weight, &self.cpu_shares);
        over(&mut limits.cpuset, &self.cpuset_cpus);
        if let Some(pids) = self.pids_limit {
            // Docker's -1, and 0, mean no limit.
            limits.pids = u64::try_from(pids).ok().filter(|pids| *pids > 0);
        }
        over(&mut limits.io, &self.blkio_weight);
        over(&mut limits.disk, &self.disk.or(self.storage_opt));
        replace(&mut limits.shm, &self.shm_size);
        replace(&mut limits.output, &self.output_limit);
        limits.rlimits.extend(self.ulimit.iter().cloned());
        Ok(())
    }

    fn secure(&self, security: &mut Security) -> Result<()> {
        if self.switches.privileged {
            security.profile = Profile::Privileged;
        }
        security.cap_add.extend(self.cap_add.iter().cloned());
        security.cap_drop.extend(self.cap_drop.iter().cloned());
        security.devices.extend(self.device.iter().cloned());
        let rules = self.device_cgroup_rule.iter().cloned();
        security.device_rules.extend(rules);
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

/// Starts a command in the view of the host in the caller's directory, with the
/// caller's search path and language.
fn as_caller(spec: &mut Spec) {
    if spec.workdir.is_none() {
        // The caller's directory may be removed, or closed to the caller.
        let enters = |dir: &PathBuf| {
            faccessat(AT_FDCWD, dir, AccessFlags::X_OK, AtFlags::AT_EACCESS).is_ok()
        };
        spec.workdir = env::current_dir().ok().filter(enters);
    }
    let own = env::vars_os().filter_map(|(name, value)| {
        // A search path that is not UTF-8 does not fit into a spec.
        let (name, value) = (name.into_string().ok()?, value.into_string().ok()?);
        let is_one = matches!(name.as_str(), "PATH" | "LANG" | "LANGUAGE");
        (is_one || name.starts_with("LC_")).then_some((name, value))
    });
    for (name, value) in own {
        spec.env.entry(name).or_insert(value);
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

/// Counts the arguments after the first `--`; clap drops `--` without a trace
/// if no word came before.
fn after_dashes() -> usize {
    env::args_os().skip_while(|a| a != "--").skip(1).count()
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
