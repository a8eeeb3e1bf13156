// SPDX-License-Identifier: MIT OR Apache-2.0
//! Lines of the shell with `tare`, and the lines that their cures give.

use tare_oracle::need;

use super::common::{Tare, everybody};
use super::{follow, rows};

#[test]
fn line_with_what_its_error_offers_runs() {
    need!(root, overlay, userns);
    for tare in everybody() {
        rows(include_str!("lines.txt")).for_each(|row| follow(&tare, row));
    }
}

#[test]
fn line_of_root_with_what_its_error_offers_runs() {
    need!(root, overlay);
    let tare = Tare::new();
    rows(include_str!("root.txt")).for_each(|row| follow(&tare, row));
}
