// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the configuration: words that an image may use, and words that it
//! may not.
#![forbid(unsafe_code)]

use super::*;

fn read(run: &str) -> Result<ImageConfig> {
    let json = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{run},"rootfs":{{"type":"layers","diff_ids":[]}},"history":[{{"x":1}}]}}"#
    );
    parse(json.as_bytes(), "config").map(|parsed| parsed.config)
}

#[test]
fn config_as_docker_writes_it_is_read() {
    let config = read(
        r#"{"Hostname":"","Env":["PATH=/bin","A=b=c"],"Cmd":["sh"],"Entrypoint":null,"WorkingDir":"/w","User":"1:2",
            "ExposedPorts":{"80/tcp":{},"53/udp":{}},"Volumes":{"/data":{}},"Labels":{"a":"b"},"StopSignal":"SIGQUIT",
            "Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"]}"#,
    )
    .unwrap();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(config.env, [pair("PATH", "/bin"), pair("A", "b=c")]);
    assert_eq!(config.cmd, ["sh"]);
    assert_eq!(config.workdir.as_deref(), Some(Path::new("/w")));
    assert_eq!(config.stop_signal, Some(3));
    assert_eq!(config.exposed_ports, ["53/udp", "80/tcp"]);
    assert_eq!(config.notes, [""; 0]);
    assert_eq!(read("null").unwrap().env, []);
}

#[test]
fn config_env_without_equals_is_dropped_never_filled_from_the_host() {
    let config = read(r#"{"Env":["PATH","=x","A=1","HOME","A=2",""]}"#).unwrap();
    assert_eq!(config.env, [("A".to_owned(), "2".to_owned())]);
    assert_eq!(config.notes.len(), 4);
}

#[test]
fn config_label_in_our_namespace_is_dropped() {
    let config = read(r#"{"Labels":{"libtare.hook":"/bin/sh","ok":"1"}}"#).unwrap();
    assert_eq!(config.labels.len(), 1);
    assert!(config.notes[0].contains("reserved"), "{:?}", config.notes);
}

#[test]
fn config_with_a_value_of_the_wrong_kind_is_refused() {
    let table = [
        r#"{"Env":"A=1"}"#,
        r#"{"Env":{"A":"1"}}"#,
        r#"{"Env":["A\u0000=1"]}"#,
        r#"{"Env":[1]}"#,
        r#"{"Cmd":["a\u0000b"]}"#,
        r#"{"User":0}"#,
        r#"{"User":"a\nb"}"#,
        r#"{"WorkingDir":"\u0000"}"#,
        r#"{"Env":[],"Env":["A=1"]}"#,
        r#"{"Cmd":5}"#,
        r#"{"Cmd":[["x"]]}"#,
        r#"{"Entrypoint":{}}"#,
        r#"{"Volumes":{},"Volumes":{}}"#,
    ];
    for run in table {
        let error = read(run).expect_err(run);
        assert_eq!(error.kind(), Kind::Corrupt, "{run}");
    }
}

/// A remark, the value read, and the number of notes.
const REMARKS: &str = r#"
{"Volumes":{"data":{}}} => [] 1
{"Volumes":{"['/data']":{},"/a":{}}} => ["/a"] 1
{"Volumes":{"[":{},"":{},"/":{},"/a/../b":{}}} => [] 4
{"Volumes":["/data"]} => [] 1
{"Volumes":{"/a":null,"/b":5}} => ["/a", "/b"] 0
{"ExposedPorts":{"8080/TCP":{},"8080/tcp":{}}} => ["8080/tcp"] 0
{"ExposedPorts":{"8080,":{},"80/http":{},"1-2/udp":{}}} => ["1-2/udp"] 2
{"ExposedPorts":{"80/":{},"99999":{},"80/../x":{}}} => [] 3
{"ExposedPorts":["80"]} => [] 1
{"StopSignal":"sigterm"} => Some(15) 0
{"StopSignal":"SIGIOT"} => Some(6) 0
{"StopSignal":"100"} => None 1
{"StopSignal":"SIGFOO"} => None 1
{"StopSignal":9} => None 1
{"StopSignal":""} => None 0
{"Labels":{"a":null}} => {"a": ""} 1
{"Labels":{"a":5,"b":"c"}} => {"b": "c"} 1
{"Labels":["a=b"]} => {} 1
{"Cmd":"sh -c x"} => ["sh -c x"] 1
{"Cmd":["a",null]} => ["a", ""] 0
{"Env":[null,"A=1"]} => [("A", "1")] 1
"#;

#[test]
fn config_with_a_strange_remark_is_read_with_a_note() {
    for row in REMARKS.trim().lines() {
        let (run, expected) = row.split_once(" => ").unwrap();
        let config = read(run).expect(run);
        let value: &dyn std::fmt::Debug = match run.split('"').nth(1).unwrap() {
            "Volumes" => &config.volumes,
            "ExposedPorts" => &config.exposed_ports,
            "StopSignal" => &config.stop_signal,
            "Labels" => &config.labels,
            "Cmd" => &config.cmd,
            _ => &config.env,
        };
        let notes = &config.notes;
        let found = format!("{value:?} {}", notes.len());
        assert_eq!(found, expected, "{run}: {notes:?}");
    }
}

#[test]
fn config_words_mean_what_docker_means() {
    let entrypoint = |run: &str| read(run).unwrap().entrypoint;
    assert_eq!(entrypoint(r#"{"Entrypoint":[""]}"#), [""; 0]);
    assert_eq!(entrypoint(r#"{"Entrypoint":["","x"]}"#), ["", "x"]);
    assert_eq!(entrypoint(r#"{"Entrypoint":"/x"}"#), ["/x"]);
    let json = r#"{"architecture":"x86_64","os":"Linux","created":5,"rootfs":{"type":"layers"}}"#;
    let config = parse(json.as_bytes(), "config").unwrap().config;
    assert_eq!((&*config.architecture, &*config.os), ("amd64", "linux"));
    assert_eq!((config.created, config.notes.len()), (None, 1));
    let x86: Platform = "linux/x86_64".parse().unwrap();
    let config = ImageConfig {
        architecture: config.architecture,
        ..ImageConfig::default()
    };
    check_platform("x", &config, Some(&x86)).unwrap();
}

#[test]
fn config_values_are_never_shown() {
    let table = [
        r#"{"Env":["=hunter2","hunter2"]}"#,
        r#"{"Env":"A=hunter2"}"#,
        r#"{"Env":["A=hunter2\u0000"]}"#,
        r#"{"Cmd":["-p","hunter2\u0000"]}"#,
        r#"{"Entrypoint":"hunter2"}"#,
        r#"{"Labels":{"a":["hunter2"]}}"#,
        r#"{"Labels":"hunter2"}"#,
        r#""hunter2""#,
    ];
    for run in table {
        let said = match read(run) {
            Ok(config) => config.notes.join(" "),
            Err(error) => error.to_string(),
        };
        assert!(!said.is_empty() && !said.contains("hunter2"), "{said}");
    }
}
