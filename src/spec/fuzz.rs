// SPDX-License-Identifier: MIT OR Apache-2.0
//! Any text as a spec: an accepted text is written back and read the same.
#![forbid(unsafe_code)]

use super::Spec;

pub(crate) fn spec(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Spec::from_json(text) {
        Ok(spec) => {
            let json = spec.to_json();
            let again = Spec::from_json(&json).unwrap_or_else(|e| panic!("{json}: {e}"));
            assert_eq!(again, spec, "{json}");
        }
        Err(error) => assert!(!error.to_string().contains(crate::error::Quoted::escapes)),
    }
}
