//! Tests of the decision function: storage calls, content and tags that it protects.

use super::*;
use registry_core::{
    Hooks, Tag,
    hooks::{Context, HookError},
    manifest::Manifest,
    service::ManifestPush,
    storage::PutManifest,
};
use std::sync::{Arc, OnceLock};

#[tokio::test]
async fn every_request_asks_for_its_own_action_before_any_storage_call() {
    let storage = filled(&["team/app"]).await;
    for no in [Decision::Deny, Decision::DenyHidden] {
        for (ask, refused, _) in every_request() {
            // All other actions are allowed, so a request that asked for another one would succeed.
            let registry = ruled(
                &storage,
                move |_, _, action| {
                    if action == refused { no } else { Decision::Allow }
                },
            );
            let answer = ask.clone().by("eve").send(&registry).await;
            let empty_list = answer.status == StatusCode::OK && ask.target.contains("/referrers/");
            assert!(
                answer.status.is_client_error() || empty_list,
                "{ask:?}: {answer:?}"
            );
            assert_eq!(storage.asked(), [""; 0], "{ask:?} {no:?}");
        }
    }
}

#[tokio::test]
async fn without_the_catalog_no_repository_is_listed() {
    let storage = filled(&["team/app"]).await;
    for (no, status) in [(Decision::Deny, 403), (Decision::DenyHidden, 200)] {
        let registry = ruled(&storage, move |_, repository, _| match repository {
            "" => no,
            _ => Decision::Allow,
        });
        let answer = Ask::new(Method::GET, "/v2/_catalog")
            .by("eve")
            .send(&registry)
            .await;
        assert_eq!(answer.status, status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("team"));
        assert_eq!(storage.asked(), [""; 0]);
    }
}

#[tokio::test]
async fn a_mount_asks_nothing_of_a_source_that_may_not_be_pulled() {
    let storage = filled(&["secret/app"]).await;
    for no in [Decision::Deny, Decision::DenyHidden] {
        let registry = ruled(&storage, move |_, repository, action| {
            match (repository, action) {
                ("secret/app", Action::Pull) => no,
                _ => Decision::Allow,
            }
        });
        for from in ["&from=secret/app", ""] {
            let target = format!("/v2/mine/blobs/uploads/?mount={}{from}", digest());
            let answer = Ask::new(Method::POST, target).by("eve").send(&registry).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED);
            let asked = storage.asked();
            assert!(
                asked.iter().all(|asked| !asked.ends_with("secret/app")),
                "{asked:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_repeated_close_says_what_is_held_only_to_those_who_may_pull() {
    let storage = filled(&["team/app"]).await;
    let close = |held: Digest| {
        let target = format!("/v2/team/app/blobs/uploads/{SESSION}?digest={held}");
        Ask::new(Method::PUT, target).by("eve")
    };
    let registry = ruled(&storage, |_, _, action| match action {
        Action::Pull => Decision::Deny,
        _ => Decision::Allow,
    });

    let held = close(digest()).send(&registry).await;
    let absent = close(Digest::of(Algorithm::Sha256, b"absent"))
        .send(&registry)
        .await;

    assert_eq!(
        (held.status, &*held.code()),
        (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN")
    );
    assert_eq!(held, absent);
    assert!(storage.asked().iter().all(|asked| asked == "upload team/app"));
}

/// Moves a tag between the decision and the write.
#[derive(Clone, Debug, Default)]
struct Meanwhile(Arc<OnceLock<Registry>>);

#[async_trait]
impl Hooks for Meanwhile {
    async fn before_put_manifest(
        &self,
        context: &Context,
        _: &Manifest,
        _: &PutManifest,
    ) -> Result<(), HookError> {
        // The host's own push calls this hook, too, without an identity.
        if let (Some(registry), Some(_)) = (self.0.get(), context.actor.identity()) {
            let repository = registry.repository(&context.repository).unwrap();
            let push = ManifestPush::new(Tag::parse("v2").unwrap(), manifest("first"));
            repository.put_manifest(push).await.unwrap();
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_tag_that_appears_while_it_is_pushed_is_not_overwritten() {
    let storage = filled(&["team/app"]).await;
    let hooks = Meanwhile::default();
    let registry = Registry::builder(storage)
        .authenticator(ByHeader)
        .authorizer(Decides(|_: Option<&str>, _: &str, action| match action {
            Action::Overwrite => Decision::Deny,
            _ => Decision::Allow,
        }))
        .hooks(hooks.clone())
        .build();
    hooks.0.set(registry.clone()).unwrap();

    let raced = put("v2", "second").by("ann").send(&registry).await;
    let same = put("v2", "first").by("ann").send(&registry).await;

    assert_eq!((raced.status, &*raced.code()), (StatusCode::FORBIDDEN, "DENIED"));
    assert_eq!(same.status, StatusCode::CREATED);
    let tagged = Ask::new(Method::GET, "/v2/team/app/manifests/v2")
        .by("ann")
        .send(&registry)
        .await;
    assert_eq!(tagged.body, manifest("first"));
}

#[tokio::test]
async fn preconditions_hold_for_those_who_may_not_overwrite() {
    let storage = filled(&["team/app"]).await;
    let registry = ruled(&storage, |_, _, action| match action {
        Action::Overwrite => Decision::Deny,
        _ => Decision::Allow,
    });
    let tag_of = |comment: &str| {
        format!(
            "\"{}\"",
            Digest::of(Algorithm::Sha256, manifest(comment).as_bytes())
        )
    };
    let (first, second) = (tag_of("first"), tag_of("second"));
    for (ask, status) in [
        // `v2` does not exist, and these conditions require that it does.
        (put("v2", "second").with("if-match", "*"), 403),
        (put("v2", "second").with("if-match", &*first), 403),
        (put("v2", "second").with("if-match", &*second), 403),
        // `v1` exists, and is not moved.
        (put("v1", "second").with("if-match", "*"), 403),
        (put("v1", "second").with("if-match", &*first), 403),
        (put("v1", "first").with("if-match", &*second), 403),
        (put("v1", "first").with("if-match", "*"), 201),
        (put("v1", "first").with("if-match", &*first), 201),
        // `If-None-Match: *` requires that the tag does not exist.
        (put("v1", "first").with("if-none-match", "*"), 412),
        (put("v2", "second").with("if-none-match", "*"), 201),
    ] {
        let answer = ask.clone().by("ann").send(&registry).await;
        assert_eq!(answer.status, status, "{ask:?}");
    }
}
