// SPDX-License-Identifier: MIT OR Apache-2.0
//! Image references: the words that name an image.
#![forbid(unsafe_code)]

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::{Error, Kind, Result, Step, shown};
use crate::image::digest::Digest;

/// The tag of a name that has neither a tag nor a digest.
const LATEST: &str = "latest";
/// Default registry, and another name of the same registry.
const HUB: [&str; 2] = ["docker.io", "index.docker.io"];
/// Path of names without a path in the default registry.
const HUB_PATH: &str = "library";
/// First words of other references; these are no names.
const SCHEMES: [&str; 4] = ["host", "dir", "oci", "archive"];
/// The distribution spec's bound for a whole name, registry included.
const NAME_MAX: usize = 255;
/// The distribution spec's bound for a tag.
const TAG_MAX: usize = 128;

/// A reference to an image.
///
/// `host`, `dir:PATH`, `oci:PATH[:TAG]`, `archive:FILE`, `NAME[:TAG][@DIGEST]`,
/// or `DIGEST` alone. Names, tags and digests follow the grammar of the OCI
/// distribution spec ("Pulling manifests") and of Docker's reference package.
/// Parsing rejects all other text, so a name needs no second check before use.
///
/// ```
/// use tare::image::Reference;
/// let debian: Reference = "docker.io/library/debian:12".parse()?;
/// assert_eq!(debian, Reference::Named {
///     name: "docker.io/library/debian".into(),
///     tag: Some("12".into()),
///     digest: None,
/// });
/// assert!("debian:../12".parse::<Reference>().is_err());
/// # Ok::<(), tare::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// The machine's own `/`.
    Host,
    /// A root directory, used in place.
    Dir(PathBuf),
    /// An OCI image layout.
    Oci {
        /// The directory that holds `oci-layout`.
        path: PathBuf,
        /// `org.opencontainers.image.ref.name` of the image. Default: the only
        /// image.
        tag: Option<String>,
    },
    /// A docker-archive (`docker save`) or an oci-archive (a tar of an OCI
    /// image layout).
    Archive(PathBuf),
    /// An image of the store, by name. `debian` finds an image filed as
    /// `docker.io/library/debian`, and the other way round.
    Named {
        /// Registry and repository, as written.
        name: String,
        /// Default: `latest`, unless there is a digest.
        tag: Option<String>,
        /// Digest of the image's manifest, which decides if given.
        digest: Option<Digest>,
    },
    /// An image of the store, by the digest of its manifest alone.
    Digest(Digest),
}

impl Reference {
    /// Returns `NAME:TAG`, the name that the store files the image under;
    /// `None` for a reference without a name.
    pub fn stored_name(&self) -> Option<String> {
        match self {
            Self::Named { name, tag, .. } => {
                Some(format!("{name}:{}", tag.as_deref().unwrap_or(LATEST)))
            }
            _ => None,
        }
    }

    /// Returns the name with registry and path written out, as Docker does:
    /// `debian` is `docker.io/library/debian:latest`.
    fn whole_name(&self) -> Option<String> {
        let Self::Named { name, tag, .. } = self else {
            return None;
        };
        let tag = tag.as_deref().unwrap_or(LATEST);
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if says_registry(first) => (first, rest),
            _ => (HUB[0], name.as_str()),
        };
        Some(match HUB.contains(&registry) {
            true if path.contains('/') => format!("{}/{path}:{tag}", HUB[0]),
            true => format!("{}/{HUB_PATH}/{path}:{tag}", HUB[0]),
            false => format!("{registry}/{path}:{tag}"),
        })
    }

    fn named(text: &str) -> Option<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().ok()?)),
            None => (text, None),
        };
        // A colon before the last slash belongs to the registry's port.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        // With the tag written out, `oci:latest` would be another reference.
        if SCHEMES.contains(&name) || !is_name(name) || !tag.is_none_or(is_tag) {
            return None;
        }
        Some(Self::Named {
            name: name.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }
}

impl FromStr for Reference {
    type Err = Error;

    /// # Errors
    /// [`Kind::Invalid`] if the text has none of the forms above.
    fn from_str(text: &str) -> Result<Self> {
        let path = |path: &str| {
            if path.is_empty() || path.contains('\0') {
                return Err(wrong(text, "it has no path"));
            }
            Ok(PathBuf::from(path))
        };
        if text == "host" {
            return Ok(Self::Host);
        }
        if let Some(rest) = text.strip_prefix("dir:") {
            return Ok(Self::Dir(path(rest)?));
        }
        if let Some(rest) = text.strip_prefix("archive:") {
            return Ok(Self::Archive(path(rest)?));
        }
        if let Some(rest) = text.strip_prefix("oci:") {
            let (rest, tag) = layout_tag(rest);
            return Ok(Self::Oci {
                path: path(rest)?,
                tag: tag.map(str::to_owned),
            });
        }
        if let Ok(digest) = text.parse() {
            return Ok(Self::Digest(digest));
        }
        Self::named(text).ok_or_else(|| {
            wrong(text, "it is not an image reference")
                .with_cure("host, dir:PATH, oci:PATH[:TAG], archive:FILE or name[:tag][@sha256:...] in lower case")
        })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Dir(path) => write!(f, "dir:{}", path.display()),
            Self::Archive(path) => write!(f, "archive:{}", path.display()),
            Self::Oci { path, tag } => {
                write!(f, "oci:{}", path.display())?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))
            }
            Self::Named { name, tag, digest } => {
                f.write_str(name)?;
                tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
                digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
            }
            Self::Digest(digest) => write!(f, "{digest}"),
        }
    }
}

/// Returns whether two texts name the same image, as `debian`,
/// `docker.io/debian` and `docker.io/library/debian:latest` do. Compares texts
/// that are no names byte by byte.
pub(crate) fn same_name(a: &str, b: &str) -> bool {
    a == b || whole_name(a) == whole_name(b)
}

#[cfg(test)]
thread_local! {
    /// Calls of [`whole_name`], which every comparison of two names needs.
    pub(crate) static WHOLE_NAMES: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Returns the name with registry, path and tag written out; returns text that
/// is no name unchanged.
pub(crate) fn whole_name(text: &str) -> String {
    #[cfg(test)]
    WHOLE_NAMES.set(WHOLE_NAMES.get() + 1);
    let reference = text.parse::<Reference>().ok();
    let whole = reference.and_then(|reference| reference.whole_name());
    whole.unwrap_or_else(|| text.to_owned())
}

fn wrong(text: &str, why: &str) -> Error {
    let subject = format!("{}: {why}", shown(text));
    Error::new(Kind::Invalid, Step::ParseReference, subject)
}

/// Splits `PATH[:TAG]`. As in skopeo, the first colon ends the path, and the
/// rest is a reference name, which may hold colons (`layout:debian:12`). A
/// colon before an invalid reference name belongs to the path.
fn layout_tag(text: &str) -> (&str, Option<&str>) {
    let colons = text.match_indices(':').map(|(at, _)| at);
    for at in colons {
        let (path, tag) = (&text[..at], &text[at + 1..]);
        if is_ref_name(tag) {
            return (path, Some(tag));
        }
    }
    (text, None)
}

/// Returns whether `text` is a reference name. OCI image spec, annotations,
/// `org.opencontainers.image.ref.name`, without a slash where the slash would
/// make a path.
pub(crate) fn is_ref_name(text: &str) -> bool {
    let ends = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= NAME_MAX + TAG_MAX
        && ends(bytes.first())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-._:@/+".contains(b))
        && !text
            .split(['/', ':'])
            .any(|part| matches!(part, "" | "." | ".."))
}

/// Returns whether the first part of a name is a registry, by Docker's rule.
fn says_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.contains(char::is_uppercase)
}

/// `[host[:port]/]component[/component]...`
fn is_name(name: &str) -> bool {
    if name.is_empty() || name.len() > NAME_MAX {
        return false;
    }
    let is_path = |path: &str| path.split('/').all(is_component);
    match name.split_once('/') {
        Some((first, rest)) => (is_registry(first) || is_component(first)) && is_path(rest),
        None => is_component(name),
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes().peekable();
    loop {
        if bytes.next_if(|b| alphanumeric(*b)).is_none() {
            return false;
        }
        while bytes.next_if(|b| alphanumeric(*b)).is_some() {}
        match bytes.next() {
            None => return true,
            Some(b'.') => {}
            Some(b'_') => drop(bytes.next_if_eq(&b'_')),
            Some(b'-') => while bytes.next_if_eq(&b'-').is_some() {},
            Some(_) => return false,
        }
    }
}

/// A host name, an IPv4 address or a bracketed IPv6 address, and a port. A dot,
/// a port, `localhost` or capitals tell a registry from a component.
fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|_| !port.starts_with('+'));
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let is_host = match host.strip_prefix('[').and_then(|h| h.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.split('.').all(is_label),
    };
    is_host && port.is_none_or(is_port)
}

/// `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`
fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= TAG_MAX
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn named(name: &str, tag: Option<&str>) -> Reference {
        Reference::Named {
            name: name.into(),
            tag: tag.map(str::to_owned),
            digest: None,
        }
    }

    #[test]
    fn reference_of_each_form_parses_and_prints_back() {
        let digest = format!("sha256:{HEX}").parse::<Digest>().unwrap();
        let oci = |path: &str, tag: Option<&str>| Reference::Oci {
            path: path.into(),
            tag: tag.map(str::to_owned),
        };
        let table = [
            ("host", Reference::Host),
            ("dir:/srv/root", Reference::Dir("/srv/root".into())),
            ("dir:a:b", Reference::Dir("a:b".into())),
            ("oci:images/debian", oci("images/debian", None)),
            ("oci:images/debian:12", oci("images/debian", Some("12"))),
            ("oci:x:debian:12", oci("x", Some("debian:12"))),
            (
                "archive:/tmp/x.tar",
                Reference::Archive("/tmp/x.tar".into()),
            ),
            ("debian", named("debian", None)),
            ("debian:12-slim", named("debian", Some("12-slim"))),
            ("a/b__c/d--e.f:_T", named("a/b__c/d--e.f", Some("_T"))),
            ("localhost:5000/x", named("localhost:5000/x", None)),
            ("[::1]:5000/x:y", named("[::1]:5000/x", Some("y"))),
            ("Reg.Example/x", named("Reg.Example/x", None)),
            (&digest.to_string(), Reference::Digest(digest)),
            (
                &format!("debian:12@sha256:{HEX}"),
                Reference::Named {
                    name: "debian".into(),
                    tag: Some("12".into()),
                    digest: Some(digest),
                },
            ),
        ];
        for (text, reference) in table {
            assert_eq!(text.parse::<Reference>().unwrap(), reference, "{text}");
            assert_eq!(reference.to_string(), text);
        }
    }

    #[test]
    fn reference_outside_the_grammar_is_refused() {
        let digest = format!("dir@sha256:{HEX}");
        let long_tag = format!("x:{}", "t".repeat(129));
        let long_name = "n".repeat(256);
        let odd = ["", "x y", "x\n", "x\0", "dir:a\0", "x:a/b:c d"];
        let words = "dir: oci: archive: oci archive host:12 Debian debian: :12 /x x/ x//y .. ../x \
            x/../y .x x. x..y x___y -x x- x:-t x:.t x:t:u x@ x@sha256:abc x@md5:abc a@b@c \
            x:1@sha256:../../x \u{e9} x:\u{e9} reg:port/x reg:99999/x [::g]/x x?y x;rm $(x)";
        let long = [&*digest, &long_tag, &long_name];
        for text in odd.into_iter().chain(words.split_whitespace()).chain(long) {
            let error = text.parse::<Reference>().expect_err(text);
            assert_eq!(error.kind(), Kind::Invalid, "{text:?}");
            assert!(error.to_string().len() < 600);
        }
    }

    #[test]
    fn reference_of_docker_s_registry_has_several_spellings() {
        let table: [(&str, &str, bool); 13] = [
            ("debian", "docker.io/library/debian", true),
            ("debian", "docker.io/debian:latest", true),
            ("debian:12", "index.docker.io/library/debian:12", true),
            ("a/b", "docker.io/a/b", true),
            ("docker.io/library/debian", "docker.io/debian", true),
            ("debian", "debian:12", false),
            ("debian", "library/debian", true),
            ("debian", "localhost/debian", false),
            ("debian", "quay.io/library/debian", false),
            ("localhost:5000/a", "a", false),
            ("localhost/a", "localhost/a:latest", true),
            ("Not A Name", "Not A Name", true),
            ("Not A Name", "not a name", false),
        ];
        for (a, b, same) in table {
            assert_eq!(same_name(a, b), same, "{a} {b}");
            assert_eq!(same_name(b, a), same, "{b} {a}");
            assert_eq!(whole_name(a) == whole_name(b), same);
        }
    }

    #[test]
    fn reference_name_is_stored_with_its_tag_written_out() {
        let stored = |text: &str| text.parse::<Reference>().unwrap().stored_name();
        assert_eq!(stored("debian").as_deref(), Some("debian:latest"));
        assert_eq!(stored("reg:5000/x:1").as_deref(), Some("reg:5000/x:1"));
        assert_eq!(stored("host"), None);
    }
}
