// SPDX-License-Identifier: MIT OR Apache-2.0
//! A sandbox: a tree, namespaces, a cgroup, restrictions and a tiny resident init, waiting for commands.
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
use std::sync::{Arc, PoisonError, RwLock};

use crate::command::Command;
use crate::error::{Error, Kind, Result};
use crate::files::Files;
use crate::image::Image;
use crate::instance::Live;
use crate::parts::cgroup::SandboxUsage;
use crate::process::{Output, Process, RunningCommand, capture, capture_begun};
use crate::spec::{Limits, Spec};
use crate::store::{Base, Store};

pub use effective::Effective;
pub use events::{Event, Events};
pub use opening::Opening;

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
    spec: Arc<Spec>,
    base: Arc<Base>,
    live: RwLock<Arc<Live>>,
    closed: AtomicBool,
    /// Who is told when it has ended, and whether that was.
    home: Option<Arc<dyn Home>>,
    told: AtomicBool,
}

/// Where a sandbox was taken from.
pub(crate) trait Home: std::fmt::Debug + Send + Sync {
    /// It was closed, or dropped.
    fn ended(&self);
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A process that is still held may outlive this handle, but not the sandbox. If the
        // spawner cannot be told, it is gone, and the sandbox with it.
        let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !*self.closed.get_mut() {
            log::debug!("sandbox {}: dropped", live.name);
        }
        let _ = live.end(false);
        if live.own().is_ok() {
            self.tell_home();
        }
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

    /// The same on an image that was looked up before, with [`image::Store::image_with`](crate::image::Store::image_with)
    /// for example, which tells how far it is; `spec.image` does not matter.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_on(store: &Store, image: &Image, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        Self::on(store, spec, Base::of(image.clone()))
    }

    /// Opens a sandbox whose root is a directory as it is, without copy-on-write: what commands write stays.
    /// `spec.image` and `spec.storage` do not matter.
    ///
    /// # Errors
    /// As [`Sandbox::open`].
    pub fn open_in(store: &Store, root: &Path, spec: &Spec) -> Result<Self> {
        spec.validate()?;
        Self::on(store, spec, plain(root)?)
    }

    /// As [`Sandbox::open`], for callers with an event loop: returns while the sandbox is
    /// being made. Waits for the start of the store's helper, where this is its first
    /// sandbox: about a millisecond.
    ///
    /// # Errors
    /// As [`Sandbox::open`], where that can be known at once; nothing is left behind then.
    pub fn begin(store: &Store, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        let reference = spec.image.parse()?;
        match store.base_at_hand(&reference)? {
            Some(base) => Opening::begin(store, spec, base),
            None => Opening::bring(store, spec, reference),
        }
    }

    /// As [`Sandbox::begin`], on an image as [`Sandbox::open_on`].
    ///
    /// # Errors
    /// As [`Sandbox::begin`].
    pub fn begin_on(store: &Store, image: &Image, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        Opening::begin(store, spec, Base::of(image.clone()))
    }

    /// As [`Sandbox::begin`], in a directory as [`Sandbox::open_in`].
    ///
    /// # Errors
    /// As [`Sandbox::begin`].
    pub fn begin_in(store: &Store, root: &Path, spec: &Spec) -> Result<Opening> {
        spec.validate()?;
        Opening::begin(store, spec, plain(root)?)
    }

    fn on(store: &Store, spec: &Spec, base: Base) -> Result<Self> {
        let live = Live::start(store, spec, &base)?;
        let (spec, base) = (Arc::new(spec.clone()), Arc::new(base));
        Ok(Self::of(store.clone(), spec, base, live, None))
    }

    /// The handle of one that was started.
    pub(crate) fn of(
        store: Store,
        spec: Arc<Spec>,
        base: Arc<Base>,
        live: Live,
        home: Option<Arc<dyn Home>>,
    ) -> Self {
        log::debug!("sandbox {}: opened", live.name);
        Self {
            store,
            spec,
            base,
            live: RwLock::new(Arc::new(live)),
            closed: AtomicBool::new(false),
            home,
            told: AtomicBool::new(false),
        }
    }

    /// Once: what is ended twice is told once.
    fn tell_home(&self) {
        if let (Some(home), false) = (&self.home, self.told.swap(true, Ordering::Relaxed)) {
            home.ended();
        }
    }

    pub(crate) fn live(&self) -> Result<Arc<Live>> {
        if self.closed.load(Ordering::Acquire) {
            return Err(closed());
        }
        let live = Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner));
        live.own()?;
        Ok(live)
    }

    /// The user that a command runs as unless it names another, `USER[:GROUP]`:
    /// the spec's, else the image's, else none, which is 0:0.
    pub fn default_user(&self) -> &str {
        let own = self.spec.user.as_deref();
        own.or(self.base.config.user.as_deref()).unwrap_or_default()
    }

    /// Starts a command and comes back while it runs.
    ///
    /// # Errors
    /// [`Kind::NotFound`] and [`Kind::NotExecutable`] or [`Kind::Permission`] say that the program is not
    /// there, or no program; the step says what else failed.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        spawn::launch(&self.live()?, &self.spec, &self.base, command)
    }

    /// Runs a command to its end and keeps what it writes. Its failure is a result, not an error.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn run(&self, command: Command) -> Result<Output> {
        let output = self.run_interruptible(command, &mut || false)?;
        Ok(output.expect("nobody interrupts it"))
    }

    /// The same for callers with signals to look at: `interrupted` is asked whenever a signal handler has run in this
    /// thread while it waits, signal(7). If it says so, the command is killed with everything that it started, and
    /// none comes back.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn run_interruptible(
        &self,
        command: Command,
        interrupted: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Output>> {
        let live = self.live()?;
        if command.tty.is_some() {
            return capture(&self.spawn(command)?, interrupted);
        }
        let (running, pipes) = spawn::begin(&live, &self.spec, &self.base, command)?;
        capture_begun(&running, pipes, interrupted)
    }

    /// The command that the image means to run, with `args` in place of its own default ones:
    /// ENTRYPOINT and CMD as Docker has them.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if neither the image nor the caller names a program.
    pub fn image_command<S: AsRef<OsStr>>(&self, args: &[S]) -> Result<Command> {
        let config = &self.base.config;
        let mut argv: Vec<&OsStr> = config.entrypoint.iter().map(OsStr::new).collect();
        if args.is_empty() {
            argv.extend(config.cmd.iter().map(OsStr::new));
        } else {
            argv.extend(args.iter().map(AsRef::as_ref));
        }
        if argv.is_empty() {
            return Err(
                Error::new(Kind::Invalid, "find command", "the image names none")
                    .with_cure("name a program, such as sh"),
            );
        }
        Ok(Command::from_argv(argv))
    }

    /// Its files, without a command inside.
    pub fn files(&self) -> Files<'_> {
        Files::new(self)
    }

    /// Ends everything inside and starts again from the image; handles to old commands see them killed.
    /// The new state is made first: for a moment there are both.
    ///
    /// # Errors
    /// As [`Sandbox::open`]; everything is as it was then.
    pub fn reset(&self) -> Result<()> {
        self.live()?;
        let fresh = Live::start(&self.store, &self.spec, &self.base)?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if self.closed.load(Ordering::Acquire) {
            // Closed meanwhile, by another thread; the new state ends here.
            return Err(closed());
        }
        log::debug!("sandbox {}: reset, now {}", live.name, fresh.name);
        fresh.number_after(&live);
        let old = std::mem::replace(&mut *live, Arc::new(fresh));
        drop(live);
        // If it cannot be told to end, its spawner was killed, and it has ended.
        let _ = old.end(true);
        Ok(())
    }

    /// Ends everything inside and comes back when nothing of the sandbox is left. Whatever
    /// else is asked of it then, or waits in another thread, is an error; closing again is not.
    ///
    /// # Errors
    /// [`Kind::Broken`] if the spawner is gone; the sandbox is gone with it.
    pub fn close(&self) -> Result<()> {
        let Some(live) = self.last() else {
            return Ok(());
        };
        live.own()?;
        let ended = live.end(true);
        self.tell_home();
        ended
    }

    /// As [`Sandbox::close`], for callers with an event loop: comes back at once with a descriptor that
    /// is readable when nothing of the sandbox is left, or with none if it was closed before.
    ///
    /// # Errors
    /// As [`Sandbox::close`].
    pub fn begin_close(&self) -> Result<Option<OwnedFd>> {
        let Some(live) = self.last() else {
            return Ok(None);
        };
        live.own()?;
        let begun = live.begin_end();
        self.tell_home();
        begun
    }

    /// What is to end, for the first who asks; nobody uses it from then on.
    fn last(&self) -> Option<Arc<Live>> {
        // Under the lock, or a reset in another thread could put a new state in place.
        let live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        match self.closed.swap(true, Ordering::AcqRel) {
            true => None,
            false => {
                log::debug!("sandbox {}: closed", live.name);
                Some(Arc::clone(&live))
            }
        }
    }

    /// What is really in force.
    ///
    /// # Errors
    /// When the kernel does not let a limit be read back.
    pub fn effective(&self) -> Result<Effective> {
        Effective::of(&*self.live()?, &self.store, &self.spec, &self.base)
    }

    /// The commands that run, in the order of their start, those of [`Sandbox::run`] in other threads included.
    /// A command whose [`Process`] was dropped is among them.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it was closed.
    pub fn commands(&self) -> Result<Vec<RunningCommand>> {
        let running = self.live()?.commands.all();
        Ok(running.iter().map(|r| r.describe()).collect())
    }

    /// A running command by its number, [`Process::id`]: another hold on it, which waits for it, signals and kills it.
    /// Its pipes and its terminal stay with the first one.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if no command of that number runs, [`Kind::Busy`] while the sandbox is frozen.
    pub fn process(&self, id: u64) -> Result<Process> {
        let (running, pidfd) = self.live()?.find(id)?;
        Ok(Process::again(running, pidfd))
    }

    /// Stops everything inside, at once and unseen by it; returns when all of it has
    /// stopped. Then a command cannot be started, and files cannot be used, until
    /// [`Sandbox::thaw`]. A signal, a kill and a time limit take effect after that. A reset
    /// and a close work, and so does the end of this process.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without a cgroup of its own in v2 (kernel 5.2), [`Kind::Busy`]
    /// if something did not stop within two seconds; then all of it goes on.
    pub fn freeze(&self) -> Result<()> {
        self.live()?.freeze()
    }

    /// Lets everything inside go on; nothing happens if it was not stopped.
    ///
    /// # Errors
    /// Those of writing to the cgroup.
    pub fn thaw(&self) -> Result<()> {
        self.live()?.thaw()
    }

    /// What all inside use now, and have used since the sandbox was opened or reset.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it was closed.
    pub fn usage(&self) -> Result<SandboxUsage> {
        Ok(self.live()?.cgroup.usage())
    }

    /// Has a descriptor tell what happens from now on: the kernel kills something inside for
    /// want of memory, the sandbox is gone. A reset is the end of what was there before.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] without `limits.memory`, which counts the kills, [`Kind::Invalid`]
    /// if it was closed.
    pub fn events(&self) -> Result<Events> {
        Events::of(self.live()?)
    }

    /// Changes limits while commands run: those of `memory`, `swap`, `cpus`, `cpu_weight`,
    /// `cpuset`, `pids` and `io` that are set in `limits`. Others stay. A reset brings
    /// those of the spec back.
    ///
    /// # Errors
    /// [`Kind::Invalid`] for a wrong value and for other keys, [`Kind::Unsupported`] for a limit
    /// that was not in force before, the kernel's errno for a value that it refuses.
    pub fn set_limits(&self, limits: &Limits) -> Result<()> {
        self.live()?.set_limits(&self.store, &self.spec, limits)
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

/// A root directory that is used as it is.
fn plain(root: &Path) -> Result<Base> {
    let wrong = |e| Error::io("open root", format_args!("{root:?}"), e);
    Ok(Base::plain(root.canonicalize().map_err(wrong)?))
}

/// Starts a command in a root directory of the caller's own, in a sandbox that ends when the
/// returned [`Process`] is dropped. No image, no copy-on-write: what the command writes stays.
///
/// # Errors
/// As [`Sandbox::open_in`] and [`Sandbox::spawn`].
pub fn spawn_in(store: &Store, root: &Path, spec: &Spec, command: Command) -> Result<Process> {
    let sandbox = Sandbox::open_in(store, root, spec)?;
    let mut process = sandbox.spawn(command)?;
    process.sandbox = Some(Box::new(sandbox));
    Ok(process)
}

fn closed() -> Error {
    Error::new(Kind::Invalid, "use sandbox", "it was closed").with_cure("open another")
}
