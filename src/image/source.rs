// SPDX-License-Identifier: MIT OR Apache-2.0
//! Sources of images: named members, read from the start.
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

use crate::error::{Error, Kind, Result, Step};
use crate::image::digest::Digest;
use crate::image::oci::{DOCUMENT_MAX, Descriptor};
use crate::image::platform::Platform;

pub(crate) use archive::Archive;
pub(crate) use input::Room;
pub(crate) use layout::Layout;
pub(crate) use opened::Opened;

/// Cure for wrong bytes outside the store.
const GET_AGAIN: &str = "get the image again";

/// A holder of members by name, `index.json` or `blobs/sha256/...`.
pub(crate) trait Source: Sync {
    /// Opens a member; [`Kind::NotFound`] if there is none.
    fn open(&self, name: &str) -> Result<Member<'_>>;

    /// Returns the source in the words of a reference, for errors.
    fn label(&self) -> String;

    /// Returns the cure if a member has wrong bytes.
    fn cure(&self) -> &'static str {
        GET_AGAIN
    }
}

/// An open member.
pub(crate) struct Member<'a> {
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    pub(crate) size: u64,
}

/// Selects an image of a source.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    /// Reference name; default: the only image.
    pub(crate) tag: Option<String>,
    /// Default: the host's platform, or the platform of a source with a single
    /// image.
    pub(crate) platform: Option<Platform>,
    /// True to look for the names that the source gives.
    pub(crate) names: bool,
}

/// An image of a source: documents, and places of layers.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// `None` if the source has no manifest; the importer then makes a manifest
    /// from the layers.
    pub(crate) manifest: Option<Document>,
    pub(crate) config: Document,
    /// Bottom first.
    pub(crate) layers: Vec<ResolvedLayer>,
    /// Names that the source gives the image.
    pub(crate) names: Vec<String>,
    /// Sentences about parts of the source that were skipped.
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

/// A layer, not read yet.
#[derive(Debug, Clone)]
pub(crate) struct ResolvedLayer {
    /// Member of the source that holds the layer.
    pub(crate) member: String,
    /// Digest and size of the blob in the manifest; `None` without a manifest.
    pub(crate) expected: Option<(Digest, u64)>,
    /// Digest of the plain tar in the config.
    pub(crate) diff_id: Digest,
}

/// Words of a source that an error shows at most.
const NAMES_SHOWN: usize = 20;

/// Opens a layout directory.
pub(crate) fn open_layout(path: &Path) -> Result<Layout> {
    Layout::open(path)
}

/// Finds an image in a source; the content decides the format.
pub(crate) fn find(source: &dyn Source, selector: &Selector) -> Result<Resolved> {
    match is_layout(source)? {
        true => resolve::find(source, selector),
        false => docker::find(source, selector),
    }
}

/// Finds every image of a source, or the images that the selector names, with
/// the names that the source gives.
///
/// Passes each image on before the next is read, because there may be many.
pub(crate) fn each(source: &dyn Source, selector: &Selector, take: &mut Take<'_>) -> Result<()> {
    if selector.tag.is_some() {
        return take(find(source, selector)?);
    }
    match is_layout(source)? {
        true => resolve::each(source, selector, take),
        false => docker::each(source, selector, take),
    }
}

/// Returns whether the source is an OCI image layout.
fn is_layout(source: &dyn Source) -> Result<bool> {
    match source.open("oci-layout") {
        Err(e) if e.kind() == Kind::NotFound => Ok(false),
        opened => opened.map(|_| true),
    }
}

/// Takes each image of a source; an error ends the search.
pub(crate) type Take<'a> = dyn FnMut(Resolved) -> Result<()> + 'a;

pub(crate) use resolve::find_manifest;

/// Returns the member that holds a blob. The grammar of a digest makes the name
/// safe.
pub(crate) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a small member whole.
pub(crate) fn read_document(source: &dyn Source, name: &str) -> Result<Vec<u8>> {
    let member = source.open(name)?;
    let subject = format!("{}: {name}", source.label());
    if member.size > DOCUMENT_MAX {
        let why = format_args!("{subject}: larger than 4 MiB");
        return Err(Error::new(Kind::Corrupt, Step::ReadImage, why));
    }
    let mut bytes = Vec::with_capacity(member.size as usize);
    let mut reader = member.reader.take(DOCUMENT_MAX + 1);
    reader
        .read_to_end(&mut bytes)
        .map_err(|e| Error::io(Step::ReadImage, &subject, e))?;
    Ok(bytes)
}

/// Reads a small blob whole and verifies the digest and the size.
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

/// Compares the promised digest and size of a blob with those read.
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
    let why = format!("{}: {}: {why}", source.label(), expected.0);
    Err(Error::new(Kind::Corrupt, Step::VerifyBlob, why).with_cure(source.cure()))
}

/// Opens a regular file. Refuses a fifo or a device, which could block or have
/// side effects.
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
        let why = "not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    Ok((file, metadata.len()))
}
