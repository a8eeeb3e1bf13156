// SPDX-License-Identifier: MIT OR Apache-2.0
//! Freezes, thaws and limits all processes of a sandbox.
#![forbid(unsafe_code)]

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::{Instance, Resources};
use crate::error::{Error, Kind, Result, Step};
use crate::spec::{Limits, Spec};

impl Instance {
    /// Stops everything inside, process 1 included.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.cgroup().freeze()?;
        // Set after the freeze, because a failed freeze lets all go on.
        self.frozen.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets everything inside go on; does nothing if the sandbox is not frozen.
    pub(crate) fn thaw(&self) -> Result<()> {
        if self.is_frozen() {
            self.cgroup().thaw()?;
            self.frozen.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Returns whether everything inside is stopped.
    pub(crate) fn is_frozen(&self) -> bool {
        self.frozen.load(Ordering::Acquire)
    }

    /// Checks that the sandbox is this process's and that process 1 inside can
    /// reply: a frozen process 1 would answer no request.
    pub(crate) fn awake(&self, step: Step) -> Result<&Self> {
        self.own()?;
        match self.is_frozen() {
            false => Ok(self),
            true => Err(Error::new(Kind::Busy, step, "the sandbox is frozen").with_cure("thaw it")),
        }
    }

    /// Changes those limits in force that `change` sets.
    pub(crate) fn set_limits(
        &self,
        resources: &Resources,
        spec: &Spec,
        change: &Limits,
    ) -> Result<()> {
        // Locked until the change is made: two threads would otherwise each
        // undo the change of the other.
        let mut now = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let (changed, keys) = now.as_deref().unwrap_or(&spec.limits).changed(change)?;
        self.cgroup()
            .change(resources.runtime.layout()?, &changed, &keys)?;
        *now = Some(Box::new(changed));
        Ok(())
    }
}
