// SPDX-License-Identifier: MIT OR Apache-2.0
//! A profile resolved for a set of capabilities: the answer to each call
//! number.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, HashMap};

use super::action::Action;
use super::profile::{Condition, Gate, Profile, Rule};
use super::table;
use crate::parts::caps::CapSet;

/// This library's architecture in the words of `includes.arches`, which are
/// Go's.
const ARCH: &str = "amd64";

/// The answer to each call number.
#[derive(Debug)]
pub(super) struct Policy {
    /// The answer to a call that no rule matches.
    pub(super) default: Action,
    /// The newest call that any rule names. Later calls of the kernel must look
    /// absent, not forbidden, because libraries fall back on ENOSYS. `None` if
    /// the default lets calls through or no call is named.
    pub(super) newest: Option<u32>,
    /// The calls that rules name, by number.
    pub(super) calls: BTreeMap<u32, Call>,
}

/// The answer to a call: of all the rules that match, the strictest; of several
/// errnos that of the first rule without conditions, then the smallest.
///
/// libseccomp, and so Docker, forgets every conditional rule for a call that
/// also has an unconditional rule, even if that opens a closed call.
#[derive(Debug, Default)]
pub(super) struct Call {
    /// The rules without conditions, joined.
    pub(super) always: Option<Action>,
    /// The rules that are stricter than `always` for some arguments: a list of
    /// alternatives, each a list of conditions that must all hold.
    pub(super) conditional: Vec<(Vec<Condition>, Action)>,
}

impl Policy {
    /// Picks the rules that apply to `caps` on `kernel` and joins them by
    /// number.
    pub(super) fn of(profile: &Profile, caps: CapSet, kernel: (u32, u32)) -> Self {
        let numbers: HashMap<_, _> = table::calls().collect();
        let mut calls: BTreeMap<u32, Call> = BTreeMap::new();
        for rule in profile.rules.iter().filter(|r| r.applies(caps, kernel)) {
            let known = rule.names.iter().filter_map(|n| numbers.get(n.as_str()));
            for number in known {
                calls.entry(*number).or_default().join(rule);
            }
        }
        calls.values_mut().for_each(Call::simplify);
        let open = matches!(profile.default, Action::Allow | Action::Log);
        Self {
            default: profile.default,
            newest: calls.keys().next_back().copied().filter(|_| !open),
            calls,
        }
    }
}

impl Policy {
    /// Returns whether a call is let through with these arguments, or with any.
    pub(super) fn allows(&self, number: u32, args: Option<&[u64; 6]>) -> bool {
        let Some(call) = self.calls.get(&number) else {
            let absent = self.newest.is_some_and(|newest| number > newest);
            return self.default == Action::Allow && !absent;
        };
        let Some(args) = args else {
            return call.conditional.is_empty() && call.always == Some(Action::Allow);
        };
        let holds = |conditions: &[Condition]| conditions.iter().all(|c| c.holds(args));
        let met = call.conditional.iter().filter(|rule| holds(&rule.0));
        let mut actions = met.map(|rule| rule.1).chain(call.always).peekable();
        match actions.peek() {
            None => self.default == Action::Allow,
            Some(_) => actions.all(|action| action == Action::Allow),
        }
    }
}

impl Call {
    fn join(&mut self, rule: &Rule) {
        let repeated = rule
            .args
            .iter()
            .enumerate()
            .any(|(n, arg)| rule.args[..n].iter().any(|a| a.index == arg.index));
        if rule.args.is_empty() {
            match self.always {
                Some(always) if !rule.action.is_stricter_than(always) => {}
                _ => self.always = Some(rule.action),
            }
        } else if repeated {
            let alone = rule.args.iter().map(|arg| (vec![*arg], rule.action));
            self.conditional.extend(alone);
        } else {
            self.conditional.push((rule.args.clone(), rule.action));
        }
    }

    fn simplify(&mut self) {
        if let Some(always) = self.always {
            self.conditional
                .retain(|(_, action)| action.is_stricter_than(always));
        }
    }
}

impl Rule {
    fn applies(&self, caps: CapSet, kernel: (u32, u32)) -> bool {
        let Gate {
            caps: needed,
            arches,
            min_kernel,
        } = &self.includes;
        let included = needed.and(caps) == *needed
            && (arches.is_empty() || arches.iter().any(|a| a == ARCH))
            && min_kernel.is_none_or(|min| kernel >= min);
        let excluded = self.excludes.caps.and(caps) != CapSet::EMPTY
            || self.excludes.arches.iter().any(|a| a == ARCH)
            || self.excludes.min_kernel.is_some_and(|min| kernel >= min);
        included && !excluded
    }
}
