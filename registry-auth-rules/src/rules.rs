//! [`Rules`]: an ordered list of rules, and the decision.

use crate::{
    explain::Explanation,
    pattern::Pattern,
    rule::{Effect, Origin, Rule},
    who::{Caller, Groups, Who},
};
use async_trait::async_trait;
use registry_core::{
    Action, Authorizer, Identity, RepositoryName,
    auth::{AuthError, Authorize, Decision},
};
use std::{collections::BTreeMap, fmt, sync::Arc};

/// Ordered rules, and the groups that they name. The first rule that applies decides.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) groups: Groups,
    /// Place where each group is defined, for groups from a file.
    pub(crate) origins: BTreeMap<Arc<str>, Origin>,
    pub(crate) warnings: Vec<Warning>,
}

/// A warning about rules that are valid but probably a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub(crate) origin: Option<Origin>,
    pub(crate) message: String,
}

impl Warning {
    /// Returns the place in the file, if the rules are from one.
    #[must_use]
    pub const fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(origin) = &self.origin {
            write!(f, "{origin}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl Rules {
    /// Returns the rules in their order.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Returns warnings about probable mistakes: rules that can never decide, groups without members.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// Returns true if some rule distinguishes users, so that logins matter.
    #[must_use]
    pub fn need_logins(&self) -> bool {
        let who = self.rules.iter().flat_map(Rule::who);
        who.into_iter()
            .any(|who| !matches!(who, Who::Everyone | Who::Anonymous))
    }

    /// Returns a warning for each user whom the rules name, alone or in a group, and for whom `exists` is false. The
    /// host knows all of its users. A rule that denies something to a misspelled name denies it to nobody.
    ///
    /// ```
    /// use registry_auth_rules::{Rule, Rules, Who};
    /// use registry_core::Action;
    ///
    /// let rules = Rules::builder()
    ///     .rule(Rule::deny([Action::Push], [Who::user("anne")], ["**"])?)
    ///     .build();
    /// let absent = rules.absent_users(|name| name == "ann");
    /// assert_eq!(absent[0].to_string(), "rule 1 is about the user `anne`, and there is no such user");
    /// # Ok::<(), registry_auth_rules::InvalidRule>(())
    /// ```
    #[must_use]
    pub fn absent_users(&self, exists: impl Fn(&str) -> bool) -> Vec<Warning> {
        let mut warnings = Vec::new();
        for (group, members) in &self.groups {
            for member in members.iter().filter(|member| !exists(member)) {
                warnings.push(Warning {
                    origin: self.origins.get(group).cloned(),
                    message: format!(
                        "the group `{group}` has the member `{member}`, and there is no such user"
                    ),
                });
            }
        }
        for (index, rule) in self.rules.iter().enumerate() {
            for who in rule.who() {
                if let Who::User(name) = who
                    && !exists(name)
                {
                    warnings.push(Warning {
                        origin: rule.origin().cloned(),
                        message: format!(
                            "rule {} is about the user `{name}`, and there is no such user",
                            index + 1
                        ),
                    });
                }
            }
        }
        warnings
    }

    /// Explains which rule decides, and how. `user` is `None` for an anonymous client. `groups` are those of the login, in
    /// addition to those of the rules.
    ///
    /// ```
    /// use registry_auth_rules::{Rule, Rules, Who};
    /// use registry_core::{Action, RepositoryName};
    ///
    /// let rules = Rules::builder()
    ///     .rule(Rule::allow([Action::Pull], [Who::Everyone], ["public/**"])?)
    ///     .build();
    /// let repository = RepositoryName::parse("public/app")?;
    ///
    /// assert!(rules.explain(None, &[], Action::Pull, &repository).is_allowed());
    /// assert_eq!(
    ///     rules.explain(Some("ann"), &[], Action::Push, &repository).to_string(),
    ///     "denied: no rule allows ann to push in public/app"
    /// );
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn explain(
        &self,
        user: Option<&str>,
        groups: &[Arc<str>],
        action: Action,
        repository: &RepositoryName,
    ) -> Explanation<'_> {
        let (decision, number) = self.decide(user, groups, action, repository);
        Explanation {
            decision,
            rule: number.and_then(|number| Some((number + 1, self.rules.get(number)?))),
            user: user.map(Into::into),
            action,
            repository: repository.clone(),
            nameless: user.is_some_and(|user| !is_component(user)) && self.have_namespaces(),
        }
    }

    /// Returns true if the rules allow an action to at least one client, so that it has to be expected. Users and groups
    /// that a rule names need not exist.
    ///
    /// ```
    /// use registry_auth_rules::{Rule, Rules, Who};
    /// use registry_core::{Action, RepositoryName};
    ///
    /// let rules = Rules::builder()
    ///     .rule(Rule::deny([Action::Overwrite], [Who::Everyone], ["release/**"])?)
    ///     .rule(Rule::allow(Rule::ALL, [Who::group("ops")], ["**"])?)
    ///     .build();
    /// let allows = |name| Ok::<_, Box<dyn std::error::Error>>(
    ///     rules.allow_anyone(Action::Overwrite, &RepositoryName::parse(name)?),
    /// );
    /// assert!(allows("team/app")? && !allows("release/app")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow_anyone(&self, action: Action, repository: &RepositoryName) -> bool {
        let components: Vec<&str> = repository.as_str().split('/').collect();
        for rule in self.rules.iter().filter(|rule| rule.actions().contains(&action)) {
            match rule.effect() {
                Effect::Allow if rule.matches_for_some_user(&components) => return true,
                Effect::Deny | Effect::Hide if rule.matches_for_everyone(&components) => return false,
                Effect::Allow | Effect::Deny | Effect::Hide => {}
            }
        }
        false
    }

    fn have_namespaces(&self) -> bool {
        let patterns = self.rules.iter().flat_map(Rule::repositories);
        patterns.into_iter().any(Pattern::names_the_user)
    }

    /// Returns the decision, and the index of the rule that made it.
    fn decide(
        &self,
        user: Option<&str>,
        groups: &[Arc<str>],
        action: Action,
        repository: &RepositoryName,
    ) -> (Decision, Option<usize>) {
        let caller = self.caller(user, groups);
        let components: Vec<&str> = repository.as_str().split('/').collect();
        let first = self
            .rules
            .iter()
            .position(|rule| rule.applies(&caller, action, &components));
        let rule = first.and_then(|index| self.rules.get(index));
        (
            rule.map_or(Decision::Deny, |rule| rule.effect().decision()),
            first,
        )
    }

    fn decide_for(&self, who: Option<&Identity>, action: Action, repository: &RepositoryName) -> Decision {
        let user = who.map(|who| &*who.subject);
        let groups = who.map_or(&[][..], |who| &who.groups);
        self.decide(user, groups, action, repository).0
    }

    /// Returns true if some rule could show this user a repository. Each repository is decided separately.
    fn may_list(&self, who: Option<&Identity>) -> bool {
        let groups = who.map_or(&[][..], |who| &who.groups);
        let caller = self.caller(who.map(|who| &*who.subject), groups);
        self.rules.iter().any(|rule| {
            rule.effect() == Effect::Allow
                && rule.actions().contains(&Action::Pull)
                && rule.who().iter().any(|who| who.includes(&caller))
        })
    }

    const fn caller<'a>(&'a self, user: Option<&'a str>, groups: &'a [Arc<str>]) -> Caller<'a> {
        Caller {
            user,
            groups,
            defined: &self.groups,
        }
    }
}

/// Returns true if a user's name can be a component of a repository name.
fn is_component(name: &str) -> bool {
    !name.contains('/') && RepositoryName::parse(name).is_ok()
}

#[async_trait]
impl Authorizer for Rules {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let Authorize { who, access, .. } = ask;
        Ok(match &access.repository {
            Some(repository) => self.decide_for(who, access.action, repository),
            None if access.action == Action::Catalog && self.may_list(who) => Decision::Allow,
            None => Decision::Deny,
        })
    }

    async fn visible(
        &self,
        ask: Authorize<'_>,
        mut repositories: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        repositories
            .retain(|repository| self.decide_for(ask.who, Action::Pull, repository) == Decision::Allow);
        Ok(repositories)
    }
}
