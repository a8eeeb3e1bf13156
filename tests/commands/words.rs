// SPDX-License-Identifier: MIT OR Apache-2.0
//! Environment, working directory and host name; wrong words of a command.

use tare::{Command, Kind, Spec};

use crate::harness::{Ground, copy_program, line, open_default, sh, text};

#[test]
fn argv_wrong_words_are_refused_by_name() {
    let (_ground, sandbox) = open_default();
    let cases = [
        (Command::new(""), "check command: argv"),
        (Command::from_argv([""; 0]), "check command: argv"),
        (Command::new("a\0b"), "check command: argv"),
        (Command::new("true").arg("a\0"), "check command: argv"),
        (Command::new("true").env("", "x"), "check command: env"),
        (
            Command::new("true").env("A=SECRET", "x"),
            "check command: env",
        ),
        (
            Command::new("true").env("A", "SECRET\0"),
            "check command: env",
        ),
        (Command::new("true").cwd("tmp"), "check command: cwd"),
    ];
    for (command, step) in cases {
        let shown = format!("{command:?}");
        let error = sandbox.spawn(command).unwrap_err();
        assert_eq!(
            (error.kind(), error.step()),
            (Kind::Invalid, step),
            "{shown}"
        );
        // No value of an environment is in a message.
        assert!(!error.to_string().contains("SECRET"), "{error}");
    }
}

#[test]
fn env_default_is_path_hostname_and_home() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"hostname": "one"}"#);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let all = format!("HOME=/root\nHOSTNAME=one\nPATH={path}");
    assert_eq!(text(&sandbox, Command::new("env")).lines().count(), 3);
    assert_eq!(
        line(&sandbox, "env | grep -v -e ^PWD -e ^SHLVL -e ^_= | sort"),
        all
    );
}

#[test]
fn env_later_words_win() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"env": {"A": "spec", "B": "spec", "HOME": "/h"}}"#);
    let command = sh("echo $A $B $HOME $C")
        .env("B", "first")
        .env("B", "own")
        .env("C", "=");
    assert_eq!(text(&sandbox, command), "spec own /h =\n");
    // The program is searched in the environment of the command.
    let elsewhere = Command::new("busybox").env("PATH", "/nowhere::/etc");
    assert_eq!(sandbox.spawn(elsewhere).unwrap_err().kind(), Kind::NotFound);
}

#[test]
fn env_of_one_mebibyte_arrives() {
    let (_ground, sandbox) = open_default();
    let mut command = sh("env | grep ^LONG | wc -c");
    for n in 0..16 {
        command = command.env(format!("LONG{n:02}"), "x".repeat(64 << 10));
    }
    let expected = 16 * ((64 << 10) + "LONG00=\n".len());
    assert_eq!(text(&sandbox, command).trim(), expected.to_string());
    let huge = Command::new("true").env("A", "x".repeat(3 << 20));
    let error = sandbox.spawn(huge).unwrap_err();
    assert_eq!(error.errno(), Some(libc::E2BIG), "{error}");
}

#[test]
fn cwd_cases_end_where_they_should() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"workdir": "/of/the/spec"}"#);
    let pwd = |dir: &str| text(&sandbox, sh("pwd -P; stat -c %a:%u .").cwd(dir));
    assert_eq!(line(&sandbox, "pwd"), "/of/the/spec");
    assert_eq!(pwd("/tmp"), "/tmp\n1777:0\n");
    line(&sandbox, "mkdir -p '/made/on/the way'");
    assert_eq!(pwd("/made/on/the way"), "/made/on/the way\n755:0\n");
    assert_eq!(pwd("/../../tmp"), "/tmp\n1777:0\n");
    let through = ground.open_with(r#"{"workdir": "/link/new"}"#);
    assert_eq!(line(&through, "pwd -P; stat -c %a:%u ."), "/etc/new\n755:0");
    for dir in ["/new", "/etc/passwd"] {
        let error = sandbox.spawn(Command::new("true").cwd(dir)).unwrap_err();
        assert!(error.to_string().contains(dir), "{error}");
    }
}

#[test]
fn image_of_one_static_program_runs_it() {
    let ground = Ground::new();
    let bare = ground.dir("bare");
    copy_program(&ground.root().join("bin/busybox"), &bare.join("echo"));
    let spec = Spec {
        image: format!("dir:{}", bare.display()),
        ..Spec::default()
    };
    let sandbox = tare::Sandbox::open(&ground.store, &spec).unwrap();
    assert_eq!(text(&sandbox, Command::from_argv(["/echo", "hi"])), "hi\n");
}

#[test]
fn hostname_is_the_specs_or_twelve_digits() {
    let ground = Ground::new();
    let sandbox = ground.open_with(r#"{"hostname": "tall-box.example"}"#);
    let all = line(
        &sandbox,
        "hostname; cat /etc/hostname; grep -c tall-box.example /etc/hosts",
    );
    assert_eq!(all, "tall-box.example\ntall-box.example\n1");
    let plain = ground.open();
    let name = line(&plain, "hostname");
    assert!(
        name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()),
        "{name}"
    );
    assert_eq!(
        line(&plain, "echo $HOSTNAME; cat /etc/hostname"),
        format!("{name}\n{name}")
    );
}
