//! [`Rules::decide`]: the tags of a repository that are kept, and those that are dropped.

use super::{
    rule::{Keep, Rule, Rules},
    verdict::Verdict,
};
use crate::{
    digest::Digest,
    name::RepositoryName,
    reference::Tag,
    storage::{TagExpect, TagVersion},
};
use std::{
    num::NonZeroUsize,
    time::{Duration, SystemTime},
};

/// A tag, with the facts by which rules decide.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TagState {
    /// The tag.
    pub tag: Tag,
    /// Digest that it points at.
    pub digest: Digest,
    /// Time at which it was moved there, if it is known.
    pub moved: Option<SystemTime>,
    /// True if nobody may overwrite the tag.
    pub immutable: bool,
    /// True if the deletion of the tag was undone recently, so that no rule drops it.
    pub restored: bool,
    /// Manifest of the repository that the tag belongs to, as the tag of its referrers or of a signature.
    pub follows: Option<Digest>,
    /// Version of the tag, if the storage has versions. A put since then keeps the tag.
    pub version: Option<TagVersion>,
}

impl TagState {
    /// Describes a tag that was moved at an unknown time.
    #[must_use]
    pub const fn new(tag: Tag, digest: Digest) -> Self {
        Self {
            tag,
            digest,
            moved: None,
            immutable: false,
            restored: false,
            follows: None,
            version: None,
        }
    }

    /// Sets the time at which the tag was moved.
    #[must_use]
    pub fn moved(self, moved: Option<SystemTime>) -> Self {
        Self { moved, ..self }
    }

    /// Sets if nobody may overwrite the tag.
    #[must_use]
    pub fn immutable(self, immutable: bool) -> Self {
        Self { immutable, ..self }
    }

    /// Sets if the deletion of the tag was undone recently.
    #[must_use]
    pub fn restored(self, restored: bool) -> Self {
        Self { restored, ..self }
    }

    /// Sets the manifest that the tag belongs to.
    #[must_use]
    pub fn follows(self, subject: Option<Digest>) -> Self {
        Self {
            follows: subject,
            ..self
        }
    }

    /// Sets the version of the tag.
    #[must_use]
    pub fn version(self, version: Option<TagVersion>) -> Self {
        Self { version, ..self }
    }

    /// Returns the condition under which the tag is as it was seen.
    pub(super) fn unchanged(&self) -> TagExpect {
        let is = TagExpect::Is(self.digest);
        self.version
            .map_or(is, |version| TagExpect::Unchanged(self.digest, version))
    }
}

/// A tag, and the rule that keeps or drops it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// The tag.
    pub state: TagState,
    /// Index of the rule that decides, counted from 0. `None` if no rule does.
    pub rule: Option<usize>,
    /// The reason.
    pub verdict: Verdict,
}

impl Rules {
    /// Decides about all tags of a repository, in their order.
    ///
    /// Without `now`, no tag is too old: a host passes `None` while it does not trust its clock.
    #[must_use]
    pub fn decide(
        &self,
        repository: &RepositoryName,
        tags: Vec<TagState>,
        now: Option<SystemTime>,
    ) -> Vec<Decision> {
        let rules = self.rules();
        let here: Vec<bool> = rules
            .iter()
            .map(|rule| rule.matches_repository(repository))
            .collect();
        let deciding = |state: &TagState| {
            let mut candidates = rules.iter().zip(&here);
            let found = candidates.position(|(rule, here)| *here && rule.matches_tag(&state.tag));
            found.filter(|_| state.follows.is_none())
        };
        let mut decisions: Vec<Decision> = tags
            .into_iter()
            .map(|state| Decision {
                rule: deciding(&state),
                verdict: state.follows.map_or(Verdict::Unmatched, Verdict::Follows),
                state,
            })
            .collect();
        for (index, rule) in rules.iter().enumerate() {
            let mut of_rule: Vec<&mut Decision> = decisions
                .iter_mut()
                .filter(|decision| decision.rule == Some(index))
                .collect();
            let times = newest_first(of_rule.iter().filter_map(|decision| decision.state.moved));
            for decision in &mut of_rule {
                decision.verdict = verdict(rule, &decision.state, &times, now);
            }
        }
        decisions
    }
}

fn newest_first(times: impl Iterator<Item = SystemTime>) -> Vec<SystemTime> {
    let mut times: Vec<SystemTime> = times.collect();
    times.sort_unstable_by(|one, other| other.cmp(one));
    times
}

/// Decides about a tag. `times` are those of all tags of the rule, the newest first.
fn verdict(rule: &Rule, state: &TagState, times: &[SystemTime], now: Option<SystemTime>) -> Verdict {
    if rule.keep() == Keep::Always {
        return Verdict::Always;
    }
    let Some(moved) = state.moved else {
        return Verdict::UnknownTime;
    };
    // Tags that were moved at the same time have the same rank: nothing says which of them is newer.
    let rank = times.partition_point(|time| *time > moved) + 1;
    // A tag that was moved in the future has the age 0.
    let age = now.map(|now| now.duration_since(moved).unwrap_or_default());
    let is_new = |newest: NonZeroUsize| rank <= newest.get();
    let is_young = |younger: Duration| age.is_none_or(|age| age < younger);
    let dropped = Verdict::Dropped { rank, age };
    let verdict = match rule.keep() {
        Keep::Always => Verdict::Always,
        Keep::Newest(newest) | Keep::Either(newest, _) if is_new(newest) => Verdict::Newest(rank),
        Keep::Both(newest, younger) if is_new(newest) && is_young(younger) => Verdict::Newest(rank),
        Keep::Younger(younger) | Keep::Either(_, younger) if is_young(younger) => Verdict::Younger(age),
        Keep::Newest(_) | Keep::Younger(_) | Keep::Either(..) | Keep::Both(..) => dropped,
    };
    if verdict.drops() && state.immutable && !rule.expires_immutable() {
        Verdict::Immutable
    } else if verdict.drops() && state.restored {
        Verdict::Restored
    } else {
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::pattern::{RepositoryPattern, TagPattern},
        *,
    };
    use crate::digest::Algorithm;
    use proptest::{collection::vec, option, prelude::*, sample::select};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    fn start() -> SystemTime {
        SystemTime::UNIX_EPOCH + 50 * YEAR
    }

    fn rule(repository: &str, tags: &[&str], keep: Keep) -> Rule {
        Rule::new([RepositoryPattern::parse(repository).unwrap()], keep)
            .tags(tags.iter().map(|tag| TagPattern::parse(tag).unwrap()))
    }

    fn newest(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    fn tag(name: &str, day: Option<u64>) -> TagState {
        let digest = Digest::of(Algorithm::Sha256, b"{}");
        let moved = day.map(|day| start() + DAY * u32::try_from(day).unwrap());
        TagState::new(Tag::parse(name).unwrap(), digest).moved(moved)
    }

    /// Returns the tags of `team/app` that are dropped.
    fn dropped(rules: &[Rule], tags: Vec<TagState>, now: Option<SystemTime>) -> Vec<String> {
        let repository = RepositoryName::parse("team/app").unwrap();
        let decided = Rules::new(rules.iter().cloned()).decide(&repository, tags, now);
        let dropped = decided.iter().filter(|decision| decision.verdict.drops());
        dropped.map(|decision| decision.state.tag.to_string()).collect()
    }

    fn on_day(day: u32) -> Option<SystemTime> {
        Some(start() + DAY * day)
    }

    #[test]
    fn the_newest_tags_stay_and_tags_of_one_manifest_count_separately() {
        let tags = || {
            vec![
                tag("a", Some(1)),
                tag("b", Some(4)),
                tag("c", Some(2)),
                tag("d", Some(3)),
            ]
        };

        assert_eq!(
            dropped(&[rule("**", &[], Keep::Newest(newest(2)))], tags(), None),
            ["a", "c"]
        );
        assert!(dropped(&[rule("**", &[], Keep::Newest(newest(4)))], tags(), None).is_empty());
    }

    #[test]
    fn tags_of_one_time_are_equally_new() {
        let tags = vec![
            tag("a", Some(5)),
            tag("b", Some(4)),
            tag("c", Some(4)),
            tag("d", Some(3)),
        ];

        assert_eq!(
            dropped(&[rule("**", &[], Keep::Newest(newest(2)))], tags, None),
            ["d"]
        );
    }

    #[test]
    fn two_conditions_are_joined_as_the_rule_says() {
        let tags = || vec![tag("old", Some(1)), tag("mid", Some(5)), tag("new", Some(9))];
        let run = |keep| dropped(&[rule("**", &[], keep)], tags(), on_day(10));

        assert_eq!(run(Keep::Younger(6 * DAY)), ["old"]);
        assert_eq!(run(Keep::Either(newest(1), 6 * DAY)), ["old"]);
        assert_eq!(run(Keep::Both(newest(2), 5 * DAY)), ["old", "mid"]);
        assert_eq!(run(Keep::Both(newest(1), 100 * DAY)), ["old", "mid"]);
    }

    #[test]
    fn the_first_rule_that_matches_decides_and_others_count_without_its_tags() {
        let rules = [
            rule("**", &["latest"], Keep::Always),
            rule("team/*", &["v*"], Keep::Newest(newest(1))),
            rule("other/*", &[], Keep::Newest(newest(1))),
        ];
        let tags = vec![
            tag("latest", Some(9)),
            tag("v1", Some(1)),
            tag("v2", Some(2)),
            tag("x", Some(0)),
        ];

        assert_eq!(dropped(&rules, tags, None), ["v1"]);
    }

    #[test]
    fn a_tag_of_unknown_time_stays_and_takes_no_place() {
        let tags = vec![tag("a", None), tag("b", Some(1)), tag("c", Some(2))];

        assert_eq!(
            dropped(&[rule("**", &[], Keep::Newest(newest(1)))], tags, on_day(10)),
            ["b"]
        );
    }

    #[test]
    fn immutable_tags_expire_only_where_a_rule_says_so() {
        let tags = || {
            vec![
                tag("a", Some(1)).immutable(true),
                tag("b", Some(2)),
                tag("c", Some(3)),
            ]
        };
        let keeps = rule("**", &[], Keep::Newest(newest(1)));

        assert_eq!(dropped(std::slice::from_ref(&keeps), tags(), None), ["b"]);
        assert_eq!(dropped(&[keeps.expire_immutable()], tags(), None), ["a", "b"]);
    }

    #[test]
    fn a_tag_that_belongs_to_a_manifest_is_not_counted() {
        let subject = Digest::of(Algorithm::Sha256, b"subject");
        let signature = tag("sha256-abc.sig", Some(9)).follows(Some(subject));
        let tags = vec![signature, tag("a", Some(1)), tag("b", Some(2))];

        assert_eq!(
            dropped(&[rule("**", &[], Keep::Newest(newest(1)))], tags, None),
            ["a"]
        );
    }

    #[test]
    fn no_tag_is_too_old_while_the_time_is_not_known() {
        let tags = || vec![tag("a", Some(1)), tag("b", Some(2))];

        assert!(dropped(&[rule("**", &[], Keep::Younger(DAY))], tags(), None).is_empty());
        assert_eq!(
            dropped(&[rule("**", &[], Keep::Both(newest(1), DAY))], tags(), None),
            ["a"]
        );
    }

    #[test]
    fn a_rule_says_what_it_keeps() {
        let written = rule("team/**", &["v*", "r*"], Keep::Either(newest(10), 30 * DAY)).expire_immutable();

        assert_eq!(
            written.to_string(),
            "keep the newest 10 or younger than 30d, of v*, r* in team/**, immutable ones included"
        );
        assert_eq!(Keep::Younger(DAY + DAY / 2).to_string(), "younger than 36h");
        assert_eq!(
            Keep::Younger(Duration::from_millis(1500)).to_string(),
            "younger than 1.5s"
        );
    }

    /// Decides about one tag by the texts of the documentation, from the list of all tags.
    fn naive(rules: &[Rule], state: &TagState, tags: &[TagState], now: Option<SystemTime>) -> bool {
        let deciding = |state: &TagState| rules.iter().position(|rule| rule.matches_tag(&state.tag));
        let (Some(index), None, Some(moved)) = (deciding(state), state.follows, state.moved) else {
            return false;
        };
        let rule = &rules[index];
        let counted = |other: &&TagState| other.follows.is_none() && deciding(other) == Some(index);
        let newer = tags
            .iter()
            .filter(counted)
            .filter(|other| other.moved > Some(moved))
            .count();
        let is_old = |younger| now.is_some_and(|now| moved + younger <= now);
        let drops = match rule.keep() {
            Keep::Always => false,
            Keep::Newest(number) => newer >= number.get(),
            Keep::Younger(younger) => is_old(younger),
            Keep::Either(number, younger) => newer >= number.get() && is_old(younger),
            Keep::Both(number, younger) => newer >= number.get() || is_old(younger),
        };
        drops && (rule.expires_immutable() || !state.immutable)
    }

    fn keeps() -> impl Strategy<Value = Keep> {
        (0..5, 1..5_usize, 1..30_u32).prop_map(|(kind, number, days)| match kind {
            0 => Keep::Always,
            1 => Keep::Newest(newest(number)),
            2 => Keep::Younger(DAY * days),
            3 => Keep::Either(newest(number), DAY * days),
            _ => Keep::Both(newest(number), DAY * days),
        })
    }

    fn rules() -> impl Strategy<Value = Vec<Rule>> {
        let patterns = vec(select(&["a*", "b", "*1", "c*c", "*"][..]), 0..3);
        let one = (patterns, keeps(), any::<bool>()).prop_map(|(patterns, keep, expires)| {
            let written = rule("team/**", &patterns, keep);
            if expires {
                written.expire_immutable()
            } else {
                written
            }
        });
        vec(one, 0..4)
    }

    fn states() -> impl Strategy<Value = Vec<TagState>> {
        let one = (
            "[abc]{1,2}[12]?",
            option::of(0..40_u64),
            any::<bool>(),
            prop::bool::weighted(0.1),
        );
        let one = one.prop_map(|(name, day, immutable, follows)| {
            let subject = follows.then(|| Digest::of(Algorithm::Sha256, b"subject"));
            tag(&name, day).immutable(immutable).follows(subject)
        });
        vec(one, 0..20)
    }

    proptest! {
        #[test]
        fn rules_decide_as_the_naive_reading_does(
            rules in rules(),
            tags in states(),
            day in option::of(0..60_u32),
        ) {
            let now = day.and_then(on_day);
            let expected: Vec<String> = tags
                .iter()
                .filter(|state| naive(&rules, state, &tags, now))
                .map(|state| state.tag.to_string())
                .collect();

            prop_assert_eq!(dropped(&rules, tags, now), expected);
        }

        /// A clock that is ten years behind makes all tags young, and one that is ahead changes no order.
        #[test]
        fn a_wrong_clock_drops_none_of_the_newest(
            tags in states(),
            number in 1..5_usize,
            ahead in any::<bool>(),
        ) {
            let now = if ahead { start() + 10 * YEAR } else { start() - 10 * YEAR };
            let either = [rule("**", &[], Keep::Either(newest(number), 30 * DAY))];
            let by_number = [rule("**", &[], Keep::Newest(newest(number)))];

            let dropped_then = dropped(&either, tags.clone(), Some(now));
            let expected = if ahead { dropped(&by_number, tags, None) } else { Vec::new() };

            prop_assert_eq!(dropped_then, expected);
        }
    }
}
