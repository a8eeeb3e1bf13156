// SPDX-License-Identifier: MIT OR Apache-2.0
//! Images that lie, lead out or fall apart: refused, and nothing of them is
//! visible.
#![forbid(unsafe_code)]

#[path = "harness/images.rs"]
mod images;
mod layout;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use images::count;
use layout::{
    CONFIG, Codec, INDEX, Layout, MANIFEST, assert_empty, docker_archive, simple, tar_of,
};
use serde_json::{Value, json};
use tare::image::{Digest, Images, Reference, UnpackOptions, unpack};
use tare::{Error, Kind};
use tempfile::{TempDir, tempdir};

/// A layout with one image of two gzip layers, its manifest, and a store.
struct Case {
    dir: TempDir,
    layout: Layout,
    store: Images,
}

impl Case {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let (layout, _) = simple(dir.path().join("oci"), Codec::Gzip);
        let store = Images::open(dir.path().join("store")).unwrap();
        Self { dir, layout, store }
    }

    fn manifest(&self) -> Value {
        let digest = self.layout.manifests[0]["digest"].as_str().unwrap();
        serde_json::from_slice(&fs::read(self.layout.blob_path(digest)).unwrap()).unwrap()
    }

    /// Makes `value` the only manifest, with a digest that fits.
    fn set_manifest(&mut self, value: &Value) {
        let descriptor = self.layout.json(MANIFEST, value);
        self.layout.manifests = vec![descriptor];
        self.layout.complete();
    }

    /// Imports and unpacks; both must fail, leave nothing, and give this kind.
    fn refused(&self, kind: Kind, why: &str) -> Error {
        self.refused_from(&self.layout.reference(None), kind, why)
    }

    fn refused_from(&self, from: &Reference, kind: Kind, why: &str) -> Error {
        let error = self.store.image(from).expect_err(why);
        assert_eq!(error.kind(), kind, "{why}: {error}");
        let line = error.to_string();
        assert!(line.contains(why), "{why:?} is not in {line:?}");
        assert!(!line.contains('\n') && line.len() < 2000);
        assert_empty(self.store.path());
        assert_eq!(self.store.list().unwrap(), []);
        let to = self.dir.path().join("unpacked");
        unpack(from, &to, UnpackOptions::default(), &mut ()).expect_err(why);
        assert!(!to.exists(), "{why}");
        error
    }
}

#[test]
fn layer_with_a_wrong_digest_size_or_diff_id_is_never_visible() {
    let mut case = Case::new();
    let sound = case.manifest();
    let digest = sound["layers"][1]["digest"].as_str().unwrap().to_owned();
    let blob = fs::read(case.layout.blob_path(&digest)).unwrap();

    let mut other = blob.clone();
    *other.last_mut().unwrap() ^= 1;
    fs::write(case.layout.blob_path(&digest), &other).unwrap();
    case.refused(Kind::Corrupt, "its bytes have sha256:");
    // Sound gzip of something else.
    let mut other = layout::compressed(&tar_of(&[("x", b"evil")]), Codec::Gzip);
    other.resize(blob.len(), 0);
    fs::write(case.layout.blob_path(&digest), &other).unwrap();
    case.refused(Kind::Corrupt, "its bytes have sha256:");
    fs::write(case.layout.blob_path(&digest), &blob[..blob.len() - 1]).unwrap();
    case.refused(Kind::Corrupt, "expected");
    fs::write(case.layout.blob_path(&digest), &blob).unwrap();

    for change in [-1, 1] {
        let mut manifest = sound.clone();
        manifest["layers"][1]["size"] = json!(blob.len() as i64 + change);
        case.set_manifest(&manifest);
        case.refused(Kind::Corrupt, "expected");
    }

    let config = sound["config"]["digest"].as_str().unwrap();
    let mut config: Value =
        serde_json::from_slice(&fs::read(case.layout.blob_path(config)).unwrap()).unwrap();
    config["rootfs"]["diff_ids"][1] = json!(Digest::of(b"other").to_string());
    let mut manifest = sound;
    manifest["config"] = case.layout.json(CONFIG, &config);
    case.set_manifest(&manifest);
    case.refused(Kind::Corrupt, "diff id");
}

#[test]
fn layer_known_by_its_diff_id_does_not_excuse_a_wrong_blob() {
    let mut case = Case::new();
    let sound = case.manifest();
    case.store.image(&case.layout.reference(None)).unwrap();
    // Another image claims the layer that is there, with a blob that is
    // another.
    let evil = layout::compressed(&tar_of(&[("x", b"evil")]), Codec::Gzip);
    let mut manifest = sound;
    manifest["layers"][1] = case
        .layout
        .blob("application/vnd.oci.image.layer.v1.tar+gzip", &evil);
    case.set_manifest(&manifest);
    let error = case.store.image(&case.layout.reference(None)).unwrap_err();
    assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    assert_eq!(case.store.list().unwrap().len(), 1);
    assert_eq!(case.store.check().unwrap().problems, []);
}

#[test]
fn document_that_is_broken_or_two_things_at_once_is_refused() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 7] = [
        ("both a manifest and an index", |m| {
            m["manifests"] = json!([])
        }),
        ("descriptor says", |m| m["mediaType"] = json!(INDEX)),
        ("schemaVersion", |m| m["schemaVersion"] = json!(1)),
        ("digest", |m| {
            m["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")
        }),
        ("digest", |m| m["config"]["digest"] = json!("md5:abc")),
        ("invalid", |m| m["layers"][0]["size"] = json!(-1)),
        ("cannot be unpacked", |m| {
            m["layers"][0]["mediaType"] = json!("text/html")
        }),
    ];
    for (why, edit) in edits {
        let mut case = Case::new();
        let mut manifest = case.manifest();
        edit(&mut manifest);
        case.set_manifest(&manifest);
        case.refused(Kind::Corrupt, why);
    }
    let mut case = Case::new();
    let mut manifest = case.manifest();
    manifest["layers"].as_array_mut().unwrap().pop();
    case.set_manifest(&manifest);
    case.refused(Kind::Corrupt, "1 layers, but 2 diff ids");
}

#[test]
fn index_that_is_broken_huge_deep_or_points_nowhere_is_refused() {
    let case = Case::new();
    let index = case.layout.dir.join("index.json");
    let deep = format!(r#"{{"x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let huge = format!(r#"{{"x":"{}"}}"#, "x".repeat(5 << 20));
    for text in [
        "",
        "{",
        "[]",
        "null",
        r#"{"schemaVersion":2}"#,
        &deep,
        &huge,
        "\u{1b}[2J",
    ] {
        fs::write(&index, text).unwrap();
        case.refused(Kind::Corrupt, "index.json");
    }
    fs::write(&index, r#"{"schemaVersion":2,"manifests":[]}"#).unwrap();
    case.refused(Kind::NotFound, "no image");
    fs::remove_file(&index).unwrap();
    case.refused(Kind::NotFound, "index.json");
    fs::remove_file(case.layout.dir.join("oci-layout")).unwrap();
    case.refused(Kind::NotFound, "oci-layout");
    let nowhere = Reference::Oci {
        path: "/nowhere".into(),
        tag: None,
    };
    case.refused_from(&nowhere, Kind::NotFound, "/nowhere");
}

#[test]
fn index_nested_without_end_or_too_wide_is_refused() {
    let mut case = Case::new();
    let mut inner = case.layout.manifests[0].clone();
    for _ in 0..10 {
        inner = case
            .layout
            .json(INDEX, &json!({"schemaVersion": 2, "manifests": [inner]}));
    }
    case.layout.manifests = vec![inner];
    case.layout.complete();
    case.refused(Kind::Corrupt, "nested too deep");
    let other = json!({"schemaVersion": 2, "manifests": []});
    case.layout.manifests = (0..100).map(|_| case.layout.json(INDEX, &other)).collect();
    case.layout.complete();
    case.refused(Kind::Corrupt, "too many");
    let entry = format!(r#"{{"digest":"{}","size":1}},"#, Digest::of(b""));
    let many = entry.repeat(10_001);
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{}]}}"#,
        many.trim_end_matches(',')
    );
    fs::write(case.layout.dir.join("index.json"), index).unwrap();
    case.refused(Kind::Corrupt, "10000 manifests");
}

#[test]
fn blob_that_is_missing_or_no_file_is_refused_without_blocking() {
    for make in [
        |_: &Path| {},
        |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap(),
        |path: &Path| symlink("/dev/zero", path).unwrap(),
        |path: &Path| fs::create_dir(path).unwrap(),
    ] {
        let case = Case::new();
        let digest = case.manifest()["layers"][0]["digest"]
            .as_str()
            .unwrap()
            .to_owned();
        let path = case.layout.blob_path(&digest);
        fs::remove_file(&path).unwrap();
        make(&path);
        let error = case.store.image(&case.layout.reference(None)).unwrap_err();
        assert!(error.to_string().contains(&digest[7..]), "{error}");
        assert_empty(case.store.path());
    }
}

#[test]
fn tag_that_is_not_there_names_those_that_are() {
    let case = Case::new();
    let error = case.refused_from(
        &case.layout.reference(Some("nope")),
        Kind::NotFound,
        "\"nope\"",
    );
    assert_eq!(error.cure(), Some("one of latest"));
    let error = case.store.image(&"nope:1".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.cure().is_some());
}

#[test]
fn archive_with_a_dangerous_or_ambiguous_name_is_refused() {
    let case = Case::new();
    let path = case.dir.path().join("x.tar");
    let archive = Reference::Archive(path.clone());
    let names = ["../x", "/x", "a/../../x"];
    for name in names {
        let mut header = tar::Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        let mut tar = header.as_bytes().to_vec();
        tar.extend_from_slice(&[0; 1024]);
        fs::write(&path, tar).unwrap();
        case.refused_from(&archive, Kind::Corrupt, "at byte 0");
    }
    fs::write(
        &path,
        tar_of(&[("manifest.json", b"[]"), ("./manifest.json", b"[]")]),
    )
    .unwrap();
    case.refused_from(&archive, Kind::Corrupt, "twice");
    fs::write(&path, tar_of(&[("manifest.json", b"[]")])).unwrap();
    case.refused_from(&archive, Kind::NotFound, "no image");
    fs::write(&path, tar_of(&[("x", b"x")])).unwrap();
    case.refused_from(
        &archive,
        Kind::Corrupt,
        "neither oci-layout nor manifest.json",
    );
    case.refused_from(
        &Reference::Archive("/dev/zero".into()),
        Kind::Invalid,
        "neither a file nor a pipe",
    );
}

#[test]
fn archive_that_is_none_is_named_and_never_quoted() {
    let case = Case::new();
    let path = case.dir.path().join("x.tar");
    let secret = b"root:$y$j9T$salt$SECRET:20000:0:99999:7:::\nSECRET\n".repeat(20);
    let binary = b"\x1b[2JSECRET\0\xff\xfe".repeat(100);
    for (bytes, what) in [
        (&secret[..], "plain text"),
        (&secret[..50], "plain text"),
        (&binary, "unknown kind"),
        (b"", "an empty file"),
        (b"PK\x03\x04SECRET", "a zip archive"),
        (b"\xfd7zXZ\0SECRET", "compressed by xz"),
        (b"BZh9SECRET", "compressed by bzip2"),
        (b"\x7fELFSECRET", "an ELF program"),
        (&layout::compressed(&secret, Codec::Gzip), "plain text"),
        (&layout::compressed(&secret, Codec::Zstd), "plain text"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = case.refused_from(&Reference::Archive(path.clone()), Kind::Corrupt, what);
        let line = error.to_string();
        assert!(line.contains("not a tar archive"), "{line}");
        assert!(line.contains("; try: a file that docker save"), "{line}");
        assert!(!line.contains("SECRET") && !line.contains("[2J"), "{line}");
        if bytes.is_empty() {
            // As a layer it is an empty one.
            continue;
        }
        // The same bytes as a layer.
        let mut layout = Layout::new(case.dir.path().join(Digest::of(bytes).hex()));
        let image = layout.image(&[bytes.to_vec()], Codec::Gzip, json!({}));
        let from = layout.add(image, None).complete();
        let line = case.store.image(&from).unwrap_err().to_string();
        assert!(!line.contains("SECRET") && !line.contains("[2J"), "{line}");
    }
    fs::write(&path, [0x1f, 0x8b, 8, 0]).unwrap();
    case.refused_from(
        &Reference::Archive(path),
        Kind::Corrupt,
        "open image archive",
    );
}

#[test]
fn words_of_an_image_are_shown_escaped_and_cut() {
    let hostile = format!("\u{1b}]0;x\u{7}\u{9b}2J\u{202e}{}", "long".repeat(100_000));
    let check = |error: Error| {
        let line = error.to_string();
        assert_eq!(error.kind(), Kind::Corrupt, "{line}");
        assert!(!line.contains(tare::error::Quoted::escapes), "{line:?}");
        assert!(line.len() < 1500, "{} bytes: {line:.300}", line.len());
    };
    type Edit = fn(&mut Value, Value);
    let edits: [Edit; 4] = [
        |m, text| m["mediaType"] = text,
        |m, text| m["config"]["mediaType"] = text,
        |m, text| m["layers"][0]["mediaType"] = text,
        |m, text| m["layers"][0]["digest"] = text,
    ];
    for edit in edits {
        let mut case = Case::new();
        let mut manifest = case.manifest();
        edit(&mut manifest, json!(hostile));
        case.set_manifest(&manifest);
        check(case.store.image(&case.layout.reference(None)).unwrap_err());
    }
    let case = Case::new();
    let path = case.dir.path().join("x.tar");
    for manifest in [
        json!([{"Config": hostile}]),
        json!([{"Config": "c", "RepoTags": [hostile]}, {"Config": "d", "RepoTags": [hostile]}]),
        json!([{"Config": 1, "RepoTags": hostile}]),
        json!({ hostile: 1 }),
    ] {
        let archive = tar_of(&[("manifest.json", manifest.to_string().as_bytes())]);
        fs::write(&path, archive).unwrap();
        let error = case.store.image(&Reference::Archive(path.clone()));
        let error = error.unwrap_err().with_kind(Kind::Corrupt);
        check(error);
    }
    let long = format!("\u{9b}{}", "n".repeat(90));
    let archive = tar_of(&[(&long, b""), (&long, b"")]);
    fs::write(&path, archive).unwrap();
    check(case.store.image(&Reference::Archive(path)).unwrap_err());
}

#[test]
fn archive_link_that_leads_out_or_in_circles_is_refused() {
    let case = Case::new();
    let path = case.dir.path().join("x.tar");
    for (target, why) in [
        ("/etc/passwd", "leads out"),
        ("../../etc/passwd", "leads out"),
        ("oci-layout", "no member"),
    ] {
        let mut tar = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, "oci-layout", target).unwrap();
        tar.append_link(&mut header, "manifest.json", "oci-layout")
            .unwrap();
        fs::write(&path, tar.into_inner().unwrap()).unwrap();
        let error = case
            .store
            .image(&Reference::Archive(path.clone()))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
        assert!(
            why == "no member" || error.to_string().contains(why),
            "{error}"
        );
        assert_empty(case.store.path());
    }
}

#[test]
fn docker_archive_with_a_wrong_layer_or_config_is_refused() {
    let case = Case::new();
    let path = case.dir.path().join("x.tar");
    let archive = Reference::Archive(path.clone());
    let layer = tar_of(&[("a", b"the layer")]);
    docker_archive(&path, &[layer], &["app:1"]);
    let sound = fs::read(&path).unwrap();
    let changed = |from: &[u8], to: &[u8]| {
        let mut bytes = sound.clone();
        let at = bytes.windows(from.len()).position(|w| w == from).unwrap();
        bytes[at..at + to.len()].copy_from_slice(to);
        fs::write(&path, bytes).unwrap();
    };
    changed(b"the layer", b"evil code");
    case.refused_from(&archive, Kind::Corrupt, "diff id");
    changed(b"\"linux\"", b"\"linus\"");
    case.refused_from(&archive, Kind::Corrupt, "verify blob");
    changed(b"0/layer.tar\"", b"9/layer.tar\"");
    case.refused_from(&archive, Kind::NotFound, "9/layer.tar");
    // A name that is none is dropped, and leads nowhere.
    changed(b"app:1", b"../:1");
    let loaded = case.store.load(&archive, &Default::default(), &mut ());
    assert!(loaded.unwrap()[0].notes()[0].contains("is not a name"));
    let list = case.store.list().unwrap();
    assert!(list.len() == 1 && list[0].name.is_none());
}

#[test]
fn unpack_that_fails_leaves_the_directory_as_it_was() {
    let case = Case::new();
    let digest = case.manifest()["layers"][1]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(case.layout.blob_path(&digest), b"x").unwrap();
    let to = case.dir.path().join("root");
    fs::create_dir(&to).unwrap();
    let from = case.layout.reference(None);
    unpack(&from, &to, UnpackOptions::default(), &mut ()).unwrap_err();
    assert_eq!(count(&to), 0);
}
