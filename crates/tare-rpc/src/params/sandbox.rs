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
    /// Version of the protocol that the client speaks. Default: not checked.
    pub(crate) protocol: Option<u32>,
}

/// Parameters of `open`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    /// Name for the sandbox; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) sandbox: String,
    /// Spec of the sandbox. Default: each key's default.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// Name of a pool to take the sandbox from; not together with `spec`.
    /// Default: no pool.
    #[serde(default)]
    pub(crate) pool: Option<String>,
}

/// Parameters of `open_pool`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OpenPool {
    /// Name for the pool; 1 to 256 bytes.
    #[schemars(length(min = 1, max = 256))]
    pub(crate) pool: String,
    /// Spec of the sandboxes. Default: each key's default.
    #[serde(default)]
    #[schemars(with = "Option<Spec>")]
    pub(crate) spec: Option<Box<RawValue>>,
    /// Number of sandboxes that wait even without demand. Default: 2.
    #[serde(default = "OpenPool::min")]
    pub(crate) min: usize,
    /// Largest number of sandboxes that wait. Default: 16.
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
    /// Name of the pool.
    pub(crate) pool: String,
}

/// Declares parameters that only name a sandbox.
macro_rules! of_a_sandbox {
    ($($name:ident $why:literal,)*) => {$(
        #[doc = $why]
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $name {
            /// Name of the sandbox.
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
    /// Name of the sandbox.
    pub(crate) sandbox: String,
    /// Limits to change: `memory`, `swap`, `cpus`, `cpu_weight`, `cpuset`,
    /// `pids`, `io`.
    pub(crate) limits: Limits,
}
