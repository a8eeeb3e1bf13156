// SPDX-License-Identifier: MIT OR Apache-2.0
//! Builds the helper program (`src/init`) that the library embeds.
fn main() {}
