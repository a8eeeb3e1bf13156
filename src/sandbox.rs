// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox: a tree, namespaces, a cgroup, restrictions and a tiny resident init, waiting for commands.
#![forbid(unsafe_code)]

mod effective;
mod launch;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::capture::{Output, capture};
use crate::command::Command;
use crate::error::{Error, Kind, Result};
use crate::parts::caps::CapSet;
use crate::parts::cgroup::Cgroup;
use crate::parts::ops::c_path;
use crate::parts::seccomp;
use crate::plan::{self, Needs};
use crate::process::Process;
use crate::spawner::Spawner;
use crate::spec::Spec;
use crate::store::{Base, Store};
use crate::tree::{self, Lower, Request};
use crate::wire::ListBuf;

pub use effective::Effective;

/// A clean, isolated, throwaway environment.
///
/// Every method may be called from any thread, any number of commands may run at once.
/// Dropping it ends everything inside and removes what it used, without waiting for that.
///
/// ```no_run
/// use tare::{Command, Sandbox, Spec, Store};
/// let store = Store::open_default()?;
/// let sandbox = Sandbox::open(&store, &Spec::default())?;
/// let output = sandbox.run(Command::new("id").arg("-u"))?;
/// assert_eq!(output.stdout, b"0\n");
/// sandbox.close()?;
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug)]
pub struct Sandbox {
    store: Store,
    spec: Spec,
    base: Base,
    live: RwLock<Arc<Live>>,
}

/// What exists from open to close, or from reset to reset.
#[derive(Debug)]
pub(crate) struct Live {
    /// `<pid>-<start time>-<number>`: names the cgroups and the scratch directory.
    name: String,
    id: u64,
    hostname: String,
    spawner: Arc<Spawner>,
    control: OwnedFd,
    pidfd: OwnedFd,
    cgroup: Cgroup,
    backend: &'static str,
    caps: CapSet,
    seccomp: bool,
    /// Number of the next command.
    commands: AtomicU64,
}

impl Drop for Live {
    fn drop(&mut self) {
        if self.spawner.is_own() {
            // If the spawner is gone, so is the sandbox, and `Store::recover` removes the rest.
            let _ = self.spawner.close(self.id, false);
        }
    }
}

impl Live {
    pub(crate) fn control(&self) -> BorrowedFd<'_> {
        self.control.as_fd()
    }

    fn next_command(&self) -> u64 {
        self.commands.fetch_add(1, Ordering::Relaxed)
    }

    /// Deaths for want of memory so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        self.cgroup.oom_kills().unwrap_or(0)
    }

    pub(crate) fn memory_peak(&self) -> Option<u64> {
        self.cgroup.usage().memory_peak
    }
}

impl Sandbox {
    /// Opens a sandbox: about a millisecond when the image is unpacked already.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a wrong spec, [`Kind::NotFound`] for a missing image, [`Kind::Unsupported`]
    /// with the cure for what this machine cannot enforce; nothing is left behind then.
    pub fn open(store: &Store, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        let base = store.base(&spec.image)?;
        Self::on(store, spec, base)
    }

    /// Opens a sandbox whose root is a directory as it is, without copy-on-write: what commands write stays.
    /// `spec.image` and `spec.storage` do not matter.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_in(store: &Store, root: &Path, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        let root = root
            .canonicalize()
            .map_err(|e| Error::io("open root", format_args!("{root:?}"), e))?;
        Self::on(store, spec, Base::plain(root))
    }

    fn on(store: &Store, spec: &Spec, base: Base) -> Result<Self> {
        let live = Live::start(store, spec, &base)?;
        Ok(Self {
            store: store.clone(),
            spec: spec.clone(),
            base,
            live: RwLock::new(Arc::new(live)),
        })
    }

    fn live(&self) -> Result<Arc<Live>> {
        let live = Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner));
        if live.spawner.is_own() {
            return Ok(live);
        }
        Err(Error::new(
            Kind::Invalid,
            "use sandbox",
            "it belongs to the process that this one was forked from",
        )
        .with_cure("open one in this process"))
    }

    /// Starts a command and comes back while it runs.
    ///
    /// # Errors
    /// [`Kind::NotFound`] and [`Kind::NotExecutable`] or [`Kind::Permission`] say that the program is not
    /// there, or no program; the step says what else failed.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        launch::launch(&self.live()?, &self.spec, &self.base, command)
    }

    /// Runs a command to its end and keeps what it writes. Its failure is a result, not an error.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn run(&self, command: Command) -> Result<Output> {
        let limit = command.output.unwrap_or(self.spec.limits.output.bytes());
        capture(self.spawn(command)?, limit)
    }

    /// The command that the image means to run, with `args` in place of its own default ones:
    /// ENTRYPOINT and CMD as Docker has them.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if neither the image nor the caller names a program.
    pub fn image_command(&self, args: &[String]) -> Result<Command> {
        let config = &self.base.config;
        let tail = if args.is_empty() { &config.cmd } else { args };
        let argv: Vec<&String> = config.entrypoint.iter().chain(tail).collect();
        if argv.is_empty() {
            return Err(
                Error::new(Kind::Invalid, "find command", "the image names none")
                    .with_cure("name one"),
            );
        }
        Ok(Command::from_argv(argv))
    }

    /// Ends everything inside and starts again from the image; handles to old commands see them killed.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; the old state is gone then, too.
    pub fn reset(&self) -> Result<()> {
        self.live()?;
        let fresh = Live::start(&self.store, &self.spec, &self.base)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *live, Arc::new(fresh));
        old.spawner.close(old.id, true)
    }

    /// Ends everything inside and comes back when nothing of the sandbox is left.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone; the sandbox is gone with it.
    pub fn close(self) -> Result<()> {
        let live = self.live()?;
        live.spawner.close(live.id, true)
    }

    /// What is really in force.
    ///
    /// # Errors
    /// When the kernel does not let a limit be read back.
    pub fn effective(&self) -> Result<Effective> {
        Effective::of(&*self.live()?, &self.spec, &self.base)
    }

    /// Readable when the sandbox is gone, for whatever reason; a pidfd of its init.
    ///
    /// # Errors
    /// As dup(2); [`Kind::Invalid`] in a forked copy of the process.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        self.live()?
            .pidfd
            .try_clone()
            .map_err(|e| Error::io("use sandbox", "dup", e))
    }
}

impl Live {
    fn start(store: &Store, spec: &Spec, base: &Base) -> Result<Self> {
        let spawner = store.spawner()?;
        let id = spawner.next_id();
        let name = store.sandbox_name(id)?;
        let hostname = spec.hostname.clone().unwrap_or_else(|| short_name(&name));
        let caps = CapSet::of(&spec.security)?.available(spawner.ids().ordinary())?;
        let filter = seccomp::programs(&spec.security, caps, store.seccomp_cache())?;
        let ordinary = spawner.ids().ordinary();
        let backend = tree::backend(spec.storage, &base.lower, ordinary);
        let scratch = store.scratch_path(&name);
        let request = Request {
            lower: &base.lower,
            write: spec.write,
            ordinary,
            scratch,
            spawner: &spawner,
        };
        let mut cgroup = store.cgroup(&name, spec, ordinary)?;
        let started = (|| {
            let on_disk = backend.prepare(&request)?;
            let needs = Needs {
                spec,
                ids: spawner.ids(),
                hostname: &hostname,
                backend,
                tree: &request,
                cgroup: &cgroup,
                cgroup2: store.cgroup_layout()?.v2().is_some(),
                caps,
                seccomp: filter.as_deref(),
            };
            let plan = plan::start(&needs)?;
            let cgroups: Result<Vec<_>> = cgroup.paths().into_iter().map(c_path).collect();
            let cgroups: ListBuf = cgroups?.iter().collect();
            let mut scratch = ListBuf::default();
            if on_disk {
                scratch.push(&c_path(&request.scratch)?);
            }
            let fds: Vec<BorrowedFd<'_>> = plan.fds.iter().map(|fd| fd.as_fd()).collect();
            spawner.open(&plan.message(id, &cgroups, &scratch), &fds)
        })();
        let (control, pidfd) = match started {
            Ok(pair) => pair,
            Err(error) => {
                // Waits for whatever the spawner has begun; without it there is nothing to wait for.
                let _ = spawner.close(id, true);
                let _ = cgroup.remove();
                store.remove_scratch(&name);
                return Err(explained(error, &base.lower));
            }
        };
        cgroup.close_tasks_files();
        let seccomp = filter.is_some();
        Ok(Self {
            name,
            id,
            hostname,
            spawner: Arc::clone(&spawner),
            control,
            pidfd,
            cgroup,
            backend: backend.name(),
            caps,
            seccomp,
            commands: AtomicU64::new(1),
        })
    }
}

/// Adds the cure where a step's errno alone does not tell what the matter is.
fn explained(error: Error, lower: &Lower) -> Error {
    if error.cure().is_some() {
        return error;
    }
    match (error.step(), error.errno(), lower) {
        ("attach mount", Some(libc::ELOOP), _) => {
            error.with_cure("an image whose /proc, /sys and /dev are directories, not links")
        }
        ("mount proc" | "mount sysfs", Some(libc::EPERM), _) => error.with_cure(
            "a machine, or an outer container, in which nothing covers parts of /proc and /sys",
        ),
        ("pivot root", Some(libc::EINVAL), _) => {
            error.with_cure("a root that is not the initial ramfs: switch_root(8)")
        }
        ("mount overlay", Some(libc::EINVAL | libc::EPERM), _) => {
            error.with_cure("storage \"copy\", or for an ordinary user kernel 5.11 or newer")
        }
        _ => error,
    }
}

/// The first twelve digits that stand for a name, as other engines name their hosts.
fn short_name(name: &str) -> String {
    // FNV-1a: nothing depends on its strength.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{hash:016x}")[..12].to_owned()
}
