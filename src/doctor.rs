// SPDX-License-Identifier: MIT OR Apache-2.0
//! Checks this machine, and names a setting or package that cures each fault.
//!
//! Checks by trying, through the helper and in namespaces that are gone
//! afterwards.
#![forbid(unsafe_code)]

mod kernel;
mod limits;
mod place;
mod sandbox;
mod speed;
mod user;

use std::borrow::Cow;
use std::path::Path;

use nix::unistd::geteuid;
use serde::Serialize;

use crate::error::Error;
use crate::helper::Spawner;

/// Importance of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matter {
    /// Without this no sandbox can be opened.
    Needed,
    /// Without this a key of the spec is an error, or a slower way serves.
    Optional,
    /// Both ways work, and one is faster.
    Speed,
}

/// A check of the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of the check, for example `overlay` or `limits.memory`.
    pub name: Cow<'static, str>,
    /// True if the check passed.
    pub ok: bool,
    /// Importance of the check.
    pub matter: Matter,
    /// The finding, or the obstacle.
    pub found: String,
    /// Setting, package or command that would cure a fault; `None` for a passed
    /// check, or if no cure is known.
    pub cure: Option<String>,
}

impl Matter {
    fn at_most_optional(self) -> Self {
        match self {
            Self::Needed => Self::Optional,
            other => other,
        }
    }
}

impl Check {
    fn new(name: impl Into<Cow<'static, str>>, matter: Matter, ok: bool) -> Self {
        Self {
            name: name.into(),
            ok,
            matter,
            found: String::new(),
            cure: None,
        }
    }

    fn needed(name: impl Into<Cow<'static, str>>, ok: bool) -> Self {
        Self::new(name, Matter::Needed, ok)
    }

    fn optional(name: impl Into<Cow<'static, str>>, ok: bool) -> Self {
        Self::new(name, Matter::Optional, ok)
    }

    fn speed(name: impl Into<Cow<'static, str>>, ok: bool) -> Self {
        Self::new(name, Matter::Speed, ok)
    }

    fn found(mut self, found: impl Into<String>) -> Self {
        self.found = found.into();
        self
    }

    /// Adds a cure, if the check failed.
    fn cure(mut self, cure: impl Into<String>) -> Self {
        if !self.ok {
            self.cure = Some(cure.into());
        }
        self
    }

    /// Takes the outcome of an attempt.
    fn tried<T>(mut self, outcome: Result<T, Error>) -> Self {
        self.ok = outcome.is_ok();
        match outcome {
            Ok(_) => self,
            Err(error) => self.failed(&error),
        }
    }

    /// Takes the error of a failed attempt.
    fn failed(mut self, error: &Error) -> Self {
        self.cure = error.cure().map(str::to_owned);
        let all = error.to_string();
        // The cure has a field of its own.
        self.found = match all.split_once("; try: ") {
            Some((said, _)) => said.to_owned(),
            None => all,
        };
        self
    }
}

/// Findings about this machine for the calling user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True if sandboxes can be opened: every needed check passed.
    pub ok: bool,
    /// Release of the running kernel.
    pub kernel: String,
    /// Effective uid of the caller; 0 is root.
    pub uid: u32,
    /// Checks in the order of reading.
    pub checks: Vec<Check>,
}

/// Checks this machine for the calling user, in about 80 ms. Changes no setting
/// and leaves no file. The last check opens a sandbox of the default spec, so
/// `ok` is the result of opening a sandbox. `store` is the directory of the
/// store, by default that of
/// [`Store::open_default`](crate::Store::open_default); a missing directory is
/// not made.
pub fn doctor(store: Option<&Path>) -> Report {
    let started = Spawner::start(|_, _| ());
    let mut checks = vec![kernel::version()];
    checks.extend(user::checks());
    checks.extend(kernel::checks(&started));
    checks.extend(limits::checks());
    checks.extend(place::checks(store));
    checks.extend(speed::checks());
    let sandbox = sandbox::check(store);
    if sandbox.ok {
        // A sandbox has opened, so other failed checks are no obstacles.
        let others = checks.iter_mut().filter(|c| !c.ok && c.name != "store");
        others.for_each(|c| c.matter = c.matter.at_most_optional());
    }
    checks.push(sandbox);
    Report {
        ok: checks.iter().all(|c| c.ok || c.matter != Matter::Needed),
        kernel: kernel::release(),
        uid: geteuid().as_raw(),
        checks,
    }
}

/// Returns a file of the kernel without the last newline.
fn setting(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}
