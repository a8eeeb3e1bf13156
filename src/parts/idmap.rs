// SPDX-License-Identifier: MIT OR Apache-2.0
//! Ids that a user namespace of the caller can hold: subordinate ids if there
//! are any, else the caller's own.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::fs;
use std::io::Read as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use caps::Capability;
use nix::sys::prctl;
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{Gid, Uid};

use crate::error::{Error, Kind, Result, Step};
use crate::spec::IdMap;
use crate::sys::accounts::User;
use crate::sys::mountinfo::Mounts;
use crate::sys::user;

/// The relation of ids in this process's sandboxes to ids outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ids {
    /// The same: the caller is root of the machine.
    Host,
    /// Only 0 exists inside; it is the caller.
    Single,
    /// 0 is the caller; others follow.
    Many {
        /// User ids.
        uids: Vec<IdMap>,
        /// Group ids.
        gids: Vec<IdMap>,
        /// The source of the ids.
        from: Source,
    },
}

/// The source of a caller's further ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Ranges of subuid(5); newuidmap(1) and newgidmap(1) map them.
    Ranges,
    /// The ids of the namespace that the caller is user 0 of, each as itself;
    /// the caller maps them.
    Own,
}

/// Directories of the set-user-id programs; the caller's `PATH` does not count.
const PROGRAM_DIRS: [&str; 3] = ["/usr/bin", "/bin", "/usr/sbin"];

impl Ids {
    /// Returns the ids that the calling thread can have.
    pub(crate) fn detect() -> Self {
        if user::is_machine_root() {
            return Self::Host;
        }
        let many = match Uid::effective().is_root() {
            true => own_ids(),
            false => subordinate_ids(),
        };
        many.unwrap_or(Self::Single)
    }

    /// Returns whether a user namespace is needed.
    pub(crate) fn ordinary(&self) -> bool {
        *self != Self::Host
    }

    /// Returns whether the caller itself may give files to other ids.
    pub(crate) fn gives_files_away(&self) -> bool {
        let own = matches!(
            self,
            Self::Many {
                from: Source::Own,
                ..
            }
        );
        own || !self.ordinary()
    }

    /// Returns the ids inside of a user and a group outside; 0 for each that
    /// the maps do not hold.
    pub(crate) fn inside(&self, uid: u32, gid: u32) -> (u32, u32) {
        let inside = |map: &[IdMap], id: u32| {
            let line = map.iter().find_map(|line| {
                let above = id.checked_sub(line.outside)?;
                (above < line.count).then_some(line.inside + above)
            });
            line.unwrap_or(0)
        };
        match self {
            Self::Host => (uid, gid),
            Self::Single => (0, 0),
            Self::Many { uids, gids, .. } => (inside(uids, uid), inside(gids, gid)),
        }
    }

    /// Returns how many ids the maps have to grow by to hold a user and a
    /// group; 0 if these are in them.
    pub(crate) fn missing(&self, uid: u32, gid: u32) -> u32 {
        // The maps of Source::Ranges have no gap.
        let missing = |map: &[IdMap], id: u32| {
            let end = map
                .iter()
                .map(|line| line.inside.saturating_add(line.count));
            id.saturating_add(1).saturating_sub(end.max().unwrap_or(0))
        };
        match self {
            Self::Host | Self::Single => 0,
            Self::Many { uids, gids, .. } => missing(uids, uid).max(missing(gids, gid)),
        }
    }

    /// Writes the maps of process `pid`.
    ///
    /// # Errors
    /// [`Kind::Permission`] if the kernel or the set-user-id programs refuse
    /// one.
    pub(crate) fn write(&self, pid: u32) -> Result<()> {
        let Self::Many { uids, gids, from } = self else {
            return Ok(());
        };
        let write = match from {
            Source::Ranges => run,
            Source::Own => write_own,
        };
        write("uid", pid, uids)?;
        write("gid", pid, gids)
    }
}

/// Returns the ids of user 0 of a user namespace, or of the machine without
/// CAP_SYS_ADMIN: those that are mapped where it is, if it may hand them on.
fn own_ids() -> Option<Ids> {
    // The kernel asks for these where the caller is, user_namespaces(7).
    if !user::has_all(&[Capability::CAP_SETUID, Capability::CAP_SETGID]) {
        return None;
    }
    let read = |name: &str| fs::read_to_string(format!("/proc/thread-self/{name}")).ok();
    if read("setgroups")?.trim() == "deny" {
        // A command could not be given groups.
        return None;
    }
    let (uids, gids) = (as_itself(&read("uid_map")?), as_itself(&read("gid_map")?));
    let count = |map: &[IdMap]| map.iter().map(|line| u64::from(line.count)).sum::<u64>();
    (count(&uids) > 1 || count(&gids) > 1).then_some(Ids::Many {
        uids,
        gids,
        from: Source::Own,
    })
}

/// Maps each id of a uid_map to itself, for a child of that namespace.
fn as_itself(text: &str) -> Vec<IdMap> {
    let lines = text.lines().filter_map(|line| {
        let mut numbers = line.split_ascii_whitespace().map(str::parse);
        let (inside, count) = (numbers.next()?.ok()?, numbers.nth(1)?.ok()?);
        Some(IdMap {
            inside,
            outside: inside,
            count,
        })
    });
    lines.collect()
}

/// Returns the subordinate ids of an ordinary user, if something can map them.
fn subordinate_ids() -> Option<Ids> {
    let [uids, gids] = own_ranges()?;
    useless_programs().is_none().then(|| Ids::Many {
        uids: map(Uid::effective().as_raw(), &uids),
        gids: map(Gid::effective().as_raw(), &gids),
        from: Source::Ranges,
    })
}

/// Returns the caller's ranges of subuid(5) and subgid(5), if both files have
/// some.
fn own_ranges() -> Option<[Vec<(u32, u32)>; 2]> {
    let uid = Uid::effective();
    let name = User::find(uid.as_raw()).map(|u| u.name);
    let own = |file: &str| {
        let text = fs::read_to_string(file).ok()?;
        let ranges = ranges(&text, name.as_deref(), uid.as_raw());
        (!ranges.is_empty()).then_some(ranges)
    };
    Some([own("/etc/subuid")?, own("/etc/subgid")?])
}

/// The cure for user 0 of a user namespace, whose ids others have mapped.
const OUTSIDE: &str = "as a user with more ids in /etc/subuid and /etc/subgid: \
                       unshare --map-root-user --map-auto";

/// Something that keeps a caller from having more ids.
pub(crate) struct Lack {
    pub(crate) why: &'static str,
    pub(crate) cure: Cow<'static, str>,
}

/// Returns all that keeps a caller with one id from having more.
pub(crate) fn lacks() -> Vec<Lack> {
    if Uid::effective().is_root() {
        return vec![Lack {
            why: "this user namespace has one id, or denies setgroups(2)",
            cure: OUTSIDE.into(),
        }];
    }
    let none = own_ranges().is_none().then(|| Lack {
        why: "/etc/subuid and /etc/subgid give none",
        cure: more_ids(USUAL).into(),
    });
    useless_programs().into_iter().chain(none).collect()
}

/// The cure for an id that the caller's sandboxes do not have.
pub(crate) fn ids_of_more() -> String {
    match Ids::detect() {
        Ids::Many {
            from: Source::Own, ..
        } => OUTSIDE.to_owned(),
        Ids::Single => {
            let cures: Vec<_> = lacks().into_iter().map(|lack| lack.cure).collect();
            cures.join("; ")
        }
        Ids::Many { .. } | Ids::Host => more_ids(USUAL),
    }
}

/// Returns what is wrong with newuidmap(1) and newgidmap(1), if anything is.
fn useless_programs() -> Option<Lack> {
    let programs = ["newuidmap", "newgidmap"].map(program);
    let [Some(first), Some(second)] = programs else {
        return Some(Lack {
            why: "newuidmap and newgidmap are not installed",
            cure: "apt-get install uidmap".into(),
        });
    };
    if prctl::get_no_new_privs().unwrap_or(false) {
        return Some(Lack {
            why: "no_new_privs is set, so newuidmap and newgidmap gain no right",
            cure: "NoNewPrivileges=no in the unit, or --security-opt no-new-privileges=false \
                   for the outer sandbox"
                .into(),
        });
    }
    let has_nosuid =
        |path: &PathBuf| statvfs(path).is_ok_and(|fs| fs.flags().contains(FsFlags::ST_NOSUID));
    let program = [first, second].into_iter().find(has_nosuid)?;
    Some(Lack {
        why: "newuidmap and newgidmap are on a file system that is mounted nosuid",
        // Of the mount alone: other mounts of the file system keep theirs.
        cure: format!("as root: mount -o remount,bind,suid {}", mount_of(&program)).into(),
    })
}

/// Returns the mount point of the mount that shows a path.
fn mount_of(path: &Path) -> String {
    let shown = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let mounts = Mounts::now().unwrap_or_default();
    let point = mounts
        .showing(&shown)
        .map_or(Path::new("/"), |mount| &mount.point);
    point.display().to_string()
}

/// The lines of subuid(5) that are this user's, by name or number: first id,
/// count.
fn ranges(text: &str, name: Option<&str>, id: u32) -> Vec<(u32, u32)> {
    let mine = |who: &str| Some(who) == name || who.parse() == Ok(id);
    text.lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let who = fields.next()?;
            let first = fields.next()?.parse().ok()?;
            let count = fields.next()?.parse().ok()?;
            (mine(who) && count > 0).then_some((first, count))
        })
        .collect()
}

/// As many ids as a user is mostly given.
pub(crate) const USUAL: u32 = 65536;

/// The command that gives a user `count` more subordinate ids which no user
/// has. Without room for so many, FIRST-LAST stands for them.
pub(crate) fn more_ids(count: u32) -> String {
    let uid = Uid::effective();
    let name = User::find(uid.as_raw());
    let user = name.map_or_else(|| uid.to_string(), |user| user.name);
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let texts = [read("/etc/subuid"), read("/etc/subgid")];
    let free = match free_range(texts.iter().map(String::as_str), count) {
        Some((first, last)) => format!("{first}-{last}"),
        None => "FIRST-LAST".into(),
    };
    format!("usermod --add-subuids {free} --add-subgids {free} {user}")
}

/// `count` ids from 100000 on that no user has in any of these subuid(5) texts:
/// first and last.
fn free_range<'a>(texts: impl IntoIterator<Item = &'a str>, count: u32) -> Option<(u32, u32)> {
    let end = |line: &str| -> Option<u64> {
        let mut numbers = line.split(':').skip(1).map(|n| n.parse::<u64>().ok());
        Some(numbers.next()??.saturating_add(numbers.next()??))
    };
    let ends = texts.into_iter().flat_map(str::lines).filter_map(end);
    let first = ends.fold(100_000, u64::max);
    let last = first.checked_add(u64::from(count) - 1)?;
    // The last one is no id, setreuid(2).
    let last = u32::try_from(last).ok().filter(|last| *last < u32::MAX)?;
    Some((u32::try_from(first).ok()?, last))
}

/// 0 is the caller; the subordinate ranges follow from 1 on.
fn map(own: u32, ranges: &[(u32, u32)]) -> Vec<IdMap> {
    let mut map = vec![IdMap {
        inside: 0,
        outside: own,
        count: 1,
    }];
    let mut inside = 1u32;
    for (outside, count) in ranges {
        let count = (*count).min(u32::MAX - inside);
        map.push(IdMap {
            inside,
            outside: *outside,
            count,
        });
        inside += count;
    }
    map
}

fn program(name: &str) -> Option<PathBuf> {
    PROGRAM_DIRS
        .iter()
        .map(|dir| Path::new(dir).join(name))
        .find(|path| path.is_file())
}

/// Writes a map that the kernel takes from the caller itself.
fn write_own(kind: &str, pid: u32, map: &[IdMap]) -> Result<()> {
    let file = format!("/proc/{pid}/{kind}_map");
    let step = match kind {
        "uid" => Step::WriteUidMap,
        _ => Step::WriteGidMap,
    };
    fs::write(&file, text(map)).map_err(|e| {
        Error::io(step, &file, e)
            .with_cure("a user 0 with CAP_SETUID, CAP_SETGID and CAP_SETFCAP, or an ordinary user")
    })
}

/// Has a set-user-id program write a map.
fn run(kind: &str, pid: u32, map: &[IdMap]) -> Result<()> {
    let name = &format!("new{kind}map");
    let step = || Step::WriteIdMapWith.named(name);
    let path = program(name).ok_or_else(|| {
        Error::new(Kind::Unsupported, step(), "the program is not installed")
            .with_cure("apt-get install uidmap")
    })?;
    let mut command = Command::new(&path);
    command
        .env_clear()
        .arg(pid.to_string())
        .stdin(Stdio::null());
    for line in map {
        command.args([line.inside, line.outside, line.count].map(|n| n.to_string()));
    }
    let wrong = |e| Error::io(step(), path.display(), e);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(wrong)?;
    let mut said = Vec::new();
    if let Some(mut from) = child.stderr.take() {
        from.read_to_end(&mut said).map_err(wrong)?;
    }
    // The map says how it went: a host that ignores SIGCHLD, or waits for
    // everything, may have taken the status.
    let ended = child.wait().ok();
    let file = format!("/proc/{pid}/{kind}_map");
    if fs::read_to_string(file).is_ok_and(|map| !map.trim().is_empty()) {
        return Ok(());
    }
    if let Some(signal) = ended.and_then(|status| status.signal()) {
        let why = format!("{}: killed by signal {signal}", path.display());
        return Err(Error::new(Kind::Broken, step(), why));
    }
    let said = String::from_utf8_lossy(&said);
    let error = Error::new(Kind::Permission, step(), said.trim().replace('\n', "; "));
    let is_read_only = statvfs("/proc").is_ok_and(|fs| fs.flags().contains(FsFlags::ST_RDONLY));
    Err(error.with_cure(match is_read_only {
        true => "mount -o remount,rw /proc",
        false => "give the user ranges in /etc/subuid and /etc/subgid that no other user has",
    }))
}

/// A map as user_namespaces(7) has it written.
pub(crate) fn text(map: &[IdMap]) -> String {
    map.iter()
        .map(|line| format!("{} {} {}\n", line.inside, line.outside, line.count))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idmap_lines_of_others_are_not_ours() {
        let text = "alice:100000:65536\nbob:1:2\n1000:300000:10\nmalformed\nalice:x:1\nalice:5:0\n";
        assert_eq!(
            ranges(text, Some("alice"), 1000),
            [(100_000, 65536), (300_000, 10)]
        );
        assert_eq!(ranges(text, None, 7), []);
    }

    #[test]
    fn idmap_range_that_is_free_has_no_owner() {
        let (uids, gids) = (
            "alice:100000:65536\nmalformed\nx:y\n",
            "bob:300000:10\n1:2:3",
        );
        assert_eq!(free_range([""], USUAL), Some((100_000, 165_535)));
        assert_eq!(free_range([uids], USUAL), Some((165_536, 231_071)));
        assert_eq!(free_range([uids, gids], USUAL), Some((300_010, 365_545)));
        for full in [
            "a:4294900000:65536",
            "a:0:18446744073709551615",
            "a:18446744073709551615:1",
        ] {
            assert_eq!(free_range([full], USUAL), None, "{full}");
        }
    }

    #[test]
    fn idmap_without_an_id_tells_how_many_are_missing() {
        let map = |count| map(1000, &[(100_000, count)]);
        let ids = Ids::Many {
            uids: map(65_536),
            gids: map(10),
            from: Source::Ranges,
        };
        for (uid, gid, missing) in [
            (0, 10, 0),
            (65_536, 0, 0),
            (65_537, 0, 1),
            (0, 11, 1),
            (70_000, 100, 4_464),
            (u32::MAX - 1, 0, u32::MAX - 65_537),
        ] {
            assert_eq!(ids.missing(uid, gid), missing, "{uid}:{gid}");
        }
        assert_eq!(Ids::Single.missing(7, 7), 0);
    }

    #[test]
    fn idmap_of_a_namespace_is_kept_as_it_is() {
        let shown =
            "         0       1000          1\n         1     100000      65536\nmalformed\n";
        assert_eq!(text(&as_itself(shown)), "0 0 1\n1 1 65536\n");
        assert_eq!(as_itself(""), []);
    }

    #[test]
    fn idmap_ids_outside_map_to_ids_inside() {
        let map = map(1000, &[(100_000, 10)]);
        let ids = Ids::Many {
            uids: map.clone(),
            gids: map,
            from: Source::Ranges,
        };
        assert_eq!(ids.inside(1000, 100_009), (0, 10));
        // Below, between and above the lines.
        assert_eq!(ids.inside(0, 1001), (0, 0));
        assert_eq!(ids.inside(100_010, u32::MAX), (0, 0));
        assert_eq!(Ids::Single.inside(1000, 5), (0, 0));
        assert_eq!(Ids::Host.inside(1000, 5), (1000, 5));
    }

    #[test]
    fn idmap_own_id_is_root_inside() {
        assert_eq!(
            text(&map(1000, &[(100_000, 65536), (300_000, 10)])),
            "0 1000 1\n1 100000 65536\n65537 300000 10\n"
        );
    }
}
