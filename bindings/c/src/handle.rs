// SPDX-License-Identifier: MIT OR Apache-2.0
//! Handles: the library's objects as C holds them.
#![forbid(unsafe_code)]

use std::any::Any;
use std::ptr;
use std::sync::Arc;

use tare_core::{Error, Kind, Result};

use crate::table::{Name, Object, Table};
use crate::value::value;

static TABLE: Table = Table::new();

/// The letter of each type in its handles, and its name in C.
const KINDS: [(u8, &str); 13] = [
    (b'B', "tare_bytes"),
    (b'D', "tare_dir"),
    (b'E', "tare_error"),
    (b'I', "tare_image"),
    (b'L', "tare_pool"),
    (b'M', "tare_importing"),
    (b'N', "tare_opening"),
    (b'O', "tare_output"),
    (b'P', "tare_process"),
    (b'S', "tare_store"),
    (b'U', "handle of tare_sandbox_as_user()"),
    (b'V', "tare_events"),
    (b'X', "tare_sandbox"),
];

/// An object that C holds by an opaque pointer.
pub(crate) trait Noun: Any + Send + Sync {
    /// The opaque type.
    type Handle;
    /// The letter of the type in [`KINDS`].
    const KIND: u8;
}

/// Hands an object over to the caller.
pub(crate) fn give<T: Noun>(object: T) -> Result<*mut T::Handle> {
    give_shared(Arc::new(object))
}

/// The same for an object that the call still needs.
pub(crate) fn give_shared<T: Noun>(object: Arc<T>) -> Result<*mut T::Handle> {
    try_give(object).ok_or_else(exhausted)
}

/// The same for functions without an error; `None` if there are too many.
pub(crate) fn try_give<T: Noun>(object: Arc<T>) -> Option<*mut T::Handle> {
    let name = TABLE.insert(T::KIND, object)?;
    Some(ptr::without_provenance_mut(name.bits() as usize))
}

/// Returns the object of a handle; `argument` names the handle in the error.
pub(crate) fn get<T: Noun>(handle: *const T::Handle, argument: &str) -> Result<Arc<T>> {
    let name = named::<T>(handle, argument)?;
    held(TABLE.get(name), argument)
}

/// Returns whether a handle is of this type, stale ones included.
pub(crate) fn is<T: Noun>(handle: *const T::Handle) -> bool {
    Name::from_bits(handle.addr() as u64).kind == T::KIND
}

/// Takes a handle back from the caller.
pub(crate) fn take<T: Noun>(handle: *const T::Handle, argument: &str) -> Result<Arc<T>> {
    let name = named::<T>(handle, argument)?;
    // A forged name of another type's slot must not empty that.
    held::<T>(TABLE.get(name), argument)?;
    held(TABLE.take(name), argument)
}

/// Takes a handle back and drops its object; a handle without an object is
/// ignored.
pub(crate) fn free<T: Noun>(handle: *const T::Handle) {
    value((), || take::<T>(handle, "handle").ok().map(drop));
}

/// There is no name left.
pub(crate) fn exhausted() -> Error {
    Error::new(Kind::Exhausted, "make handle", "there are 16 million")
        .with_cure("freeing those that are not used")
}

/// Returns the number of handles that the caller holds.
pub(crate) fn live() -> usize {
    TABLE.live()
}

fn named<T: Noun>(handle: *const T::Handle, argument: &str) -> Result<Name> {
    if handle.is_null() {
        return Err(wrong(argument, "is NULL"));
    }
    let name = Name::from_bits(handle.addr() as u64);
    if name.kind == T::KIND {
        return Ok(name);
    }
    match KINDS.iter().find(|(kind, _)| *kind == name.kind) {
        Some((_, other)) => Err(wrong(argument, &format!("is a {other}"))),
        None => Err(wrong(argument, "is no handle of this library")),
    }
}

fn held<T: Noun>(object: Option<Object>, argument: &str) -> Result<Arc<T>> {
    match object.map(Arc::downcast) {
        Some(Ok(object)) => Ok(object),
        _ => Err(wrong(argument, "is stale: it was freed or closed")),
    }
}

/// An argument that cannot be used.
pub(crate) fn wrong(argument: &str, why: &str) -> Error {
    let why = format_args!("{argument} {why}");
    Error::new(Kind::Invalid, "check arguments", why)
}
