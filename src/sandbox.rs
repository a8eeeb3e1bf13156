// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox: a tree, namespaces, a cgroup, restrictions and a small resident
//! init that waits for commands.
#![forbid(unsafe_code)]

mod effective;
mod encode;
mod events;
mod opening;
mod spawn;
mod streams;

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::command::Command;
use crate::error::{Error, Kind, Result, Step};
use crate::image::Image;
use crate::instance::{Instance, Rootfs, RunningCommand};
use crate::parts::cgroup::SandboxUsage;
use crate::process::{Capture, Output, Owned, Pipes, Process};
use crate::spec::{LeftOut, Limits, Spec};
use crate::store::Store;

pub use effective::Effective;
pub use events::{Event, Events};
pub use opening::Opening;

/// A clean, isolated, throwaway environment.
///
/// Every method may be called from any thread, and any number of commands may
/// run at once. Drop ends everything inside and removes all leftovers, without
/// waiting.
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
    spec: Arc<Spec>,
    rootfs: Arc<Rootfs>,
    instance: RwLock<Arc<Instance>>,
    closed: AtomicBool,
    /// The pool that hears of the end.
    on_end: Option<Arc<dyn OnEnd>>,
    notified: AtomicBool,
}

/// The owner of a sandbox before its taker.
pub(crate) trait OnEnd: std::fmt::Debug + Send + Sync {
    /// Notes that the sandbox was closed or dropped.
    fn ended(&self);
}

impl Owned for Sandbox {}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A held process may outlive this handle, but not the sandbox. An error
        // means that the helper is gone, and the sandbox with the helper.
        let instance = self.instance.get_mut();
        let instance = instance.unwrap_or_else(PoisonError::into_inner);
        if !*self.closed.get_mut() {
            log::debug!("sandbox {}: dropped", instance.name());
        }
        let _ = instance.end(false);
        if instance.own().is_ok() {
            self.notify();
        }
    }
}

impl Sandbox {
    /// Opens a sandbox. Takes about a millisecond if the image is unpacked
    /// already.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a wrong spec, [`Kind::NotFound`] for a missing
    /// image, [`Kind::Unsupported`] with the cure for what this machine cannot
    /// enforce; nothing is left behind then.
    pub fn open(store: &Store, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        let rootfs = store.rootfs(&spec.image)?;
        Self::on(store, spec, rootfs)
    }

    /// As [`Sandbox::open`], on an image that was looked up before, with
    /// [`image::Images::image_with`](crate::image::Images::image_with) for
    /// example, which reports progress. `spec.image` has no effect.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_on(store: &Store, image: &Image, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        Self::on(store, spec, Rootfs::of(image.clone()))
    }

    /// Opens a sandbox whose root is a directory as it is, without
    /// copy-on-write: files that commands write stay. `spec.image` and
    /// `spec.storage` have no effect.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_in(store: &Store, root: &Path, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        Self::on(store, spec, plain(root)?)
    }

    /// As [`Sandbox::open`], for callers with an event loop: returns while the
    /// sandbox is being made. The first sandbox of a store waits for the start
    /// of the store's helper, about a millisecond.
    ///
    /// # Errors
    /// Those of [`Sandbox::open`] that show at once; nothing is left behind
    /// then.
    pub fn begin(store: &Store, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        let reference = spec.image.parse()?;
        match store.rootfs_at_hand(&reference)? {
            Some(rootfs) => Opening::begin(store, spec, rootfs),
            None => Opening::bring(store, spec, reference),
        }
    }

    /// As [`Sandbox::begin`], on an image as [`Sandbox::open_on`].
    ///
    /// # Errors
    /// As [`Sandbox::begin`].
    pub fn begin_on(store: &Store, image: &Image, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        Opening::begin(store, spec, Rootfs::of(image.clone()))
    }

    /// As [`Sandbox::begin`], in a directory as [`Sandbox::open_in`].
    ///
    /// # Errors
    /// As [`Sandbox::begin`].
    pub fn begin_in(store: &Store, root: &Path, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        Opening::begin(store, spec, plain(root)?)
    }

    fn on(store: &Store, spec: &Spec, rootfs: Rootfs) -> Result<Self> {
        let instance = Instance::open(store.resources(), spec, &rootfs)?;
        let (spec, rootfs) = (Arc::new(spec.clone()), Arc::new(rootfs));
        Ok(Self::of(store.clone(), spec, rootfs, instance, None))
    }

    /// Makes the handle of a started instance.
    pub(crate) fn of(
        store: Store,
        spec: Arc<Spec>,
        rootfs: Arc<Rootfs>,
        instance: Instance,
        on_end: Option<Arc<dyn OnEnd>>,
    ) -> Self {
        log::debug!("sandbox {}: opened", instance.name());
        log_left_out(&instance);
        Self {
            store,
            spec,
            rootfs,
            instance: RwLock::new(Arc::new(instance)),
            closed: AtomicBool::new(false),
            on_end,
            notified: AtomicBool::new(false),
        }
    }

    /// Tells the pool of the end, once.
    fn notify(&self) {
        if let (Some(on_end), false) = (&self.on_end, self.notified.swap(true, Ordering::Relaxed)) {
            on_end.ended();
        }
    }

    pub(crate) fn instance(&self) -> Result<Arc<Instance>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let instance = Arc::clone(&self.instance.read().unwrap_or_else(PoisonError::into_inner));
        instance.own()?;
        Ok(instance)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Arc<Instance>> {
        self.instance
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the user of commands that name no user, `USER[:GROUP]`: the
    /// spec's, else the image's, else an empty text, which is 0:0.
    pub fn default_user(&self) -> &str {
        let user = self.spec.user.as_ref();
        let user = user.or(self.rootfs.config.user.as_ref());
        user.map_or("", String::as_str)
    }

    /// Starts a command and returns while it runs.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if the program does not exist,
    /// [`Kind::NotExecutable`] or [`Kind::Permission`] if the file is no
    /// program. The step names any other failure.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        spawn::spawn(&self.instance()?, &self.spec, &self.rootfs, command)
    }

    /// Runs a command to its end and keeps the output. A failed command is a
    /// result, not an error.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn run(&self, command: Command) -> Result<Output> {
        let output = self.run_interruptible(command, &mut || false)?;
        Ok(output.expect("no caller interrupts"))
    }

    /// As [`Sandbox::run`], for callers with signals to look at: calls
    /// `interrupted` whenever a signal handler has run in this thread during
    /// the wait, signal(7). If the answer is true, kills the command with all
    /// its descendants, and returns `None`.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn run_interruptible(
        &self,
        command: Command,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Output>> {
        let instance = self.instance()?;
        if command.tty.is_some() {
            let process = self.spawn(command)?;
            return Capture::of(&process)?.until_end(&process.running, interrupted);
        }
        let (running, pipes) = spawn::spawn_captured(&instance, &self.spec, &self.rootfs, command)?;
        drop(pipes.stdin);
        let capture = Capture::new(running.limit, pipes.stdout, pipes.stderr)?;
        capture.until_end(&running, interrupted)
    }

    /// Returns the command of the image, ENTRYPOINT and CMD as Docker has them.
    /// `args`, if any, replace CMD.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if neither the image nor the caller names a program.
    pub fn image_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Command> {
        let config = &self.rootfs.config;
        let mut argv: Vec<&OsStr> = config.entrypoint.iter().map(OsStr::new).collect();
        if args.is_empty() {
            argv.extend(config.cmd.iter().map(OsStr::new));
        } else {
            argv.extend(args.iter().map(AsRef::as_ref));
        }
        if argv.is_empty() {
            let error = Error::new(Kind::Invalid, Step::FindCommand, "the image names none");
            return Err(error.with_cure("name a program, such as sh"));
        }
        Ok(Command::from_argv(argv))
    }

    /// Ends everything inside and starts again from the image. Handles to old
    /// commands see them killed. The new state is made before the old one ends,
    /// so both exist for a moment.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; the old state stays then.
    pub fn reset(&self) -> Result<()> {
        self.instance()?;
        let fresh = Instance::open(self.store.resources(), &self.spec, &self.rootfs)?;
        let mut instance = self.write();
        if self.closed.load(Ordering::Acquire) {
            // Another thread closed the sandbox meanwhile. Drop ends the new
            // state.
            return Err(closed());
        }
        log::debug!("sandbox {}: reset, now {}", instance.name(), fresh.name());
        log_left_out(&fresh);
        fresh.number_after(&instance);
        let old = std::mem::replace(&mut *instance, Arc::new(fresh));
        drop(instance);
        // An error means that the helper was killed, and the old state ended
        // with the helper.
        let _ = old.end(true);
        Ok(())
    }

    /// Ends everything inside and returns when nothing of the sandbox is left.
    /// Later calls are errors, and so are calls that wait in other threads. A
    /// second close is no error.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the helper is gone, and the sandbox with the helper.
    pub fn close(&self) -> Result<()> {
        let Some(instance) = self.take_last() else {
            return Ok(());
        };
        instance.own()?;
        let ended = instance.end(true);
        self.notify();
        ended
    }

    /// As [`Sandbox::close`], for callers with an event loop: returns at once,
    /// with a descriptor that is readable when nothing of the sandbox is left,
    /// or with `None` if the sandbox was closed before.
    ///
    /// # Errors
    /// As [`Sandbox::close`].
    pub fn begin_close(&self) -> Result<Option<OwnedFd>> {
        let Some(instance) = self.take_last() else {
            return Ok(None);
        };
        instance.own()?;
        let begun = instance.begin_end();
        self.notify();
        begun
    }

    /// Takes the instance to end, for the first caller; no other call uses the
    /// instance from then on.
    fn take_last(&self) -> Option<Arc<Instance>> {
        // Under the lock: a reset in another thread could otherwise put a new
        // state in place, which no call would end.
        let instance = self.write();
        match self.closed.swap(true, Ordering::AcqRel) {
            true => None,
            false => {
                log::debug!("sandbox {}: closed", instance.name());
                Some(Arc::clone(&instance))
            }
        }
    }

    /// Lists keys of the spec that are not in force, because
    /// [`Spec::best_effort`] names them and this machine cannot enforce them.
    /// [`Sandbox::effective`] lists the same keys, and the log warns of each.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the sandbox was closed.
    pub fn left_out(&self) -> Result<Vec<LeftOut>> {
        Ok(self.instance()?.left_out())
    }

    /// Returns the settings in force.
    ///
    /// # Errors
    /// When the kernel does not let a limit be read back.
    pub fn effective(&self) -> Result<Effective> {
        Effective::of(&*self.instance()?, &self.store, &self.spec, &self.rootfs)
    }

    /// Lists the running commands in the order of their start. Includes those
    /// of [`Sandbox::run`] in other threads, and commands whose [`Process`] was
    /// dropped.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the sandbox was closed.
    pub fn commands(&self) -> Result<Vec<RunningCommand>> {
        let running = self.instance()?.commands.all();
        Ok(running.iter().map(|r| r.describe()).collect())
    }

    /// Finds a running command by its number, [`Process::id`]. The new hold can
    /// wait, signal and kill. Pipes and terminal stay with the first hold.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no command of that number runs, [`Kind::Busy`]
    /// while the sandbox is frozen.
    pub fn process(&self, id: u64) -> Result<Process> {
        let (running, pidfd) = self.instance()?.find(id)?;
        Ok(Process::new(running, pidfd, None, Pipes::default()))
    }

    /// Stops all processes inside, which do not notice, and returns when all
    /// have stopped. Until [`Sandbox::thaw`], no command can be started, and no
    /// files can be used. Signals, kills and time limits take effect after the
    /// thaw. A reset and a close work, and so does the end of this process.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a cgroup of the sandbox's own in v2
    /// (kernel 5.2), [`Kind::Busy`] if a process did not stop within two
    /// seconds; then all go on.
    pub fn freeze(&self) -> Result<()> {
        self.instance()?.freeze()
    }

    /// Lets everything inside go on; does nothing if the sandbox is not frozen.
    ///
    /// # Errors
    /// Those of writing to the cgroup.
    pub fn thaw(&self) -> Result<()> {
        self.instance()?.thaw()
    }

    /// Returns the resources that all processes inside use now, and have used
    /// since the sandbox was opened or reset.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if the sandbox was closed.
    pub fn usage(&self) -> Result<SandboxUsage> {
        Ok(self.instance()?.cgroup().usage())
    }

    /// Watches for events from now on: the kernel kills a process inside for
    /// want of memory, or the sandbox is gone. A reset is the end of the old
    /// state.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without `limits.memory`, which counts the kills,
    /// [`Kind::Invalid`] if the sandbox was closed.
    pub fn events(&self) -> Result<Events> {
        Events::of(self.instance()?)
    }

    /// Changes limits while commands run: those of `memory`, `swap`, `cpus`,
    /// `cpu_weight`, `cpuset`, `pids` and `io` that are set in `limits`. Others
    /// stay. A reset restores the limits of the spec.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a wrong value and for other keys,
    /// [`Kind::Unsupported`] for a limit that was not in force before, the
    /// kernel's errno for a value that it refuses.
    pub fn set_limits(&self, limits: &Limits) -> Result<()> {
        self.instance()?
            .set_limits(self.store.resources(), &self.spec, limits)
    }

    /// Returns a descriptor that is readable when the sandbox is gone, for any
    /// reason: a pidfd of its init.
    ///
    /// # Errors
    /// As dup(2); [`Kind::Invalid`] in a forked copy of the process.
    pub fn pidfd(&self) -> Result<OwnedFd> {
        let pidfd = self.instance()?.pidfd.try_clone();
        pidfd.map_err(|e| Error::io(Step::UseSandbox, "dup", e))
    }
}

/// Returns a root directory without copy-on-write.
fn plain(root: &Path) -> Result<Rootfs> {
    let wrong = |e| Error::io(Step::OpenRoot, format_args!("{root:?}"), e);
    Ok(Rootfs::plain(root.canonicalize().map_err(wrong)?))
}

/// Starts a command in a root directory of the caller's own, in a sandbox that
/// ends when the returned [`Process`] is dropped. No image, no copy-on-write:
/// files that the command writes stay.
///
/// # Errors
/// As [`Sandbox::open_in`] and [`Sandbox::spawn`].
pub fn spawn_in(store: &Store, root: &Path, spec: &Spec, command: Command) -> Result<Process> {
    let sandbox = Sandbox::open_in(store, root, spec)?;
    let mut process = sandbox.spawn(command)?;
    process.owned = Some(Box::new(sandbox));
    Ok(process)
}

/// Warns of each key that is not in force.
fn log_left_out(instance: &Instance) {
    for LeftOut { key, why } in instance.left_out() {
        log::warn!("sandbox {}: left out {key}: {why}", instance.name());
    }
}

fn closed() -> Error {
    Error::new(Kind::Invalid, Step::UseSandbox, "it was closed").with_cure("open another")
}
