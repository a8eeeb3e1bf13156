// SPDX-License-Identifier: MIT OR Apache-2.0
//! `tare run`: exit status, input, output and the effect of each flag, as root
//! and as ordinary users.

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
    let why = "tare: the command was killed: its time was up (--timeout)\n";
    assert_eq!(said.stderr, why);
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
        // GNU echo drops its own -e.
        assert_eq!(said.ok(), expected.trim_start_matches("-e "));
    }
    tare.run(&["run", "host", "--env", "A=1"])
        .fails(127, &["--env"]);
}

#[test]
fn run_json_has_the_result_and_what_was_in_force() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let said = tare.script(
            &["--json", "--label", "job=7"],
            r"echo out; printf '\377\n' >&2; exit 3",
        );
        assert_eq!(said.status, 3);
        let json = said.json();
        assert_eq!(json["exit_code"], 3);
        assert_eq!(json["signal"], serde_json::Value::Null);
        assert_eq!(json["reason"], "exited");
        assert_eq!(
            (&json["stdout"], &json["stdout_encoding"]),
            (&"out\n".into(), &"utf-8".into())
        );
        assert_eq!(
            (&json["stderr"], &json["stderr_encoding"]),
            (&"/wo=".into(), &"base64".into())
        );
        assert!(json["usage"]["wall_ns"].as_u64().unwrap() > 0, "{json}");
        assert_eq!(json["effective"]["labels"]["job"], "7");
        assert_eq!(json["effective"]["no_new_privs"], true);
    }
}

#[test]
fn run_tells_each_key_of_best_effort_that_was_left_out() {
    need!(root, overlay);
    let tare = Tare::new();
    // No size bounds a writable layer on disk.
    let flags = ["run", "--write", "disk", "--disk", "1m"];
    let said = tare.run(&[&flags[..], &["host", "true"]].concat());
    said.fails(125, &["set limits.disk", "try: "]);
    let best_effort = ["--best-effort", "limits.io,limits.disk", "host", "true"];
    let said = tare.run(&[&flags[..], &best_effort].concat());
    said.ok();
    let line = said.stderr.trim_end_matches('\n');
    assert!(line.starts_with("tare: left out limits.disk: "), "{said:?}");
    assert!(!line.contains('\n'), "{said:?}");
}

#[test]
fn run_json_has_an_error_where_no_command_ran() {
    need!(root, overlay);
    let said = Tare::new().run(&["run", "--json", "host", "no-such-program"]);
    said.fails(127, &["no-such-program"]);
    let error = &said.json()["error"];
    assert_eq!(error["kind"], "not_found");
    assert_eq!(error["step"], "execute");
    assert_eq!(error["errno"], 2);
}

#[test]
fn run_output_limit_ends_the_command() {
    need!(root, overlay);
    // The second command ends with 0 before a kill.
    for script in ["yes", "head -c 1025 /dev/zero"] {
        let said = Tare::new().script(&["--json", "--output-limit", "1k"], script);
        assert_eq!(said.status, 123);
        assert_eq!(said.json()["reason"], "output");
        assert!(said.json()["exit_code"].is_null());
        assert_eq!(said.json()["stdout"].as_str().unwrap().len(), 1024);
    }
}

#[test]
fn run_memory_limit_says_oom() {
    need!(root, overlay, controller("memory"));
    let said = Tare::new().script(
        &["--json", "-m", "32m", "--memory-swap", "32m"],
        "exec tail /dev/zero",
    );
    assert_eq!(said.status, 137, "{said:?}");
    assert_eq!(said.json()["reason"], "oom");
    let said = Tare::new().script(
        &["-m", "32m", "--memory-swap", "32m"],
        "exec tail /dev/zero",
    );
    assert_eq!(said.status, 137, "{said:?}");
    assert!(said.stderr.contains("out of memory"), "{said:?}");
}

#[test]
fn run_input_is_empty_unless_asked_for() {
    need!(root, overlay, userns);
    let input = vec![b'x'; 1 << 20];
    for tare in everybody() {
        let said = tare.run_with(&["run", "host", "wc", "-c"], &input);
        assert_eq!(said.ok(), "0");
        let said = tare.run_with(&["run", "-i", "host", "wc", "-c"], &input);
        assert_eq!(said.ok(), "1048576");
        let said = tare.run_with(&["run", "-i", "host", "cat"], &input);
        assert_eq!(said.ok().len(), input.len());
    }
}

#[test]
fn run_writes_stay_inside() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let path = dir.path().to_str().unwrap();
        let mount = |options: &str| format!("{path}:/m{options}");
        let write = "echo x > /m/f 2>/dev/null; cat /m/f 2>/dev/null || echo refused";
        assert_eq!(tare.script(&["-v", &mount(":ro")], write).ok(), "refused");
        assert_eq!(tare.script(&["-v", &mount(":cow")], write).ok(), "x");
        assert!(!dir.path().join("f").exists());
        assert_eq!(tare.script(&["-v", &mount("")], write).ok(), "x");
        assert!(dir.path().join("f").exists());
    }
}

#[test]
fn run_mounts_the_shorter_target_first() {
    need!(root, overlay, userns);
    for tare in everybody() {
        let dir = tare.tempdir();
        let path = dir.path().to_str().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        let deep = &format!("{path}:/tmp/data/a");
        let flat = &format!("{path}:/tmp/data");
        let table = &format!("type=bind,source={path},target=/tmp/data/a/");
        for flags in [
            ["--tmpfs", "/tmp/data", "-v", deep],
            ["-v", deep, "--tmpfs", "/tmp/data"],
            ["-v", deep, "--mount", "type=tmpfs,target=/tmp//data"],
            ["--mount", table, "--tmpfs", "/tmp/data/"],
        ] {
            let said = tare.script(&flags, "ls /tmp/data /tmp/data/a");
            let seen = "/tmp/data:\na\n\n/tmp/data/a:\nf\nsub";
            assert_eq!(said.ok(), seen, "{flags:?}");
        }
        // At the same depth the later mount covers the earlier.
        let both = ["--tmpfs", "/tmp/data", "-v", flat];
        assert_eq!(tare.script(&both, "ls /tmp/data").ok(), "f\nsub");
        let both = ["-v", flat, "--tmpfs", "/tmp/data"];
        assert_eq!(tare.script(&both, "ls /tmp/data").ok(), "");
    }
}

#[test]
fn run_mounts_of_a_spec_keep_their_order() {
    need!(root, overlay);
    let tare = Tare::new();
    let dir = tare.tempdir();
    let path = dir.path().to_str().unwrap();
    let spec = dir.path().join("f");
    let text = format!(
        r#"{{"image": "host", "mounts": ["{path}:/tmp/data/a", {{"type": "tmpfs", "target": "/tmp/data"}}]}}"#
    );
    std::fs::write(&spec, text).unwrap();
    let mut args = vec!["run", "--spec", spec.to_str().unwrap()];
    args.extend(["--", "ls", "/tmp/data"]);
    assert_eq!(tare.run(&args).ok(), "");
    // Flags follow all mounts of the spec.
    let flag = format!("{path}:/tmp/data");
    let with_flag = [&args[..3], &["-v", &flag], &args[3..]].concat();
    assert_eq!(tare.run(&with_flag).ok(), "f");
}

#[test]
fn run_spec_comes_from_a_file_and_flags_override_it() {
    need!(root, overlay);
    let tare = Tare::new();
    let spec = br#"{"image": "host", "env": {"A": "spec", "B": "spec"}, "hostname": "spec"}"#;
    let show = "echo $A $B $(hostname)";
    let said = tare.run_with(&["run", "--spec", "-", "--", "sh", "-c", show], spec);
    assert_eq!(said.ok(), "spec spec spec");
    let file = tare.store.path().with_extension("json");
    std::fs::write(&file, spec).unwrap();
    let file = file.to_str().unwrap();
    let flags = ["run", "--spec", file, "-e", "A=flag", "--hostname", "flag"];
    let said = tare.run(&[&flags[..], &["host", "sh", "-c", show]].concat());
    assert_eq!(said.ok(), "flag spec flag");
    // A fault of the file, with a cure.
    std::fs::write(file, r#"{"image": "host", "netwrk": "none"}"#).unwrap();
    let wrong = tare.run(&["run", "--spec", file, "--", "true"]);
    wrong.fails(125, &[file, "netwrk", r#"try: "network""#]);
    std::fs::remove_file(file).unwrap();
}
