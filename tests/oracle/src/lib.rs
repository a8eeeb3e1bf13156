// SPDX-License-Identifier: MIT OR Apache-2.0
//! The machine before and after a test, and the other users that a test needs.
//!
//! ```
//! use std::time::Duration;
//! use tare_oracle::{Host, Victim, need};
//!
//! fn sandbox_closed_leaves_nothing() {
//!     need!(root, overlay, image("debian"));
//!     let _alone = Host::exclusive();
//!     let dir = tempfile::tempdir().unwrap();
//!     let victim = Victim::new(dir.path());
//!     // ... open and close one sandbox first, so that what lives as long as
//!     // the process (the spawner) is there on both sides ...
//!     let before = Host::snapshot();
//!     // ... the test ...
//!     before.assert_unchanged(Duration::from_secs(2));
//!     victim.assert_intact();
//! }
//! # sandbox_closed_leaves_nothing();
//! ```
//!
//! - [`Host`]: processes, mounts, cgroups, descriptors, ... before and after.
//! - [`Victim`]: a tree that an attack would reach, and a marker it would read.
//! - [`tree`]: a directory tree as an mtree-like listing, and differences.
//! - [`need!`](crate::need!): a test's needs; a missing need skips or fails.
//! - [`users`]: ordinary users with and without subordinate ids.
//! - [`images`]: where `tests/images.sh` put the real images.
//! - [`filter`], [`notify`]: a command whose system calls are refused, or asked
//!   about in turn.
//! - [`again`]: a test of this program in a process of its own.
//! - [`built`]: another program of this workspace, such as `enosys`.
//!
//! The oracle does not know the library: it reads the kernel's files.

pub mod again;
pub mod filter;
pub mod host;
pub mod images;
pub mod needs;
pub mod notify;
pub mod tree;
pub mod users;
pub mod victim;

mod foreground;
mod program;

pub use foreground::foreground;
pub use host::Host;
pub use images::image;
pub use program::built;
pub use users::{CALLERS, User, caller, ordinary_user};
pub use victim::Victim;
