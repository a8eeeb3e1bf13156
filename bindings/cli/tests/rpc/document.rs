// SPDX-License-Identifier: MIT OR Apache-2.0
//! Runs the conversations of `docs/protocol.md`.

use serde_json::Value;
use tare_oracle::need;

use super::common::rpc::{Rpc, holds};
use super::common::{Tare, everybody};

/// Returns every conversation: lines with their numbers, and whether tare
/// writes them.
fn sessions(text: &str) -> Vec<Vec<(usize, bool, &str)>> {
    let mut found = Vec::new();
    let mut open = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (line, &mut open) {
            ("```session", _) => open = Some(Vec::new()),
            ("```", session) => found.extend(session.take()),
            (line, Some(session)) => match line.split_once(' ') {
                Some((">", said)) => session.push((number, false, said)),
                Some(("<", said)) => session.push((number, true, said)),
                _ => panic!("line {number}: {line}"),
            },
            _ => {}
        }
    }
    found
}

fn speak(tare: &Tare, session: &[(usize, bool, &str)]) {
    let mut rpc = Rpc::new(tare);
    for (number, answer, text) in session {
        if !answer {
            rpc.line(text);
            continue;
        }
        let expected: Value =
            serde_json::from_str(text).unwrap_or_else(|e| panic!("line {number}: {e}"));
        let said = rpc.next();
        assert!(
            holds(&said, &expected),
            "line {number}: {text}\nsaid: {said}"
        );
    }
    assert_eq!(rpc.finish(), (vec![], 0));
}

#[test]
fn document_conversations_go_as_it_says() {
    need!(root, overlay, userns);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/protocol.md");
    let text = std::fs::read_to_string(path).unwrap();
    let sessions = sessions(&text);
    assert!(sessions.len() >= 4, "{}", sessions.len());
    for tare in everybody() {
        for session in &sessions {
            speak(&tare, session);
        }
    }
}
