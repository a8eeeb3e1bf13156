// SPDX-License-Identifier: MIT OR Apache-2.0
//! Serves the JSON protocol of `tare rpc`: sandboxes and commands for a client
//! in any language, a JSON value a line.
//!
//! [`serve`] reads requests from a descriptor and writes replies to another:
//! pipes, files or a socket. `docs/protocol.md` describes the conversation,
//! [`schema::rpc`] every line.
//!
//! ```no_run
//! use std::os::fd::AsFd as _;
//! use std::os::unix::net::UnixListener;
//!
//! let store = tare::Store::open_default()?;
//! let (client, _) = UnixListener::bind("tare.sock")?.accept()?;
//! tare_rpc::serve(&store, client.as_fd(), client.as_fd())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The client may do all that the serving process may do: this crate neither
//! authenticates nor confines a client.
#![forbid(unsafe_code)]

mod bytes;
mod call;
mod client;
mod command;
mod events;
mod failure;
mod files;
mod id;
mod input;
mod params;
mod pool;
mod pool_slot;
mod reply;
mod request;
pub mod schema;
mod session;
mod ticket;
pub mod typed;
mod value;
mod watch;
mod worker;

use std::os::fd::BorrowedFd;

use tare::{Result, Store};

pub use failure::Failure;

/// Version of the protocol; raised if a client of an older version would be
/// misled.
pub const PROTOCOL: u32 = 1;

/// Serves a client until the end of `input`. Then closes every sandbox and
/// pool, writes every reply that is left, and returns.
///
/// Threads of this call open, close and change sandboxes; all have ended when
/// the call returns without an error. Ignore SIGPIPE, as Rust programs do, so
/// that a client that hangs up is an error.
///
/// # Errors
/// Those of poll(2), read(2) and write(2); EPIPE if the client reads no more.
pub fn serve(store: &Store, input: BorrowedFd<'_>, output: BorrowedFd<'_>) -> Result<()> {
    session::Session::new(store, input, output)?.speak()
}
