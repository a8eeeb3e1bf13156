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

    /// Lines, each with the id in the refusal and a part of the message.
    const REFUSED: &str = r#"
 => none, EOF
{ => none, EOF
[] => none, expected an object
[1,"hello",null] => none, expected an object
{"id":1,"method":"stat","params":["a","/",true]} => 1, expected an object
{"id":1} => 1, the key "method" is missing
{"method":"hello"} => none, the key "id" is missing
{"id":-1,"method":"hello"} => none, a number from 0 up
{"id":1,"method":"opne"} => 1, try: "open"
{"id":1,"method":"hello","param":{}} => 1, try: "params"
{"id":1,"method":"hello"} 1 => none, trailing
{"id":1,"method":"hello","id":2} => 2, is there twice
{"id":1,"method":"run"} => 1, the key "sandbox" is missing
{"id":1,"method":"run","params":{"sandbox":"a","comand":"x"}} => 1, parse run request
{"id":1,"method":"run","params":{"sandbox":"a","time_out":1}} => 1, try: "timeout"
{"id":1,"method":"run","params":{"sandbox":"a","timeout":-1}} => 1, parse run request: timeout
{"id":1,"method":"signal","params":{"command":2,"signal":"TREM"}} => 1, parse signal request: signal
{"id":1,"method":"run","params":{"sandbox":"a","argv":["a",{"base64":"!"}]}} => 1, parse run request: argv[1]
"#;

    #[test]
    fn request_wrong_lines_are_refused_by_name() {
        for row in REFUSED.lines().skip(1) {
            let (line, refusal) = row.split_once(" => ").unwrap();
            let (id, part) = refusal.split_once(", ").unwrap();
            let refused = Request::read(line.as_bytes()).expect_err(line);
            assert_eq!(refused.id, id.parse().ok().map(Id::Number), "{line}");
            let said = refused.error.to_string();
            assert!(said.contains(part), "{line}: {said:?} lacks {part:?}");
            assert_eq!(refused.error.kind(), Kind::Invalid, "{line}");
        }
        assert!(Request::read(b"\xff").is_err());
    }
}
