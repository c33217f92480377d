//! Tests of requests that have the authority of a view, whoever sends them.

use crate::{ByHeader, Rules, digest, every_request, filled, manifest};
use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use http_body_util::Full;
use registry_core::{
    Action, Authenticator, Authorizer, Hooks, Identity, Registry,
    auth::{Access, AuthError, AuthRequest, Authorize, Challenge, Decision},
    hooks::{Actor, Context, Event, EventKind, HookError},
    manifest::Manifest,
    service::RegistryView,
    storage::{MemoryStorage, PutManifest},
};
use std::sync::{Arc, Mutex};
use tower_service::Service as _;

/// Authenticator that must not be asked.
#[derive(Debug)]
struct Unasked;

#[async_trait]
impl Authenticator for Unasked {
    async fn authenticate(&self, _: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        panic!("the authenticator was asked")
    }

    fn challenges(&self, request: Option<AuthRequest<'_>>, needed: &[Access]) -> Vec<Challenge> {
        ByHeader.challenges(request, needed)
    }
}

/// Lets `ann` do everything, and everybody pull.
fn decide(who: Option<&str>, _: &str, action: Action) -> Decision {
    match (who, action) {
        (Some("ann"), _) | (_, Action::Pull) => Decision::Allow,
        _ => Decision::Deny,
    }
}

fn request(method: Method, target: &str) -> Request<String> {
    let request = Request::builder().method(method).uri(target);
    // A login of somebody else, which must not count.
    let request = request.header(header::AUTHORIZATION, "ann");
    request.body(String::new()).unwrap()
}

async fn status(view: &RegistryView, method: Method, target: &str) -> StatusCode {
    view.handle(request(method, target)).await.status()
}

#[tokio::test]
async fn a_request_has_the_authority_of_the_view_and_no_login_counts() {
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = Registry::builder(storage).authenticator(Unasked);
    let registry = registry.authorizer(Rules(decide)).build();
    let (uploads, pull) = ("/v2/team/app/blobs/uploads/", "/v2/team/app/manifests/v1");
    for (view, pushes) in [
        (registry.as_identity(Identity::new("ann")), StatusCode::ACCEPTED),
        (registry.as_identity(Identity::new("bob")), StatusCode::FORBIDDEN),
        (registry.as_anonymous(), StatusCode::FORBIDDEN),
        (registry.on_behalf_of(Identity::new("bob")), StatusCode::ACCEPTED),
    ] {
        assert_eq!(
            status(&view, Method::GET, "/v2/").await,
            StatusCode::OK,
            "{view:?}"
        );
        assert_eq!(status(&view, Method::GET, pull).await, StatusCode::OK, "{view:?}");
        assert_eq!(status(&view, Method::POST, uploads).await, pushes, "{view:?}");
    }
}

#[tokio::test]
async fn no_request_of_an_anonymous_view_is_challenged() {
    let registry = Registry::builder(MemoryStorage::new()).authenticator(Unasked);
    let registry = registry.authorizer(Rules(|_, _, _| Decision::Deny)).build();
    let anonymous = registry.as_anonymous();
    for (method, target) in every_request() {
        let response = anonymous.handle(request(method.clone(), &target)).await;

        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{method} {target}");
        assert!(!response.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}

#[tokio::test]
async fn read_only_holds_for_users_and_not_for_the_host() {
    let storage = MemoryStorage::new();
    let registry = Registry::builder(storage)
        .read_only()
        .allow_anonymous_push()
        .build();
    let ann = Identity::new("ann");
    let uploads = "/v2/team/app/blobs/uploads/";
    for (view, expected) in [
        (registry.as_identity(ann.clone()), StatusCode::METHOD_NOT_ALLOWED),
        (registry.on_behalf_of(ann), StatusCode::ACCEPTED),
    ] {
        assert_eq!(status(&view, Method::POST, uploads).await, expected, "{view:?}");
    }
}

/// Keeps what the hooks and the authorizer learn about the user and the request.
#[derive(Clone, Debug, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn add(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Authorizer for Seen {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        self.add(format!("authorizer: request {}", ask.request.is_some()));
        Ok(Decision::Allow)
    }
}

#[async_trait]
impl Hooks for Seen {
    async fn before_put_manifest(
        &self,
        context: &Context,
        _: &Manifest,
        _: &PutManifest,
    ) -> Result<(), HookError> {
        let Actor::Known(who) = &context.actor else {
            panic!("{context:?}")
        };
        self.add(format!("hook: {}", who.subject));
        Ok(())
    }

    fn event(&self, event: &Arc<Event>) {
        if matches!(event.kind, EventKind::ManifestPushed { .. }) {
            self.add("event".into());
        }
    }
}

#[tokio::test]
async fn hooks_events_and_the_answer_show_the_user_of_the_service() {
    let seen = Seen::default();
    let storage = MemoryStorage::new();
    filled(&storage, &["team/app"]).await;
    let registry = Registry::builder(storage)
        .authorizer(seen.clone())
        .hooks(seen.clone())
        .build();
    let ann = Identity::new("ann");
    let asked = "authorizer: request true";
    for (view, expected) in [
        (
            registry.as_identity(ann.clone()),
            vec![asked, "hook: ann", "event"],
        ),
        (registry.on_behalf_of(ann), vec!["hook: ann", "event"]),
    ] {
        let mut service = view.into_service(|task| {
            tokio::spawn(task);
        });
        let put = Request::put("/v2/team/app/manifests/v2").body(Full::new(manifest("second")));

        let response = service.call(put.unwrap()).await.unwrap();

        assert_eq!(response.status(), StatusCode::CREATED);
        let who = response.extensions().get::<Identity>().unwrap();
        assert_eq!(&*who.subject, "ann");
        let mut all = seen.take();
        all.dedup();
        assert_eq!(all, expected);
    }
    let blob = format!("/v2/team/app/blobs/{}", digest());
    let anonymous = registry.as_anonymous();
    assert_eq!(status(&anonymous, Method::GET, &blob).await, StatusCode::OK);
}
