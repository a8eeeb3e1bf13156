// SPDX-License-Identifier: MIT OR Apache-2.0
//! Parameters of requests about files.
#![forbid(unsafe_code)]

use schemars::JsonSchema;
use serde::Deserialize;
use tare::spec::ByteSize;

use crate::bytes::{Data, Encoding};
use crate::value::Mode;

/// Declares what may be done with the files of a sandbox. Each request names
/// the sandbox, and the user whose rights count.
macro_rules! asks {
    ($($variant:ident $name:ident $why:literal { $($(#[$meta:meta])* $field:ident: $type:ty,)* })*) => {
        /// Something to do with the files of a sandbox.
        #[derive(Debug)]
        pub(crate) enum Ask {
            $(#[doc = $why] $variant($name),)*
        }

        $(
            #[doc = $why]
            #[derive(Debug, Deserialize, JsonSchema)]
            #[serde(deny_unknown_fields)]
            pub(crate) struct $name {
                /// Which.
                sandbox: String,
                /// The user inside whose rights count, `USER[:GROUP]`; what is made belongs to the user. Default: none,
                /// and every file can be read and written.
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
            /// The sandbox that it is about.
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
        /// The file, absolute.
        path: Data,
        /// A larger one is refused, EFBIG. Default and most: 8 MiB.
        #[serde(default)]
        limit: Option<ByteSize>,
        /// How its content is written: `auto` (text where it is UTF-8) or `base64`. Default: `auto`.
        #[serde(default)]
        encoding: Encoding,
    }

    Write WriteFile "Parameters of `write_file`." {
        /// The file, absolute; made, or emptied.
        path: Data,
        /// What to write.
        data: Data,
        /// Permissions of a new one, exactly. Default: `644`.
        #[serde(default = "Mode::of_file")]
        mode: Mode,
        /// Whether to keep what is in it. Default: false.
        #[serde(default)]
        append: bool,
        /// Whether one that is there is an error, EEXIST. Default: false.
        #[serde(default)]
        exclusive: bool,
    }

    List ListDir "Parameters of `list_dir`." {
        /// The directory, absolute.
        path: Data,
    }

    Stat Stat "Parameters of `stat`." {
        /// The file, absolute.
        path: Data,
        /// Whether a link at its end is followed. Default: true.
        #[serde(default = "yes")]
        follow_symlinks: bool,
    }

    Mkdir Mkdir "Parameters of `mkdir`." {
        /// The directory, absolute.
        path: Data,
        /// Its permissions, exactly. Default: `755`.
        #[serde(default = "Mode::of_directory")]
        mode: Mode,
        /// Whether what is missing above is made too, and one that is there stays as it is. Default: false.
        #[serde(default)]
        parents: bool,
    }

    Remove Remove "Parameters of `remove`." {
        /// A file, a link or an empty directory, absolute.
        path: Data,
        /// Whether a directory goes with all that is in it. Default: false.
        #[serde(default)]
        recursive: bool,
    }

    Put Put "Parameters of `put`." {
        /// A file or directory of the host.
        local: Data,
        /// Where it is to be inside, absolute; the directory above must be there.
        path: Data,
    }

    Get Get "Parameters of `get`." {
        /// A file or directory inside, absolute.
        path: Data,
        /// Where it is to be on the host; for a directory new or empty.
        local: Data,
    }

    PutTar PutTar "Parameters of `put_tar`." {
        /// The directory inside, absolute, below which everything is made.
        dir: Data,
        /// A tar archive of the host, compressed by gzip, zstd or not at all.
        archive: Data,
    }

    GetTar GetTar "Parameters of `get_tar`." {
        /// A file or directory inside, absolute.
        path: Data,
        /// The archive to make on the host; one that is there is an error, EEXIST.
        archive: Data,
    }
}

fn yes() -> bool {
    true
}
