// SPDX-License-Identifier: MIT OR Apache-2.0
//! A progress bar for each layer on standard error, on a terminal.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use tare::image::{Digest, Progress};

/// Progress bars, removed from the terminal on drop.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    layers: BTreeMap<Digest, ProgressBar>,
}

impl Bars {
    /// Starts without bars. Present layers get no bar, and without a terminal
    /// all bars are hidden.
    pub(crate) fn new() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    /// Returns hidden bars.
    pub(crate) fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self {
            all: MultiProgress::with_draw_target(target),
            layers: BTreeMap::new(),
        }
    }
}

impl Progress for Bars {
    fn layer(&mut self, index: usize, total: usize, digest: &Digest, done: u64, bytes: u64) {
        let bar = self.layers.entry(*digest).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(bytes));
            let style = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            let short: String = digest.hex().chars().take(12).collect();
            bar.set_message(format!("layer {}/{total} {short}", index + 1));
            bar
        });
        bar.set_length(bytes);
        bar.set_position(done);
        if done >= bytes {
            bar.finish();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // A terminal that is gone shows no bars.
        let _ = self.all.clear();
    }
}
