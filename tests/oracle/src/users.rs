// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ordinary users of the machine, with and without subordinate ids, that tests
//! become.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::fcntl::{Flock, FlockArg};

/// An ordinary user of this machine.
#[derive(Debug, Clone)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// The login group's id.
    pub gid: u32,
    /// Home directory, mode 0700, on the root file system.
    pub home: PathBuf,
    /// Commands run as uid 0 of a user namespace of this user's.
    pub is_namespace_root: bool,
}

/// Kinds of callers beside root of the machine: ordinary users with one id and
/// with subordinate ids, and uid 0 of a user namespace of each.
/// `need!(user(kind))` asks for one, [`caller`] returns it.
pub const CALLERS: [&str; 4] = ["plain", "subids", "root-of-one", "root-of-many"];

/// Returns the caller of a kind of [`CALLERS`].
///
/// # Panics
/// As [`ordinary_user`] does, and for a kind that is not in [`CALLERS`].
pub fn caller(kind: &str) -> User {
    let has_subids = wants_subids(kind).unwrap_or_else(|why| panic!("needs {why}"));
    User {
        is_namespace_root: kind.starts_with("root-of-"),
        ..ordinary_user(has_subids)
    }
}

impl User {
    /// A command that runs `program` as this user: their ids and groups, no
    /// capability, an environment of only `PATH`, `HOME`, `USER` and
    /// `LOGNAME`, their home as working directory.
    ///
    /// The process id is the program's own (setpriv and unshare replace
    /// themselves), so that signals and `Child::id` mean what they say.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        if self.is_namespace_root {
            return self.root_command(program);
        }
        self.ordinary_command(program)
    }

    fn ordinary_command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("/usr/bin/setpriv");
        command
            .arg(format!("--reuid={}", self.uid))
            .arg(format!("--regid={}", self.gid))
            .args(["--init-groups", "--inh-caps=-all", "--"])
            .arg(program.as_ref())
            .current_dir(&self.home)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", &self.home)
            .env("USER", &self.name)
            .env("LOGNAME", &self.name);
        command
    }

    /// A command that runs `program` as [`User::command`] does, but as uid 0 of
    /// a new user namespace, unshare(1). All capabilities count only there.
    /// The namespace has the subordinate ids too, where the user has any:
    /// rootless podman and userns-remap look so; else the one id.
    pub fn root_command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = self.ordinary_command("/usr/bin/unshare");
        command.arg("--map-root-user");
        if has_range("/etc/subuid", &self.name) {
            command.arg("--map-auto");
        }
        command.arg("--").arg(program.as_ref());
        command
    }

    /// A new temporary directory that belongs to this user.
    ///
    /// # Panics
    /// When it cannot be made or given away.
    pub fn tempdir(&self) -> tempfile::TempDir {
        let dir = tempfile::Builder::new()
            .prefix("tmp-")
            .tempdir_in(&self.home)
            .expect("make a directory in the user's home");
        std::os::unix::fs::chown(dir.path(), Some(self.uid), Some(self.gid))
            .expect("give the directory to the user");
        dir
    }
}

/// Makes, if need be, the ordinary user without (`tare-t-plain`) or with
/// (`tare-t-subids`) ranges in `/etc/subuid` and `/etc/subgid`. `make test`
/// removes them at its end if it made them (`tests/machine.sh`).
///
/// # Panics
/// When that fails; a test says `need!(user("plain"))` or
/// `need!(user("subids"))` first.
pub fn ordinary_user(subids: bool) -> User {
    ensure(subids).unwrap_or_else(|why| panic!("needs {why}"))
}

/// Returns whether the user of a kind of [`CALLERS`] has subordinate ids.
pub(crate) fn wants_subids(kind: &str) -> Result<bool, String> {
    match kind {
        "plain" | "root-of-one" => Ok(false),
        "subids" | "root-of-many" => Ok(true),
        other => Err(format!("a user of {CALLERS:?}, not {other:?}")),
    }
}

/// Finds or makes the user, and checks its properties.
pub(crate) fn ensure(subids: bool) -> Result<User, String> {
    let name = if subids {
        "tare-t-subids"
    } else {
        "tare-t-plain"
    };
    let lock = fs::File::create("/run/tare-tests-users.lock").map_err(|e| words(name, &e))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive)
        .map_err(|(_, errno)| words(name, &errno.into()))?;
    let user = match find(name)? {
        Some(user) => user,
        None => {
            add(name, subids)?;
            find(name)?.ok_or_else(|| format!("the user {name} that useradd made"))?
        }
    };
    for file in ["/etc/subuid", "/etc/subgid"] {
        if has_range(file, name) != subids {
            let with = if subids { "with" } else { "without" };
            return Err(format!("the user {name} {with} ranges in {file}"));
        }
    }
    reachable(&std::env::current_exe().unwrap_or_default())?;
    Ok(user)
}

/// The missing thing, when a step on the way to `name` failed.
fn words(name: &str, error: &io::Error) -> String {
    format!("the user {name}: {error}")
}

/// Looks the user up.
fn find(name: &str) -> Result<Option<User>, String> {
    let found = nix::unistd::User::from_name(name).map_err(|e| words(name, &e.into()))?;
    Ok(found.map(|user| User {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
        home: user.dir,
        is_namespace_root: false,
    }))
}

/// A system account: Debian's useradd gives those no subordinate ids unless
/// asked.
fn add(name: &str, subids: bool) -> Result<(), String> {
    let mut command = Command::new("useradd");
    command.args(["--system", "--user-group", "--create-home"]);
    command.args(["--key", "HOME_MODE=0700", "--shell", "/bin/sh"]);
    if subids {
        command.arg("--add-subids-for-system");
    }
    let output = command.arg(name).output().map_err(|e| words(name, &e))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = String::from_utf8_lossy(&output.stderr);
        Err(format!("the user {name}: useradd: {}", said.trim()))
    }
}

/// Returns whether `file` has a line for `name`, subuid(5).
fn has_range(file: &str, name: &str) -> bool {
    fs::read_to_string(file).is_ok_and(|text| {
        text.lines()
            .any(|line| line.split(':').next() == Some(name))
    })
}

/// Ordinary users must be able to run what was built: every directory above
/// it has to let others through.
fn reachable(path: &Path) -> Result<(), String> {
    for dir in path.ancestors().skip(1) {
        let open = fs::metadata(dir).is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
        if !open {
            return Err(format!(
                "a build that ordinary users can reach: {} is closed to them (set CARGO_TARGET_DIR, as make test does)",
                dir.display()
            ));
        }
    }
    Ok(())
}
