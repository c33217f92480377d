//! Tests of the context of an operation: actor, client and request.

use super::*;

#[tokio::test]
async fn hooks_know_who_asks_and_from_where() {
    let hooks = Recorder::default();
    let storage = MemoryStorage::new();
    filled(&storage, &["app"]).await;
    let registry = Registry::builder(storage)
        .authenticator(ByHeader)
        .hooks(hooks.clone())
        .build();
    let app = registry.repository("app").unwrap();
    let pull = |user: &str, id: Option<RequestId>| {
        let address = "192.0.2.7:4711".parse().unwrap();
        let mut request = Request::get("/v2/app/manifests/v1")
            .header(header::AUTHORIZATION, user)
            .header(header::USER_AGENT, "docker/29")
            .header("x-request-id", "of-the-proxy")
            .extension(ClientAddress(address))
            .body(String::new())
            .unwrap();
        if let Some(id) = id {
            request.extensions_mut().insert(id);
        }
        let registry = registry.clone();
        async move {
            registry
                .handle(request)
                .await
                .into_body()
                .collect()
                .await
                .unwrap()
        }
    };

    app.manifest(tag("v1")).await.unwrap();
    app.clone()
        .as_identity(Identity::new("bob"))
        .manifest(tag("v1"))
        .await
        .unwrap();
    let operator = registry.on_behalf_of(Identity::new("operator"));
    let of_operator = operator.repository("app").unwrap();
    of_operator.manifest(tag("v1")).await.unwrap();
    pull("ann", None).await;
    pull("ann", Some(RequestId("of-the-host".into()))).await;

    let contexts: Vec<Context> = hooks.seen().iter().map(|(context, _)| context.clone()).collect();
    let told: Vec<_> = contexts
        .iter()
        .step_by(2)
        .map(|context| {
            let actor = match &context.actor {
                Actor::Known(identity) => identity.subject.to_string(),
                other => format!("{other:?}"),
            };
            (
                actor,
                context.client.map(|client| client.port()),
                context.request_id.as_deref(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("Host".to_owned(), None, None),
            ("bob".into(), None, None),
            ("operator".into(), None, None),
            ("ann".into(), Some(4711), Some("of-the-proxy")),
            ("ann".into(), Some(4711), Some("of-the-host")),
        ]
    );
    assert_eq!(contexts[6].user_agent.as_deref(), Some("docker/29"));
    let operations: Vec<u64> = contexts.iter().map(|context| context.operation).collect();
    assert_eq!(
        operations,
        [0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
        "one number for each operation"
    );
}

#[tokio::test]
async fn an_anonymous_client_is_not_the_host() {
    let hooks = Recorder::default();
    let registry = hooked(&hooks).await;
    assert_eq!(IMAGE, MediaType::OCI_MANIFEST);

    send(&registry, None, Method::GET, "/v2/app/manifests/v1", "").await;
    let anonymous = registry.repository("app").unwrap().as_anonymous();
    anonymous.manifest(tag("v1")).await.unwrap();

    let seen = hooks.seen();
    assert!(seen.iter().all(|(context, _)| context.actor == Actor::Anonymous));
    assert_eq!(seen.len(), 4);
}

/// Records the digests that clients claim for appended bytes.
#[derive(Debug, Default)]
struct Claims(Mutex<Vec<Option<Digest>>>);

#[async_trait]
impl Hooks for Claims {
    async fn before_append(&self, _: &Context, appending: &Appending) -> Result<(), HookError> {
        self.0.lock().unwrap().push(appending.closing);
        Ok(())
    }
}

#[tokio::test]
async fn a_hook_sees_the_claimed_digest_of_the_last_bytes_of_a_blob() {
    let claims = Arc::new(Claims::default());
    let registry = Registry::builder(MemoryStorage::new())
        .hooks(Arc::clone(&claims))
        .build();
    let repository = registry.repository("team/app").unwrap();
    let digest = Digest::of(Algorithm::Sha256, b"content");

    let id = repository.open_upload(Algorithm::Sha256).await.unwrap().id;
    repository.append(&id, None, "con").await.unwrap();
    repository.close(&id, &digest, None, "tent").await.unwrap();
    repository.push_blob("content", Some(digest)).await.unwrap();

    assert_eq!(*claims.0.lock().unwrap(), [None, Some(digest), Some(digest)]);
}
