// SPDX-License-Identifier: MIT OR Apache-2.0
//! Making the cgroups of a sandbox: which are needed, where they go, and what
//! is written to them.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::geteuid;

use super::layout::Home;
use super::limit::{Limit, Refusal, Setting};
use super::node::Node;
use super::{
    Cgroup, DeviceGate, Layout, V1, Written, directory_name, has_swap, is_denied, mount_v2, v1, v2,
};
use crate::error::{Error, Result, Step};
use crate::spec::{LeftOut, Limits, may_leave_out};
use crate::sys::bpf;

/// A sandbox's request for cgroups.
struct CgroupRequest<'a> {
    layout: &'a Layout,
    name: String,
    limits: Vec<Limit<'a>>,
    best_effort: &'a [String],
    /// Reason why there is no cgroup in a mounted v2.
    no_v2: Option<Refusal>,
}

impl Cgroup {
    /// Makes the cgroups that `limits` and `gate` need, named after `id`, and
    /// writes everything into them; no process is in them yet. `gate` is for
    /// sandboxes of root without a user namespace. Where nothing is asked for
    /// and nothing can be made, there is no cgroup.
    ///
    /// # Errors
    /// [`Kind::Unsupported`](crate::Kind::Unsupported) names what cannot be
    /// enforced, why, and the cure, unless `best_effort` names it.
    /// [`Kind::Invalid`](crate::Kind::Invalid) for a value that no setting can
    /// make true, [`Kind::Exists`](crate::Kind::Exists) if `id` is taken.
    /// Nothing is left behind then.
    pub(crate) fn create(
        layout: &Layout,
        id: &str,
        limits: &Limits,
        best_effort: &[String],
        gate: Option<&DeviceGate>,
    ) -> Result<Self> {
        let request = CgroupRequest {
            layout,
            name: directory_name(id)?,
            limits: Limit::asked(limits),
            best_effort,
            no_v2: None,
        };
        let mut cgroup = Self {
            version: layout.version(),
            ..Self::default()
        };
        match cgroup.fill(request, gate) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                // The cgroups are empty, so nothing keeps them.
                let _ = cgroup.remove();
                Err(error)
            }
        }
    }

    fn fill(&mut self, mut request: CgroupRequest<'_>, gate: Option<&DeviceGate>) -> Result<()> {
        let parent = self.make_v2(&mut request)?;
        for limit in std::mem::take(&mut request.limits) {
            match self.set(&request, &limit, parent.as_deref()) {
                Ok(()) => {}
                Err(Failure::Refused(refusal)) => self.refuse(&request, limit.key(), refusal)?,
                Err(Failure::Fatal(error)) => return Err(error),
            }
        }
        if let Some(gate) = gate
            && let Err(failure) = self.restrict_devices(&request, gate)
        {
            match failure {
                Failure::Refused(refusal) => self.refuse(&request, "security.devices", refusal)?,
                Failure::Fatal(error) => return Err(error),
            }
        }
        if self.v2.is_none() {
            self.make_freezer(&request)?;
        }
        for v1 in &self.v1 {
            let open = v1.node.open_for_write("tasks");
            let path = v1.node.path().display();
            self.tasks
                .push(open.map_err(|e| Error::os(Step::OpenTasks, path, e))?);
        }
        Ok(())
    }

    /// Notes `key` as left out if `best_effort` allows, else returns the error.
    fn refuse(
        &mut self,
        request: &CgroupRequest<'_>,
        key: &'static str,
        refusal: Refusal,
    ) -> Result<()> {
        let may = refusal.may_leave_out() && may_leave_out(request.best_effort, key);
        let error = refusal.of(key);
        if !may {
            return Err(error);
        }
        self.left_out.push(LeftOut {
            key,
            why: error.to_string(),
        });
        Ok(())
    }

    /// Makes the cgroup in v2, which is wanted even without a limit, and
    /// returns its parent. Limits that cannot be had there are taken out of the
    /// request.
    fn make_v2(&mut self, request: &mut CgroupRequest<'_>) -> Result<Option<PathBuf>> {
        let Some(hierarchy) = request.layout.v2() else {
            return Ok(None);
        };
        let home = |limit: &Limit<'_>| {
            let (v1, v2) = limit.controllers();
            match request.layout.home(v1) {
                Home::V1(_) => None,
                _ => (request.layout.home(v2) == Home::V2).then_some(v2),
            }
        };
        let wanted: Vec<_> = request.limits.iter().filter_map(home).collect();
        let mut parent = v2::find_parent(hierarchy, &wanted);
        if parent.is_err() && !wanted.is_empty() {
            // Find out which of them is not to be had, and go on without it if
            // that is allowed.
            let (mut keep, mut lost) = (Vec::new(), Vec::new());
            for limit in &request.limits {
                match home(limit).map(|c| v2::find_parent(hierarchy, &[c])) {
                    Some(Err(refusal)) => lost.push((limit.key(), refusal)),
                    _ => keep.push(*limit),
                }
            }
            let still: Vec<_> = keep.iter().filter_map(home).collect();
            request.limits = keep;
            for (key, refusal) in lost {
                self.refuse(request, key, refusal)?;
            }
            parent = v2::find_parent(hierarchy, &still);
            if let (Err(refusal), Some(limit)) = (&parent, request.limits.first())
                && !still.is_empty()
            {
                return Err(refusal.clone().of(limit.key()));
            }
        }
        // Without a place in v2 there is nothing to kill and freeze by; no
        // limit was lost.
        let parent = match parent {
            Ok(parent) => parent,
            Err(refusal) => {
                request.no_v2 = Some(refusal);
                return Ok(None);
            }
        };
        match Node::create(&parent, &request.name) {
            Ok(node) => self.v2 = Some(node),
            Err(errno) if is_denied(errno) && wanted.is_empty() => {
                request.no_v2 = Some(v2::refuse_place(hierarchy, errno));
                return Ok(None);
            }
            Err(errno) => return Err(make_error(&parent, &request.name, errno)),
        }
        Ok(Some(parent))
    }

    fn set(
        &mut self,
        request: &CgroupRequest<'_>,
        limit: &Limit<'_>,
        parent: Option<&Path>,
    ) -> Result<(), Failure> {
        let (in_v1, in_v2) = limit.controllers();
        let (v1, settings) = match (
            request.layout.home(in_v1),
            request.layout.home(in_v2),
            parent,
        ) {
            (Home::V1(index), _, _) => {
                let settings = v1::settings(limit, &request.layout.v1()[index])?;
                (Some(self.ensure_v1(request, index)?), settings)
            }
            (_, Home::V2, Some(parent)) => {
                let hierarchy = request.layout.v2().expect("it is the controller's home");
                (None, v2::settings(limit, hierarchy, parent)?)
            }
            _ => return Err(Failure::Refused(absent(in_v1, in_v2))),
        };
        for Setting { file, value } in settings {
            let node = match v1 {
                Some(at) => &self.v1[at].node,
                None => self
                    .v2
                    .as_ref()
                    .expect("its parent was found, so it was made"),
            };
            match node.write(file, &value) {
                Ok(()) => self.written.push(Written {
                    key: limit.key(),
                    v1,
                    file,
                }),
                // Swap that is not there needs no limit.
                Err(Errno::ENOENT) if matches!(limit, Limit::Swap { .. }) && !has_swap() => {}
                Err(errno) => return Err(refuse_write(node, file, &value, errno)),
            }
        }
        Ok(())
    }

    /// Our cgroup in the v1 hierarchy `index`, made on first use; its index in
    /// `self.v1`.
    fn ensure_v1(&mut self, request: &CgroupRequest<'_>, index: usize) -> Result<usize, Failure> {
        let hierarchy = &request.layout.v1()[index];
        let same = |v: &V1| v.controllers == hierarchy.controllers;
        if let Some(at) = self.v1.iter().position(same) {
            return Ok(at);
        }
        let node = Node::create(&hierarchy.own, &request.name).map_err(|errno| {
            if !is_denied(errno) {
                return Failure::Fatal(make_error(&hierarchy.own, &request.name, errno));
            }
            let why = format!("make a cgroup in {}", hierarchy.own.display());
            let cure = match errno {
                Errno::EROFS => format!("mount -o remount,bind,rw {}", hierarchy.mount.display()),
                // Not the caller's own: it may be everybody's.
                _ => {
                    let (dir, uid) = (hierarchy.own.display(), geteuid());
                    format!(
                        "run as root, or as root: mkdir {dir}/{uid}; chown -R {uid} {dir}/{uid}; \
                         echo PID >{dir}/{uid}/tasks"
                    )
                }
            };
            Failure::Refused(Refusal::os(why, errno, cure))
        })?;
        self.v1.push(V1 {
            controllers: hierarchy.controllers.clone(),
            node,
        });
        Ok(self.v1.len() - 1)
    }

    /// By an eBPF program on the v2 directory where that works, since it needs
    /// neither a controller nor one more directory; else by the v1 controller.
    fn restrict_devices(
        &mut self,
        request: &CgroupRequest<'_>,
        gate: &DeviceGate,
    ) -> Result<(), Failure> {
        let attached = match (&gate.program, &self.v2) {
            (Ok(program), Some(node)) => {
                use std::os::fd::AsFd as _;
                bpf::attach_device_program(node.fd(), program.as_fd())
            }
            (Err(errno), _) => Err(*errno),
            (Ok(_), None) => Err(Errno::ENODEV),
        };
        let Err(errno) = attached else {
            self.devices = Some("ebpf");
            return Ok(());
        };
        let Home::V1(index) = request.layout.home("devices") else {
            if let Some(refusal) = &request.no_v2 {
                return Err(Failure::Refused(refusal.clone()));
            }
            let why = "no eBPF program on a cgroup2 directory, and no v1 devices controller";
            let cure = match self.v2 {
                None => mount_v2(),
                Some(_) => "a kernel with CONFIG_CGROUP_BPF=y",
            };
            return Err(Failure::Refused(Refusal::os(why, errno, cure)));
        };
        let at = self.ensure_v1(request, index)?;
        let node = &self.v1[at].node;
        let write = |file, value: &str| {
            node.write(file, value)
                .map_err(|e| refuse_write(node, file, value, e))
        };
        write("devices.deny", "a")?;
        for line in gate.rules.lines() {
            write("devices.allow", &line)?;
        }
        self.devices = Some("v1");
        Ok(())
    }

    /// Makes a cgroup of the v1 freezer beside other v1 cgroups, to kill
    /// without racing forks where v2 is missing. Without a freezer, listed
    /// processes are killed.
    fn make_freezer(&mut self, request: &CgroupRequest<'_>) -> Result<()> {
        if self.v1.is_empty() {
            return Ok(());
        }
        let Home::V1(index) = request.layout.home("freezer") else {
            return Ok(());
        };
        match self.ensure_v1(request, index) {
            Err(Failure::Fatal(error)) => Err(error),
            _ => Ok(()),
        }
    }
}

/// The reason of a failed step of [`Cgroup::create`].
pub(super) enum Failure {
    /// The machine cannot; `best_effort` may leave the key out.
    Refused(Refusal),
    /// Anything else.
    Fatal(Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn make_error(parent: &Path, name: &str, errno: Errno) -> Error {
    Error::os(Step::MakeCgroup, parent.join(name).display(), errno)
}

/// A control file said no: because it is not there, we may not, or the value is
/// wrong.
pub(super) fn refuse_write(node: &Node, file: &str, value: &str, errno: Errno) -> Failure {
    let why = format!("write {value:?} to {}", node.path().join(file).display());
    let cure: Cow<'static, str> = match (errno, file) {
        (Errno::ENOENT, "memory.swap.max" | "memory.memsw.limit_in_bytes") => {
            "boot with swapaccount=1, or turn all swap off".into()
        }
        (Errno::ENOENT, _) => format!("a kernel built with {file}").into(),
        (errno, _) if is_denied(errno) => {
            "a value within those of the cgroups above, or run as root".into()
        }
        _ => {
            let cure = "a value within those of the cgroups above";
            return Failure::Refused(Refusal::invalid(format!("{why}: {errno:?}"), cure));
        }
    };
    Failure::Refused(Refusal::os(why, errno, cure))
}

/// Makes the refusal of a controller that is in no hierarchy: off at boot, left
/// unmounted, or not in the kernel.
fn absent(in_v1: &str, in_v2: &str) -> Refusal {
    let table = fs::read_to_string("/proc/cgroups").unwrap_or_default();
    let row = table.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        (fields.next()? == in_v1).then(|| fields.nth(2))
    });
    match row.flatten() {
        Some("0") => Refusal::new(
            format!("the {in_v1} controller is off"),
            format!("boot with cgroup_enable={in_v1}, without cgroup_disable={in_v1}"),
        ),
        Some(_) => Refusal::new(
            format!("the {in_v2} controller is in no cgroup hierarchy that is mounted here"),
            mount_v2(),
        ),
        None => Refusal::new(
            format!("this kernel has no {in_v1} controller"),
            format!("a kernel built with the {in_v2} controller"),
        ),
    }
}
