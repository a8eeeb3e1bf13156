// SPDX-License-Identifier: MIT OR Apache-2.0
//! The single definition of the command line: source of flags, help,
//! completions and manual pages.
#![forbid(unsafe_code)]

use clap::{Parser, Subcommand};

use crate::store_flag::StoreFlag;
use crate::{doctor, generate, image, mount, rpc, run, schema, store, version};

/// Containers as a library: an image in, an isolated throwaway command out, no
/// daemon
#[derive(Debug, Parser)]
#[command(
    name = "tare",
    version,
    max_term_width = 100,
    infer_long_args = false,
    disable_help_subcommand = true
)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) store: StoreFlag,

    #[command(subcommand)]
    pub(crate) action: Action,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Run a command in a fresh sandbox, which is gone when the command ends
    Run(Box<run::Flags>),
    /// Bring images into the store, list, name and remove them
    #[command(subcommand)]
    Image(Box<image::Action>),
    /// Mount a copy-on-write view of an image on a directory (root)
    Mount(mount::Mount),
    /// Undo `tare mount`
    Umount(mount::Umount),
    /// Look after the store
    #[command(subcommand)]
    Store(store::Action),
    /// Speak JSON, a line for each message, with a program that opens sandboxes
    /// and runs commands
    Rpc(rpc::Flags),
    /// Print the JSON Schema of a spec or of the protocol
    Schema(schema::Flags),
    /// Report the abilities of this machine, and a cure for each that is
    /// missing
    Doctor(doctor::Flags),
    /// Print the version and the features of the build
    Version(version::Flags),
    /// Print the completion script for a shell
    Completion(generate::Completion),
    /// Write the manual pages
    Man(generate::Man),
}
