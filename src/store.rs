// SPDX-License-Identifier: MIT OR Apache-2.0
//! The store as users hold it: images on disk, and what this process needs once to run them.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::parts::cgroup::{Cgroup, DeviceGate, DeviceRules, Layout, Owner};
use crate::parts::seccomp::SeccompCache;
use crate::spawner::Spawner;
use crate::spec::{Security, Spec};
use crate::tree::Lower;

/// Images on disk, and the one helper process that makes sandboxes from them.
///
/// Cheap to clone; every clone may be used from any thread. The helper is started by the
/// first sandbox and ends with the last clone and the last sandbox, or with this process.
#[derive(Debug, Clone)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    spawner: Mutex<Option<Arc<Spawner>>>,
    seccomp: SeccompCache,
    layout: OnceLock<Layout>,
    gates: Mutex<Vec<(Security, Arc<DeviceGate>)>>,
}

/// What a sandbox starts from.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) lower: Lower,
    pub(crate) config: Config,
}

#[derive(Debug, Default)]
pub(crate) struct Config {
    pub(crate) env: Vec<(String, String)>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) workdir: Option<PathBuf>,
    pub(crate) user: Option<String>,
}

impl Base {
    /// A directory that is used as it is.
    pub(crate) fn plain(root: PathBuf) -> Self {
        Self {
            lower: Lower::Plain(root),
            config: Config::default(),
        }
    }
}

impl Store {
    /// Opens.
    ///
    /// # Errors
    /// Those of mkdir.
    pub fn open(dir: &Path) -> Result<Self> {
        std::fs::create_dir_all(dir.join("scratch"))
            .map_err(|e| Error::io("open store", format_args!("{dir:?}"), e))?;
        Ok(Self(Arc::new(Inner {
            dir: dir.to_path_buf(),
            spawner: Mutex::new(None),
            seccomp: SeccompCache::default(),
            layout: OnceLock::new(),
            gates: Mutex::new(Vec::new()),
        })))
    }

    /// Opens the store that is meant when none is named: `$TARE_STORE`, else `/var/lib/tare`
    /// for root and `$XDG_DATA_HOME/tare` or `~/.local/share/tare` for others.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Kind::NotFound`] if no directory is known.
    pub fn open_default() -> Result<Self> {
        Self::open(&default_dir()?)
    }

    pub(crate) fn base(&self, image: &str) -> Result<Base> {
        let lower = match image.strip_prefix("dir:") {
            Some(dir) => Lower::Layers(vec![
                Path::new(dir)
                    .canonicalize()
                    .map_err(|e| Error::io("open image", dir, e))?,
            ]),
            None => Lower::Host,
        };
        Ok(Base {
            lower,
            config: Config::default(),
        })
    }

    /// The helper process, started if there is none of this process's own.
    pub(crate) fn spawner(&self) -> Result<Arc<Spawner>> {
        let mut slot = self
            .0
            .spawner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match slot.as_ref().filter(|s| s.is_own()) {
            Some(spawner) => Ok(Arc::clone(spawner)),
            None => {
                let spawner = Arc::new(Spawner::start()?);
                *slot = Some(Arc::clone(&spawner));
                Ok(spawner)
            }
        }
    }

    /// Names what a sandbox uses outside, so that whoever finds it knows whether its owner lives.
    pub(crate) fn sandbox_name(&self, id: u64) -> Result<String> {
        Ok(format!("{}-{id}", Owner::current()?))
    }

    pub(crate) fn seccomp_cache(&self) -> &SeccompCache {
        &self.0.seccomp
    }

    pub(crate) fn scratch_path(&self, name: &str) -> PathBuf {
        self.0.dir.join("scratch").join(name)
    }

    pub(crate) fn remove_scratch(&self, name: &str) {
        // Mostly there is none; the rest is swept when the store is next opened.
        let _ = std::fs::remove_dir_all(self.scratch_path(name));
    }

    /// Where this machine's cgroups are; read once.
    pub(crate) fn cgroup_layout(&self) -> Result<&Layout> {
        if let Some(layout) = self.0.layout.get() {
            return Ok(layout);
        }
        let layout = Layout::detect()?;
        Ok(self.0.layout.get_or_init(|| layout))
    }

    /// The cgroups of a new sandbox.
    pub(crate) fn cgroup(&self, name: &str, spec: &Spec, ordinary: bool) -> Result<Cgroup> {
        let layout = self.cgroup_layout()?;
        let gate = if ordinary {
            None
        } else {
            self.gate(layout, &spec.security)?
        };
        Cgroup::create(layout, name, &spec.limits, &spec.require, gate.as_deref())
    }

    /// The device rules as the kernel takes them; loaded once for each set.
    fn gate(&self, layout: &Layout, security: &Security) -> Result<Option<Arc<DeviceGate>>> {
        let mut gates = self.0.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, gate)) = gates
            .iter()
            .find(|(s, _)| s.profile == security.profile && s.devices == security.devices)
        {
            return Ok(Some(Arc::clone(gate)));
        }
        let Some(rules) = DeviceRules::of(security)? else {
            return Ok(None);
        };
        let gate = Arc::new(DeviceGate::load(layout, rules));
        gates.truncate(7);
        gates.insert(0, (security.clone(), Arc::clone(&gate)));
        Ok(Some(gate))
    }
}

/// Where the store is when nobody says.
pub(crate) fn default_dir() -> Result<PathBuf> {
    let dir = |name| std::env::var_os(name).filter(|v| !v.is_empty());
    if let Some(path) = dir("TARE_STORE") {
        return Ok(path.into());
    }
    if nix::unistd::geteuid().is_root() {
        return Ok("/var/lib/tare".into());
    }
    // XDG base directory spec: a relative path there is to be ignored.
    let data = dir("XDG_DATA_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    data.or_else(|| Some(Path::new(&dir("HOME")?).join(".local/share")))
        .map(|data| data.join("tare"))
        .ok_or_else(|| {
            let why = "neither TARE_STORE nor HOME is set";
            Error::new(Kind::NotFound, "find store", why).with_cure("TARE_STORE=DIR")
        })
}
