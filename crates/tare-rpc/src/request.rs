// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads a request: the frame, and the call in it.
#![forbid(unsafe_code)]

use serde::Deserialize;
use serde_json::value::RawValue;
use tare::spec::from_json;
use tare::{Error, Kind};

use crate::call::Call;
use crate::id::Id;

/// The frame of every request.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Frame<'a> {
    id: Id,
    method: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
}

/// A request, read and checked.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: Id,
    pub(crate) call: Call,
}

/// A line that is no request, with the id if that is readable.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) id: Option<Id>,
    pub(crate) error: Error,
}

impl Request {
    /// Reads a line.
    pub(crate) fn read(line: &[u8]) -> Result<Self, Refused> {
        let refused = |id, error| Refused { id, error };
        let text = std::str::from_utf8(line).map_err(|e| {
            let error = Error::new(Kind::Invalid, "parse request", e);
            refused(None, error)
        })?;
        let frame: Frame<'_> =
            from_json("parse request", text).map_err(|error| refused(id_of(text), error))?;
        let params = frame.params.map_or("{}", RawValue::get);
        match Call::read(&frame.method, params) {
            Ok(call) => Ok(Self { id: frame.id, call }),
            Err(error) => Err(refused(Some(frame.id), error)),
        }
    }
}

/// Returns the id of a faulty request.
fn id_of(text: &str) -> Option<Id> {
    let mut line: serde_json::Value = serde_json::from_str(text).ok()?;
    serde_json::from_value(line.get_mut("id")?.take()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_wrong_lines_are_refused_by_name() {
        // Line, id in the refusal, part of the message.
        let rows = [
            ("", None, "EOF"),
            ("{", None, "EOF"),
            ("[]", None, "expected an object"),
            (r#"[1,"hello",null]"#, None, "expected an object"),
            (
                r#"{"id":1,"method":"stat","params":["a","/",true]}"#,
                Some(1),
                "expected an object",
            ),
            (r#"{"id":1}"#, Some(1), r#"the key "method" is missing"#),
            (r#"{"method":"hello"}"#, None, r#"the key "id" is missing"#),
            (r#"{"id":-1,"method":"hello"}"#, None, "a number from 0 up"),
            (r#"{"id":1,"method":"opne"}"#, Some(1), r#"try: "open""#),
            (
                r#"{"id":1,"method":"hello","param":{}}"#,
                Some(1),
                r#"try: "params""#,
            ),
            (r#"{"id":1,"method":"hello"} 1"#, None, "trailing"),
            (
                r#"{"id":1,"method":"hello","id":2}"#,
                Some(2),
                "is there twice",
            ),
            (
                r#"{"id":1,"method":"run"}"#,
                Some(1),
                r#"the key "sandbox" is missing"#,
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","comand":"x"}}"#,
                Some(1),
                "parse run request",
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","time_out":1}}"#,
                Some(1),
                r#"try: "timeout""#,
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","timeout":-1}}"#,
                Some(1),
                "parse run request: timeout",
            ),
            (
                r#"{"id":1,"method":"signal","params":{"command":2,"signal":"TREM"}}"#,
                Some(1),
                "parse signal request: signal",
            ),
            (
                r#"{"id":1,"method":"run","params":{"sandbox":"a","argv":["a",{"base64":"!"}]}}"#,
                Some(1),
                "parse run request: argv[1]",
            ),
        ];
        for (line, id, part) in rows {
            let refused = Request::read(line.as_bytes()).expect_err(line);
            assert_eq!(refused.id, id.map(Id::Number), "{line}");
            let said = refused.error.to_string();
            assert!(said.contains(part), "{line}: {said:?} lacks {part:?}");
            assert_eq!(refused.error.kind(), Kind::Invalid, "{line}");
        }
        assert!(Request::read(b"\xff").is_err());
    }
}
