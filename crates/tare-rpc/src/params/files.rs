// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of requests about files.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Deserialize;
use tare::spec::ByteSize;

use crate::bytes::{Data, Encoding};
use crate::value::Mode;

/// Declares the requests about files of a sandbox. Each names the sandbox, and
/// the user whose rights count.
macro_rules! asks {
    ($($variant:ident $name:ident $why:literal { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {
        /// A request about files of a sandbox.
        #[derive(Debug)]
        pub(crate) enum Ask {
            $(#[doc = $why] $variant($name),)*
        }

        $(
            #[doc = $why]
            #[derive(Debug, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name {
                /// Name of the sandbox.
                sandbox: String,
                /// User inside whose rights count, `USER[:GROUP]`, and who owns
                /// new files. Default: none, and every file can be read and
                /// written.
                #[serde(default)]
                user: Option<String>,
                $($(#[$meta])* pub(crate) $field: $type,)*
            }

            impl From<$name> for Ask {
                fn from(ask: $name) -> Self {
                    Self::$variant(ask)
                }
            }
        )*

        impl Ask {
            /// Returns the name of the sandbox.
            pub(crate) fn sandbox(&self) -> &str {
                match self {
                    $(Self::$variant(ask) => &ask.sandbox,)*
                }
            }

            /// Takes the user whose rights count.
            pub(crate) fn take_user(&mut self) -> Option<String> {
                match self {
                    $(Self::$variant(ask) => ask.user.take(),)*
                }
            }
        }
    };
}

asks! {
    Read ReadFile "Parameters of `read_file`." {
        /// Path of the file, absolute.
        path: Data,
        /// Size above which the file is refused, EFBIG. Default and most: 8
        /// MiB.
        #[serde(default)]
        limit: Option<ByteSize>,
        /// Encoding of the content: `auto` (UTF-8 as text) or `base64`.
        /// Default: `auto`.
        #[serde(default)]
        encoding: Encoding,
    }

    Write WriteFile "Parameters of `write_file`." {
        /// Path of the file, absolute. The file is made or truncated.
        path: Data,
        /// Bytes to write.
        data: Data,
        /// Exact permissions of a new file. Default: `644`.
        #[serde(default = "Mode::of_file")]
        mode: Mode,
        /// True to keep the content and append. Default: false.
        #[serde(default)]
        append: bool,
        /// True to fail with EEXIST if the file exists. Default: false.
        #[serde(default)]
        exclusive: bool,
    }

    List ListDir "Parameters of `list_dir`." {
        /// Path of the directory, absolute.
        path: Data,
    }

    Stat Stat "Parameters of `stat`." {
        /// Path of the file, absolute.
        path: Data,
        /// True to follow a link at the end. Default: true.
        #[serde(default = "yes")]
        follow_symlinks: bool,
    }

    Mkdir Mkdir "Parameters of `mkdir`." {
        /// Path of the directory, absolute.
        path: Data,
        /// Exact permissions. Default: `755`.
        #[serde(default = "Mode::of_directory")]
        mode: Mode,
        /// True to make missing parents, too, and to accept an existing
        /// directory. Default: false.
        #[serde(default)]
        parents: bool,
    }

    Remove Remove "Parameters of `remove`." {
        /// Path of a file, a link or an empty directory, absolute.
        path: Data,
        /// True to remove a directory with all files in it. Default: false.
        #[serde(default)]
        recursive: bool,
    }

    Put Put "Parameters of `put`." {
        /// Path of a file or directory of the host.
        local: Data,
        /// Target inside, absolute; the parent must exist.
        path: Data,
    }

    Get Get "Parameters of `get`." {
        /// Path of a file or directory inside, absolute.
        path: Data,
        /// Target on the host; for a directory new or empty.
        local: Data,
    }

    PutTar PutTar "Parameters of `put_tar`." {
        /// Directory inside, absolute, to unpack below.
        dir: Data,
        /// Path of a tar archive of the host, compressed by gzip, zstd or not
        /// at all.
        archive: Data,
    }

    GetTar GetTar "Parameters of `get_tar`." {
        /// Path of a file or directory inside, absolute.
        path: Data,
        /// Path of the new archive on the host; EEXIST if it exists.
        archive: Data,
    }
}

fn yes() -> bool {
    true
}
