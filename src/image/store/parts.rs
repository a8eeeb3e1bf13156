// SPDX-License-Identifier: MIT OR Apache-2.0
//! Files of a store, and their cures.
#![forbid(unsafe_code)]

/// Version of the format; the last file of a new store.
pub(super) const MARKER: &str = "store.json";
/// Names of manifests.
pub(super) const INDEX: &str = "index.json";
/// Backup of an unreadable index.
pub(super) const DAMAGED: &str = "index.json.damaged";

/// Cure for a store that has lost a part.
pub(super) const REPAIR: &str = "tare store check --repair";
/// Cure for wrong bytes.
pub(super) const AGAIN: &str = "tare store check --repair, then import the image again";
