// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images: from bytes on disk to directories that can be mounted.

pub mod digest;
pub mod layer;
