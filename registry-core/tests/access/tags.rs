//! Tests of permissions for single tags, and of puts with several tags.

use super::*;
use registry_core::auth::Scope;
use std::sync::{Arc, Mutex};

/// Decides by a function of action and tag, and records what was asked: `push team/app:v1`.
#[derive(Clone)]
struct ByTag {
    decide: fn(Action, Option<&str>) -> Decision,
    asked: Arc<Mutex<Vec<String>>>,
}

impl ByTag {
    fn new(decide: fn(Action, Option<&str>) -> Decision) -> Self {
        Self {
            decide,
            asked: Arc::default(),
        }
    }

    fn registry(&self, storage: &Recording) -> Registry {
        Registry::builder(storage.clone())
            .authenticator(ByHeader)
            .authorizer(self.clone())
            .build()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl std::fmt::Debug for ByTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ByTag")
    }
}

#[async_trait]
impl Authorizer for ByTag {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        let access = ask.access;
        let tag = access.tag.as_ref().map(registry_core::Tag::as_str);
        let repository = access.repository.as_ref().map_or("", RepositoryName::as_str);
        let of_tag = tag.map_or_else(String::new, |tag| format!(":{tag}"));
        let asked = format!("{} {repository}{of_tag}", access.action);
        self.asked.lock().unwrap().push(asked);
        Ok((self.decide)(access.action, tag))
    }
}

fn allowed(yes: bool) -> Decision {
    if yes { Decision::Allow } else { Decision::Deny }
}

/// Returns the status of a pull.
async fn pulled(registry: &Registry, reference: &str) -> StatusCode {
    let target = format!("/v2/team/app/manifests/{reference}");
    Ask::new(Method::GET, target)
        .by("ann")
        .send(registry)
        .await
        .status
}

#[tokio::test]
async fn each_tag_is_asked_about_once_and_before_any_storage_call() {
    let storage = filled(&["team/app"]).await;
    let rules = ByTag::new(|_, _| Decision::Allow);
    let registry = rules.registry(&storage);

    put("v3?tag=v1&tag=v2&tag=v1", "second")
        .by("ann")
        .send(&registry)
        .await;
    let expected = [
        "push team/app",
        "push team/app:v1",
        "overwrite team/app:v1",
        "push team/app:v2",
        "overwrite team/app:v2",
        "push team/app:v3",
        "overwrite team/app:v3",
    ];
    assert_eq!(rules.asked(), expected);

    let delete = |reference: &str| Ask::new(Method::DELETE, format!("/v2/team/app/manifests/{reference}"));
    delete("v1").by("ann").send(&registry).await;
    delete(&digest().to_string()).by("ann").send(&registry).await;
    assert_eq!(rules.asked(), ["delete team/app:v1", "delete team/app"]);

    storage.asked();
    let rules = ByTag::new(|_, tag| allowed(tag != Some("v2")));
    let refused = put("v3?tag=v2", "second")
        .by("ann")
        .send(&rules.registry(&storage))
        .await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(storage.asked(), [""; 0]);
}

#[tokio::test]
async fn who_may_push_some_tags_pushes_no_others() {
    let storage = filled(&["team/app"]).await;
    let rules = ByTag::new(|action, tag| match (action, tag) {
        (Action::Push | Action::Overwrite | Action::Delete, Some(tag)) => allowed(tag.starts_with("dev-")),
        _ => Decision::Allow,
    });
    let registry = rules.registry(&storage);
    for (target, status) in [
        ("dev-1", 201),
        ("v1", 403),
        ("v2", 403),
        ("dev-2?tag=v2", 403),
        ("v2?tag=dev-2", 403),
        ("dev-2?tag=dev-3", 201),
    ] {
        let answer = put(target, "second").by("ann").send(&registry).await;
        assert_eq!(answer.status, status, "{target}");
        if target.contains("tag=") {
            let expected = if status == 201 { 200 } else { 404 };
            assert_eq!(pulled(&registry, "dev-2").await, expected, "{target}");
        }
    }
    for (reference, status) in [("v1", 403), ("dev-1", 202)] {
        let target = format!("/v2/team/app/manifests/{reference}");
        let answer = Ask::new(Method::DELETE, target).by("ann").send(&registry).await;
        assert_eq!(answer.status, status, "{reference}");
    }
}

#[tokio::test]
async fn several_tags_are_moved_if_all_of_them_may_be() {
    let storage = filled(&["team/app"]).await;
    let immutable = ByTag::new(|action, _| allowed(action != Action::Overwrite)).registry(&storage);
    let open = ByTag::new(|_, _| Decision::Allow).registry(&storage);
    let second = Digest::of(Algorithm::Sha256, manifest("second").as_bytes()).to_string();
    let if_none_match = |ask: Ask| ask.with("if-none-match", "*");
    let if_match = |ask: Ask| ask.with("if-match", format!("\"{second}\""));
    // `v1` exists, and sorts between the others.
    for (registry, ask, status) in [
        (&immutable, put("v0?tag=v1&tag=v2", "second"), 403),
        (&open, if_none_match(put("v0?tag=v1&tag=v2", "second")), 412),
        (&open, if_match(put("v1?tag=v0&tag=v2", "second")), 412),
    ] {
        let answer = ask.clone().by("ann").send(registry).await;

        assert_eq!(answer.status, status, "{ask:?}");
        for reference in ["v0", "v2", &*second] {
            assert_eq!(pulled(registry, reference).await, 404, "{ask:?}: {reference}");
        }
    }
    let same = put("v0?tag=v1&tag=v2", "first").by("ann").send(&immutable).await;
    assert_eq!(same.status, StatusCode::CREATED);
    assert_eq!(pulled(&open, "v2").await, StatusCode::OK);
}

#[tokio::test]
async fn a_login_for_one_tag_is_good_for_that_tag() {
    let storage = filled(&["team/app"]).await;
    let registry = Registry::builder(storage)
        .authenticator(registry_core::auth::FromExtensions)
        .build();
    let repository = RepositoryName::parse("team/app").unwrap();
    let tag = registry_core::Tag::parse("v2").unwrap();
    let push = Access::to(&repository, Action::Push);
    let push_v2 = Access::to_tag(&repository, Action::Push, &tag);
    let scope: Scope = "repository:team/app:push".parse().unwrap();
    for (grants, target, status) in [
        (vec![push.clone()], "v3", 201),
        (scope.accesses(), "v1", 201),
        // The grant must also allow pushes to the repository itself.
        (vec![push_v2.clone()], "v2", 403),
    ] {
        let request = Request::put(format!("/v2/team/app/manifests/{target}"))
            .extension(Identity::new("ann").limited_to(grants.clone()));
        let answer = answer(&registry, request.body(manifest(target)).unwrap()).await;
        assert_eq!(answer.status, status, "{target}: {grants:?}");
    }
    assert!(push.covers(&push_v2) && !push_v2.covers(&push));
    let other = Access::to_tag(
        &repository,
        Action::Push,
        &registry_core::Tag::parse("v3").unwrap(),
    );
    assert!(push_v2.covers(&push_v2) && !push_v2.covers(&other));
    assert!(!Access::to(&repository, Action::Pull).covers(&push));
    assert!(!Access::catalog().covers(&push));
}
