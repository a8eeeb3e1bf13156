// SPDX-License-Identifier: MIT OR Apache-2.0
//! Containers as a library: an image in, an isolated throwaway command out.
//!
//! The package is `libtare`: `libtare = { path = "../libtare" }` among the
//! dependencies, then `use tare::...`.
//!
//! No daemon, no service: the library starts one tiny helper process, which
//! makes sandboxes for this process and ends with it.
//!
//! ```no_run
//! use tare::{Command, Sandbox, Spec, Store};
//!
//! let store = Store::open_default()?;
//! let sandbox = Sandbox::open(&store, &Spec::default())?;
//! let output = sandbox.run(Command::new("uname").arg("-n"))?;
//! assert!(output.status.success());
//! sandbox.close()?;
//! # Ok::<(), tare::Error>(())
//! ```
//!
//! The nouns: a [`Store`] of images, a [`Spec`] with all options, a
//! [`Sandbox`], a [`Command`] for it, a running [`Process`], an [`Output`]; a
//! [`Pool`] of sandboxes made ahead. [`image`] unpacks layers, [`spec`] holds
//! every option.
//!
//! Loggers of the [`log`] crate are told, at the level of debugging, what is
//! opened, run and closed, and as warnings the notes of images; never arguments
//! or values of an environment.
//!
//! What it does not do: build images, talk to registries, publish ports;
//! protect against the kernel's own bugs (see `docs/threat-model.md`).
//!
//! | needs | for |
//! |---|---|
//! | Linux 5.10, x86-64, glibc (not musl) | anything |
//! | 5.11 | overlays for ordinary users |
//! | 5.12 | read-only binds with what is mounted below them |
//!
//! The rest is in `docs/kernel-features.md`.

#[macro_use]
mod weak;

mod backend;
mod command;
mod doctor;
pub mod error;
pub mod files;
mod helper;
pub mod image;
mod instance;
pub mod mount;
mod ops;
mod parts;
mod plan;
mod pool;
mod process;
mod sandbox;
pub mod spec;
mod status;
mod store;
mod sys;
#[cfg(any(test, feature = "bench"))]
#[doc(hidden)]
pub mod testing;
mod work;

use tare_wire as wire;

pub use command::{Command, Size, Stdin, Stdout, duplicate};
pub use doctor::{Check, Matter, Report, doctor};
pub use error::{Error, Kind, Result};
pub use files::Files;
pub use instance::RunningCommand;
pub use parts::cgroup::SandboxUsage;
pub use parts::shown::ShownMount;
pub use pool::{Pool, PoolSize};
pub use process::{Capture, Control, Output, Process, Sink, Waited};
pub use sandbox::{Effective, Event, Events, Opening, Sandbox, spawn_in};
pub use spec::Spec;
pub use status::{Reason, Status, Usage};
pub use store::{Recovered, Store};
#[doc(hidden)]
pub use sys::file_size::WithoutSignal;

/// The library's version, semver.org.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Parts of this build: back ends, image sources, compressions; `weak` if tests
/// may switch defences off.
pub const FEATURES: &[&str] = &[
    "overlay",
    "copy",
    "oci",
    "docker-archive",
    "gzip",
    "zstd",
    #[cfg(tare_weak)]
    "weak",
];
