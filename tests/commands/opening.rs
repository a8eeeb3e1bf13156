// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sandboxes that are opened while their caller does something else.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use nix::mount::{MntFlags, umount2};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::json;
use tare::{Error, Kind, Opening, Sandbox, Spec};
use tare_oracle::need;

use crate::harness::settle::{SOON, is_readable};
use crate::harness::{Ground, holds_in_a_fork, line, tar_of_tree};
use crate::layout::{Codec, Layout, oci_archive};
use crate::view::{mount_dead, mount_overlays};
use crate::view_root::{alone, told};

/// Waits for the sandbox as an event loop does. Also how many attempts failed.
fn opened(mut opening: Opening) -> (Result<Sandbox, Error>, usize) {
    let mut failed = 0;
    loop {
        assert!(is_readable(&opening, SOON), "{opening:?}");
        if opening.ready() {
            return (opening.finish(), failed);
        }
        failed += 1;
    }
}

#[test]
fn opening_is_ready_when_its_descriptor_is() {
    let ground = Ground::new();
    let spec = ground.spec();
    // The store then knows the refusals of this machine, and tries nothing
    // twice.
    Sandbox::open(&ground.store, &spec).unwrap();
    let begun: Vec<_> = (0..8)
        .map(|_| Sandbox::begin(&ground.store, &spec).unwrap())
        .collect();
    for opening in begun {
        let (sandbox, failed) = opened(opening);
        assert_eq!(line(&sandbox.unwrap(), "echo $((6 * 7))"), "42");
        assert_eq!(failed, 0);
    }
    let in_place = Sandbox::begin_in(&ground.store, &ground.root(), &spec).unwrap();
    assert_eq!(line(&opened(in_place).0.unwrap(), "echo in"), "in");
    let image = ground.store.images().image(&spec.image.parse().unwrap());
    let on = Sandbox::begin_on(&ground.store, &image.unwrap(), &spec).unwrap();
    // Too early is no error.
    assert_eq!(line(&on.finish().unwrap(), "echo on"), "on");
}

#[test]
fn opening_tells_what_is_wrong_when_that_is_known() {
    let ground = Ground::new();
    let begin = |image: &str| {
        let image = image.into();
        let spec = Spec {
            image,
            ..ground.spec()
        };
        Sandbox::begin(&ground.store, &spec).unwrap_err().kind()
    };
    assert_eq!(begin("nowhere"), Kind::NotFound);
    assert_eq!(begin("No Name"), Kind::Invalid);
    assert_eq!(begin("dir:/nowhere"), Kind::NotFound);
    // A file in the way is seen inside.
    let json = r#"{"mounts": [{"type": "tmpfs", "target": "/bin/sh/x"}]}"#;
    let spec = ground.spec_with(json);
    let (sandbox, _) = opened(Sandbox::begin(&ground.store, &spec).unwrap());
    let told = sandbox.unwrap_err().to_string();
    let open = Sandbox::open(&ground.store, &spec).unwrap_err().to_string();
    assert_eq!(told, open);
}

/// An archive of the busybox tree, and the fifo of its reader.
fn archive(ground: &Ground) -> (Vec<u8>, Spec) {
    let mut layout = Layout::new(ground.path("layout"));
    let image = layout.image(&[tar_of_tree(&ground.root())], Codec::Plain, json!({}));
    layout.add(image, Some("one")).complete();
    let file = ground.path("archive.tar");
    oci_archive(&layout, &file);
    let fifo = ground.path("fifo");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    let spec = Spec {
        image: format!("archive:{}", fifo.display()),
        ..Spec::default()
    };
    (fs::read(file).unwrap(), spec)
}

#[test]
fn opening_brings_an_image_that_is_not_there_yet() {
    let ground = Ground::new();
    let (bytes, spec) = archive(&ground);
    let mut opening = Sandbox::begin(&ground.store, &spec).unwrap();
    // The archive has no writer yet, so this thread did not wait for one.
    assert!(!is_readable(&opening, Duration::ZERO));
    assert!(!opening.ready());
    let mut fifo = File::options()
        .write(true)
        .open(ground.path("fifo"))
        .unwrap();
    fifo.write_all(&bytes).unwrap();
    drop(fifo);
    let (sandbox, _) = opened(opening);
    assert_eq!(line(&sandbox.unwrap(), "echo brought"), "brought");
}

#[test]
fn opening_belongs_to_the_process_that_began_it() {
    let ground = Ground::new();
    let (_, spec) = archive(&ground);
    let begun = [&spec, &ground.spec()].map(|s| Sandbox::begin(&ground.store, s).unwrap());
    let begun = holds_in_a_fork(begun, |begun| {
        let refused = begun.map(|mut opening| {
            // The sandbox's descriptor may not be readable yet.
            let _ = opening.ready();
            opening.finish().is_err_and(|e| e.kind() == Kind::Invalid)
        });
        let own = Sandbox::begin(&ground.store, &ground.spec());
        refused == [true, true] && own.and_then(Opening::finish).is_ok()
    });
    let [archive, plain] = begun;
    assert_eq!(line(&opened(plain).0.unwrap(), "echo mine"), "mine");
    drop(archive);
}

#[test]
fn opening_goes_on_where_an_overlay_is_refused() {
    alone(|| {
        let ground = Ground::new();
        let lower = mount_overlays(&ground.dir("layers"), ground.root());
        let spec = Spec {
            image: format!("dir:{}", lower.display()),
            ..Spec::default()
        };
        let (sandbox, failed) = opened(Sandbox::begin(&ground.store, &spec).unwrap());
        let sandbox = sandbox.unwrap();
        assert_eq!(
            (failed, sandbox.effective().unwrap().storage),
            (1, "copy".into())
        );
        assert_eq!(line(&sandbox, "echo copied"), "copied");
    });
}

#[test]
fn opening_tries_mounts_that_may_not_answer_on_a_thread() {
    need!(fuse);
    alone(|| {
        let ground = Ground::new();
        let dir = ground.dir("dead");
        let _device = mount_dead(&dir);
        let opening = Sandbox::begin(&ground.store, &Spec::default()).unwrap();
        let (sandbox, failed) = opened(opening);
        let sandbox = sandbox.unwrap();
        assert_eq!((failed, told(&sandbox, &dir)), (0, "left out".into()));
        sandbox.close().unwrap();
        umount2(&dir, MntFlags::MNT_DETACH).unwrap();
    });
}
