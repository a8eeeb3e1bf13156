// SPDX-License-Identifier: MIT OR Apache-2.0
//! Opens the inside of the library to benches and counts.
#![forbid(unsafe_code)]

use std::hint::black_box;
use std::path::PathBuf;

use crate::backend::{self, Lower, TreeRequest};
use crate::helper::Spawner;
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::idmap::Ids;
use crate::parts::seccomp::{self, SeccompCache};
use crate::plan::{self, Inputs};
use crate::spec::Spec;

/// Calls `work` with a function that plans a default start of an image as root,
/// and encodes the message for the spawner.
///
/// # Panics
/// If the plan fails.
pub fn with_plan(work: impl FnOnce(&mut dyn FnMut())) {
    with_default(|inputs| {
        work(&mut || {
            let plan = plan::start(inputs).expect("a default start");
            assert!(
                !black_box(plan.message(1, &plan::Leftovers::default()))
                    .ops
                    .is_empty()
            );
        });
    });
}

/// Calls `work` with the inputs of a default start of an image as root.
pub(crate) fn with_default(work: impl FnOnce(&Inputs<'_>)) {
    let spec = Spec::default();
    let lower = Lower::Layers(vec![PathBuf::from("/usr"), PathBuf::from("/etc")]);
    let caps = CapSet::of(&spec.security).expect("known capabilities");
    let filter = seccomp::program(&spec.security, caps, &SeccompCache::default());
    let filter = filter.expect("a known profile");
    let spawner = Spawner::absent();
    let request = TreeRequest {
        lower: &lower,
        write: spec.write,
        size: None,
        ordinary: false,
        scratch: PathBuf::new(),
        spawner: &spawner,
        may_try: true,
    };
    work(&Inputs {
        spec: &spec,
        ids: &Ids::Host,
        hostname: "counted",
        backend: backend::choose(spec.storage, &lower, false),
        tree: &request,
        cgroup: &Cgroup::default(),
        cgroup2: false,
        caps,
        seccomp: filter.as_deref(),
        may_use_empty_ns: true,
    });
}
