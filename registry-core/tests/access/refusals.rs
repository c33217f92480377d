//! Tests of refusals: 401 with a challenge, 403, or the response for an unknown repository.

use super::*;

fn bearer(scope: &str) -> String {
    format!(r#"Bearer realm="https://auth.example/token",service="test",scope="{scope}""#)
}

#[tokio::test]
async fn anonymous_clients_and_wrong_credentials_are_asked_for_all_that_the_request_needs() {
    let storage = Recording::default();
    let registry = ruled(&storage, |_, _, _| Decision::Deny);
    for (ask, _, scope) in every_request() {
        let anonymous = ask.clone().send(&registry).await;
        let wrong = ask.clone().by("wrong").send(&registry).await;

        assert_eq!(anonymous.status, StatusCode::UNAUTHORIZED, "{ask:?}");
        assert_eq!(anonymous.challenges(), [bearer(scope)], "{ask:?}");
        assert_eq!(anonymous, wrong, "{ask:?}");
    }
    let catalog = Ask::new(Method::GET, "/v2/_catalog");
    for ask in [catalog.clone(), catalog.by("wrong")] {
        assert_eq!(ask.send(&registry).await.scope(), "registry:catalog:*");
    }
}

#[tokio::test]
async fn wrong_credentials_at_the_base_need_no_scope() {
    let registry = ruled(&Recording::default(), |_, _, _| Decision::Allow);
    for ask in [
        Ask::new(Method::GET, "/v2/"),
        Ask::new(Method::GET, "/v2/").by("wrong"),
    ] {
        let answer = ask.send(&registry).await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
        assert_eq!(
            answer.challenges(),
            [r#"Bearer realm="https://auth.example/token",service="test""#]
        );
    }
}

#[tokio::test]
async fn somebody_who_is_refused_is_told_so_and_not_asked_to_log_in() {
    let registry = ruled(&Recording::default(), |_, _, _| Decision::Deny);
    for (ask, _, _) in every_request() {
        let answer = ask.clone().by("eve").send(&registry).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{ask:?}");
        assert_eq!(answer.challenges(), [""; 0]);
        assert!(ask.method == Method::HEAD || answer.code() == "DENIED", "{ask:?}");
    }
}

#[tokio::test]
async fn an_anonymous_client_who_may_not_move_a_tag_is_asked_to_log_in() {
    let storage = filled(&["team/app"]).await;
    let registry = ruled(&storage, |who, _, action| match (who, action) {
        (None, Action::Overwrite) => Decision::Deny,
        _ => Decision::Allow,
    });
    let refused = put("v1", "second").send(&registry).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(refused.scope(), "repository:team/app:pull,push");
    assert_eq!(
        put("v1", "second").by("ann").send(&registry).await.status,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_empty_login_is_nobody_everywhere() {
    let registry = ruled(&Recording::default(), |_, _, _| Decision::Deny);
    for spelling in ["Basic Og==", "basic  Og== ", "BASIC Og=="] {
        for (ask, _, _) in every_request() {
            let anonymous = ask.clone().send(&registry).await;
            assert_eq!(ask.by(spelling).send(&registry).await, anonymous);
        }
    }
}

#[tokio::test]
async fn without_an_authenticator_credentials_that_a_proxy_hands_on_change_nothing() {
    let storage = filled(&["team/app", "other/app"]).await;
    let registry = Registry::builder(storage)
        .authorizer(Decides(|who: Option<&str>, _: &str, action| {
            assert_eq!(who, None);
            match action {
                Action::Pull | Action::Catalog => Decision::Allow,
                _ => Decision::Deny,
            }
        }))
        .build();
    let everything = every_request().into_iter().map(|(ask, _, _)| ask);
    let others = ["/v2/", "/v2/_catalog"].map(|target| Ask::new(Method::GET, target));
    for ask in everything.chain(others) {
        let plain = ask.clone().send(&registry).await;
        assert_ne!(
            plain.status,
            StatusCode::UNAUTHORIZED,
            "{ask:?}: nobody can log in here"
        );
        for forwarded in ["Basic YW5uOnNlY3JldA==", "Basic Og==", "Bearer x.y.z", "nonsense"] {
            assert_eq!(ask.clone().by(forwarded).send(&registry).await, plain, "{ask:?}");
        }
    }
}
