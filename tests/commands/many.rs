// SPDX-License-Identifier: MIT OR Apache-2.0
//! Many commands and many sandboxes at once; orphans and zombies.

use std::thread;
use std::time::Duration;

use tare::{Command, Sandbox};

use crate::harness::settle::await_that;
use crate::harness::{Ground, line, open_default, run, sh, text};

#[test]
fn commands_from_many_threads_each_get_their_own_output() {
    let (_ground, sandbox) = open_default();
    thread::scope(|scope| {
        for t in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..8 {
                    let words = format!("{t}-{n}");
                    assert_eq!(
                        text(sandbox, Command::from_argv(["echo", &words])).trim(),
                        words
                    );
                }
            });
        }
    });
}

#[test]
fn orphans_are_reaped() {
    let (_ground, sandbox) = open_default();
    run(
        &sandbox,
        sh("for i in $(seq 200); do (sleep 0.05 &) ; done >/dev/null 2>&1 </dev/null"),
    );
    await_that("orphans are left", || {
        // Process 1, the shell, its child, and wc.
        let left = line(&sandbox, "echo /proc/[0-9]* | wc -w");
        left.parse::<usize>().unwrap() <= 4
    });
}

#[test]
fn process_one_cannot_be_ended_from_inside() {
    let (_ground, sandbox) = open_default();
    run(
        &sandbox,
        sh("for s in 1 2 9 11 15 17 19 34; do kill -$s 1; done; kill -9 -1"),
    );
    assert_eq!(line(&sandbox, "echo alive"), "alive");
}

#[test]
fn sandboxes_many_at_once_are_apart() {
    let ground = Ground::new();
    let all: Vec<Sandbox> = (0..24).map(|_| ground.open()).collect();
    thread::scope(|scope| {
        for (n, sandbox) in all.iter().enumerate() {
            scope.spawn(move || {
                assert_eq!(
                    line(
                        sandbox,
                        &format!("echo {n} >/tmp/n; sleep 0.05; cat /tmp/n")
                    ),
                    n.to_string()
                );
            });
        }
    });
    for sandbox in all {
        sandbox.close().unwrap();
    }
}

#[test]
fn sandboxes_are_opened_from_many_threads() {
    let ground = Ground::new();
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let sandbox = ground.open();
                    // The first number behind those of process 1's two threads.
                    assert_eq!(line(&sandbox, "echo $$"), "3");
                }
            });
        }
    });
}

#[test]
fn sandbox_outlives_the_thread_that_made_it() {
    let ground = Ground::new();
    // The helper is started by that thread, too.
    let sandbox = thread::scope(|scope| scope.spawn(|| ground.open()).join().unwrap());
    let process = thread::scope(|s| {
        s.spawn(|| sandbox.spawn(sh("sleep 0.2; exit 6")).unwrap())
            .join()
            .unwrap()
    });
    thread::sleep(Duration::from_millis(50));
    assert_eq!(process.wait().unwrap().exit_code, Some(6));
    assert_eq!(line(&sandbox, "echo alive"), "alive");
}
