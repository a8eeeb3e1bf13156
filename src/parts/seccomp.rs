// SPDX-License-Identifier: MIT OR Apache-2.0
//! The system call filter: a profile and capabilities in, a BPF program out.
#![forbid(unsafe_code)]

mod action;
mod arguments;
mod default;
mod instruction;
mod policy;
mod profile;
mod table;
mod tree;

#[cfg(any(test, feature = "bench"))]
pub(crate) mod fuzz;
#[cfg(any(test, feature = "bench"))]
mod interpreter;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use libc::sock_filter;

use crate::error::{Error, Kind, Result};
use crate::parts::caps::CapSet;
use crate::spec::{Profile as Start, Seccomp, Security};
use policy::Policy;
use profile::Profile;

/// A sandbox's filter.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) program: Vec<sock_filter>,
    /// True if process 1 can do what it takes to start commands from behind the
    /// program.
    pub(crate) at_birth: bool,
}

impl Compiled {
    fn of(seccomp: &Seccomp, caps: CapSet) -> Result<Self> {
        let profile = match seccomp {
            Seccomp::Custom(json) => Profile::read(json)?,
            Seccomp::Default | Seccomp::Off => default::profile(),
        };
        let policy = Policy::of(&profile, caps, kernel()?);
        Ok(Self {
            program: tree::compile(&policy)?,
            at_birth: starts_commands(&policy),
        })
    }

    /// The program as an array of the kernel's `struct sock_filter`, in the
    /// machine's byte order.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let instructions = self.program.iter().flat_map(|i| {
            let [c0, c1] = i.code.to_ne_bytes();
            let [k0, k1, k2, k3] = i.k.to_ne_bytes();
            [c0, c1, i.jt, i.jf, k0, k1, k2, k3]
        });
        instructions.collect()
    }
}

/// Returns whether process 1 can serve and start commands from behind a filter.
fn starts_commands(policy: &Policy) -> bool {
    let numbers: HashMap<_, _> = table::calls().collect();
    let flags = libc::CLONE_VM | libc::CLONE_CHILD_CLEARTID | libc::SIGCHLD;
    let clone = |more| {
        let args = [(flags | more) as u64, 0, 0, 0, 0, 0];
        policy.allows(numbers["clone"], Some(&args))
    };
    let mut names = tare_init::CALLS_OF_SERVING.split_ascii_whitespace();
    names.all(|name| policy.allows(numbers[name], None)) && clone(0) && clone(libc::CLONE_PIDFD)
}

/// The filters compiled last, so that starts in a row compile once.
#[derive(Debug, Default)]
pub(crate) struct SeccompCache(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    seccomp: Seccomp,
    caps: CapSet,
    compiled: Arc<Compiled>,
}

impl SeccompCache {
    /// Number of kept filters; a process rarely uses more than two.
    const CAPACITY: usize = 8;

    fn find(&self, seccomp: &Seccomp, caps: CapSet) -> Option<Arc<Compiled>> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut each = entries.iter();
        let hit = each.position(|e| e.caps == caps && e.seccomp == *seccomp)?;
        // The front is the latest used.
        entries[..=hit].rotate_right(1);
        Some(Arc::clone(&entries[0].compiled))
    }

    fn insert(&self, seccomp: &Seccomp, caps: CapSet, compiled: &Arc<Compiled>) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = Entry {
            seccomp: seccomp.clone(),
            caps,
            compiled: Arc::clone(compiled),
        };
        entries.insert(0, entry);
        entries.truncate(Self::CAPACITY);
    }
}

/// The filter that `security` asks for, for a command whose bounding set is
/// `caps`; `None` if it asks for none: `seccomp` is off, or the profile is
/// `privileged` and `seccomp` is its default. Otherwise the start must fail if
/// the filter cannot be attached.
///
/// # Errors
/// [`Kind::Invalid`] says what is wrong with a custom profile.
pub(crate) fn program(
    security: &Security,
    caps: CapSet,
    cache: &SeccompCache,
) -> Result<Option<Arc<Compiled>>> {
    if let (Seccomp::Off, _) | (Seccomp::Default, Start::Privileged) =
        (&security.seccomp, security.profile)
    {
        return Ok(None);
    }
    if let Some(compiled) = cache.find(&security.seccomp, caps) {
        return Ok(Some(compiled));
    }
    let compiled = Arc::new(Compiled::of(&security.seccomp, caps)?);
    cache.insert(&security.seccomp, caps, &compiled);
    Ok(Some(compiled))
}

/// The running kernel's version, for `minKernel`.
fn kernel() -> Result<(u32, u32)> {
    let step = "compile seccomp profile";
    let name = nix::sys::utsname::uname().map_err(|errno| Error::os(step, "uname", errno))?;
    let release = name.release().to_string_lossy();
    profile::version(&release).map_err(|why| Error::new(Kind::Unsupported, step, why))
}
