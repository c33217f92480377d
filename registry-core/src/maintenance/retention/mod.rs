//! Retention: rules that decide which tags of a repository are kept, and which are dropped.
//!
//! [`Rules::decide`] is a pure function of the tags, their times and the current time. [`survey`] shows its result for a
//! whole storage, and changes nothing. [`Registry::retain`](crate::Registry::retain) applies it, and [`Recurring`] does so
//! periodically.
//!
//! - Rules count tags, never digests. Two tags of one manifest are two tags.
//! - The first [`Rule`] that matches a repository and a tag decides. A tag that no rule matches is kept.
//! - The age of a tag is the time since it was last put, also with the manifest that it had. The creation time in an image does not matter:
//!   reproducible builds have none, and a rebuilt cache has that of its first build.
//! - A restore is no push: the tag keeps the age that it had. No rule drops it for a week, so that an operator can push it again
//!   or change the rules.
//! - A tag of referrers, or a signature's tag, is kept with the manifest that it belongs to.
//! - A manifest goes with its last tag, unless it was used in the grace period. Then a later run removes it.
//! - A tag whose time is unknown is kept. So is a tag that nobody may overwrite, unless the rule
//!   [expires](Rule::expire_immutable) such tags.
//!
//! ```
//! use registry_core::{
//!     Algorithm, Digest, RepositoryName, Tag,
//!     maintenance::retention::{Keep, Rule, Rules, RepositoryPattern, TagPattern, TagState},
//! };
//! use std::{num::NonZeroUsize, time::{Duration, SystemTime}};
//!
//! let two = NonZeroUsize::new(2).ok_or("not zero")?;
//! let rules = Rules::new([
//!     Rule::new([RepositoryPattern::parse("**")?], Keep::Always).tags([TagPattern::parse("latest")?]),
//!     Rule::new([RepositoryPattern::parse("team/**")?], Keep::Newest(two)),
//! ]);
//!
//! let manifest = Digest::of(Algorithm::Sha256, b"{}");
//! let now = SystemTime::now();
//! let mut tags = Vec::new();
//! for (day, tag) in ["latest", "v1", "v2", "v3"].into_iter().enumerate() {
//!     let moved = now - Duration::from_secs((10 - day as u64) * 24 * 60 * 60);
//!     tags.push(TagState::new(Tag::parse(tag)?, manifest).moved(Some(moved)));
//! }
//! let repository = RepositoryName::parse("team/app")?;
//!
//! let decided = rules.decide(&repository, tags, Some(now));
//! let dropped: Vec<&str> = decided
//!     .iter()
//!     .filter(|decision| decision.verdict.drops())
//!     .map(|decision| decision.state.tag.as_str())
//!     .collect();
//! assert_eq!(dropped, ["v1"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod decide;
mod dropping;
mod failure;
mod graph;
mod manifests;
mod pattern;
mod recurring;
mod retained;
mod rule;
mod run;
mod survey;
mod unfinished;
mod verdict;

pub use self::{
    decide::{Decision, TagState},
    failure::Failure,
    pattern::{InvalidPattern, RepositoryPattern, TagPattern},
    recurring::Recurring,
    retained::Retained,
    rule::{Keep, Rule, Rules},
    survey::{Decided, Retain, Survey, survey},
    verdict::Verdict,
};
