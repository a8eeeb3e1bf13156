// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads users and groups of the machine: from passwd(5) and group(5), else by
//! getent(1).
//!
//! getpwuid(3) would load the modules of nsswitch.conf(5) into the host, and
//! into a static program, which may be of another C library than theirs.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Places of getent(1), which is never looked for along the caller's `PATH`.
const GETENT: [&str; 2] = ["/usr/bin/getent", "/bin/getent"];

/// A line of passwd(5).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// The login group.
    pub(crate) gid: u32,
    pub(crate) home: PathBuf,
}

/// A line of group(5).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) name: String,
    /// Members beside those whose login group it is.
    pub(crate) members: Vec<String>,
}

impl User {
    /// Returns the first user with an id.
    pub(crate) fn find(uid: u32) -> Option<Self> {
        let line = line("passwd", uid)?;
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next()?.into(),
            gid: fields.nth(2)?.parse().ok()?,
            home: fields.nth(1)?.into(),
        })
    }
}

impl Group {
    /// Returns the first group with an id.
    pub(crate) fn find(gid: u32) -> Option<Self> {
        let line = line("group", gid)?;
        let mut fields = line.split(':');
        let name = fields.next()?.into();
        let members = fields.nth(2)?.split(',').filter(|name| !name.is_empty());
        Some(Self {
            name,
            members: members.map(Into::into).collect(),
        })
    }
}

/// Returns the first line with an id in its third field.
fn line(database: &str, id: u32) -> Option<String> {
    let has_id = |line: &&str| {
        let field = line.split(':').nth(2);
        field.is_some_and(|field| field.parse() == Ok(id))
    };
    let of = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        text.lines().find(has_id).map(str::to_owned)
    };
    let file = std::fs::read(Path::new("/etc").join(database)).unwrap_or_default();
    of(&file).or_else(|| of(&getent(database, id)?))
}

/// Asks the other sources of nsswitch.conf(5).
fn getent(database: &str, id: u32) -> Option<Vec<u8>> {
    let program = GETENT.iter().find(|path| Path::new(path).exists())?;
    let mut command = Command::new(program);
    command.args([database, &id.to_string()]).env_clear();
    let output = command.stdin(Stdio::null()).output();
    Some(output.ok()?.stdout)
}

#[cfg(test)]
mod tests {
    use super::{Group, User, line};

    #[test]
    fn accounts_of_root_are_found() {
        let user = User::find(0).unwrap();
        assert_eq!((&*user.name, user.gid), ("root", 0));
        assert!(user.home.is_absolute());
        assert_eq!(Group::find(0).unwrap().name, "root");
    }

    #[test]
    fn accounts_that_are_nowhere_are_none() {
        // setreuid(2) knows no such id.
        assert_eq!(line("passwd", u32::MAX), None);
        assert_eq!(Group::find(u32::MAX - 1), None);
    }
}
