// SPDX-License-Identifier: MIT OR Apache-2.0
//! The golden text: lines of Docker's and of libtare, each difference with a
//! reason that a document explains.

use std::collections::BTreeSet;

/// The side of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Both,
    Docker,
    Ours,
}

#[derive(Debug)]
struct Line {
    side: Side,
    /// All must hold, of each at least one word.
    only: Vec<Vec<String>>,
    fact: String,
    reason: Option<String>,
}

/// The text, read and found to be sound.
#[derive(Debug)]
pub(crate) struct Golden(Vec<Line>);

impl Golden {
    /// Reads the text. Each difference has a reason, nothing else has one, and
    /// no fact of a side is there twice.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut lines = Vec::new();
        for (number, text) in (1..).zip(text.lines()) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let line = Line::parse(text).ok_or_else(|| format!("line {number}: {text:?}"))?;
            if (line.side == Side::Both) != line.reason.is_none() {
                return Err(format!(
                    "line {number}: a difference, and only that, says why"
                ));
            }
            lines.push(line);
        }
        Ok(Self(lines))
    }

    /// Every reason that a difference gives.
    pub(crate) fn reasons(&self) -> BTreeSet<&str> {
        let reasons = self.0.iter().filter_map(|l| l.reason.as_deref());
        reasons.collect()
    }

    /// The expected facts in a place that `words` describe.
    pub(crate) fn expected(&self, words: &[&str]) -> Result<BTreeSet<&str>, String> {
        let side = |sides: [Side; 2]| {
            let mut facts = BTreeSet::new();
            let here = self.0.iter().filter(|l| l.holds(words));
            for line in here.filter(|l| sides.contains(&l.side)) {
                if !facts.insert(line.fact.as_str()) {
                    return Err(format!("twice for {words:?}: {}", line.fact));
                }
            }
            Ok(facts)
        };
        let (ours, docker) = (
            side([Side::Both, Side::Ours])?,
            side([Side::Both, Side::Docker])?,
        );
        for line in self
            .0
            .iter()
            .filter(|l| l.side != Side::Both && l.holds(words))
        {
            if ours.contains(line.fact.as_str()) && docker.contains(line.fact.as_str()) {
                return Err(format!("no difference for {words:?}: {}", line.fact));
            }
        }
        Ok(ours)
    }
}

impl Line {
    fn parse(text: &str) -> Option<Self> {
        let (side, rest) = text.split_at_checked(2)?;
        let side = match side {
            "  " => Side::Both,
            "- " => Side::Docker,
            "+ " => Side::Ours,
            _ => return None,
        };
        let (only, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once("] ")?,
            None => ("", rest),
        };
        let (fact, reason) = match rest.split_once("  # ") {
            Some((fact, reason)) => (fact, Some(reason.to_owned())),
            None => (rest, None),
        };
        let any = |word: &str| word.split('|').map(str::to_owned).collect();
        (!fact.is_empty() && fact == fact.trim()).then(|| Self {
            side,
            only: only.split_whitespace().map(any).collect(),
            fact: fact.to_owned(),
            reason,
        })
    }

    fn holds(&self, words: &[&str]) -> bool {
        let one = |any: &Vec<String>| any.iter().any(|word| words.contains(&word.as_str()));
        self.only.iter().all(one)
    }
}

/// The first column of the table below `heading`, in back quotes each.
pub(crate) fn explained<'a>(document: &'a str, heading: &str) -> BTreeSet<&'a str> {
    let section = document.split_once(heading).map_or("", |(_, rest)| rest);
    let section = section.split_once("\n## ").map_or(section, |(own, _)| own);
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| Some(row.split_once('`')?.0))
        .collect()
}
