// SPDX-License-Identifier: MIT OR Apache-2.0
//! The argument and environment vectors, and the search for the program.

use core::ffi::CStr;

use crate::dir::{self, PATH_MAX};
use crate::mapping::Mapping;
use crate::sys::{self, Errno, Result};
use crate::wire::{ADD_HOME, Run};

/// Pointers for execve(2): argv, NULL, envp, NULL.
pub(crate) struct Words {
    memory: Mapping,
    env: usize,
    home_slot: Option<usize>,
}

impl Words {
    /// Maps room for the usual number of words; unused pages cost no memory.
    pub(crate) fn new() -> Result<Self> {
        const USUAL: usize = 4096;
        Ok(Self {
            memory: Mapping::lasting(USUAL * size_of::<usize>())?,
            env: 0,
            home_slot: None,
        })
    }

    /// Points at the strings of `run`, which must stay in place until the exec.
    pub(crate) fn fill(&mut self, run: &Run<'_>) -> Result<()> {
        let wanted = run.argv.iter().count() + run.env.iter().count() + 4;
        if wanted > self.memory.words_mut().len() {
            self.memory = Mapping::anonymous(wanted * size_of::<usize>())?;
        }
        let words = self.memory.words_mut();
        let mut at = 0;
        let mut put = |word: usize| {
            words[at] = word;
            at += 1;
            at
        };
        for arg in run.argv.iter() {
            put(arg.as_ptr() as usize);
        }
        self.env = put(0);
        for pair in run.env.iter() {
            put(pair.as_ptr() as usize);
        }
        self.home_slot = (run.flags & ADD_HOME != 0).then(|| put(0) - 1);
        put(0);
        Ok(())
    }

    /// Adds `HOME=...` in the place that [`Words::fill`] left; the string must
    /// stay in place until the exec.
    pub(crate) fn set_home(&mut self, home: &CStr) {
        if let Some(slot) = self.home_slot {
            self.memory.words_mut()[slot] = home.as_ptr() as usize;
        }
    }

    /// Executes a program; returns only with the reason of a failure.
    ///
    /// # Safety
    /// [`Words::fill`] was called, and its strings and that of
    /// [`Words::set_home`] are still in place.
    unsafe fn exec(&mut self, program: &CStr) -> Errno {
        let words = self.memory.words_mut();
        let (argv, envp) = (words.as_ptr(), words[self.env..].as_ptr());
        // SAFETY: `fill` wrote both vectors, each with a null at the end; the
        // caller vouches for the strings.
        unsafe { sys::execve(program, argv, envp) }
    }
}

/// Executes the program; returns only with the reason of a failure. Searches as
/// execvp(3): a name without a slash in `path`, and EACCES is remembered while
/// the search continues.
///
/// # Safety
/// As for [`Words::exec`].
pub(crate) unsafe fn exec(run: &Run<'_>, words: &mut Words) -> Errno {
    let Some(name) = run.argv.iter().next().filter(|n| !n.is_empty()) else {
        return Errno::NOENT;
    };
    if name.to_bytes().contains(&b'/') {
        // SAFETY: the caller vouches for the strings.
        return unsafe { words.exec(name) };
    }
    // SAFETY: as above.
    unsafe { search(name, run.path.to_bytes(), words) }
}

/// Searches the program in `path` and executes it. Not inlined, because the
/// buffer takes two pages of a stack.
///
/// # Safety
/// As for [`Words::exec`].
#[inline(never)]
unsafe fn search(name: &CStr, path: &[u8], words: &mut Words) -> Errno {
    let mut found = Errno::NOENT;
    let mut buffer = [0u8; PATH_MAX + 256];
    for dir in path.split(|b| *b == b':') {
        // An empty entry would be the working directory, which is no trusted
        // place.
        if dir.is_empty() {
            continue;
        }
        let Ok(program) = dir::join(&mut buffer, &[dir, b"/", name.to_bytes()]) else {
            continue;
        };
        // SAFETY: the caller vouches for the strings.
        match unsafe { words.exec(program) } {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCES => found = Errno::ACCES,
            other => return other,
        }
    }
    found
}
