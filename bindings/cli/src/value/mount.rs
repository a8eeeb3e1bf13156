// SPDX-License-Identifier: MIT OR Apache-2.0
//! Mounts in the notation of docker-run(1): `--volume`, `--mount` and
//! `--tmpfs`. Paths are bytes: a backslash is a backslash.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use tare::spec::{Mount, MountKind, Tmpfs};
use tare::{Error, Kind, Result};

const STEP: &str = "parse mount";

fn wrong(why: impl std::fmt::Display, cure: impl Into<Cow<'static, str>>) -> Error {
    Error::new(Kind::Invalid, STEP, why).with_cure(cure)
}

/// Reads `SOURCE:TARGET[:OPTIONS]`.
pub(crate) fn volume(text: &OsStr) -> Result<Mount> {
    let parts: Vec<&[u8]> = text.as_bytes().split(|b| *b == b':').collect();
    let (source, target, options) = match parts.as_slice() {
        [source, target] => (source, target, &b""[..]),
        [source, target, options] => (source, target, *options),
        _ => {
            let why = format_args!("{text:?} is not a mount");
            let cure = "SOURCE:TARGET[:OPTIONS]; --mount type=bind,source=SOURCE,target=TARGET \
                        for a path with a colon";
            return Err(wrong(why, cure));
        }
    };
    let mut mount = Mount::new(MountKind::Bind(path(source)), path(target));
    for option in words(options)? {
        match option {
            "z" | "Z" => relabel(Path::new("/sys/fs/selinux/enforce"))?,
            // Options for Docker's virtual machines and volumes, and the
            // propagation that every mount has here.
            "cached" | "consistent" | "delegated" | "nocopy" | "private" | "rprivate" => {}
            "shared" | "rshared" | "slave" | "rslave" => return Err(propagation(option)),
            _ => mount.set_option(option)?,
        }
    }
    Ok(mount)
}

/// Reads `TARGET[:OPTIONS]`, with the options of tmpfs(5).
pub(crate) fn tmpfs(text: &OsStr) -> Result<Mount> {
    let bytes = text.as_bytes();
    let end = bytes.iter().position(|b| *b == b':');
    let (target, options) = match end {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b""[..]),
    };
    let mut mount = Mount::new(MountKind::Tmpfs(Tmpfs::default()), path(target));
    for option in words(options)? {
        match option {
            // Always on.
            "nosuid" | "nodev" => {}
            _ => mount.set_option(option)?,
        }
    }
    Ok(mount)
}

/// Reads `KEY=VALUE,...`; a field with a comma is quoted as in CSV.
pub(crate) fn mount(text: &OsStr) -> Result<Mount> {
    let mut kind = None;
    let (mut source, mut target) = (None, None);
    // An option may stand in front of the type that has it.
    let mut options = Vec::new();
    for field in fields(text.as_bytes())? {
        let at = field.iter().position(|b| *b == b'=');
        let (key, value) = match at {
            Some(at) => (&field[..at], Some(&field[at + 1..])),
            None => (&field[..], None),
        };
        let said = OsStr::from_bytes(&field);
        let word = value.map(|value| std::str::from_utf8(value).unwrap_or("\0"));
        match (key, word) {
            (b"type", Some(word)) => kind = Some(word.to_owned()),
            (b"source" | b"src", Some(_)) => source = value.map(<[u8]>::to_vec),
            (b"target" | b"destination" | b"dst", Some(_)) => target = value.map(<[u8]>::to_vec),
            (b"readonly" | b"ro", None) => options.push("ro".to_owned()),
            (b"readonly" | b"ro", Some(word)) => {
                let option = if super::boolean(word)? { "ro" } else { "rw" };
                options.push(option.to_owned());
            }
            (b"bind-propagation", Some("private" | "rprivate")) => {}
            (b"bind-propagation", Some(word)) => return Err(propagation(word)),
            (b"bind-recursive", Some("enabled")) | (b"consistency", Some(_)) => {}
            _ => options.push(tmpfs_option(said)?),
        }
    }
    let Some(target) = target else {
        return Err(wrong(
            format_args!("{text:?} has no target"),
            "target=/DIRECTORY",
        ));
    };
    let kind = match (kind.as_deref(), source) {
        (Some("bind"), Some(source)) => MountKind::Bind(path(&source)),
        (Some("cow"), Some(source)) => MountKind::Cow(path(&source)),
        (Some("tmpfs"), None) => MountKind::Tmpfs(Tmpfs::default()),
        (Some("tmpfs"), Some(_)) => return Err(wrong("a tmpfs has no source", "no source=")),
        (Some("bind" | "cow"), None) => {
            return Err(wrong(
                format_args!("{text:?} has no source"),
                "source=/PATH",
            ));
        }
        (Some("volume") | None, _) => {
            let why = "volumes with names are not kept";
            return Err(wrong(why, "type=bind, type=cow or type=tmpfs"));
        }
        (Some(other), _) => return Err(unknown(other, "type=bind, type=cow or type=tmpfs")),
    };
    let mut mount = Mount::new(kind, path(&target));
    for option in options {
        if option.contains('=') && !matches!(mount.kind, MountKind::Tmpfs(_)) {
            return Err(unknown(format_args!("tmpfs-{option}"), "type=tmpfs"));
        }
        mount.set_option(&option)?;
    }
    Ok(mount)
}

/// Lists the values of a tmpfs, as `--mount` has them: `tmpfs-size=SIZE`.
pub(crate) fn of_tmpfs() -> impl Iterator<Item = String> {
    let options = MountKind::Tmpfs(Tmpfs::default()).options().into_iter();
    let values = options.filter(|option| option.contains('='));
    values.map(|option| format!("tmpfs-{option}"))
}

/// Reads a field of `--mount` that gives a tmpfs a value.
fn tmpfs_option(field: &OsStr) -> Result<String> {
    let split = field.to_str().and_then(|field| field.split_once('='));
    let is_known = |name: &str| of_tmpfs().any(|known| known.split('=').next() == Some(name));
    match split {
        Some((name, value)) if is_known(name) => {
            Ok(format!("{}={value}", name.trim_start_matches("tmpfs-")))
        }
        _ => {
            let keys = ["type=", "source=", "target=", "readonly"];
            let keys: Vec<String> = keys
                .map(str::to_owned)
                .into_iter()
                .chain(of_tmpfs())
                .collect();
            Err(unknown(field, keys.join(", ")))
        }
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

/// Returns the words between commas, without empty words.
fn words(options: &[u8]) -> Result<Vec<&str>> {
    match std::str::from_utf8(options) {
        Ok(options) => Ok(options.split(',').filter(|word| !word.is_empty()).collect()),
        Err(_) => Err(unknown(OsStr::from_bytes(options), "ro, rw, cow")),
    }
}

fn unknown(option: impl std::fmt::Debug, cure: impl Into<Cow<'static, str>>) -> Error {
    wrong(format_args!("{option:?} is not known"), cure)
}

fn propagation(word: &str) -> Error {
    let why = format_args!("propagation {word:?}: later mounts are not seen inside");
    wrong(why, "rprivate")
}

/// # Errors
/// With SELinux, because the labels of host files are never changed.
fn relabel(enforce: &Path) -> Result<()> {
    match enforce.exists() {
        false => Ok(()),
        true => Err(wrong(
            "z: labels of the host's files are not changed",
            "chcon -Rt container_file_t SOURCE, and no z",
        )),
    }
}

/// Splits a record of RFC 4180: a quoted field may hold commas and doubled
/// quotes.
fn fields(text: &[u8]) -> Result<Vec<Vec<u8>>> {
    let mut found = vec![Vec::new()];
    let mut rest = text;
    loop {
        let field = found.last_mut().expect("there is always one");
        let quoted = rest.first() == Some(&b'"');
        rest = &rest[usize::from(quoted)..];
        while let Some((byte, after)) = rest.split_first() {
            rest = match (quoted, byte, after.first()) {
                (false, b',', _) => break,
                (true, b'"', Some(b'"')) => &after[1..],
                (true, b'"', Some(b',') | None) => break,
                (_, b'"', _) => return Err(quotes(text)),
                _ => after,
            };
            field.push(*byte);
        }
        // Continues at the closing quote, at the comma after it, or at the end.
        rest = match (quoted, rest) {
            (true, [b'"', rest @ ..]) => rest,
            (true, _) => return Err(quotes(text)),
            (false, rest) => rest,
        };
        rest = match rest {
            [] => return Ok(found),
            rest => &rest[1..],
        };
        found.push(Vec::new());
    }
}

fn quotes(text: &[u8]) -> Error {
    let why = format_args!("quotes of {:?} have no pair", OsStr::from_bytes(text));
    wrong(why, r#"'"source=/a,b"',target=/c"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_spec(json: &str) -> Mount {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn mount_and_tmpfs_agree_with_the_spec() {
        let table = r#"{"type": "tmpfs", "target": "/t", "options": ["size=1m", "mode=700"]}"#;
        for (flag, text, spec) in [
            ("mount", "type=bind,src=/a,dst=/b,readonly", r#""/a:/b:ro""#),
            ("mount", "type=bind,src=/a,dst=/b,ro=false", r#""/a:/b""#),
            ("mount", "type=cow,source=/a,target=/b", r#""/a:/b:cow""#),
            (
                "mount",
                "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
                table,
            ),
            (
                "mount",
                "tmpfs-size=1m,tmpfs-mode=700,dst=/t,type=tmpfs",
                table,
            ),
            (
                "mount",
                r#"type=bind,"src=/a,""b""",dst=/c"#,
                r#""/a,\"b\":/c""#,
            ),
            ("volume", "/a:/b:ro,z", r#""/a:/b:ro""#),
            ("volume", r"/a\b:/c:cow", r#""/a\\\\b:/c:cow""#),
            ("volume", "/a:/b:noexec,rprivate", r#""/a:/b:noexec""#),
            ("tmpfs", "/t:size=1m,mode=700,rw,nosuid,nodev", table),
        ] {
            let read = match flag {
                "mount" => mount,
                "volume" => volume,
                _ => tmpfs,
            };
            assert_eq!(read(OsStr::new(text)).unwrap(), of_spec(spec), "{text}");
        }
    }

    #[test]
    fn path_may_be_any_bytes() {
        let text = OsStr::from_bytes(b"/a\xff:/b\xfe");
        let read = volume(text).unwrap();
        assert_eq!(read.kind, MountKind::Bind(path(b"/a\xff")));
        assert_eq!(read.target, path(b"/b\xfe"));
        let text = OsStr::from_bytes(b"type=bind,src=/a\xff,dst=/b");
        assert_eq!(mount(text).unwrap().kind, MountKind::Bind(path(b"/a\xff")));
    }

    #[test]
    fn mount_that_is_not_known_is_refused() {
        for text in [
            "src=/a,dst=/b",
            "type=volume,src=a,dst=/b",
            "type=bind,dst=/b",
            "type=bind,src=/a",
            "type=bind,src=/a,dst=/b,tmpfs-size=1m",
            "type=bind,src=/a,dst=/b,bind-propagation=shared",
            r#"type=bind,"src=/a,dst=/b"#,
            r#"type=bind,src="/a",dst=/b"#,
            r#"type=bind,"src=/a"b,dst=/b"#,
        ] {
            assert!(mount(OsStr::new(text)).is_err(), "{text}");
        }
        for text in ["/a", "/a:/b:c:d", "/a:/b:shared", "/a:/b:frob"] {
            assert!(volume(OsStr::new(text)).is_err(), "{text}");
        }
        for text in ["/t:size=x", "/t:mode=9", "/t:suid", "/t:uid=1"] {
            assert!(tmpfs(OsStr::new(text)).is_err(), "{text}");
        }
    }

    #[test]
    fn label_is_left_alone_only_where_there_is_selinux() {
        assert!(relabel(Path::new("/no/such")).is_ok());
        assert!(relabel(Path::new("/proc/self/stat")).is_err());
    }
}
