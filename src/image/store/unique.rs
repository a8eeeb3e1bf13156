// SPDX-License-Identifier: MIT OR Apache-2.0
//! Reads ids from the kernel, for names that no other process uses.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::Read as _;

use crate::error::{Error, Result, Step};

/// Returns the id of this boot, proc_sys_kernel(5).
pub(super) fn boot_id() -> Result<String> {
    random("boot_id")
}

/// Returns a new id.
pub(super) fn uuid() -> Result<String> {
    random("uuid")
}

/// Returns a new id even if procfs shows processes only (`subset=pid`).
pub(super) fn fresh() -> Result<String> {
    uuid().or_else(|error| {
        let mut bytes = [0; 16];
        let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
        read.map_err(|_| error)?;
        Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
    })
}

fn random(which: &str) -> Result<String> {
    let path = format!("/proc/sys/kernel/random/{which}");
    let text = fs::read_to_string(&path).map_err(|e| {
        let error = Error::io(Step::ReadRandomNumber, &path, e);
        error.with_cure("a whole procfs: mount -t proc proc /proc")
    })?;
    Ok(text.trim().replace('-', ""))
}
