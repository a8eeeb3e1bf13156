// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ends of every kind: of the helper, of a sandbox's process 1, of a host that
//! was forked.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use tare::{Kind, Reason, Sandbox};
use tare_oracle::Host;

use crate::child::{self, hear};
use crate::harness::settle::kill_init;
use crate::harness::{Ground, line, run, sh};
use crate::opened_before;
use crate::{SOON, assert_rested, assert_swept, at_rest, await_end, helper_of, is_empty};

/// Commands of a dead sandbox are refused. The dying process 1 may still take a
/// request; a run ends killed with its sandbox.
#[track_caller]
fn assert_broken(sandbox: &Sandbox) {
    let began = Instant::now();
    loop {
        match sandbox.run(sh("true")) {
            Err(error) => return assert_eq!(error.kind(), Kind::Broken, "{error}"),
            Ok(output) => assert_eq!(output.status.reason, Reason::Killed),
        }
        assert!(began.elapsed() < SOON, "process 1 lives on");
    }
}

#[test]
fn helper_killed_takes_its_sandboxes_along_and_is_replaced() {
    let _alone = Host::exclusive();
    let ground = Ground::new();
    // Both sides have a helper; the number is not compared.
    let before = at_rest(&ground);
    for json in [r#"{"write": "disk"}"#, "{}"] {
        let sandbox = ground.open_with(json);
        let process = sandbox.spawn(sh("sleep 60").timeout(SOON * 10)).unwrap();
        let helper = helper_of(&sandbox);
        kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
        let status = process.wait().unwrap();
        assert_eq!((status.reason, status.signal), (Reason::Killed, Some(9)));
        await_end(helper);
        assert_broken(&sandbox);
        let next = ground.open_with(json);
        assert_eq!(line(&next, "echo works"), "works");
        assert_ne!(helper_of(&next), helper);
        // In place, once the new helper is there.
        sandbox.reset().unwrap();
        assert_eq!(line(&sandbox, "echo works"), "works");
    }
    // The helper ends with the last handle of the store.
    let next = ground.without_helper();
    assert_swept(&before, &next.store);
    assert!(is_empty(&next.scratch()));
}

/// The helper is told to end a sandbox, and dies before.
#[test]
fn helper_killed_with_a_close_unread_leaves_nothing() {
    let _alone = Host::exclusive();
    let mut ground = Ground::new();
    let before = at_rest(&ground);
    // By a sweep; by the next open, as far as no sweep is needed.
    for swept in [true, false] {
        let sandbox = ground.open_with(r#"{"write": "disk"}"#);
        let used = locked_by(&ground, &sandbox);
        let helper = helper_of(&sandbox);
        kill(Pid::from_raw(helper), Signal::SIGSTOP).unwrap();
        drop(sandbox);
        assert!(used.iter().all(|path| path.exists()), "{used:?}");
        kill(Pid::from_raw(helper), Signal::SIGKILL).unwrap();
        await_end(helper);
        let began = Instant::now();
        let (scratch, cgroups): (Vec<_>, Vec<_>) =
            used.iter().partition(|p| p.starts_with(ground.scratch()));
        match swept {
            // Process 1 may take its time to die.
            true => {
                while used.iter().any(|path| path.exists()) && began.elapsed() < SOON {
                    ground.store.recover().unwrap();
                }
            }
            false => ground.open().close().unwrap(),
        }
        assert!(cgroups.iter().all(|path| !path.exists()), "{cgroups:?}");
        assert!(scratch.iter().all(|path| path.exists() != swept));
        ground = ground.without_helper();
        assert_swept(&before, &ground.store);
    }
}

#[test]
fn process_one_killed_from_outside_leaves_nothing() {
    let (_alone, ground, before) = opened_before();
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    let process = sandbox.spawn(sh("sleep 60").timeout(SOON * 10)).unwrap();
    kill_init(&sandbox);
    assert_eq!(process.wait().unwrap().reason, Reason::Killed);
    assert_broken(&sandbox);
    sandbox.reset().unwrap();
    assert_eq!(line(&sandbox, "echo works"), "works");
    drop(process);
    sandbox.close().unwrap();
    drop(sandbox);
    assert_rested(&before, &ground);
}

#[test]
fn host_killed_while_its_copy_lives_leaves_nothing() {
    let (_alone, ground, before) = opened_before();
    let mut host = child::start(&ground, "fork");
    let said = hear(&mut host, "forked ");
    let (copy, helper) = said.split_once(' ').unwrap();
    let [copy, helper] = [copy, helper].map(|pid| pid.parse().unwrap());
    assert!(Path::new(&format!("/proc/{helper}")).exists());
    host.kill().unwrap();
    host.wait().unwrap();
    // The copy still holds every socket; the helper has seen the host's end all
    // the same.
    await_end(helper);
    assert!(Path::new(&format!("/proc/{copy}")).exists());
    kill(Pid::from_raw(copy), Signal::SIGKILL).unwrap();
    assert_rested(&before, &ground);
}

#[test]
fn hosts_with_their_own_ideas_of_children_get_exact_codes() {
    let (_alone, ground, before) = opened_before();
    for role in ["ignore", "greedy", "subreaper"] {
        child::assert_success(child::start(&ground, role));
    }
    assert_rested(&before, &ground);
}

#[test]
fn hosts_that_inherit_the_helper_have_no_child_once_the_store_is_closed() {
    let (_alone, ground, before) = opened_before();
    child::assert_success(child::start(&ground, "childless"));
    child::assert_success(child::start(&ground, "bereaved"));
    if nix::unistd::geteuid().is_root() {
        child::assert_success(child::start_as_first(&ground, "childless"));
    }
    assert_swept(&before, &ground.store);
}

/// The sandbox's cgroups, and the lock of its writes to disk.
fn locked_by(ground: &Ground, sandbox: &Sandbox) -> Vec<PathBuf> {
    let cgroup = sandbox.effective().unwrap().cgroup;
    let dirs = cgroup["paths"].as_array().unwrap().iter();
    let mut paths: Vec<PathBuf> = dirs.map(|d| d.as_str().unwrap().into()).collect();
    let scratch = fs::read_dir(ground.scratch()).unwrap();
    let mut scratch = scratch.map(|entry| entry.unwrap().path());
    paths.extend(scratch.find(|path| path.extension().is_some_and(|e| e == "lock")));
    paths
}

fn is_locked(path: &Path) -> bool {
    let file = fs::File::open(path).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock);
    matches!(lock, Err((_, Errno::EAGAIN)))
}

#[test]
fn host_that_forks_keeps_what_is_its_own() {
    let (_alone, ground, before) = opened_before();
    let sandbox = ground.open_with(r#"{"write": "disk"}"#);
    let command = sh("sleep 0.5; exit 5").timeout(SOON);
    let running = sandbox.spawn(command).unwrap();
    assert!(Command::new("true").status().unwrap().success());
    // SAFETY: no other thread of this process uses the library now, so no lock
    // is held; the child ends by _exit.
    match unsafe { libc::fork() } {
        0 => {
            // The copy's drops end no object of the parent.
            drop(running);
            drop(sandbox);
            // SAFETY: ends this process without running anything else of the
            // parent's.
            unsafe { libc::_exit(0) }
        }
        copy => drop(waitpid(Pid::from_raw(copy), None).unwrap()),
    }
    let locked = locked_by(&ground, &sandbox);
    assert!(locked.iter().any(|p| p.starts_with(ground.scratch())));
    // The locks are not the copy's to drop.
    assert!(locked.iter().all(|path| is_locked(path)), "{locked:?}");
    ground.store.recover().unwrap();
    assert!(locked.iter().all(|path| path.exists()), "{locked:?}");
    assert_eq!(running.wait().unwrap().exit_code, Some(5));
    assert_eq!(run(&sandbox, sh("exit 4")).status.exit_code, Some(4));
    drop(running);
    sandbox.close().unwrap();
    drop(sandbox);
    assert_rested(&before, &ground);
}
