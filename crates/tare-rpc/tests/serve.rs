// SPDX-License-Identifier: MIT OR Apache-2.0
//! The protocol served from a program of its own: over one socket, without
//! `tare`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::{Value, json};
use tare::Store;

#[test]
fn serve_on_a_socket_answers_until_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store")).unwrap();
    let (mut client, served) = UnixStream::pair().unwrap();
    let server = thread::spawn(move || tare_rpc::serve(&store, served.as_fd(), served.as_fd()));
    let requests = [
        json!({"id": 1, "method": "hello"}),
        json!({"id": 2, "method": "close", "params": {"sandbox": "none"}}),
    ];
    for request in requests {
        writeln!(client, "{request}").unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    let lines = BufReader::new(client).lines();
    let replies: Vec<Value> = lines
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    server.join().unwrap().unwrap();
    assert_eq!(replies.len(), 2, "{replies:?}");
    assert_eq!(replies[0]["result"]["protocol"], tare_rpc::PROTOCOL);
    assert_eq!(replies[1]["error"]["kind"], "not_found");
}
