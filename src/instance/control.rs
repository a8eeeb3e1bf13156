// SPDX-License-Identifier: MIT OR Apache-2.0
//! What is done with all that runs in a sandbox: stopped, let go on, limited anew.
#![forbid(unsafe_code)]

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::Instance;
use crate::error::{Error, Kind, Result, Step};
use crate::spec::{Limits, Spec};
use crate::store::Store;

impl Instance {
    /// Stops everything inside, its process 1 too.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.cgroup.freeze()?;
        self.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets everything inside go on; nothing happens if it was not stopped.
    pub(crate) fn thaw(&self) -> Result<()> {
        if self.is_frozen() {
            self.cgroup.thaw()?;
            self.frozen.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Whether everything inside was stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// The sandbox, if it is this process's and its process 1 can answer.
    pub(crate) fn awake(&self, step: Step) -> Result<&Self> {
        self.own()?;
        match self.is_frozen() {
            false => Ok(self),
            true => Err(Error::new(Kind::Busy, step, "the sandbox is frozen").with_cure("thaw it")),
        }
    }

    /// Changes limits that are in force: those that `change` has.
    pub(crate) fn set_limits(&self, store: &Store, spec: &Spec, change: &Limits) -> Result<()> {
        let mut now = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, keys) = now.as_deref().unwrap_or(&spec.limits).changed(change)?;
        self.cgroup
            .change(store.runtime().layout()?, &changed, &keys)?;
        *now = Some(Box::new(changed));
        Ok(())
    }
}
