// SPDX-License-Identifier: MIT OR Apache-2.0
//! The spec with the keys of its tables beside its own, as in keyword
//! arguments.
#![forbid(unsafe_code)]

use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor, value};
use serde_json::{Map, Value};

use super::json::renamed;
use super::{Limits, Security, Spec, nearest};
use crate::error::{Error, Result, Step};

const STEP: Step = Step::ParseSpec;

impl Spec {
    /// Reads a spec from JSON text. Keys of `limits` and of `security` may
    /// stand beside the others: `{"memory": "256m", "cap_drop": ["ALL"]}`. All
    /// names differ.
    ///
    /// ```
    /// let spec = tare::Spec::from_flat_json(r#"{"memory": "256m", "limits": {"pids": 10}}"#)?;
    /// assert_eq!(spec.limits.memory.unwrap().bytes(), 256 << 20);
    /// let error = tare::Spec::from_flat_json(r#"{"memroy": "256m"}"#).unwrap_err();
    /// assert!(error.to_string().ends_with(r#"; try: "memory""#));
    /// # Ok::<(), tare::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Spec::from_json`]; [`crate::Kind::Invalid`], too, for a key in both
    /// places.
    pub fn from_flat_json(text: &str) -> Result<Self> {
        let flat: Map<String, Value> =
            serde_json::from_str(text).map_err(|e| Error::invalid(STEP, e))?;
        let own = keys::<Self>();
        let tables = [
            ("limits", keys::<Limits>()),
            ("security", keys::<Security>()),
        ];
        let mut nested = Map::new();
        let mut moved = Vec::new();
        for (key, value) in flat {
            let table = tables.iter().find(|(_, keys)| keys.contains(&&*key));
            match table {
                _ if own.contains(&&*key) => drop(nested.insert(key, value)),
                Some((table, _)) => moved.push((*table, key, value)),
                None => {
                    let all = tables.iter().flat_map(|(_, keys)| keys.iter());
                    return Err(unknown(&key, own.iter().chain(all).copied()));
                }
            }
        }
        for (table, key, value) in moved {
            let inner = nested.entry(table).or_insert_with(|| Map::new().into());
            // What is no table is refused below, by name.
            if let Some(inner) = inner.as_object_mut()
                && inner.insert(key.clone(), value).is_some()
            {
                let why = format_args!("it is in {table:?}, too");
                return Err(Error::invalid(STEP.key(key), why));
            }
        }
        Self::from_json(&Value::Object(nested).to_string())
    }
}

fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let step = STEP.key(key);
    let error = Error::invalid(step, format_args!("unknown key {key:?}"));
    // A key of a table stands beside the others, without the table's name.
    let renamed = renamed(key).and_then(|dotted| dotted.rsplit('.').next());
    match renamed.or_else(|| nearest(key, known)) {
        Some(near) => error.with_cure(format!("{near:?}")),
        None => error,
    }
}

/// Returns the names of a struct's keys, as serde knows them.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    let mut found: &[&str] = &[];
    // Fails in any case, after the keys are noted.
    let _ = T::deserialize(Keys(&mut found));
    found
}

/// Notes the keys of the struct that serde asks for.
struct Keys<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Keys<'_> {
    type Error = value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, value::Error> {
        *self.0 = fields;
        Err(value::Error::custom("only its keys were asked for"))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, value::Error> {
        Err(value::Error::custom("not a struct"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn keys_of_tables_may_stand_beside_the_others() {
        let flat =
            r#"{"memory": "1g", "cap_add": ["NET_RAW"], "hostname": "h", "limits": {"pids": 3}}"#;
        let nested = r#"{"hostname": "h", "limits": {"memory": "1g", "pids": 3}, "security": {"cap_add": ["NET_RAW"]}}"#;
        assert_eq!(
            Spec::from_flat_json(flat).unwrap(),
            Spec::from_json(nested).unwrap()
        );
        assert_eq!(Spec::from_flat_json("{}").unwrap(), Spec::default());
    }

    #[test]
    fn no_name_means_two_things() {
        let all = [keys::<Spec>(), keys::<Limits>(), keys::<Security>()].concat();
        assert!(all.len() > 30, "{all:?}");
        for key in &all {
            assert_eq!(all.iter().filter(|k| *k == key).count(), 1, "{key}");
        }
    }

    #[test]
    fn wrong_keys_are_refused_with_the_nearest() {
        for (json, said) in [
            (r#"{"memroy": 1}"#, r#"unknown key "memroy"; try: "memory""#),
            (r#"{"cap_ad": []}"#, r#"try: "cap_add""#),
            (r#"{"host_name": "a"}"#, r#"try: "hostname""#),
            (r#"{"volumes": []}"#, r#"try: "mounts""#),
            (r#"{"mem_limit": 1}"#, r#"try: "memory""#),
            (r#"{"cwd": "/"}"#, r#"try: "workdir""#),
            (
                r#"{"pids": 1, "limits": {"pids": 2}}"#,
                r#"parse spec: pids: it is in "limits", too"#,
            ),
            (r#"{"pids": 1, "limits": 3}"#, "expected an object, got 3"),
            (r#"{"pids": "x"}"#, "parse spec: limits.pids"),
            (r#"{"memory": "1x"}"#, "not a size"),
            ("[]", "expected a map"),
            ("{", "EOF"),
        ] {
            let error = Spec::from_flat_json(json).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert!(error.to_string().contains(said), "{json}: {error}");
        }
    }
}
