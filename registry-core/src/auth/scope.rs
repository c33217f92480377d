//! [`Scope`]: Docker's notation for requested operations, as challenges and token services use it.

use super::{Access, Action};
use crate::name::RepositoryName;
use std::{fmt, str::FromStr};

/// Requested or granted operations on one resource, such as `repository:team/app:pull,push`.
///
/// Every well-formed scope survives a round trip, including kinds and actions that this crate does not know:
/// a token service may define its own.
///
/// ```
/// use registry_core::{Action, auth::Scope};
///
/// let scope: Scope = "repository:team/app:pull,sign".parse()?;
///
/// assert_eq!(scope.to_string(), "repository:team/app:pull,sign");
/// assert_eq!(scope.actions().collect::<Vec<_>>(), ["pull", "sign"]);
/// assert_eq!(scope.accesses().len(), 1);
/// assert_eq!(scope.accesses()[0].action, Action::Pull);
/// # Ok::<(), registry_core::auth::InvalidScope>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope {
    kind: Box<str>,
    name: Box<str>,
    actions: Vec<Box<str>>,
}

/// Error for a string that is not a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a scope such as `repository:team/app:pull,push`")]
pub struct InvalidScope(String);

impl Scope {
    /// Returns the scopes that a client has to ask for, to get these permissions: one per resource, in the
    /// order of the first permission for each.
    ///
    /// `push` comes with `pull`, because clients look before they push. Moving a tag is `push`, too.
    ///
    /// ```
    /// use registry_core::{Action, RepositoryName, auth::{Access, Scope}};
    ///
    /// let needed = [Access::to(&RepositoryName::parse("team/app")?, Action::Push), Access::catalog()];
    /// let scopes: Vec<String> = Scope::of(&needed).iter().map(ToString::to_string).collect();
    /// assert_eq!(scopes, ["repository:team/app:pull,push", "registry:catalog:*"]);
    /// # Ok::<(), registry_core::name::InvalidName>(())
    /// ```
    #[must_use]
    pub fn of(needed: &[Access]) -> Vec<Self> {
        let mut scopes: Vec<Self> = Vec::new();
        for access in needed {
            let (kind, name) = match &access.repository {
                Some(repository) => ("repository", repository.as_str()),
                None => ("registry", "catalog"),
            };
            let known = scopes
                .iter_mut()
                .find(|scope| *scope.kind == *kind && *scope.name == *name);
            let actions = match (&access.repository, access.action) {
                (None, _) => &["*"][..],
                (Some(_), Action::Pull | Action::Catalog) => &["pull"],
                (Some(_), Action::Push | Action::Overwrite) => &["pull", "push"],
                (Some(_), Action::Delete) => &["delete"],
            };
            match known {
                Some(scope) => scope.add(actions),
                None => {
                    let mut scope = Self {
                        kind: kind.into(),
                        name: name.into(),
                        actions: Vec::new(),
                    };
                    scope.add(actions);
                    scopes.push(scope);
                }
            }
        }
        scopes
    }

    fn add(&mut self, actions: &[&str]) {
        for action in actions {
            if !self.actions().any(|known| known == *action) {
                self.actions.push((*action).into());
            }
        }
    }

    /// Returns the kind of the resource, such as `repository`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Returns the name of the resource.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the actions, as they were written.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(AsRef::as_ref)
    }

    /// Returns the permissions that this scope grants, without those that this crate does not know.
    ///
    /// `push` grants moving tags: the [`Authorizer`](super::Authorizer) decides whether a tag may be moved.
    /// `*` grants everything in a repository.
    #[must_use]
    pub fn accesses(&self) -> Vec<Access> {
        match (&*self.kind, &*self.name) {
            ("registry", "catalog") if self.actions().any(|action| action == "*") => vec![Access::catalog()],
            ("repository", name) => match RepositoryName::parse(name) {
                Ok(repository) => self.in_repository(&repository),
                Err(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn in_repository(&self, repository: &RepositoryName) -> Vec<Access> {
        let mut granted: Vec<Access> = Vec::new();
        let actions = self.actions().flat_map(|action| match action {
            "pull" => &[Action::Pull][..],
            "push" => &[Action::Push, Action::Overwrite],
            "delete" => &[Action::Delete],
            "*" => &[Action::Pull, Action::Push, Action::Overwrite, Action::Delete],
            _ => &[],
        });
        for action in actions {
            let access = Access::to(repository, *action);
            if !granted.contains(&access) {
                granted.push(access);
            }
        }
        granted
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    /// Parses `KIND:NAME:ACTION,…`. The name may contain colons. The actions may be missing.
    fn from_str(scope: &str) -> Result<Self, InvalidScope> {
        let invalid = || InvalidScope(scope.to_owned());
        let (kind, rest) = scope.split_once(':').ok_or_else(invalid)?;
        let (name, actions) = rest.rsplit_once(':').ok_or_else(invalid)?;
        let actions: Vec<Box<str>> = match actions {
            "" => Vec::new(),
            some => some.split(',').map(Into::into).collect(),
        };
        let part = |part: &str| {
            !part.is_empty()
                && part
                    .chars()
                    .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'))
        };
        if part(kind) && part(name) && actions.iter().all(|action| part(action)) {
            Ok(Self {
                kind: kind.into(),
                name: name.into(),
                actions,
            })
        } else {
            Err(invalid())
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.name, self.actions.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn to(repository: &str, action: Action) -> Access {
        Access::to(&RepositoryName::parse(repository).unwrap(), action)
    }

    fn of(needed: &[Access]) -> Vec<String> {
        Scope::of(needed).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_scope_per_resource_has_all_that_is_needed_there() {
        assert_eq!(of(&[]), [""; 0]);
        assert_eq!(of(&[Access::catalog()]), ["registry:catalog:*"]);
        assert_eq!(of(&[to("a/b", Action::Pull)]), ["repository:a/b:pull"]);
        assert_eq!(of(&[to("a", Action::Delete)]), ["repository:a:delete"]);
        assert_eq!(
            of(&[to("a", Action::Push), to("b", Action::Pull)]),
            ["repository:a:pull,push", "repository:b:pull"]
        );
        assert_eq!(
            of(&[
                to("a", Action::Delete),
                to("b", Action::Pull),
                to("a", Action::Overwrite),
                to("a", Action::Push),
            ]),
            ["repository:a:delete,pull,push", "repository:b:pull"]
        );
    }

    #[test]
    fn a_granted_scope_is_the_permissions_that_are_known() {
        let accesses = |scope: &str| scope.parse::<Scope>().unwrap().accesses();
        assert_eq!(accesses("repository:a:pull"), [to("a", Action::Pull)]);
        assert_eq!(
            accesses("repository:a:push,pull,push"),
            [Action::Push, Action::Overwrite, Action::Pull].map(|action| to("a", action))
        );
        assert_eq!(
            accesses("repository:a:*"),
            [Action::Pull, Action::Push, Action::Overwrite, Action::Delete].map(|action| to("a", action))
        );
        assert_eq!(accesses("registry:catalog:*"), [Access::catalog()]);
        for nothing in [
            "repository:a:",
            "repository:a:sign",
            "repository:A:pull",
            "repository:host:5000/a:pull",
            "repository(plugin):a:pull",
            "registry:catalog:pull",
            "registry:other:*",
        ] {
            assert_eq!(accesses(nothing), [], "{nothing}");
        }
    }

    #[test]
    fn what_was_granted_is_granted_again_when_it_is_asked_for() {
        for action in [Action::Pull, Action::Push, Action::Overwrite, Action::Delete] {
            let asked = to("a", action);
            let granted: Vec<Access> = Scope::of(std::slice::from_ref(&asked))
                .iter()
                .flat_map(Scope::accesses)
                .collect();
            assert!(granted.iter().any(|granted| granted.covers(&asked)), "{asked:?}");
        }
    }

    #[test]
    fn other_texts_are_no_scopes() {
        for text in [
            "",
            ":",
            "::",
            "repository",
            "repository:a",
            ":a:pull",
            "repository::pull",
            "repository:a:,",
            "repository:a:pull,",
            "repository:a b:pull",
            "repository:a:pull push",
            "repository:\"a:pull",
            "repository:ä:pull",
            "repository:a\n:pull",
        ] {
            let refused = text.parse::<Scope>().unwrap_err();
            assert!(
                refused.to_string().contains("repository:team/app:pull,push"),
                "{text:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_scope_is_rendered_as_it_was_read(text in "[a-z()]{1,4}:[a-z:/.5]{1,8}:([a-z*]{1,3}(,[a-z]{1,3}){0,2})?") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text in "([a-z:,*]|\\PC){0,12}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string(), text);
                let _ = scope.accesses();
            }
        }
    }
}
