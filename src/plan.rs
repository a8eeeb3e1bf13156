// SPDX-License-Identifier: MIT OR Apache-2.0
//! Plans a start: turns a spec into a flat list of operations, in their order.
//!
//! The init runs the operations one after the other and stops at the first that
//! fails. No other module decides their order. In a copy of the host's mount
//! namespace each stage needs the stage before:
//!
//! 1. **Cgroups.** The init enters the v1 cgroups first, so that all it does is
//!    counted. clone3(2) has put it into the v2 cgroup. Only then may it make a
//!    cgroup namespace, whose root is the cgroup that it is in.
//! 2. **Identity.** Network, mount propagation, keyring and hostname.
//!    Propagation comes before the first mount, or the host would see the
//!    mounts.
//! 3. **Stage.** A tmpfs for the writable layer and for files to be bound.
//! 4. **Tree.** The root of the sandbox, from the back end.
//! 5. **Mounts.** `/proc`, `/sys` and `/dev`, the files of names, then the
//!    caller's mounts, which may cover any of these.
//! 6. **Hiding.** Masked and read-only paths come after all mounts, or a mount
//!    of the caller would show the hidden files.
//! 7. **Root.** The tree becomes the root; the host's mounts are let go.
//! 8. **Bounding set.** Last, because the mounts take capabilities.
//!
//! On the detached path, the init makes the mounts detached in the host's mount
//! namespace: first the kernel's of stage 5, with Docker's hidden paths, then
//! stage 4, then the caller's. `EnterEmptyNs` follows. The init then attaches
//! the mounts, binds the files of names, and hides the other paths. See
//! `docs/design.md`, "In which order does a start go?".
#![forbid(unsafe_code)]

mod callers;
mod inputs;
mod prefix;
mod tree;

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use caps::Capability;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::backend::{Backend, Lower, TreeRequest};
use crate::error::{Error, Kind, Result, Step};
use crate::ops::{Ops, Slot};
use crate::parts::cgroup::Cgroup;
use crate::parts::idmap::{self, Ids};
use crate::parts::mounts::RDONLY;
use crate::parts::rlimit;
use crate::parts::seccomp::Compiled;
use crate::parts::shown::ShownAs;
use crate::spec::{Network, Spec, UserNamespace, Write};
use crate::wire::{Confine, List, ListBuf, Op, Open};

pub(crate) use inputs::{Inputs, suits_empty_ns};
use prefix::Split;
use tree::{Tree, stage};

const CLONE_NEWNS: u64 = 0x0002_0000;
const CLONE_NEWCGROUP: u32 = 0x0200_0000;
const CLONE_NEWUTS: u64 = 0x0400_0000;
const CLONE_NEWIPC: u64 = 0x0800_0000;
const CLONE_NEWUSER: u64 = 0x1000_0000;
const CLONE_NEWPID: u64 = 0x2000_0000;
const CLONE_NEWNET: u32 = 0x4000_0000;

/// A start, ready to be sent.
#[derive(Debug)]
pub(crate) struct Plan {
    ops: Ops,
    /// The number of slots, from 1 on, that hold the descriptors of
    /// [`cgroup_fds`].
    cgroup_fds: usize,
    /// The slots that follow.
    pub(crate) fds: Vec<OwnedFd>,
    namespaces: u64,
    empty_ns: bool,
    stage: Slot,
    /// Mounts of the host, and how each is shown.
    pub(crate) shown: Vec<(PathBuf, ShownAs)>,
    /// True if a file system of the host may not answer.
    pub(crate) is_remote: bool,
    cgroup: i32,
    maps: [String; 2],
    kept: [Slot; 3],
    caps: u64,
    init_caps: u64,
    no_new_privs: bool,
    seccomp: Vec<u8>,
    seccomp_at_birth: bool,
    rlimits: Vec<u8>,
    single_id: bool,
    home: Option<CString>,
}

/// Files and directories that the helper removes after the sandbox.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    /// Cgroup directories, in order.
    pub(crate) cgroups: ListBuf,
    /// Directories with all that is in them, and files.
    pub(crate) scratch: ListBuf,
    /// The lock that keeps sweeps off `scratch`.
    pub(crate) lock: Option<Slot>,
}

impl Plan {
    /// Passes another descriptor, which no operation uses.
    pub(crate) fn pass(&mut self, fd: OwnedFd) -> Slot {
        self.fds.push(fd);
        Slot::received((self.cgroup_fds + self.fds.len()) as u32)
    }

    /// Returns the prefix, which may run before the caller asks for the
    /// sandbox, and the rest. `None` if the start needs descriptors beside the
    /// cgroups', or a user namespace of its own: a prestarted init has neither.
    pub(crate) fn split(&self) -> Option<(Prefix, Vec<u8>)> {
        let Split { prefix, rest } = prefix::split(self.ops.bytes());
        // The helper writes the maps of a user namespace at the birth of the
        // init, and a prestarted init is born already.
        let own_users = self.maps.iter().any(|map| !map.is_empty());
        let prefix = Prefix {
            ops: prefix,
            namespaces: self.namespaces,
            empty_ns: self.empty_ns,
        };
        (!own_users && self.fds.is_empty()).then_some((prefix, rest))
    }

    /// The message for a prestarted init, which has only `ops` left to run.
    pub(crate) fn rest<'a>(&'a self, id: u64, leftovers: &'a Leftovers, ops: &'a [u8]) -> Open<'a> {
        Open {
            ops,
            ..self.message(id, leftovers)
        }
    }

    /// The message for the spawner.
    pub(crate) fn message<'a>(&'a self, id: u64, leftovers: &'a Leftovers) -> Open<'a> {
        let [devpts, dev, proc] = self.kept.map(|slot| slot.number() as i32);
        Open {
            id,
            namespaces: self.namespaces,
            ahead: 0,
            empty_ns: u32::from(self.empty_ns),
            cgroup: self.cgroup,
            uid_map: self.maps[0].as_bytes(),
            gid_map: self.maps[1].as_bytes(),
            cgroups: leftovers.cgroups.as_list(),
            scratch: leftovers.scratch.as_list(),
            lock: leftovers.lock.map_or(-1, |slot| slot.number() as i32),
            devpts,
            dev,
            proc,
            stage: match self.empty_ns {
                true => self.stage.number() as i32,
                false => -1,
            },
            ops: self.ops.bytes(),
            init_caps: self.init_caps,
            confine: Confine {
                caps: self.caps,
                no_new_privs: u32::from(self.no_new_privs),
                seccomp: &self.seccomp,
                seccomp_at_birth: u32::from(self.seccomp_at_birth),
                rlimits: &self.rlimits,
                no_setgroups: u32::from(self.single_id),
                single_id: u32::from(self.single_id),
                home: self.home.as_deref().unwrap_or_default(),
            },
        }
    }
}

/// The operations of a start that may run before the caller asks for the
/// sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Prefix {
    ops: Vec<u8>,
    namespaces: u64,
    pub(crate) empty_ns: bool,
}

impl Prefix {
    /// The message for the spawner: start an init that runs the prefix and
    /// waits.
    pub(crate) fn message<'a>(
        &'a self,
        id: u64,
        cgroups: &'a ListBuf,
        cgroup: &Cgroup,
    ) -> Open<'a> {
        Open {
            id,
            namespaces: self.namespaces,
            ahead: 1,
            empty_ns: u32::from(self.empty_ns),
            cgroup: born_in(cgroup),
            uid_map: &[],
            gid_map: &[],
            cgroups: cgroups.as_list(),
            scratch: List::default(),
            lock: -1,
            devpts: -1,
            dev: -1,
            proc: -1,
            stage: -1,
            ops: &self.ops,
            init_caps: 0,
            confine: Confine::default(),
        }
    }
}

/// The least number of processes and threads of a sandbox for which the init
/// uses a second thread, with the filter attached. See
/// `crates/tare-init/src/filtered_thread.rs`.
const MANY: u64 = 64;

/// Plans the start.
///
/// # Errors
/// Failures that show without a trial: missing sources, impossible
/// combinations.
pub(crate) fn start(inputs: &Inputs<'_>) -> Result<Plan> {
    let Inputs { spec, ids, .. } = *inputs;
    let maps = id_maps(spec, ids)?;
    // In any user namespace but the first, the kernel refuses devices and some
    // file systems, and overlays need `userxattr`.
    let ordinary = ids.ordinary() || maps.is_some();
    let empty_ns = inputs.uses_empty_ns();
    let mut ops = match empty_ns {
        true => Ops::for_empty_ns(),
        false => Ops::default(),
    };
    let mut fds = Vec::new();
    let cgroup = enter(&mut ops, &mut fds, inputs)?;
    if !empty_ns {
        // A copy of a mount namespace still propagates mounts to and from the
        // host.
        ops.push(Op::MakePrivate {});
    }
    // The caller's session keyring may hold keys of the user.
    ops.push(Op::NewKeyring {});
    if spec.namespaces.uts {
        ops.push(Op::SetHostname {
            // The spec was checked for NUL; a generated name has none.
            name: &CString::new(inputs.hostname).unwrap_or_default(),
        });
    }
    let stage = stage(&mut ops, inputs.tree.size, !empty_ns);
    let Tree {
        root,
        filled,
        kernel,
        pts,
    } = match empty_ns {
        true => tree::detached(&mut ops, stage, inputs)?,
        false => tree::attached(&mut ops, stage, inputs, ordinary)?,
    };
    if spec.write == Write::None {
        // Not earlier, because mount points are made in the parts.
        for slot in filled.parts.into_iter().chain([root]) {
            ops.set_attr(slot, RDONLY, false);
        }
    }
    let slot = root.number();
    ops.push(match empty_ns {
        // An empty namespace has no old root for pivot_root(2) to let go.
        true => Op::ChangeRoot { slot },
        false => Op::PivotRoot { slot },
    });
    // After the mounts, which take CAP_SYS_ADMIN.
    ops.push(Op::DropBounding {
        keep: inputs.caps.bits(),
    });
    Ok(Plan {
        ops,
        cgroup_fds: cgroup_fds(inputs.cgroup).count(),
        fds,
        namespaces: namespaces(spec, maps.is_some(), empty_ns),
        empty_ns,
        stage,
        shown: filled.shown,
        is_remote: filled.is_remote,
        cgroup,
        maps: maps.unwrap_or_default(),
        kept: [pts, kernel.dev, kernel.proc],
        caps: inputs.caps.bits(),
        init_caps: init_caps(inputs, ordinary)?,
        no_new_privs: spec.security.no_new_privs(),
        seccomp: inputs.seccomp.map(Compiled::bytes).unwrap_or_default(),
        seccomp_at_birth: inputs.seccomp.is_some_and(|compiled| compiled.at_birth)
            && spec.limits.pids.is_none_or(|pids| pids >= MANY),
        rlimits: rlimit::encode(&spec.limits.rlimits),
        single_id: *ids == Ids::Single,
        home: home(inputs),
    })
}

/// Returns the home of user 0 in a view of the host. User 0 stands for an
/// ordinary user of the machine there, and `/etc/passwd` names root's home.
fn home(inputs: &Inputs<'_>) -> Option<CString> {
    let is_own = *inputs.tree.lower == Lower::Host && inputs.ids.ordinary();
    let home = is_own.then(|| inputs.tree.spawner.home()).flatten()?;
    // Neither a path of the environment nor one of passwd(5) holds a NUL.
    CString::new([b"HOME=", home.as_os_str().as_bytes()].concat()).ok()
}

/// Returns the capabilities that the init keeps to start commands with.
///
/// A command with CAP_SYS_PTRACE can take the init over, so the init may have
/// no capability that the command lacks (CVE-2016-9962). In another user
/// namespace the kernel asks for CAP_SYS_PTRACE in the namespace that the
/// helper began in.
fn init_caps(inputs: &Inputs<'_>, ordinary: bool) -> Result<u64> {
    let traced = inputs.caps.has(Capability::CAP_SYS_PTRACE)
        && !inputs.caps.has(Capability::CAP_SYS_ADMIN)
        && !ordinary;
    if traced && inputs.seccomp.is_some() && !inputs.spec.security.no_new_privs() {
        let why = "without no_new_privs, SYS_PTRACE would give all that the init needs for it";
        let error = Error::new(Kind::Invalid, Step::CheckSpec.key("security.cap_add"), why);
        return Err(error.with_cure("no_new_privs true, or a user namespace (namespaces.user)"));
    }
    Ok(inputs.caps.for_init(!traced).bits())
}

/// Enters cgroups, and namespaces that clone3(2) does not make.
fn enter(ops: &mut Ops, fds: &mut Vec<OwnedFd>, inputs: &Inputs<'_>) -> Result<i32> {
    let Inputs { spec, cgroup, .. } = *inputs;
    let born = born_in(cgroup);
    let count = cgroup_fds(cgroup).count() as u32;
    for file in (1..=count).map(|n| Slot::received(n).number()) {
        // clone3(2) has put the init into the v2 cgroup already.
        if file as i32 != born {
            ops.push(Op::EnterCgroup { file });
        }
    }
    if spec.namespaces.cgroup {
        // Not by clone3(2): the root of the namespace would be the spawner's
        // cgroup.
        ops.push(Op::Unshare {
            flags: CLONE_NEWCGROUP,
        });
    }
    match &spec.network {
        // A new network namespace has the loopback device down.
        Network::None => ops.push(Op::LoopbackUp {}),
        // The init stays in the namespace of the helper, which is the host's.
        Network::Host => {}
        Network::Join(path) => {
            let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
            let file = open(path, flags, Mode::empty())
                .map_err(|e| Error::os(Step::JoinNetworkNamespace, format_args!("{path:?}"), e))?;
            fds.push(file);
            ops.push(Op::Setns {
                file: Slot::received(count + 1).number(),
                flags: CLONE_NEWNET,
            });
        }
    }
    Ok(born)
}

/// Returns the descriptors that enter cgroups, in the order of the slots from 1
/// on: the v2 directory, if there is one, and the `tasks` files of v1.
pub(crate) fn cgroup_fds(cgroup: &Cgroup) -> impl Iterator<Item = BorrowedFd<'_>> {
    let tasks = cgroup.tasks_files().iter().map(|file| file.as_fd());
    cgroup.v2_dir().into_iter().chain(tasks)
}

/// Returns the slot of the v2 directory among [`cgroup_fds`]; -1 without v2.
fn born_in(cgroup: &Cgroup) -> i32 {
    cgroup.v2_dir().map_or(-1, |_| 1)
}

fn namespaces(spec: &Spec, user: bool, empty_ns: bool) -> u64 {
    let wanted = [
        // The init is process 1, so the kernel kills all commands at its end.
        (true, CLONE_NEWPID),
        // An init in the host's namespace later enters a copy of the spawner's
        // empty namespace (`EnterEmptyNs`).
        (!empty_ns, CLONE_NEWNS),
        (spec.namespaces.uts, CLONE_NEWUTS),
        (spec.namespaces.ipc, CLONE_NEWIPC),
        (spec.network == Network::None, u64::from(CLONE_NEWNET)),
        (user, CLONE_NEWUSER),
    ];
    let flags = wanted.into_iter().filter(|(on, _)| *on);
    flags.fold(0, |all, (_, flag)| all | flag)
}

/// Returns the id maps of the sandbox's own user namespace, if the spec asks
/// for one.
fn id_maps(spec: &Spec, ids: &Ids) -> Result<Option<[String; 2]>> {
    match &spec.namespaces.user {
        // All sandboxes of an ordinary user share the user namespace that the
        // helper has made.
        UserNamespace::Auto => Ok(None),
        UserNamespace::Host if ids.ordinary() => {
            let step = Step::CheckSpec.key("namespaces.user");
            let why = "an ordinary user needs a user namespace";
            Err(Error::new(Kind::Invalid, step, why).with_cure("\"auto\""))
        }
        UserNamespace::Host => Ok(None),
        UserNamespace::Maps { uids, gids } => Ok(Some([idmap::text(uids), idmap::text(gids)])),
    }
}

/// The namespace that the operations of [`mount_tree`] start in.
pub(crate) const MOUNT_NAMESPACE: u64 = CLONE_NEWNS;

/// Returns operations that mount a tree on a directory of the caller, without a
/// sandbox. Slot 1 is the caller's mount namespace, slot 2 the directory. The
/// tree is made detached, so that the caller sees it whole or not at all.
pub(crate) fn mount_tree(backend: &dyn Backend, tree: &TreeRequest<'_>) -> Result<Ops> {
    let mut ops = Ops::default();
    ops.push(Op::MakePrivate {});
    let stage = stage(&mut ops, tree.size, true);
    let root = backend.make_tree(&mut ops, stage, tree)?;
    ops.push(Op::Setns {
        file: Slot::received(1).number(),
        flags: CLONE_NEWNS as u32,
    });
    ops.attach(root, Slot::received(2), c"", 0);
    if tree.write == Write::None {
        // KERNEL(5.12): before, mount_setattr(2) refuses a detached mount.
        ops.set_attr(root, RDONLY, false);
    }
    Ok(ops)
}

/// Returns operations that make a tree and drop it, as a trial.
pub(crate) fn try_tree(backend: &dyn Backend, tree: &TreeRequest<'_>) -> Result<Ops> {
    let mut ops = Ops::default();
    ops.push(Op::MakePrivate {});
    let stage = stage(&mut ops, None, true);
    // The mounts go away with the child that runs the operations.
    backend.make_tree(&mut ops, stage, tree)?;
    Ok(ops)
}
