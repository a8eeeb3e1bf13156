// SPDX-License-Identifier: MIT OR Apache-2.0
//! Where an image is brought from: named members, read from the start.
#![forbid(unsafe_code)]

mod archive;
mod docker;
mod input;
mod layout;
mod opened;
mod resolve;
mod select;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use crate::error::{Error, Kind, Result};
use crate::image::digest::Digest;
use crate::image::oci::{DOCUMENT_MAX, Descriptor};
use crate::image::platform::Platform;

pub(crate) use archive::Archive;
pub(crate) use input::Room;
pub(crate) use layout::Layout;
pub(crate) use opened::Opened;

/// Something that holds members by name, `index.json` or `blobs/sha256/...`.
pub(crate) trait Source: Sync {
    /// Opens a member; [`Kind::NotFound`] if there is none.
    fn open(&self, name: &str) -> Result<Member<'_>>;

    /// The source in the words of a reference, for errors.
    fn label(&self) -> String;

    /// What helps if a member has the wrong bytes.
    fn cure(&self) -> &'static str {
        "get the image again"
    }
}

/// An open member.
pub(crate) struct Member<'a> {
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    pub(crate) size: u64,
}

/// Which of the images of a source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    /// Reference name; default: the only image there is.
    pub(crate) tag: Option<String>,
    /// Default: the host's, or what a source with a single image has.
    pub(crate) platform: Option<Platform>,
    /// Whether the names that the source gives are looked for.
    pub(crate) names: bool,
}

/// One image of a source: its documents, and where its layers are.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// None if the source has none; then one is made from what the layers turn out to be.
    pub(crate) manifest: Option<Document>,
    pub(crate) config: Document,
    /// Bottom first.
    pub(crate) layers: Vec<ResolvedLayer>,
    /// Names that the source gives the image.
    pub(crate) names: Vec<String>,
    /// What of the source was passed over, and why; one sentence each.
    pub(crate) notes: Vec<String>,
    /// Checked configuration.
    pub(crate) parsed: super::config::Parsed,
}

/// A small blob, read and verified.
#[derive(Debug, Clone)]
pub(crate) struct Document {
    pub(crate) descriptor: Descriptor,
    pub(crate) bytes: Vec<u8>,
}

/// A layer that was not read yet.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedLayer {
    /// Member of the source that holds it.
    pub(crate) member: String,
    /// What the manifest says about the blob; none if the source has no manifest.
    pub(crate) expected: Option<(Digest, u64)>,
    /// What the config says about the plain tar.
    pub(crate) diff_id: Digest,
}

/// How many of a source's own words one error shows.
const NAMES_SHOWN: usize = 20;

/// Opens a layout directory.
pub(crate) fn open_layout(path: &Path) -> Result<Layout> {
    Layout::open(path)
}

/// Finds one image in a source, told by what the source holds.
pub(crate) fn find(source: &dyn Source, selector: &Selector) -> Result<Resolved> {
    match source.open("oci-layout") {
        Ok(_) => resolve::find(source, selector),
        Err(e) if e.kind() == Kind::NotFound => docker::find(source, selector),
        Err(e) => Err(e),
    }
}

/// Finds every image of a source, or those that the selector names, with the names
/// that the source gives them.
///
/// Each is given away before the next is read: there may be many.
pub(crate) fn each(source: &dyn Source, selector: &Selector, take: &mut Take<'_>) -> Result<()> {
    if selector.tag.is_some() {
        return take(find(source, selector)?);
    }
    match source.open("oci-layout") {
        Ok(_) => resolve::each(source, selector, take),
        Err(e) if e.kind() == Kind::NotFound => docker::each(source, selector, take),
        Err(e) => Err(e),
    }
}

/// What is done with each image of a source; an error ends the search.
pub(crate) type Take<'a> = dyn FnMut(Resolved) -> Result<()> + 'a;

pub(crate) use resolve::find_manifest;

/// The member that holds a blob. The digest's grammar makes it a safe name.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a small member whole.
pub(crate) fn read_document(source: &dyn Source, name: &str) -> Result<Vec<u8>> {
    let member = source.open(name)?;
    let subject = format!("{}: {name}", source.label());
    if member.size > DOCUMENT_MAX {
        return Err(Error::new(
            Kind::Corrupt,
            "read image",
            format_args!("{subject}: larger than 4 MiB"),
        ));
    }
    let mut bytes = Vec::with_capacity(member.size as usize);
    let mut reader = member.reader.take(DOCUMENT_MAX + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io("read image", &subject, e))?;
    Ok(bytes)
}

/// Reads a small blob whole and verifies it against its descriptor.
pub(crate) fn read_blob(source: &dyn Source, descriptor: &Descriptor) -> Result<Document> {
    let bytes = read_document(source, &blob_name(&descriptor.digest))?;
    check_blob(
        source,
        (descriptor.digest, descriptor.size),
        (Digest::of(&bytes), bytes.len() as u64),
    )?;
    Ok(Document {
        descriptor: descriptor.clone(),
        bytes,
    })
}

/// Compares what was promised about a blob with what was read.
pub(crate) fn check_blob(
    source: &dyn Source,
    expected: (Digest, u64),
    found: (Digest, u64),
) -> Result<()> {
    if is_weak!("no_verify") || expected == found {
        return Ok(());
    }
    let why = if expected.1 == found.1 {
        format!("its bytes have {}", found.0)
    } else {
        format!("{} bytes, expected {}", found.1, expected.1)
    };
    Err(Error::new(
        Kind::Corrupt,
        "verify blob",
        format_args!("{}: {}: {why}", source.label(), expected.0),
    )
    .with_cure(source.cure()))
}

/// Opens a regular file and nothing else: a fifo or a device behind the name
/// would block or have side effects.
fn open_regular(path: &Path) -> io::Result<(File, u64)> {
    let mut options = File::options();
    options.read(true);
    options.custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC);
    let file = options.open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if !metadata.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "not a regular file",
        ));
    }
    Ok((file, metadata.len()))
}
