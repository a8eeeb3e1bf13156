// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run`: exit status, input and output, and what each flag does, as root and as ordinary users.

mod common;

use common::{Tare, everybody};
use tare_oracle::need;

#[test]
fn run_exit_status_is_the_commands_own() {
    need!(root, overlay, userns);
    for tare in everybody() {
        for (script, status) in [
            ("true", 0),
            ("exit 1", 1),
            ("exit 77", 77),
            ("kill -9 $$", 137),
            ("kill -15 $$", 143),
        ] {
            let said = tare.script(&[], script);
            assert_eq!(said.status, status, "{script}: {said:?}");
            assert_eq!(said.stderr, "", "{script}");
        }
        assert_eq!(tare.scratch(), 0);
    }
}

#[test]
fn run_program_that_is_none_is_126_or_127() {
    need!(root, overlay, userns);
    for tare in everybody() {
        tare.run(&["run", "host", "no-such-program"])
            .fails(127, &["execute", "no-such-program", "ENOENT"]);
        tare.run(&["run", "host", "/etc/passwd"])
            .fails(126, &["execute", "/etc/passwd", "EACCES"]);
        tare.run(&["run", "host", "/etc"]).fails(126, &["execute"]);
    }
}

#[test]
fn run_timeout_is_124_and_keeps_the_output() {
    need!(root, overlay);
    let tare = Tare::new();
    let said = tare.script(&["--timeout", "300ms"], "echo begun; sleep 60");
    assert_eq!((said.status, said.stdout.as_str()), (124, "begun\n"));
    let said = tare.script(
        &["--timeout", "300ms", "--json"],
        "echo begun; sleep 60 & wait",
    );
    assert_eq!(said.status, 124);
    assert_eq!(said.json()["reason"], "timeout");
    assert_eq!(said.json()["stdout"], "begun\n");
}

#[test]
fn run_words_after_the_image_are_the_commands() {
    need!(root, overlay);
    let tare = Tare::new();
    for args in [
        ["run", "host", "echo", "-e", "--", "x"],
        ["run", "host", "--", "echo", "-e", "x"],
    ] {
        let said = tare.run(&args);
        let expected = args[args.iter().position(|a| *a == "echo").unwrap() + 1..].join(" ");
        // GNU echo takes its own -e away.
        assert_eq!(said.ok(), expected.trim_start_matches("-e "));
    }
    tare.run(&["run", "host", "--env", "A=1"])
        .fails(127, &["--env"]);
}
