//! Access rules: an [`Authorizer`](registry_core::Authorizer) that reads like what people say.
//!
//! Rules stand in an order. The first one that applies to who asks, names the action and matches the repository
//! decides; where none does, the answer is no: strangers are asked to log in (401), everybody else is denied (403).
//!
//! ```
//! use registry_auth_rules::{Rule, Rules, Who};
//! use registry_core::{Action, Registry, RepositoryName, storage::MemoryStorage};
//!
//! let rules = Rules::builder()
//!     .group("ops", ["ann", "bob"])
//!     .rule(Rule::allow([Action::Pull], [Who::Everyone], ["public/**"])?)
//!     .rule(Rule::allow(Rule::ALL, [Who::group("ops")], ["**"])?)
//!     .rule(Rule::allow(Rule::ALL, [Who::Authenticated], ["users/{user}/**"])?)
//!     .build();
//!
//! let why = rules.explain(Some("eve"), &[], Action::Push, &RepositoryName::parse("public/app")?);
//! assert_eq!(why.to_string(), "denied: no rule allows eve to push in public/app");
//!
//! let registry = Registry::builder(MemoryStorage::new()).authorizer(rules).build();
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The same from a file, with the feature `yaml` (which is on by default): `Rules::parse`, and `RulesFile`, which
//! reads the file again when it changes.
//!
//! # Actions
//!
//! | action | what it is |
//! |---|---|
//! | `pull` | read blobs, manifests, tags and referrers; see the repository in the catalog; be the source of a mount |
//! | `push` | add content: uploads, mounts, manifests, new tags |
//! | `overwrite` | move a tag that exists to another manifest |
//! | `delete` | delete tags, manifests, blobs |
//!
//! Without `overwrite` tags are immutable: a tag is moved by a compare-and-swap that a second push loses, however close
//! the two are; pushing the same manifest to the same tag again succeeds. Whoever may `delete` can delete a tag and push
//! it anew. Clients look before they push, so whoever may `push` needs `pull` as well.
//!
//! The catalog is there for whoever some rule allows to pull somewhere, and shows each the repositories that they may pull.

mod builder;
mod explain;
#[cfg(feature = "yaml")]
mod not_yaml;
mod overlap;
mod pattern;
#[cfg(feature = "yaml")]
mod reload;
mod rule;
mod rules;
mod who;
#[cfg(feature = "yaml")]
mod yaml;

pub use self::{
    builder::Builder,
    explain::Explanation,
    pattern::{InvalidPattern, Pattern},
    rule::{Effect, InvalidRule, Origin, Rule},
    rules::{Rules, Warning},
    who::{InvalidWho, Who},
};
#[cfg(feature = "yaml")]
pub use self::{
    reload::{Look, OpenError, RulesFile},
    yaml::{InvalidRules, Problem},
};

/// The code in the page about access rules.
#[cfg(doctest)]
#[doc = include_str!("../../docs/access.md")]
struct Page;
