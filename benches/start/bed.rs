// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parts of every start: an image of a tiny program, a store, the default spec.
#![forbid(unsafe_code)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tare::{Command, Sandbox, Spec, Stdout, Store};

use super::floor;

/// An image of a single program, `exit(0)`, and a store.
pub(crate) struct Bed {
    pub(crate) root: PathBuf,
    pub(crate) store: Store,
    pub(crate) spec: Spec,
}

impl Bed {
    /// Makes image and store below `dir`; the caller removes them.
    pub(crate) fn new(dir: &Path) -> Self {
        let root = dir.join("image");
        // Mount points, files as well.
        for name in ["proc", "sys", "dev", "etc"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["hostname", "hosts", "resolv.conf"] {
            std::fs::write(root.join("etc").join(name), "").unwrap();
        }
        let program = root.join("exit");
        std::fs::write(&program, floor::EXIT).unwrap();
        std::fs::set_permissions(program, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            store: Store::open(&dir.join("store")).unwrap(),
            spec: Spec {
                image: format!("dir:{}", root.display()),
                ..Spec::default()
            },
            root,
        }
    }

    pub(crate) fn open(&self) -> Sandbox {
        Sandbox::open(&self.store, &self.spec).unwrap()
    }

    /// The program on the host, where it is as small as inside.
    pub(crate) fn spawn(&self) {
        let mut program = std::process::Command::new(self.root.join("exit"));
        assert!(program.status().unwrap().success());
    }
}

/// Runs the program in an open sandbox, to its status.
pub(crate) fn run(sandbox: &Sandbox) {
    let exit = Command::new("/exit")
        .stdout(Stdout::Null)
        .stderr(Stdout::Null);
    assert!(sandbox.run(exit).unwrap().status.success());
}

/// The same, and returns the open sandbox.
pub(crate) fn ran(sandbox: Sandbox) -> Sandbox {
    run(&sandbox);
    sandbox
}

/// Times an open; the close, for which no caller must wait, is not counted.
pub(crate) fn opened(make: impl FnOnce() -> Sandbox) -> Duration {
    let began = Instant::now();
    let sandbox = make();
    let took = began.elapsed();
    sandbox.close().unwrap();
    took
}
