// SPDX-License-Identifier: MIT OR Apache-2.0
//! Cures of sandboxes, pools and commands.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tare::{Command, Error, Kind, Pool, PoolSize, Sandbox, Spec, Store};
use tare_oracle::need;

use super::{cure, quoted};
use crate::harness::settle::{await_some, kill_init};
use crate::harness::{Ground, holds_in_a_fork, line, open_default, sh};

#[track_caller]
fn works(sandbox: &Sandbox) {
    assert_eq!(line(sandbox, "echo works"), "works");
}

#[test]
fn command_without_a_limit_has_time() {
    let (_ground, sandbox) = open_default();
    let error = sandbox
        .spawn(sh("true").timeout(Duration::ZERO))
        .unwrap_err();
    assert_eq!(cure(&error), "no timeout, for no limit");
    works(&sandbox);
}

#[test]
fn command_that_is_named_runs() {
    let (_ground, sandbox) = open_default();
    let error = sandbox.image_command::<&str>(&[]).unwrap_err();
    let program = cure(&error);
    let program = program.strip_prefix("name a program, such as ").unwrap();
    let named = sandbox.image_command(&[program]).unwrap();
    assert!(sandbox.run(named).unwrap().status.success());
}

#[test]
fn command_in_a_directory_that_is_there_starts() {
    let (ground, sandbox) = open_default();
    let error = sandbox.spawn(sh("pwd").cwd("/not/there")).unwrap_err();
    let cure = cure(&error);
    assert!(
        cure.starts_with("a directory that is there; ") && cure.contains(" workdir"),
        "{cure}"
    );
    let there = sandbox.run(sh("pwd").cwd("/tmp")).unwrap();
    assert_eq!(there.stdout, b"/tmp\n");
    let made = ground.open_with(r#"{"workdir": "/not/there"}"#);
    assert_eq!(line(&made, "pwd"), "/not/there");
}

#[test]
fn command_beyond_the_limit_of_processes_starts_in_each_way() {
    need!(root, controller("pids"));
    let ground = Ground::new();
    let fill = |sandbox: &Sandbox| {
        let mut running = Vec::new();
        loop {
            match sandbox.spawn(Command::from_argv(["sleep", "60"])) {
                Ok(process) => running.push(process),
                Err(error) => return (running, error),
            }
        }
    };
    let few = ground.open_with(r#"{"limits": {"pids": 4}}"#);
    let (mut running, error) = fill(&few);
    let cure = cure(&error);
    assert!(
        cure.contains("limits.pids") && cure.ends_with("fewer at once"),
        "{cure}"
    );
    let last = running.pop().unwrap();
    last.kill().unwrap();
    last.wait().unwrap();
    let more = ground.open_with(r#"{"limits": {"pids": 8}}"#);
    assert!(few.run(Command::new("true")).is_ok());
    assert!(fill(&more).0.len() > running.len() + 1);
}

#[test]
fn sandbox_that_is_closed_has_another_opened() {
    let (ground, sandbox) = open_default();
    sandbox.close().unwrap();
    let error = sandbox.run(sh("true")).unwrap_err();
    assert_eq!(cure(&error), "open another");
    works(&ground.open());
}

#[test]
fn sandbox_that_is_gone_is_opened_or_reset() {
    let ground = Ground::new();
    let calls: [fn(&Sandbox) -> Option<Error>; 2] = [
        |sandbox| sandbox.run(sh("true")).err(),
        |sandbox| sandbox.files().read("/etc/passwd").err(),
    ];
    for call in calls {
        let sandbox = ground.open();
        kill_init(&sandbox);
        let error = await_some("it is still there", || call(&sandbox));
        assert_eq!(cure(&error), "open or reset it");
        sandbox.reset().unwrap();
        works(&sandbox);
        assert!(call(&sandbox).is_none());
        assert!(call(&ground.open()).is_none());
    }
}

#[test]
fn sandbox_of_a_parent_has_one_opened_in_the_child() {
    let (ground, sandbox) = open_default();
    holds_in_a_fork(sandbox, |sandbox| {
        let told = sandbox.run(sh("true")).err();
        let told = told.is_some_and(|e| e.cure() == Some("open one in this process"));
        let own = Sandbox::open(&ground.store, &ground.spec());
        let ran = own.and_then(|own| own.run(sh("exit 7")));
        told && ran.is_ok_and(|output| output.status.exit_code == Some(7))
    });
}

#[test]
fn pool_with_the_bounds_that_its_error_names_opens() {
    let ground = Ground::new();
    let open = |min, max| Pool::open(&ground.store, &ground.spec(), PoolSize { min, max });
    for (min, max) in [(2, 1), (0, 0), (0, usize::MAX)] {
        let cure = cure(&open(min, max).unwrap_err());
        let bounds = cure
            .strip_prefix("min at most max, max from 1 to ")
            .unwrap();
        let most: usize = bounds.parse().unwrap();
        for (min, max) in [(1, 1), (0, most)] {
            let pool = open(min, max).unwrap();
            works(&pool.take().unwrap());
        }
        assert!(open(0, most + 1).is_err());
    }
}

#[test]
fn pool_that_is_closed_has_another_opened() {
    let ground = Ground::new();
    let open = || Pool::open(&ground.store, &ground.spec(), PoolSize { min: 1, max: 1 });
    let pool = open().unwrap();
    pool.close().unwrap();
    pool.close().unwrap();
    assert_eq!(pool.ready(), 0);
    let error = pool.take().unwrap_err();
    let seen = (error.kind(), error.step(), &*cure(&error));
    assert_eq!(seen, (Kind::Invalid, "take from pool", "open another"));
    works(&open().unwrap().take().unwrap());
}

fn opened(store: &Store, image: &str, json: &serde_json::Value) -> Result<Sandbox, Error> {
    let image = image.into();
    let spec = Spec::from_json(&json.to_string())?;
    Sandbox::open(store, &Spec { image, ..spec })
}

#[test]
fn storage_that_its_error_names_serves() {
    need!(overlay);
    let ground = Ground::new();
    let dir = ground.spec().image;
    let error = opened(&ground.store, "host", &json!({"storage": "copy"})).unwrap_err();
    assert!(cure(&error).ends_with(", or an image"), "{error}");
    let storage = json!({"storage": quoted(&cure(&error))[0]});
    works(&opened(&ground.store, "host", &storage).unwrap());
    works(&opened(&ground.store, &dir, &json!({"storage": "copy"})).unwrap());

    for how in [json!({"write": "disk"}), json!({"storage": "copy"})] {
        let mut asked = how;
        asked["limits"] = json!({"disk": "1m"});
        let error = opened(&ground.store, &dir, &asked).unwrap_err();
        let offered = quoted(&cure(&error));
        asked["write"] = offered[0].as_str().into();
        asked["storage"] = offered[1].as_str().into();
        works(&opened(&ground.store, &dir, &asked).unwrap());
    }
}

#[test]
fn mount_of_a_file_is_a_bind_or_of_its_directory() {
    let ground = Ground::new();
    let dir = ground.dir("source");
    fs::write(dir.join("file"), "x").unwrap();
    let mounts = |source: &Path, options| {
        let mount = format!("{}:/m{options}", source.display());
        opened(
            &ground.store,
            &ground.spec().image,
            &json!({"mounts": [mount]}),
        )
    };
    let error = mounts(&dir.join("file"), ":cow").unwrap_err();
    assert_eq!(cure(&error), "a bind, or its directory");
    assert_eq!(line(&mounts(&dir.join("file"), "").unwrap(), "cat /m"), "x");
    if tare_oracle::needs::overlay().is_ok() {
        assert_eq!(line(&mounts(&dir, ":cow").unwrap(), "cat /m/file"), "x");
    }
}

/// The image's entry in the place of a mount point, the mount, and the cure.
const LINKS: [(&str, &str, &[&str], &str); 4] = [
    (
        "proc",
        "/etc",
        &[],
        "an image whose /proc, /sys and /dev are directories, not links",
    ),
    (
        "dev",
        "/etc",
        &[],
        "an image whose /proc, /sys and /dev are directories, not links",
    ),
    (
        "data",
        "/dev/null",
        &["/etc/passwd:/data"],
        "an image whose links do not lead into /proc or /sys, nor to /dev/null",
    ),
    (
        "data",
        "/",
        &["/usr:/data"],
        "an image whose links do not lead to its own root",
    ),
];

#[test]
fn image_as_its_error_wants_it_opens() {
    let ground = Ground::new();
    for (name, target, mounts, expected) in LINKS {
        let link = ground.root().join(name);
        symlink(target, &link).unwrap();
        let open = || {
            opened(
                &ground.store,
                &ground.spec().image,
                &json!({"mounts": mounts}),
            )
        };
        let error = open().expect_err(name);
        assert_eq!(cure(&error), expected, "{name} -> {target}: {error}");
        fs::remove_file(&link).unwrap();
        if mounts.is_empty() {
            fs::create_dir(&link).unwrap();
        }
        works(&open().unwrap_or_else(|e| panic!("{name}: {e}")));
    }
}
