//! A service that already knows its users: its own middleware identifies the user, the registry accepts that identity,
//! and rules decide what each user may do. Then three users make the same request, to show each answer.
//!
//! `cargo run -p registry-examples --example own_identity`

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{Method, header};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use registry_auth_rules::{Rule, Rules, Who};
use registry_core::{Action, Identity, Registry, auth::FromExtensions, storage::MemoryStorage};
use std::{collections::HashMap, error::Error, sync::Arc};
use tokio::net::TcpListener;

/// A user, as the host knows them. The registry never sees how.
#[derive(Clone)]
struct User {
    name: &'static str,
    team: &'static str,
}

/// The host's sessions, by the value of its cookie.
type Sessions = Arc<HashMap<&'static str, User>>;

/// The host's own middleware: a request with a session belongs to its user, any other one continues as anonymous.
async fn know(State(sessions): State<Sessions>, mut request: Request, next: Next) -> Response {
    let cookie = request
        .headers()
        .get(header::COOKIE)
        .and_then(|value| value.to_str().ok());
    if let Some(user) = cookie.and_then(|cookie| sessions.get(cookie.strip_prefix("session=")?)) {
        let user = user.clone();
        request.extensions_mut().insert(user);
    }
    next.run(request).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let sessions: Sessions = Arc::new(HashMap::from([
        (
            "s-1",
            User {
                name: "ann",
                team: "web",
            },
        ),
        (
            "s-2",
            User {
                name: "bob",
                team: "data",
            },
        ),
    ]));
    let rules = Rules::builder()
        .rule(Rule::allow(Rule::ALL, [Who::Authenticated], ["users/{user}/**"])?)
        .rule(Rule::allow(
            [Action::Pull, Action::Push],
            [Who::group("web")],
            ["web/**"],
        )?)
        .rule(Rule::allow([Action::Pull], [Who::Everyone], ["public/**"])?)
        .build();

    // One line says where identities come from. A host that puts in an `Identity` itself writes `FromExtensions`; one
    // whose middleware takes docker's logins adds `.challenging(…)`, as docker logs in only where it is asked to.
    let registry = Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions::of(|user: &User| {
            Some(Identity::new(user.name).in_groups([user.team]))
        }))
        .authorizer(rules)
        .build();
    let app = Router::new()
        .merge(registry_axum::router(registry))
        .layer(middleware::from_fn_with_state(sessions, know));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(registry_listener::serve(listener, app));

    for (who, cookie) in [("ann", "session=s-1"), ("bob", "session=s-2"), ("a stranger", "")] {
        for (method, target) in [
            (Method::POST, "/v2/users/ann/app/blobs/uploads/"),
            (Method::POST, "/v2/web/shop/blobs/uploads/"),
            (Method::GET, "/v2/public/app/tags/list"),
        ] {
            let status = ask(&base, cookie, method.clone(), target).await?;
            println!("{who}: {method} {target}: {status}");
        }
    }
    Ok(())
}

async fn ask(
    base: &str,
    cookie: &str,
    method: Method,
    target: &str,
) -> Result<http::StatusCode, Box<dyn Error>> {
    let client: Client<HttpConnector, Body> = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::builder()
        .method(method)
        .uri(format!("{base}{target}"))
        .header(header::COOKIE, cookie)
        .body(Body::empty())?;
    Ok(client.request(request).await?.status())
}
