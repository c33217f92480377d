//! Tests of a registry that is used with the authority of a user.

use crate::{filled, ruled};
use registry_core::{
    Action, Error, Identity, Registry, RepositoryName, Tag,
    auth::{Access, Decision},
    protocol::PageQuery,
    storage::MemoryStorage,
};

fn access(repository: &str, action: Action) -> Access {
    Access::to(&RepositoryName::parse(repository).unwrap(), action)
}

/// Lets `ann` do everything in `a`, and everybody list and pull from `public`.
fn decide(who: Option<&str>, repository: &str, action: Action) -> Decision {
    match (who, repository, action) {
        (Some("ann"), "a", _) | (_, "public", Action::Pull) | (_, "", Action::Catalog) => Decision::Allow,
        (_, "hidden", _) => Decision::DenyHidden,
        _ => Decision::Deny,
    }
}

#[tokio::test]
async fn a_user_sees_and_does_what_the_authorizer_allows() {
    let storage = MemoryStorage::new();
    filled(&storage, &["a", "hidden", "public"]).await;
    let registry = ruled(storage, decide);
    for (view, listed, reads) in [
        (
            registry.as_identity(Identity::new("ann")),
            vec!["a", "public"],
            true,
        ),
        (registry.as_identity(Identity::new("bob")), vec!["public"], false),
        (registry.as_anonymous(), vec!["public"], false),
    ] {
        let listing = view.repositories(&PageQuery::default()).await.unwrap();
        let names: Vec<&str> = listing.items.iter().map(RepositoryName::as_str).collect();
        assert_eq!(names, listed);
        let read = view.repository("a").unwrap().manifest("v1").await;
        assert_eq!(read.is_ok(), reads, "{read:?}");
        let hidden = view.repository("hidden").unwrap().manifest("v1").await;
        assert!(hidden.unwrap().is_none());
    }
    let limited = Identity::new("ann").limited_to([access("a", Action::Pull)]);
    let listing = registry
        .as_identity(limited)
        .repositories(&PageQuery::default())
        .await;
    assert!(matches!(listing, Err(Error::Denied)), "{listing:?}");
}

#[tokio::test]
async fn a_decision_is_asked_for_without_the_operation() {
    let registry = ruled(MemoryStorage::new(), decide);
    let ann = registry.as_identity(Identity::new("ann"));
    let tag = Tag::parse("v1").unwrap();
    let name = RepositoryName::parse("a").unwrap();
    for (access, expected) in [
        (access("a", Action::Push), Decision::Allow),
        (access("a", Action::Delete), Decision::Allow),
        (Access::to_tag(&name, Action::Overwrite, &tag), Decision::Allow),
        (access("b", Action::Pull), Decision::Deny),
        (access("hidden", Action::Pull), Decision::DenyHidden),
        (Access::catalog(), Decision::Allow),
    ] {
        assert_eq!(ann.decide(&access).await.unwrap(), expected, "{access:?}");
    }
    let limited = Identity::new("ann").limited_to([access("a", Action::Pull)]);
    let limited = registry.as_identity(limited);
    assert_eq!(
        limited.decide(&access("a", Action::Push)).await.unwrap(),
        Decision::Deny
    );
}

#[tokio::test]
async fn nothing_is_denied_to_the_host_on_behalf_of_a_user() {
    let registry = ruled(MemoryStorage::new(), decide);
    let host = registry.on_behalf_of(Identity::new("bob"));
    let disabled = Registry::builder(MemoryStorage::new())
        .without_deletion()
        .read_only()
        .build();
    let of_disabled = disabled.on_behalf_of(Identity::new("bob"));
    for action in [Action::Pull, Action::Push, Action::Delete] {
        for view in [&host, &of_disabled] {
            let decision = view.decide(&access("hidden", action)).await.unwrap();
            assert_eq!(decision, Decision::Allow, "{action:?}");
        }
    }
}

#[tokio::test]
async fn what_the_host_has_disabled_is_denied() {
    let storage = MemoryStorage::new();
    let builder = || Registry::builder(storage.clone()).allow_anonymous_push();
    for (registry, push, delete) in [
        (builder().build(), Decision::Allow, Decision::Allow),
        (
            builder().without_deletion().build(),
            Decision::Allow,
            Decision::Deny,
        ),
        (builder().read_only().build(), Decision::Deny, Decision::Deny),
    ] {
        let view = registry.as_anonymous();
        for (action, expected) in [
            (Action::Pull, Decision::Allow),
            (Action::Push, push),
            (Action::Overwrite, push),
            (Action::Delete, delete),
        ] {
            assert_eq!(
                view.decide(&access("a", action)).await.unwrap(),
                expected,
                "{action}"
            );
        }
    }
}
