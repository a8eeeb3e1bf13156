// SPDX-License-Identifier: MIT OR Apache-2.0
//! Configurations as builders write them: remarks, which have no effect, refuse
//! no image.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Tare, everybody};
use serde_json::{Value, json};
use tare::image::Digest;
use tare_oracle::{image, need};
use tempfile::TempDir;

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn blob(layout: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    layout.join("blobs/sha256").join(&digest["sha256:".len()..])
}

/// Writes a changed document, and changes its descriptor.
fn replace(layout: &Path, descriptor: &mut Value, document: &Value) {
    let bytes = document.to_string();
    descriptor["digest"] = json!(Digest::of(bytes.as_bytes()));
    descriptor["size"] = json!(bytes.len());
    fs::write(blob(layout, descriptor), bytes).unwrap();
}

/// Returns the busybox image with another configuration and other entries in
/// its index.
fn altered(
    tare: &Tare,
    config: impl FnOnce(&mut Value),
    index: impl FnOnce(&mut Vec<Value>),
) -> (TempDir, String) {
    let dir = tare.tempdir();
    let layout = dir.path().join("layout");
    let copied = tare.program("cp", &["-r", "--no-preserve=mode"]);
    let copied = { copied }.arg(image("busybox")).arg(&layout).status();
    assert!(copied.unwrap().success());
    let mut top = read(&layout.join("index.json"));
    let mut manifest = read(&blob(&layout, &top["manifests"][0]));
    let mut document = read(&blob(&layout, &manifest["config"]));
    config(&mut document);
    replace(&layout, &mut manifest["config"], &document);
    replace(&layout, &mut top["manifests"][0], &manifest);
    index(top["manifests"].as_array_mut().unwrap());
    fs::write(layout.join("index.json"), top.to_string()).unwrap();
    let reference = format!("oci:{}", layout.display());
    (dir, reference)
}

#[test]
fn image_with_strange_remarks_comes_and_runs_with_notes() {
    need!(root, overlay, userns, image("busybox"));
    for tare in everybody() {
        let config = |config: &mut Value| {
            config["architecture"] = match config["architecture"].as_str() {
                Some("amd64") => json!("x86_64"),
                _ => json!("aarch64"),
            };
            config["config"] = json!({
                "Volumes": {"['/data']": {}}, "ExposedPorts": {"8080,": {}}, "StopSignal": "100",
                "Labels": {"a": null}, "Entrypoint": [""], "Cmd": "id", "User": "0:",
            });
        };
        let index = |entries: &mut Vec<Value>| {
            let platform = json!({"os": "linux", "architecture": "s390x"});
            let media_type = entries[0]["mediaType"].clone();
            entries.insert(
                0,
                json!({"mediaType": media_type, "digest": "sha512:00", "size": 1,
                    "platform": platform}),
            );
        };
        let (_dir, source) = altered(&tare, config, index);
        let said = tare.run(&["image", "import", &source, "box"]);
        assert!(said.ok().ends_with(" box:latest"), "{said:?}");
        let words = [
            "index entry 1",
            "Volumes",
            "ExposedPorts",
            "StopSignal",
            "label",
            "Cmd",
        ];
        for word in words {
            let noted = |line: &str| line.starts_with("tare: note: ") && line.contains(word);
            assert!(said.stderr.lines().any(noted), "{word}: {said:?}");
        }
        assert_eq!(said.stderr.lines().count(), words.len(), "{said:?}");
        let image = tare.run(&["image", "inspect", "box"]).json();
        assert_eq!(image["notes"].as_array().unwrap().len(), 5, "{image}");
        assert_ne!(image["architecture"], "x86_64");
        let said = tare.run(&["run", "box"]);
        assert!(
            said.ok().starts_with("uid=0") && said.ok().contains("gid=0"),
            "{said:?}"
        );
        assert_eq!(said.stderr, "");
        let ran = tare.run(&["run", "--json", "box"]).json();
        assert_eq!(ran["effective"]["notes"], image["notes"]);
        let into = tare.tempdir();
        let into = into.path().join("root");
        let said = tare.run(&["image", "unpack", &source, into.to_str().unwrap()]);
        for word in words {
            assert!(
                said.stderr.contains(&format!("tare: note: {word}")),
                "{word}: {said:?}"
            );
        }
        // Every other reader would take this entry for this machine's image.
        let (_dir, source) = altered(
            &tare,
            |_| (),
            |entries| {
                let mut other = entries[0].clone();
                other["size"] = json!("x");
                other["platform"] = json!({"os": "linux", "architecture": std::env::consts::ARCH});
                entries.insert(0, other);
            },
        );
        tare.run(&["image", "import", &source, "other"])
            .fails(125, &["index entry 1", "expected u64"]);
    }
}

#[test]
fn archive_of_several_images_is_loaded_whole() {
    need!(root, image("busybox"));
    for tare in everybody() {
        let names = ["docker.io/library/a:latest", "docker.io/library/b:latest"];
        let named = |entry: &mut Value, name: &str| {
            entry["annotations"] = json!({"io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": "latest"});
        };
        let config = |config: &mut Value| config["config"]["Labels"] = json!({"image": "a"});
        let (dir, source) = altered(&tare, config, |entries| {
            let other = read(&image("busybox").join("index.json"))["manifests"][0].clone();
            entries.truncate(1);
            entries.push(other);
            named(&mut entries[0], names[0]);
            named(&mut entries[1], names[1]);
        });
        tare.run(&["image", "import", &source, "mine"])
            .fails(125, &["several images", names[0], names[1]]);
        let archive = dir.path().join("two.tar").display().to_string();
        let layout = dir.path().join("layout").display().to_string();
        let tar = tare.program("tar", &["-C", &layout, "-cf", &archive, "."]);
        assert!({ tar }.status().unwrap().success());
        let said = tare.run(&["image", "load", &archive]);
        let lines: Vec<&str> = said.ok().lines().collect();
        assert_eq!(lines.len(), 2, "{said:?}");
        for (line, name) in lines.iter().zip(names) {
            assert!(line.ends_with(&format!(" {name}")), "{said:?}");
        }
        let label = |name| tare.run(&["image", "inspect", name]).json()["config"]["labels"].clone();
        assert_eq!(label("a")["image"], "a");
        assert_eq!(label("b")["image"], Value::Null);
        assert_eq!(
            tare.run(&["image", "load", "--select", "b", &archive]).ok(),
            lines[1]
        );
    }
}
