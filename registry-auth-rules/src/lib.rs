//! Access rules: an [`Authorizer`](registry_core::Authorizer) with rules for users, groups and patterns of repositories.
//!
//! Rules are ordered. The first rule that includes the user, the action and the repository decides. If none applies,
//! access is refused: anonymous clients are asked to log in (401), users are denied (403).
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
//! With the feature `yaml` (on by default), rules can also come from a file: `Rules::parse` reads them once, and
//! `RulesFile` reads the file again when it changes.
//!
//! # Map
//!
//! - [`Rules`] are the ordered rules, which decide. [`Rules::builder`] takes them from code.
//! - [`Rule`] is one rule: its effect and actions, the users ([`Who`]), and the repositories ([`Pattern`]).
//! - [`Rules::explain`] returns an [`Explanation`]: the decision, and the rule that made it.
//! - [`Warning`]s are probable mistakes in rules that are valid.
//! - `RulesFile` follows a file of rules, and `InvalidRules` names the line of a fault (feature `yaml`).
//!
//! # Actions
//!
//! | action | what it allows |
//! |---|---|
//! | `pull` | read blobs, manifests, tags and referrers; see the repository in the catalog; be the source of a mount |
//! | `push` | add content: uploads, mounts, manifests, new tags |
//! | `overwrite` | move a tag that exists to another manifest |
//! | `delete` | delete tags, manifests, blobs |
//!
//! Without `overwrite`, tags are immutable. A tag is moved by a compare-and-swap, so of two concurrent pushes one
//! loses. Pushing the same manifest to the same tag again succeeds. A user with `delete` can delete a tag and push it
//! anew. Clients read before they push, so a user with `push` needs `pull` as well.
//!
//! The catalog is open to users whom some rule allows to pull somewhere. It shows each user the repositories that they
//! may pull.

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
    reload::{FileCheck, OpenError, RulesFile},
    yaml::{InvalidRules, Problem},
};

/// Compiles the code in the page about access rules.
#[cfg(doctest)]
#[doc = include_str!("../../docs/access.md")]
struct Page;
