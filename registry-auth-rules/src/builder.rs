//! [`Builder`]: rules from code, and warnings about them.

use crate::{
    overlap,
    pattern::Pattern,
    rule::{Origin, Rule},
    rules::{Rules, Warning},
    who::{Groups, Who},
};
use std::{collections::BTreeMap, sync::Arc};

/// Rules under construction, made by [`Rules::builder`].
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    rules: Vec<Rule>,
    groups: Groups,
    /// Place where each group is defined, for groups from a file.
    origins: BTreeMap<Arc<str>, Origin>,
}

impl Rules {
    /// Begins a list of rules. An empty list refuses everything.
    pub fn builder() -> Builder {
        Builder::default()
    }
}

impl Builder {
    /// Defines a group, or adds members to it.
    pub fn group<M: Into<Arc<str>>>(
        mut self,
        name: impl Into<Arc<str>>,
        members: impl IntoIterator<Item = M>,
    ) -> Self {
        let group = self.groups.entry(name.into()).or_default();
        group.extend(members.into_iter().map(Into::into));
        self
    }

    #[cfg(feature = "yaml")]
    pub(crate) fn defined_at(mut self, group: Arc<str>, origin: Origin) -> Self {
        self.origins.insert(group, origin);
        self
    }

    #[cfg(feature = "yaml")]
    pub(crate) fn defines(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Adds a rule after the existing ones.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Builds the rules.
    #[must_use]
    pub fn build(self) -> Rules {
        let mut warnings = self.about_groups();
        for (index, rule) in self.rules.iter().enumerate() {
            let before = self.rules.get(..index).unwrap_or_default();
            warnings.extend(self.about_rule(index + 1, rule, before));
        }
        Rules {
            rules: self.rules,
            groups: self.groups,
            origins: self.origins,
            warnings,
        }
    }

    fn about_groups(&self) -> Vec<Warning> {
        let empty = self.groups.iter().filter(|(_, members)| members.is_empty());
        let warning = |name: &Arc<str>| Warning {
            origin: self.origins.get(name).cloned(),
            message: format!("the group `{name}` has no members"),
        };
        empty.map(|(name, _)| warning(name)).collect()
    }

    fn about_rule(&self, number: usize, rule: &Rule, before: &[Rule]) -> Vec<Warning> {
        let warning = |message| Warning {
            origin: rule.origin().cloned(),
            message,
        };
        let mut warnings = Vec::new();
        for who in rule.who() {
            match who {
                Who::Group(name) if !self.groups.contains_key(name) => warnings.push(warning(format!(
                    "rule {number} is about the group `{name}`, which the rules do not define: \
                     its members are those that logins provide"
                ))),
                _ => {}
            }
        }
        let anonymous_only = rule.who().iter().all(|who| *who == Who::Anonymous);
        if anonymous_only && rule.repositories().iter().all(Pattern::names_the_user) {
            warnings.push(warning(format!(
                "rule {number} never applies: anonymous clients have no `{{user}}`"
            )));
        } else if let Some(by) = overlap::shadow(rule, before, &self.groups) {
            let by: Vec<String> = by.into_iter().map(|index| (index + 1).to_string()).collect();
            let message = match &*by {
                [one] => format!("rule {number} never decides: rule {one} decides before it"),
                more => format!(
                    "rule {number} never decides: rules {} decide before it",
                    more.join(", ")
                ),
            };
            warnings.push(warning(message));
        }
        warnings
    }
}
