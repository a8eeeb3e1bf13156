// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes that are being opened, and end before they are.

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use tare::{Sandbox, Spec};

use crate::harness::Ground;
use crate::{assert_rested, opened_before};

/// An image whose archive never comes.
fn endless(ground: &Ground) -> Spec {
    let fifo = ground.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    Spec {
        image: format!("archive:{}", fifo.display()),
        ..Spec::default()
    }
}

#[test]
fn opening_dropped_leaves_nothing() {
    let (_alone, ground, before) = opened_before();
    let endless = endless(&ground);
    for json in ["{}", r#"{"write": "disk"}"#] {
        drop(Sandbox::begin(&ground.store, &ground.spec_with(json)).unwrap());
        assert_rested(&before, &ground);
    }
    // The thread ends, too.
    drop(Sandbox::begin(&ground.store, &endless).unwrap());
    assert_rested(&before, &ground);
}

#[test]
fn opening_adds_a_thread_for_an_image_only() {
    let (_alone, ground, before) = opened_before();
    let endless = endless(&ground);
    let added = || {
        let lines = before.diff(&before.again());
        let threads = lines.iter().filter(|line| line.starts_with("+ thread"));
        threads.count()
    };
    let opening = Sandbox::begin(&ground.store, &ground.spec()).unwrap();
    assert_eq!(added(), 0);
    opening.finish().unwrap().close().unwrap();
    let opening = Sandbox::begin(&ground.store, &endless).unwrap();
    assert_eq!(added(), 1);
    drop(opening);
    // The next test would see the descriptors of a thread that has not ended.
    assert_rested(&before, &ground);
}
