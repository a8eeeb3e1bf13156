// SPDX-License-Identifier: MIT OR Apache-2.0
//! A layout with members opened ahead, so that a removal does not end their
//! reading.
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::fs::File;

use super::archive::Window;
use super::{Layout, Member, Source};
use crate::error::Result;

/// A layout, with some members open.
#[derive(Debug)]
pub(crate) struct Opened {
    layout: Layout,
    members: HashMap<String, (File, u64)>,
}

impl Opened {
    /// Opens the members, a descriptor each.
    ///
    /// # Errors
    /// [`crate::Kind::NotFound`] for a missing member.
    pub(crate) fn new<'a>(
        layout: Layout,
        members: impl Iterator<Item = &'a String>,
    ) -> Result<Self> {
        let open = |name: &'a String| Ok((name.clone(), layout.file(name)?));
        let members = members.map(open).collect::<Result<_>>()?;
        Ok(Self { layout, members })
    }
}

impl Source for Opened {
    fn open(&self, name: &str) -> Result<Member<'_>> {
        let Some((file, size)) = self.members.get(name) else {
            return self.layout.open(name);
        };
        Ok(Window::member(file, 0, *size))
    }

    fn label(&self) -> String {
        self.layout.label()
    }

    fn cure(&self) -> &'static str {
        self.layout.cure()
    }
}
