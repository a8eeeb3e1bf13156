// SPDX-License-Identifier: MIT OR Apache-2.0
//! The host's side of the helper process: start, requests, and the words of
//! failures.
#![forbid(unsafe_code)]

mod failure;
mod limits;
mod request;
mod runtime;
mod spawner;
mod start;
#[cfg(test)]
mod tests;
mod trial;

pub(crate) use request::{checked, read_now, receive, receive_now, send_for_reply, send_request};
pub(crate) use runtime::{ByHelper, Runtime};
pub(crate) use spawner::{Spawner, Watched};
pub(crate) use start::Start;
