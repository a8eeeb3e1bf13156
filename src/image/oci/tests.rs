// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the documents: accepted and refused.
#![forbid(unsafe_code)]

use super::*;

const HEX: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn manifest(extra: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,{extra}"config":{{"mediaType":"{OCI_CONFIG}","digest":"{HEX}","size":2}},
            "layers":[{{"mediaType":"{OCI_LAYER}v1.tar+gzip","digest":"{HEX}","size":3}}]}}"#
    )
}

fn read(json: &str) -> Result<Manifest> {
    Manifest::parse(json.as_bytes(), "x", OCI_MANIFEST)
}

#[test]
fn manifest_with_unknown_keys_is_read_and_written_back() {
    let text = manifest(r#""subject":{"a":1},"#);
    let read = read(&text).unwrap();
    assert_eq!(read.layers[0].size, 3);
    let again = serde_json::to_string(&read).unwrap();
    assert!(again.contains(r#""subject":{"a":1}"#), "{again}");
}

#[test]
fn manifest_that_is_two_things_at_once_is_refused() {
    let table = [
        (r#""manifests":[],"#, "both a manifest and an index"),
        (r#""fsLayers":[],"#, "both"),
        (
            r#""mediaType":"application/vnd.docker.distribution.manifest.v2+json","#,
            "descriptor says",
        ),
        (r#""layers":[],"#, "duplicate field"),
        (r#""schemaVersion":2,"#, "duplicate field"),
    ];
    for (extra, why) in table {
        let error = read(&manifest(extra)).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.to_string().contains(why), "{error}");
    }
    let both = format!(r#"{{"schemaVersion":2,"manifests":[],"layers":[{HEX:?}]}}"#);
    assert!(Index::parse(both.as_bytes(), "x", None).is_err());
}

#[test]
fn manifest_with_a_bad_descriptor_is_refused() {
    let table = [
        (HEX, "sha256:../../x"),
        (HEX, "sha512:abc"),
        (":3}", ":-3}"),
        (":3}", ":1e99}"),
        (":3}", ":18446744073709551616}"),
        ("tar+gzip", "tar+gzip+encrypted"),
        (OCI_LAYER, "text/plain"),
        (OCI_CONFIG, "application/vnd.oci.empty.v1+json"),
        ("\"schemaVersion\":2", "\"schemaVersion\":1"),
    ];
    for (from, to) in table {
        let text = manifest("").replace(from, to);
        assert!(read(&text).is_err(), "{to}");
    }
}

#[test]
fn document_too_deep_too_long_or_cut_is_refused() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep = manifest(&format!(r#""x":{deep},"#));
    let long = manifest(&format!(r#""x":"{}","#, "x".repeat(5 << 20)));
    let cut = &manifest("")[..100];
    for text in [&deep, &long, cut, "", "null", "[]", "\u{0}"] {
        assert!(read(text).is_err());
    }
    assert!(Manifest::parse(b"{\"\xff\":1}", "x", OCI_MANIFEST).is_err());
}

/// Entries, each with whether it is an image's.
const STRANGE: &str = r#"
none null
none 5
none {"digest":"sha512:abc","size":3}
image {"mediaType":"M","digest":"sha512:abc","size":3}
image {"mediaType":"M","digest":"H"}
image {"mediaType":"M","digest":"H","size":-1}
image {"mediaType":"M","digest":"H","digest":"H","size":3}
image {"mediaType":"M","digest":"H","size":3,"platform":5}
none {"mediaType":"M","digest":"x","size":3,"artifactType":"a"}
"#;

#[test]
fn index_entry_that_cannot_be_read_is_apart() {
    let good = format!(r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{HEX}","size":3}}"#);
    let filled = |text: &str| text.replace("\"M\"", &format!("{OCI_MANIFEST:?}"));
    for row in STRANGE.trim().lines() {
        let (image, entry) = row.split_once(' ').unwrap();
        let image = image == "image";
        let entry = filled(entry).replace("\"H\"", &format!("{HEX:?}"));
        let json = format!(r#"{{"schemaVersion":2,"manifests":[{entry},{good}]}}"#);
        let listed = Index::parse_each(json.as_bytes(), "x", None).unwrap();
        let [strange] = &listed.strange[..] else {
            panic!("{entry}")
        };
        assert_eq!(strange.image, image, "{entry}");
        let why = &strange.why;
        assert!(why.starts_with("index entry 1: "), "{why}");
        assert_eq!(listed.entries.len(), 1);
        assert!(Index::parse(json.as_bytes(), "x", None).is_err());
    }
    let nulls = good.replace('}', r#","platform":{"os":null},"annotations":{"a":null}}"#);
    let json = format!(r#"{{"schemaVersion":2,"manifests":[{nulls}]}}"#);
    let read = Index::parse(json.as_bytes(), "x", None).unwrap();
    assert_eq!(read.manifests[0].annotation("a"), Some(""));
}
