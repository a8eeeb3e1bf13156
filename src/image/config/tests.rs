// SPDX-License-Identifier: MIT OR Apache-2.0
//! Tests of the configuration: what an image may say and what it may not.
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
        r#"{"Cmd":"sh -c x"}"#,
        r#"{"Cmd":["a\u0000b"]}"#,
        r#"{"User":0}"#,
        r#"{"User":"a\nb"}"#,
        r#"{"WorkingDir":"\u0000"}"#,
        r#"{"ExposedPorts":{"80/../x":{}}}"#,
        r#"{"ExposedPorts":{"99999":{}}}"#,
        r#"{"ExposedPorts":["80"]}"#,
        r#"{"Volumes":{"":{}}}"#,
        r#"{"Volumes":{"/../etc":{}}}"#,
        r#"{"Volumes":{"/":{}}}"#,
        r#"{"StopSignal":"SIGFOO"}"#,
        r#"{"StopSignal":"0"}"#,
        r#"{"StopSignal":"65"}"#,
        r#"{"StopSignal":"-1"}"#,
        r#"{"StopSignal":9}"#,
        r#"{"Env":[],"Env":["A=1"]}"#,
    ];
    for run in table {
        let error = read(run).expect_err(run);
        assert_eq!(error.kind(), Kind::Corrupt, "{run}");
    }
}

#[test]
fn config_signal_reads_every_usual_spelling() {
    let table = [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("15", 15),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
    ];
    for (text, number) in table {
        assert_eq!(signal(text), Ok(number));
    }
}
