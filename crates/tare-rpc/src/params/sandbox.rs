// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of requests about the session, pools and sandboxes.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::RawValue;
use tare::spec::Limits;
use tare::{PoolSize, Spec};

/// Parameters of `hello`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(crate) struct Hello {
    /// The version of the protocol that the client speaks. Default: not checked.
    pub(crate) protocol: Option<u32>,
}

/// Parameters of `open`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    /// The name that it is to have here; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) sandbox: String,
    /// What to make. Default: every key's own.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// The pool to take it from; not together with `spec`. Default: none, it is made now.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

/// Parameters of `open_pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenPool {
    /// The name that it is to have here; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) pool: String,
    /// What to make. Default: every key's own.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// So many wait even if none is taken. Default: 2.
    #[serde(default = "OpenPool::min")]
    pub(crate) min: usize,
    /// No more than so many wait, whatever the demand. Default: 16.
    #[serde(default = "OpenPool::max")]
    pub(crate) max: usize,
}

impl OpenPool {
    fn min() -> usize {
        PoolSize::default().min
    }

    fn max() -> usize {
        PoolSize::default().max
    }
}

/// Parameters of `close_pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClosePool {
    /// Which.
    pub(crate) pool: String,
}

/// Declares parameters that only name a sandbox.
macro_rules! of_a_sandbox {
    ($($name:ident $why:literal,)*) => {$(
        #[doc = $why]
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Which.
            pub(crate) sandbox: String,
        }
    )*};
}

of_a_sandbox! {
    List "Parameters of `commands`.",
    Reset "Parameters of `reset`.",
    Freeze "Parameters of `freeze`.",
    Thaw "Parameters of `thaw`.",
    Measure "Parameters of `usage`.",
    WatchSandbox "Parameters of `watch`.",
    Inspect "Parameters of `effective`.",
    Close "Parameters of `close`.",
}

/// Parameters of `set_limits`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetLimits {
    /// Which.
    pub(crate) sandbox: String,
    /// Those to change: `memory`, `swap`, `cpus`, `cpu_weight`, `cpuset`, `pids`, `io`.
    pub(crate) limits: Limits,
}
