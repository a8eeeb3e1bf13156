// SPDX-License-Identifier: MIT OR Apache-2.0
//! Bytes in JSON: UTF-8 as a string, other bytes as base64 in an object.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Encoding of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Encoding {
    /// UTF-8 as text, other bytes as base64.
    #[default]
    Auto,
    /// Always base64.
    Base64,
}

/// Received bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Data(pub(crate) Vec<u8>);

impl Data {
    /// Returns the bytes as a string for the kernel.
    pub(crate) fn into_os(self) -> OsString {
        OsString::from_vec(self.0)
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Encoded {
            base64: String,
        }

        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Data;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string, or {\"base64\": \"...\"}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Data, E> {
                Ok(Data(text.as_bytes().to_vec()))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Data, A::Error> {
                let encoded = Encoded::deserialize(de::value::MapAccessDeserializer::new(map))?;
                let bytes = STANDARD.decode(encoded.base64);
                bytes
                    .map(Data)
                    .map_err(|e| de::Error::custom(format_args!("base64: {e}")))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        Shown::new(&self.0, Encoding::Auto).serialize(s)
    }
}

impl JsonSchema for Data {
    fn schema_name() -> Cow<'static, str> {
        "Data".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Bytes: a string where they are UTF-8, else base64 (RFC 4648, section 4).",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"base64": {"type": "string", "contentEncoding": "base64"}},
                    "required": ["base64"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// Bytes to send.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Shown<'a> {
    Text(&'a str),
    Base64(&'a [u8]),
}

impl<'a> Shown<'a> {
    /// Chooses the most readable form that the encoding allows.
    pub(crate) fn new(bytes: &'a [u8], encoding: Encoding) -> Self {
        match (encoding, std::str::from_utf8(bytes)) {
            (Encoding::Auto, Ok(text)) => Self::Text(text),
            _ => Self::Base64(bytes),
        }
    }
}

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        match self {
            Self::Text(text) => s.serialize_str(text),
            Self::Base64(bytes) => {
                let mut map = s.serialize_map(Some(1))?;
                map.serialize_entry("base64", &STANDARD.encode(bytes))?;
                map.end()
            }
        }
    }
}

/// Joins a stream that was cut inside a character.
#[derive(Debug, Default)]
pub(crate) struct Pieces {
    /// The beginning of a character: at most three bytes.
    held: Vec<u8>,
}

impl Pieces {
    /// Returns the bytes to send, of those held and `chunk`.
    pub(crate) fn next(&mut self, chunk: &[u8], encoding: Encoding) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(chunk);
        if encoding == Encoding::Auto
            && let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            self.held = bytes.split_off(error.valid_up_to());
        }
        bytes
    }

    /// Returns the held bytes after the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(bytes: &[u8], encoding: Encoding) -> String {
        serde_json::to_string(&Shown::new(bytes, encoding)).unwrap()
    }

    #[test]
    fn data_is_written_as_it_is_read() {
        for bytes in [
            &b""[..],
            b"a\"\n\0",
            "\u{fc}\u{1f600}".as_bytes(),
            b"\xff\x00",
            b"f",
        ] {
            for encoding in [Encoding::Auto, Encoding::Base64] {
                let read: Data = serde_json::from_str(&json(bytes, encoding)).unwrap();
                assert_eq!(read.0, bytes);
            }
        }
        assert_eq!(json(b"hi", Encoding::Auto), r#""hi""#);
        assert_eq!(json(b"hi", Encoding::Base64), r#"{"base64":"aGk="}"#);
        assert_eq!(json(b"\xff\xfe", Encoding::Auto), r#"{"base64":"//4="}"#);
        for wrong in [
            "1",
            "null",
            "{}",
            r#"{"base64":"a"}"#,
            r#"{"base64":"","x":1}"#,
        ] {
            assert!(serde_json::from_str::<Data>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pieces_of_text_stay_text_wherever_they_are_cut() {
        let text = "a\u{fc}\u{20ac}\u{1f600}z".as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut pieces = Pieces::default();
                let mut all = Vec::new();
                for chunk in [&text[..first], &text[first..second], &text[second..]] {
                    let piece = pieces.next(chunk, Encoding::Auto);
                    assert!(std::str::from_utf8(&piece).is_ok(), "{first} {second}");
                    all.extend(piece);
                }
                all.extend(pieces.rest());
                assert_eq!(all, text);
            }
        }
    }

    #[test]
    fn pieces_of_other_bytes_are_held_no_longer_than_three() {
        let mut pieces = Pieces::default();
        assert_eq!(
            pieces.next(b"a\xff\xe2\x82", Encoding::Auto),
            b"a\xff\xe2\x82"
        );
        assert_eq!(pieces.next(b"b\xf0\x9f\x98", Encoding::Auto), b"b");
        assert_eq!(pieces.next(b"c", Encoding::Auto), b"\xf0\x9f\x98c");
        assert_eq!(pieces.next(b"\xe2", Encoding::Base64), b"\xe2");
        assert_eq!(pieces.next(b"\xe2", Encoding::Auto), b"");
        assert_eq!(pieces.rest(), b"\xe2");
        assert!(pieces.rest().is_empty());
    }
}
