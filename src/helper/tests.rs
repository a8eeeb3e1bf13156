// SPDX-License-Identifier: MIT OR Apache-2.0
//! The helper against senders other than the host; the memory of a helper.
#![forbid(unsafe_code)]

use std::os::fd::AsFd as _;
use std::thread::scope;

use nix::errno::Errno;
use tare_oracle::need;

use super::{Spawner, receive, send_request};
use crate::ops::Ops;
use crate::sys::caller::testing::{drop_ids, in_a_fork};
use crate::sys::socket;
use crate::wire::{self, Job};

#[test]
fn spawner_refuses_a_sender_of_other_ids() {
    need!(root, userns);
    let spawner = Spawner::start(|_, _| ()).unwrap();
    spawner.job(&Ops::default(), 0, &[]).unwrap();
    scope(|scope| {
        scope.spawn(|| {
            drop_ids();
            assert!(!spawner.authority.is_callers());
            // A host that was taken over would not ask itself.
            let error = spawner.job(&Ops::default(), 0, &[]).unwrap_err();
            assert_eq!(error.errno(), Some(Errno::EPERM as i32), "{error}");
            assert!(error.to_string().contains("that started it"), "{error}");
        });
    });
    assert!(spawner.authority.is_callers());
    spawner.job(&Ops::default(), 0, &[]).unwrap();
}

#[test]
fn missing_features_are_remembered_for_their_authority() {
    need!(root);
    let before = Spawner::absent();
    before.missing.overlay.set(()).unwrap();
    let knows = || {
        let mut next = Spawner::absent();
        next.inherit(&before);
        next.missing.overlay.get().is_some()
    };
    assert!(knows());
    let of_another = || {
        drop_ids();
        knows()
    };
    assert!(!scope(|scope| scope.spawn(of_another).join().unwrap()));
}

#[test]
fn spawner_refuses_a_forked_copy_of_its_host() {
    let spawner = Spawner::start(|_, _| ()).unwrap();
    spawner.job(&Ops::default(), 0, &[]).unwrap();
    let (told, tells) = socket::pair().unwrap();
    let job = Job {
        id: 0,
        ops: &[],
        namespaces: 0,
    };
    in_a_fork(|| {
        let _ = send_request(
            spawner.socket.as_fd(),
            wire::JOB_REQUEST,
            &job,
            &[tells.as_fd()],
        );
    });
    drop(tells);
    let reply = receive(told.as_fd()).unwrap().0.unwrap();
    let refused = (wire::FAILED, wire::AT_AUTHORITY, Errno::EPERM as i32);
    assert_eq!((reply.kind, reply.place, reply.code), refused);
    spawner.job(&Ops::default(), 0, &[]).unwrap();
}
