//! A host that knows its users itself.

use super::world::*;
use axum::{
    extract::Request,
    middleware::{self, Next},
    response::Response,
};
use registry_auth_rules::{Rule, Rules, Who};
use registry_core::{Action, Identity, Registry, auth::FromExtensions, storage::MemoryStorage};

#[tokio::test]
async fn rules_know_the_users_and_groups_that_the_hosts_middleware_brings() {
    let rules = Rules::builder()
        .rule(Rule::allow([Action::Pull], [Who::Authenticated], ["team/**"]).unwrap())
        .rule(Rule::allow(Rule::ALL, [Who::group("ops")], ["**"]).unwrap())
        .build();
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions)
        .authorizer(rules)
        .build();
    // The host's own way to know: a cookie, `USER` or `USER/GROUP`.
    let known = async |mut request: Request, next: Next| -> Response {
        if let Some(cookie) = request.headers().get("cookie") {
            let (user, group) = match cookie.to_str().unwrap().split_once('/') {
                Some((user, group)) => (user.to_owned(), Some(group.to_owned())),
                None => (cookie.to_str().unwrap().to_owned(), None),
            };
            request
                .extensions_mut()
                .insert(Identity::new(user).in_groups(group));
        }
        next.run(request).await
    };
    let address = serve(registry_axum::router(registry).layer(middleware::from_fn(known))).await;

    for (cookie, pulled, pushed) in [
        ("", 403, 403),
        ("Cookie: ann\r\n", 404, 403),
        ("Cookie: ann/dev\r\n", 404, 403),
        ("Cookie: ann/ops\r\n", 404, 202),
        ("Authorization: ann\r\n", 403, 403),
    ] {
        let pull = send(&address, "GET /v2/team/app/manifests/v1", cookie, "").await;
        let push = send(&address, "POST /v2/team/app/blobs/uploads/", cookie, "").await;
        assert_eq!((pull.status, push.status), (pulled, pushed), "{cookie}");
    }
}
