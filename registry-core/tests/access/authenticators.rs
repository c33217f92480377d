//! Sources of identities (the host, and several authenticators in a chain), and the limits of these
//! identities.

use super::*;
use registry_core::auth::{Chain, FromExtensions};
use std::sync::Arc;

const PULL: &str = "/v2/team/app/manifests/v1";

fn basic(realm: &str) -> Challenge {
    Challenge::basic(realm)
}

/// Allows everything to `ann`, and nothing to other users.
fn for_ann(storage: &Recording, authenticator: impl Authenticator) -> Registry {
    let decide = |who: Option<&str>, _: &str, _| match who {
        Some("ann") => Decision::Allow,
        _ => Decision::Deny,
    };
    Registry::builder(storage.clone())
        .authenticator(authenticator)
        .authorizer(Decides(decide))
        .build()
}

/// Requests a manifest, with a value of the host's middleware.
async fn pull_with<T: Clone + Send + Sync + 'static>(registry: &Registry, known: T) -> Answer {
    let request = Request::get(PULL).extension(known).body(String::new()).unwrap();
    answer(registry, request).await
}

#[tokio::test]
async fn the_host_says_who_asks_in_one_line() {
    let registry = for_ann(&filled(&["team/app"]).await, FromExtensions);

    assert_eq!(
        pull_with(&registry, Identity::new("ann")).await.status,
        StatusCode::OK
    );
    assert_eq!(
        pull_with(&registry, Identity::new("eve")).await.status,
        StatusCode::FORBIDDEN
    );
    // There is no way to log in, so there is no challenge, and a header gives no identity.
    let anonymous = Ask::new(Method::GET, PULL).by("ann").send(&registry).await;
    assert_eq!(
        (anonymous.status, anonymous.challenges()),
        (StatusCode::FORBIDDEN, vec![])
    );
    assert_eq!(
        Ask::new(Method::GET, "/v2/").send(&registry).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_type_of_the_host_is_as_good_and_can_be_nobody() {
    #[derive(Clone)]
    struct Session(Option<&'static str>);
    let sessions = FromExtensions::of(|session: &Session| Some(Identity::new(session.0?)));
    let registry = for_ann(&filled(&["team/app"]).await, sessions.challenging(basic("host")));

    assert_eq!(
        pull_with(&registry, Session(Some("ann"))).await.status,
        StatusCode::OK
    );
    assert_eq!(
        pull_with(&registry, Session(Some("eve"))).await.status,
        StatusCode::FORBIDDEN
    );
    for anonymous in [
        pull_with(&registry, Session(None)).await,
        pull_with(&registry, Identity::new("ann")).await,
    ] {
        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED);
        assert_eq!(anonymous.challenges(), ["Basic realm=\"host\""]);
    }
}

#[tokio::test]
async fn the_hosts_login_can_be_asked_for() {
    let authenticator = FromExtensions.challenging(basic("host"));
    let registry = for_ann(&filled(&["team/app"]).await, authenticator);

    assert_eq!(
        pull_with(&registry, Identity::new("ann")).await.status,
        StatusCode::OK
    );
    let welcome = Ask::new(Method::GET, "/v2/").send(&registry).await;
    assert_eq!(
        (welcome.status, welcome.challenges()),
        (StatusCode::UNAUTHORIZED, vec!["Basic realm=\"host\""])
    );
}

/// Reads the user from one header, and rejects `wrong`.
#[derive(Debug)]
struct In(&'static str);

#[async_trait]
impl Authenticator for In {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request.headers.get(self.0).map(|value| value.to_str().unwrap()) {
            Some("wrong") => Err(AuthError::Rejected),
            name => Ok(name.map(Identity::new)),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![basic(self.0)]
    }
}

#[tokio::test]
async fn a_chain_takes_the_first_who_knows_and_stops_at_the_first_error() {
    let registry = for_ann(
        &filled(&["team/app"]).await,
        Chain::new()
            .then(FromExtensions)
            .then(In("first"))
            .then(In("second")),
    );
    let pull = |first: Option<&str>, second: Option<&str>| {
        let headers = [("first", first), ("second", second)];
        let headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        headers.fold(Ask::new(Method::GET, PULL), |ask, (name, value)| {
            ask.with(name, value)
        })
    };
    for (first, second, status) in [
        (Some("ann"), None, 200),
        (None, Some("ann"), 200),
        (Some("ann"), Some("wrong"), 200),
        (Some("eve"), Some("ann"), 403),
        (Some("wrong"), Some("ann"), 401),
        (None, Some("wrong"), 401),
        (None, None, 401),
    ] {
        let answer = pull(first, second).send(&registry).await;
        assert_eq!(answer.status, status, "{first:?} {second:?}");
        if status == 401 {
            assert_eq!(
                answer.challenges(),
                ["Basic realm=\"first\"", "Basic realm=\"second\""]
            );
        }
    }
    assert_eq!(
        pull_with(&registry, Identity::new("ann")).await.status,
        StatusCode::OK
    );
}

/// Shows one fixed repository in every listing, unlike [`Decides`].
#[derive(Debug)]
struct ShowsOne;

#[async_trait]
impl Authorizer for ShowsOne {
    async fn authorize(&self, ask: Authorize<'_>) -> Result<Decision, AuthError> {
        Ok(if ask.who.is_some() {
            Decision::Allow
        } else {
            Decision::DenyHidden
        })
    }

    async fn visible(
        &self,
        _: Authorize<'_>,
        _: Vec<RepositoryName>,
    ) -> Result<Vec<RepositoryName>, AuthError> {
        Ok(vec![RepositoryName::parse("shown").unwrap()])
    }
}

/// Checks every method of both contracts through a wrapper.
async fn hands_everything_on(authenticator: impl Authenticator, authorizer: impl Authorizer) {
    let storage = filled(&["team/app"]).await;
    let registry = Registry::builder(storage)
        .authenticator(authenticator)
        .authorizer(authorizer)
        .build();
    let catalog = Ask::new(Method::GET, "/v2/_catalog")
        .with("user", "ann")
        .send(&registry)
        .await;
    assert_eq!(catalog.body, r#"{"repositories":["shown"]}"#);
    let hidden = Ask::new(Method::GET, PULL).send(&registry).await;
    assert_eq!(hidden.code(), "MANIFEST_UNKNOWN");
    let welcome = Ask::new(Method::GET, "/v2/").send(&registry).await;
    assert_eq!(welcome.challenges(), ["Basic realm=\"user\""]);
}

#[tokio::test]
async fn shared_and_boxed_ones_hand_everything_on() {
    hands_everything_on(In("user"), ShowsOne).await;
    hands_everything_on(Arc::new(In("user")), Arc::new(ShowsOne)).await;
    hands_everything_on(Box::new(In("user")), Box::new(ShowsOne)).await;
    let (authenticator, authorizer): (Arc<dyn Authenticator>, Arc<dyn Authorizer>) =
        (Arc::new(In("user")), Arc::new(ShowsOne));
    hands_everything_on(authenticator, authorizer).await;
}

fn to(repository: &str, action: Action) -> Access {
    Access::to(&RepositoryName::parse(repository).unwrap(), action)
}

#[tokio::test]
async fn a_login_is_good_for_nothing_but_its_grants() {
    let storage = filled(&["team/app"]).await;
    let registry = for_ann(&storage, FromExtensions);
    let ann = Identity::new("ann");
    let pulls = ann.clone().limited_to([to("team/app", Action::Pull)]);

    assert_eq!(pull_with(&registry, pulls.clone()).await.status, StatusCode::OK);
    let request = Request::post("/v2/team/app/blobs/uploads/").extension(pulls.clone());
    assert_eq!(
        answer(&registry, request.body(String::new()).unwrap())
            .await
            .code(),
        "DENIED"
    );
    let request = Request::get("/v2/_catalog").extension(pulls);
    assert_eq!(
        answer(&registry, request.body(String::new()).unwrap())
            .await
            .code(),
        "DENIED"
    );
    storage.asked();
    for useless in [
        vec![],
        vec![to("team/app", Action::Push), to("team", Action::Pull)],
    ] {
        let refused = pull_with(&registry, ann.clone().limited_to(useless)).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
    }
    assert_eq!(storage.asked(), [""; 0]);
    // A grant allows nothing that the authorizer denies.
    let eve = Identity::new("eve").limited_to([to("team/app", Action::Pull)]);
    assert_eq!(pull_with(&registry, eve).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_granted_catalog_shows_what_the_subject_may_see() {
    let registry = for_ann(&filled(&["team/app"]).await, FromExtensions);
    let listing = Identity::new("ann").limited_to([Access::catalog()]);
    let request = Request::get("/v2/_catalog").extension(listing);
    let catalog = answer(&registry, request.body(String::new()).unwrap()).await;
    assert_eq!(catalog.body, r#"{"repositories":["team/app"]}"#);
}

#[tokio::test]
async fn who_lacks_a_grant_is_asked_for_a_better_token_where_there_are_tokens() {
    let tokens = FromExtensions.challenging(Challenge::bearer("https://auth.example/token", "test"));
    let registry = for_ann(&Recording::default(), tokens);
    let granted = |who: &str| Identity::new(who).limited_to([to("team/app", Action::Pull)]);
    let open = |who: &str| {
        let request = Request::post("/v2/team/app/blobs/uploads/").extension(granted(who));
        request.body(String::new()).unwrap()
    };
    let refused = answer(&registry, open("ann")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.scope(), "repository:team/app:pull,push");
    // For eve the authorizer denies the access, so another token would not help.
    assert_eq!(
        pull_with(&registry, granted("eve")).await.status,
        StatusCode::FORBIDDEN
    );
}
