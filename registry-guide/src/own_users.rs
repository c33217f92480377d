//! Users, tokens and sessions of your own.
//!
//! At the end of this page clients log in with what your service already has: passwords, tokens, sessions, or a proxy that
//! knows the user. Rules decide what each user may do.
//!
//! | you have | you write |
//! |---|---|
//! | a file of users | nothing: `registry-auth-htpasswd` |
//! | users and passwords, or personal tokens | an [`Authenticator`] for Basic, see below |
//! | a service that issues tokens | an [`Authenticator`] for Bearer, and a route for the tokens |
//! | middleware that knows the user | [`FromExtensions`], see [`in_axum`](crate::in_axum#protect-it) |
//! | OpenID Connect, SAML, single sign-on | one of [these](#single-sign-on) |
//! | several of these | [`Chain`]: the first one that finds credentials decides |
//!
//! # Passwords and personal tokens
//!
//! `docker login` asks for a name and a password, and sends them with each request. A personal access token works as the
//! password, so this is the shortest way for robots, too:
//!
//! ```
//! use async_trait::async_trait;
//! use registry_core::{
//!     Authenticator, Identity, Registry,
//!     auth::{Access, AuthError, AuthRequest, Challenge},
//!     storage::MemoryStorage,
//! };
//! use std::io;
//!
//! /// Your database.
//! #[derive(Debug)]
//! struct Database;
//!
//! impl Database {
//!     /// Returns the groups of the user, if the password is right.
//!     async fn verify(&self, user: &str, password: &[u8]) -> io::Result<Option<Vec<String>>> {
//!         Ok((user == "ann" && password == b"secret").then(|| vec!["web".to_owned()]))
//!     }
//! }
//!
//! #[async_trait]
//! impl Authenticator for Database {
//!     async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
//!         let Some(login) = request.basic()? else {
//!             return Ok(None);
//!         };
//!         match self.verify(login.user(), login.password()).await {
//!             Ok(Some(groups)) => Ok(Some(Identity::new(login.user()).in_groups(groups))),
//!             Ok(None) => Err(AuthError::Rejected),
//!             Err(outage) => Err(AuthError::Failed(outage.into())),
//!         }
//!     }
//!
//!     fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
//!         vec![Challenge::basic("my service")]
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let registry = Registry::builder(MemoryStorage::new()).authenticator(Database).build();
//! # let ask = |login: &str| {
//! #     registry.handle(http::Request::get("/v2/").header("authorization", login).body(String::new()).unwrap())
//! # };
//! # assert_eq!(ask("Basic YW5uOnNlY3JldA==").await.status(), 200);
//! # let refused = ask("Basic YW5uOndyb25n").await;
//! # assert_eq!(refused.status(), 401);
//! # assert_eq!(refused.headers()["www-authenticate"], r#"Basic realm="my service""#);
//! # Ok(())
//! # }
//! ```
//!
//! A push sends the password dozens of times. Cache a verified one for a while, hash on a thread that may block, and return
//! [`AuthError::Throttled`] after many failures of one user or [address](AuthRequest::client_address).
//! `registry-auth-htpasswd` does all of it for a file.
//!
//! # Tokens of your own
//!
//! Docker's protocol for tokens has three steps: the registry names your token service in a challenge, the client logs in
//! there and gets a token for some scopes, and repeats its request with the token. You write the middle and the check:
//!
//! ```
//! use async_trait::async_trait;
//! use axum::{Json, Router, extract::{Request, State}, http::StatusCode, routing::get};
//! use registry_core::{
//!     Authenticator, Identity, Registry,
//!     auth::{Access, AuthError, AuthRequest, Challenge, Scope, TokenError},
//!     storage::MemoryStorage,
//! };
//! use std::{collections::HashMap, sync::{Arc, Mutex}, time::{Duration, Instant}};
//!
//! const LIFETIME: Duration = Duration::from_secs(300);
//!
//! /// Tokens that were issued. With signed tokens, such as JWTs, there is nothing to keep.
//! #[derive(Debug)]
//! struct Tokens {
//!     url: String,
//!     issued: Mutex<HashMap<String, (Identity, Instant)>>,
//! }
//!
//! impl Tokens {
//!     fn identity(&self, token: &str) -> Option<Identity> {
//!         let issued = self.issued.lock().unwrap();
//!         let (identity, at) = issued.get(token)?;
//!         (at.elapsed() < LIFETIME).then(|| identity.clone())
//!     }
//! }
//!
//! /// `GET /token?service=…&scope=…`, with a Basic login.
//! async fn token(State(tokens): State<Arc<Tokens>>, request: Request) -> Result<Json<serde_json::Value>, StatusCode> {
//!     let (parts, _) = request.into_parts();
//!     let login = AuthRequest::new(&parts).basic().ok().flatten();
//!     let login = login.filter(|login| login.password() == b"secret").ok_or(StatusCode::UNAUTHORIZED)?;
//!
//!     // The token is limited to the scopes that the client asks for.
//!     let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
//!     let scopes = query.filter(|(key, _)| key == "scope").map(|(_, scope)| scope.parse::<Scope>());
//!     let scopes: Vec<Scope> = scopes.collect::<Result<_, _>>().map_err(|_| StatusCode::BAD_REQUEST)?;
//!     let identity = Identity::new(login.user()).limited_to(scopes.iter().flat_map(Scope::accesses));
//!
//!     let token = format!("{:032x}", u128::from_ne_bytes({
//!         let mut random = [0; 16];
//!         getrandom::fill(&mut random).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
//!         random
//!     }));
//!     let mut issued = tokens.issued.lock().unwrap();
//!     issued.retain(|_, (_, at)| at.elapsed() < LIFETIME);
//!     issued.insert(token.clone(), (identity, Instant::now()));
//!     Ok(Json(serde_json::json!({"token": token, "expires_in": LIFETIME.as_secs()})))
//! }
//!
//! #[async_trait]
//! impl Authenticator for Tokens {
//!     async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
//!         let Some(token) = request.bearer()? else {
//!             return Ok(None);
//!         };
//!         self.identity(token).map(Some).ok_or(AuthError::Rejected)
//!     }
//!
//!     /// Names the token service. The core adds the scope that the request needs.
//!     fn challenges(&self, request: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
//!         let challenge = Challenge::bearer(&self.url, "registry.example.com");
//!         let token = request.and_then(|request| request.bearer().ok().flatten());
//!         vec![match token.map(|token| self.identity(token)) {
//!             Some(Some(_lacking)) => challenge.because(TokenError::InsufficientScope),
//!             Some(None) => challenge.because(TokenError::InvalidToken),
//!             None => challenge,
//!         }]
//!     }
//! }
//!
//! fn app(url: String) -> Router {
//!     let tokens = Arc::new(Tokens { url, issued: Mutex::default() });
//!     let registry = Registry::builder(MemoryStorage::new()).authenticator(Arc::clone(&tokens)).build();
//!     Router::new()
//!         .route("/token", get(token))
//!         .with_state(tokens)
//!         .merge(registry_axum::router(registry))
//! }
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/client.rs"));
//! # #[tokio::main]
//! # async fn main() {
//! #     use registry_client::{Client, Credential, Host};
//! #     let (host, listener) = listener().await;
//! #     let app = app(format!("http://{host}/token"));
//! #     tokio::spawn(registry_listener::serve(listener, app));
//! #     let login = |user: &str, password: &str| {
//! #         let login = Credential::password(user, password);
//! #         let logins = std::collections::BTreeMap::from([(host.parse::<Host>().unwrap(), login)]);
//! #         Client::builder().credentials(logins).build().unwrap()
//! #     };
//! #     let repository = format!("{host}/team/app");
//! #     push_and_pull_by(&login("ann", "secret"), &repository, b"content").await;
//! #     assert!(login("eve", "guessed").repository(&repository).unwrap().manifest("v1").await.is_err());
//! # }
//! ```
//!
//! [`Identity::limited_to`] bounds what a token can do. A request beyond it is refused before any authorizer is asked, with a
//! challenge by which the client gets a larger token.
//!
//! # Single sign-on
//!
//! Docker, podman and CI cannot follow a redirect to a page for the login. These ways work:
//!
//! - **A personal token from your website.** Users log in there by OpenID Connect, and create a token, which is the password
//!   above. Most services do this.
//! - **The identity token as the password.** A CI job has an identity token of its platform. It runs `docker login -u oidc`,
//!   and your authenticator verifies the password as a JWT: signature, issuer, audience and expiry, with a crate such as
//!   `jsonwebtoken`. Map the claims to [`Identity::in_groups`], for example the name of the project.
//! - **A proxy that has verified the user** and sends the name in a header. It has to remove this header from what clients
//!   send. Take it only from the peer that is the proxy, and before [`Proxies`](registry_axum::Proxies) replaces the address
//!   of the peer by that of the client:
//!
//! ```
//! use axum::{Router, extract::Request, http::{HeaderMap, StatusCode}, middleware::map_request};
//! use registry_axum::Proxies;
//! use registry_core::{Identity, Registry, auth::{ClientAddress, FromExtensions}, storage::MemoryStorage};
//! use std::{future::ready, net::IpAddr};
//!
//! /// Returns the user that the proxy names. Refuses a name from another peer, and two names.
//! fn user(peer: Option<IpAddr>, proxy: IpAddr, headers: &HeaderMap) -> Result<Option<Identity>, StatusCode> {
//!     let mut names = headers.get_all("x-forwarded-user").iter();
//!     match (names.next(), names.next()) {
//!         (None, _) => Ok(None),
//!         (Some(name), None) if peer == Some(proxy) => {
//!             let name = name.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
//!             Ok(Some(Identity::new(name)))
//!         }
//!         _ => Err(StatusCode::FORBIDDEN),
//!     }
//! }
//!
//! fn app(proxy: IpAddr) -> Router {
//!     let registry = Registry::builder(MemoryStorage::new()).authenticator(FromExtensions).build();
//!     let proxies = Proxies::default();
//!     registry_axum::router(registry)
//!         .layer(map_request(move |mut request: Request| {
//!             proxies.resolve(&mut request);
//!             ready(request)
//!         }))
//!         // The last layer runs first. An IPv4 peer may have an IPv6 address.
//!         .layer(map_request(move |mut request: Request| {
//!             let peer = request.extensions().get().map(|ClientAddress(peer)| peer.ip().to_canonical());
//!             ready(user(peer, proxy, request.headers()).map(|user| {
//!                 user.and_then(|user| request.extensions_mut().insert(user));
//!                 request
//!             }))
//!         }))
//! }
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use tower::ServiceExt as _;
//! # for (peer, is_ann) in [("10.0.0.1:4000", true), ("[::ffff:10.0.0.1]:4000", true), ("10.0.0.2:4000", false)] {
//! #     let request = http::Request::get("/v2/team/app/tags/list")
//! #         .header("x-forwarded-user", "ann")
//! #         .header("x-forwarded-for", "10.0.0.1")
//! #         .extension(ClientAddress(peer.parse()?))
//! #         .body(axum::body::Body::empty())?;
//! #     let status = app("10.0.0.1".parse()?).oneshot(request).await?.status();
//! #     assert_eq!(status, if is_ann { 404 } else { 403 }, "{peer}");
//! # }
//! # let request = http::Request::get("/v2/team/app/tags/list").body(axum::body::Body::empty())?;
//! # assert!([401, 403].contains(&app("10.0.0.1".parse()?).oneshot(request).await?.status().as_u16()));
//! # Ok(())
//! # }
//! ```
//!
//! # What users may do
//!
//! Without an authorizer, users may do everything and anonymous clients nothing. `registry-auth-rules` has ordered rules, from
//! code or from a file. An [`Authorizer`] of your own answers [`Decision::Allow`], [`Decision::Deny`], or
//! [`Decision::DenyHidden`], which looks like an absent repository:
//!
//! ```
//! use registry_auth_rules::{Rule, Rules, Who};
//! use registry_core::{Action, Identity, Registry, storage::MemoryStorage};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let rules = Rules::builder()
//!     .rule(Rule::allow(Rule::ALL, [Who::Authenticated], ["users/{user}/**"])?)
//!     .rule(Rule::allow([Action::Pull, Action::Push], [Who::group("web")], ["web/**"])?)
//!     .rule(Rule::allow([Action::Pull], [Who::Everyone], ["public/**"])?)
//!     .build();
//! let registry = Registry::builder(MemoryStorage::new()).authorizer(rules).build();
//!
//! // The same decisions in process.
//! let ann = registry.as_identity(Identity::new("ann").in_groups(["web"]));
//! assert!(ann.repository("web/shop")?.push_blob("content", None).await.is_ok());
//! assert!(ann.repository("public/app")?.push_blob("content", None).await.is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # What clients are told
//!
//! Your code never writes a `WWW-Authenticate`. The core decides:
//!
//! | request | answer |
//! |---|---|
//! | no credentials, refused, and [`challenges`](Authenticator::challenges) is not empty | 401 with these challenges |
//! | no credentials, refused, no challenges | 403 `DENIED` |
//! | wrong credentials ([`AuthError::Rejected`]) | 401 with the challenges, even if everybody may do it |
//! | a user who may not | 403 `DENIED`, or as for an absent repository |
//! | a token that is limited too much | 401 with a Bearer challenge and the scope |
//! | [`AuthError::Throttled`] | 429 with `Retry-After` |
//! | [`AuthError::Failed`] | 500; the source is in the log only |
//! | `GET /v2/` without credentials | 401 if there are challenges: docker logs in there and nowhere else |
//!
//! With [`without_base_login`](registry_core::service::Builder::without_base_login) docker pulls without a login what
//! everybody may pull, and cannot log in by Basic to push. With a Bearer challenge it can do both, without this setting: for a
//! pull it fetches an anonymous token, if your token service issues one.

#[cfg(doc)]
use registry_core::{
    Authenticator, Authorizer, Identity,
    auth::{AuthError, AuthRequest, Chain, Decision, FromExtensions},
};
