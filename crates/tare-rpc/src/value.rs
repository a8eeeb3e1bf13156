// SPDX-License-Identifier: MIT OR Apache-2.0
//! Values with several notations: durations, modes and signals.
#![forbid(unsafe_code)]

use std::borrow::Cow;
use std::time::Duration;

use nix::sys::signal::Signal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use tare::spec::parse_duration;

/// A duration: `1.5` (seconds), `"500ms"`, `"1m30s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Seconds {
    fn limit<E: de::Error>(limit: Duration) -> Result<Self, E> {
        match limit {
            Duration::ZERO => Err(E::custom(
                "0 leaves a command no time; try: no timeout, for no limit",
            )),
            limit => Ok(Self(limit)),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Seconds;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("seconds or a duration such as \"1m30s\"")
            }
            fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
                Seconds::limit(Duration::from_secs(seconds))
            }
            fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
                Seconds::limit(Duration::try_from_secs_f64(seconds).map_err(E::custom)?)
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
                Seconds::limit(parse_duration(text).map_err(E::custom)?)
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Seconds, or a text with units: \"500ms\", \"30s\", \"2m\", \"1h30m\", \"1d\".",
            "anyOf": [
                {"type": "number", "exclusiveMinimum": 0},
                {
                    "type": "string",
                    "pattern": "^\\s*([0-9.]+|([0-9.]+(ms|s|m|min|h|d))+)\\s*$",
                },
            ],
        })
    }
}

/// A duration as the time limit of a command.
impl From<Seconds> for Duration {
    fn from(Seconds(duration): Seconds) -> Self {
        duration
    }
}

/// Permission bits: `"644"`, octal as in chmod(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode(pub(crate) u32);

impl Mode {
    /// Returns the mode of a new file.
    pub(crate) fn of_file() -> Self {
        Self(0o644)
    }

    /// Returns the mode of a new directory.
    pub(crate) fn of_directory() -> Self {
        Self(0o755)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(d)?;
        let octal =
            |text: &str| !text.is_empty() && text.bytes().all(|b| (b'0'..b'8').contains(&b));
        match u32::from_str_radix(&text, 8) {
            Ok(mode @ 0..=0o7777) if octal(&text) => Ok(Self(mode)),
            _ => Err(de::Error::custom(format_args!(
                "{text:?} is no mode such as \"644\""
            ))),
        }
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> Cow<'static, str> {
        "Mode".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Permission bits in octal, chmod(1): \"644\".",
            "type": "string",
            "pattern": "^0*[0-7]{1,4}$",
        })
    }
}

/// A signal, signal(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignalNumber(pub(crate) i32);

/// Highest signal number on Linux.
const LAST: u64 = 64;

impl<'de> Deserialize<'de> for SignalNumber {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = SignalNumber;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a signal such as 15, \"TERM\" or \"SIGTERM\"")
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<SignalNumber, E> {
                match number {
                    1..=LAST => Ok(SignalNumber(number as i32)),
                    _ => Err(E::custom(format_args!(
                        "{number} is not between 1 and {LAST}"
                    ))),
                }
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<SignalNumber, E> {
                let full = match text.starts_with("SIG") {
                    true => Cow::from(text),
                    false => Cow::from(format!("SIG{text}")),
                };
                full.parse::<Signal>()
                    .map(|signal| SignalNumber(signal as i32))
                    .map_err(|_| E::custom(format_args!("{text:?} is no signal")))
            }
        }
        d.deserialize_any(Visitor)
    }
}

impl JsonSchema for SignalNumber {
    fn schema_name() -> Cow<'static, str> {
        "Signal".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Signal::iterator().map(Signal::as_str).collect();
        let short = names.iter().map(|name| &name[3..]);
        let all: Vec<&str> = names.iter().copied().chain(short).collect();
        json_schema!({
            "description": "signal(7), by number or name.",
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LAST},
                {"enum": all},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_signals_are_read_in_every_notation() {
        for (text, ms) in [
            ("1", 1000),
            ("0.25", 250),
            ("\"1m30s\"", 90_000),
            ("\"5ms\"", 5),
        ] {
            let read: Seconds = serde_json::from_str(text).unwrap();
            assert_eq!(read.0.as_millis(), ms, "{text}");
        }
        for text in [
            "-1", "-0.5", "0", "0.0", "\"0\"", "\"0ms\"", "1e300", "\"\"", "\"1y\"", "true", "null",
        ] {
            assert!(serde_json::from_str::<Seconds>(text).is_err(), "{text}");
        }
        for (text, number) in [("15", 15), ("\"TERM\"", 15), ("\"SIGKILL\"", 9), ("64", 64)] {
            let read: SignalNumber = serde_json::from_str(text).unwrap();
            assert_eq!(read.0, number, "{text}");
        }
        for text in [
            "0", "65", "-9", "\"term\"", "\"SIG\"", "\"\"", "9.5", "null",
        ] {
            assert!(
                serde_json::from_str::<SignalNumber>(text).is_err(),
                "{text}"
            );
        }
    }
}
