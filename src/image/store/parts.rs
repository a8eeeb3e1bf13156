// SPDX-License-Identifier: MIT OR Apache-2.0
//! The files of a store, and what mends them.
#![forbid(unsafe_code)]

/// Tells the version of the format; written last when a store is made.
pub(super) const MARKER: &str = "store.json";
/// Which names lead to which manifests.
pub(super) const INDEX: &str = "index.json";
/// Where an index that cannot be read is kept.
pub(super) const DAMAGED: &str = "index.json.damaged";

/// What mends a store that has lost a part.
pub(super) const REPAIR: &str = "tare store check --repair";
/// What brings back wrong bytes.
pub(super) const AGAIN: &str = "tare store check --repair, then import the image again";
