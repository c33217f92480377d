//! Rules that can never decide, because earlier rules do.
//!
//! Each report is certain. Some rules that never decide are not noticed: those that only several patterns of another
//! rule cover together.

use crate::{
    pattern::{Part, Pattern, matches_parts},
    rule::Rule,
    who::{Groups, Who},
};
use registry_core::{Action, glob::matches_text};
use std::collections::BTreeSet;

/// Returns the indexes of the rules that always decide before `rule`; `None` if it can be reached.
pub(crate) fn shadow(rule: &Rule, before: &[Rule], groups: &Groups) -> Option<BTreeSet<usize>> {
    let mut by = BTreeSet::new();
    for action in rule.actions() {
        for who in rule.who() {
            for pattern in rule.repositories() {
                let covers = |earlier: &Rule| covers(earlier, *action, who, pattern, groups);
                by.insert(before.iter().position(covers)?);
            }
        }
    }
    Some(by)
}

fn covers(earlier: &Rule, action: Action, who: &Who, pattern: &Pattern, groups: &Groups) -> bool {
    earlier.actions().contains(&action)
        && earlier.who().iter().any(|earlier| is_among(who, earlier, groups))
        && earlier
            .repositories()
            .iter()
            .any(|earlier| is_within(pattern.parts(), earlier.parts()))
}

/// Returns true if all of `who` are among `others`, for every login.
fn is_among(who: &Who, others: &Who, groups: &Groups) -> bool {
    match (who, others) {
        (_, Who::Everyone) => true,
        (Who::User(_) | Who::Group(_), Who::Authenticated) => true,
        (Who::User(user), Who::Group(group)) => {
            groups.get(group).is_some_and(|members| members.contains(user))
        }
        (who, others) => who == others,
    }
}

/// Returns true if every repository that matches `inner` matches `outer`.
fn is_within(inner: &[Part], outer: &[Part]) -> bool {
    matches_parts(outer, inner, |wider, part| is_narrower(part, wider))
}

/// Returns true if every component that matches `part` matches `wider`, which is one component.
fn is_narrower(part: &Part, wider: &Part) -> bool {
    match (part, wider) {
        (Part::Any, _) | (_, Part::Any) => false,
        (_, Part::Glob(text)) if **text == *"*" => true,
        (part, Part::Glob(text)) => {
            part == wider || part.literal().is_some_and(|literal| matches_text(text, literal))
        }
        (part, Part::User) => *part == Part::User,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(inner: &str, outer: &str) -> bool {
        let [inner, outer] = [inner, outer].map(|text| Pattern::parse(text).unwrap());
        is_within(inner.parts(), outer.parts())
    }

    #[test]
    fn what_a_pattern_covers_is_known_for_sure() {
        for (inner, outer) in [
            ("a", "a"),
            ("a", "*"),
            ("a-*", "*"),
            ("{user}", "*"),
            ("{user}/x", "{user}/**"),
            ("a/b", "a/**"),
            ("a", "a/**"),
            ("a/**/b", "a/**"),
            ("**", "**"),
            ("a/*/c", "a/**/c"),
            ("a/x-1/b/c", "**/x-*/**"),
        ] {
            assert!(within(inner, outer), "{inner} {outer}");
        }
        for (inner, outer) in [
            ("*", "a"),
            ("**", "*"),
            ("a/**", "a/*"),
            ("*", "{user}"),
            ("a", "{user}"),
            ("a/b", "a"),
            ("a*", "a"),
            ("a/**", "a/b/**"),
        ] {
            assert!(!within(inner, outer), "{inner} {outer}");
        }
    }
}
