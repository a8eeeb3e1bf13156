// SPDX-License-Identifier: MIT OR Apache-2.0
//! A file system that answers the first process that asks, and no other: it
//! dies between its trial and a start.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use tare::{Command, Sandbox, Spec};
use tare_oracle::need;

use crate::harness::{Ground, text};
use crate::view::mount_dead;
use crate::view_root::{alone, told};

const GETATTR: u32 = 3;
const STATFS: u32 = 17;
const INIT: u32 = 26;
const ENOSYS: i32 = -38;

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// The body of an answer, linux/fuse.h.
fn body(opcode: u32) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    let mut push = |n: u32| body.extend_from_slice(&n.to_ne_bytes());
    match opcode {
        // Version 7.31, then nothing.
        INIT => [7, 31].into_iter().chain([0; 14]).for_each(&mut push),
        // No time of validity; inode 1, sizes, times, then mode, links, owner.
        GETATTR => {
            let attr = [0, 0, 0, 0, 1].into_iter().chain([0; 14]);
            let rest = [0o40755, 2, 0, 0, 0, 4096, 0];
            attr.chain(rest).for_each(&mut push);
        }
        STATFS => [0; 20].into_iter().for_each(&mut push),
        _ => return None,
    }
    Some(body)
}

/// Mounts the file system, which is served until the process ends.
fn mount_dying(on: &Path) {
    let mut device = mount_dead(on);
    thread::spawn(move || {
        let mut first = None;
        let mut request = vec![0; 1 << 17];
        while let Ok(len) = device.read(&mut request) {
            let (opcode, pid) = (number(&request, 4), number(&request, 32));
            if opcode != INIT && *first.get_or_insert(pid) != pid {
                // The device stays open.
                loop {
                    thread::park();
                }
            }
            assert!(len >= 40);
            let (error, body) = match body(opcode) {
                Some(body) => (0, body),
                None => (ENOSYS, Vec::new()),
            };
            let mut answer = u32::try_from(16 + body.len())
                .unwrap()
                .to_ne_bytes()
                .to_vec();
            answer.extend_from_slice(&error.to_ne_bytes());
            answer.extend_from_slice(&request[8..16]);
            answer.extend_from_slice(&body);
            // Some requests want no answer.
            let _ = device.write(&answer);
        }
    });
}

#[test]
fn view_opens_beside_a_file_system_that_dies() {
    need!(fuse);
    alone(|| {
        let ground = Ground::new();
        let dir = ground.dir("dying");
        mount_dying(&dir);
        let begun = Instant::now();
        let sandbox = Sandbox::open(&ground.store, &Spec::from_json("{}").unwrap()).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(30));
        let listed = text(&sandbox, Command::from_argv(["ls", "-A"]).arg(&dir));
        assert_eq!(listed, "");
        assert_eq!(told(&sandbox, &dir), "left out");
        sandbox.close().unwrap();
        // The directory is removed now.
        umount2(&dir, MntFlags::MNT_DETACH).unwrap();
    });
}
