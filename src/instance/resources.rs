// SPDX-License-Identifier: MIT OR Apache-2.0
//! Holds what the sandboxes of one store share.
#![forbid(unsafe_code)]

use std::sync::Arc;

use super::prestart::PrestartSlot;
use crate::helper::Runtime;
use crate::image;

/// The images, the helper and the prestarted init of a store.
///
/// A store clones it, so that an instance needs no store.
#[derive(Debug, Clone)]
pub(crate) struct Resources {
    pub(crate) images: image::Images,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) prestart: Arc<PrestartSlot>,
}
