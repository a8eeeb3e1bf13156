// SPDX-License-Identifier: MIT OR Apache-2.0
//! What this machine can do, and for each thing it cannot, the one setting or package that would cure it.
//!
//! What can be tried is tried, through the helper and in namespaces that are gone afterwards.
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

/// What a check is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matter {
    /// Without it no sandbox can be opened.
    Needed,
    /// Without it a key of the spec is an error, or a slower way serves.
    Optional,
    /// It works either way, but not as fast.
    Speed,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at, for example `overlay` or `limits.memory`.
    pub name: Cow<'static, str>,
    /// Whether it is there.
    pub ok: bool,
    /// What it matters for.
    pub matter: Matter,
    /// What was found, or what stands in the way.
    pub found: String,
    /// The setting, package or command that would change it; none where all is well, or where none is known.
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

    /// The cure, if there is something to cure.
    fn cure(mut self, cure: impl Into<String>) -> Self {
        if !self.ok {
            self.cure = Some(cure.into());
        }
        self
    }

    /// What trying it came to.
    fn tried<T>(mut self, outcome: Result<T, Error>) -> Self {
        self.ok = outcome.is_ok();
        match outcome {
            Ok(_) => self,
            Err(error) => self.failed(&error),
        }
    }

    /// What went wrong with it.
    fn failed(mut self, error: &Error) -> Self {
        self.cure = error.cure().map(str::to_owned);
        let all = error.to_string();
        // The cure has a place of its own.
        self.found = match all.split_once("; try: ") {
            Some((said, _)) => said.to_owned(),
            None => all,
        };
        self
    }
}

/// What this machine can do for the calling user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether sandboxes can be opened at all: every needed check is well.
    pub ok: bool,
    /// Release of the running kernel.
    pub kernel: String,
    /// The calling user's effective id; 0 is root.
    pub uid: u32,
    /// In the order in which they are worth reading.
    pub checks: Vec<Check>,
}

/// Looks at this machine as the calling user meets it: about 80 ms. Nothing of
/// it is changed, nothing is left behind. The last check opens a sandbox of the
/// default spec, so `ok` is what opening one would find. `store` is the
/// directory of the store, by default the one of
/// [`Store::open_default`](crate::Store::open_default); it is not made.
pub fn doctor(store: Option<&Path>) -> Report {
    let started = Spawner::start();
    let mut checks = vec![kernel::version()];
    checks.extend(user::checks());
    checks.extend(kernel::checks(&started));
    checks.extend(limits::checks());
    checks.extend(place::checks(store));
    checks.extend(speed::checks());
    let sandbox = sandbox::check(store);
    if sandbox.ok {
        // What seemed to be in the way of one is not.
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

/// A file of the kernel's, without the newline at its end.
fn setting(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}
