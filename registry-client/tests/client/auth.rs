//! Logins: challenges, tokens and files of credentials.

use crate::support::{Received, Reply, Scripted, builder, content, descriptor, reply};
use async_trait::async_trait;
use bytes::Bytes;
use registry_client::{AuthFile, Client, Credential, Credentials, Error, Host, RemoteRepository};
use registry_core::{BoxError, MediaType, RepositoryName, Tag};
use registry_test::{Builder, TestRegistry};
use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

const ANN: &str = "Basic YW5uOnB3";

fn password() -> Credential {
    Credential::password("ann", "pw")
}

fn client(host: &str, credential: Option<Credential>) -> Client {
    let host = Host::parse(host).unwrap();
    let logins: BTreeMap<_, _> = credential
        .map(|credential| (host, credential))
        .into_iter()
        .collect();
    builder().credentials(logins).build().unwrap()
}

fn logged_in(registry: &Scripted, credential: Credential) -> RemoteRepository {
    let host = registry.host();
    client(&host, Some(credential))
        .repository(&format!("{host}/team/app"))
        .unwrap()
}

/// Answers `{}` to a request with this `Authorization`, and the challenge to any other.
fn guarded(challenge: String, accepted: &'static str) -> impl Fn(&Received) -> Reply {
    move |received| match received.header("authorization") {
        Some(got) if got == accepted => reply(200)
            .header("content-type", "application/vnd.x+json")
            .body("{}"),
        _ => reply(401).header("www-authenticate", challenge.clone()),
    }
}

fn authorizations(registry: &Scripted) -> Vec<Option<String>> {
    let received = registry.received();
    let header = |one: &Received| one.header("authorization").map(str::to_owned);
    received.iter().map(header).collect()
}

#[tokio::test]
async fn basic_answers_a_challenge_and_is_sent_at_once_later() {
    let registry = Scripted::start(guarded("Basic realm=\"r\"".into(), ANN));
    let repository = logged_in(&registry, password());

    repository.manifest("v1").await.unwrap();
    repository.manifest("v2").await.unwrap();

    let ann = Some(ANN.to_owned());
    assert_eq!(authorizations(&registry), [None, ann.clone(), ann]);
}

#[tokio::test]
async fn a_refused_password_is_tried_once_and_named() {
    let registry = Scripted::start(guarded("Basic realm=\"r\"".into(), "another"));

    let error = logged_in(&registry, password()).manifest("v1").await.unwrap_err();

    assert!(
        matches!(
            error,
            Error::Unauthorized {
                with_credential: true,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(registry.received().len(), 2);
    assert!(!error.to_string().contains("pw"));
}

/// Source that gives an old password until that is refused.
#[derive(Debug, Default)]
struct Kept(AtomicUsize);

#[async_trait]
impl Credentials for Kept {
    async fn get(&self, _: &Host, _: Option<&RepositoryName>) -> Result<Option<Credential>, BoxError> {
        let is_old = self.0.load(Ordering::SeqCst) == 0;
        Ok(Some(Credential::password(
            "ann",
            if is_old { "old" } else { "pw" },
        )))
    }

    fn refused(&self, _: &Host, _: &Credential) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_source_is_asked_once_more_after_its_password_was_refused() {
    for with_token in [false, true] {
        let is_changed = Arc::new(AtomicBool::new(false));
        let changed = Arc::clone(&is_changed);
        let registry = Scripted::start(move |received| {
            let (password, token) = if changed.load(Ordering::SeqCst) {
                (ANN, "new")
            } else {
                ("Basic YW5uOm9sZA==", "old")
            };
            let own = format!(
                "Bearer realm=\"http://{}/token\"",
                received.header("host").unwrap()
            );
            let login = received.header("authorization").unwrap_or_default();
            match received.path() {
                "/token" if login == password => reply(200).body(format!(r#"{{"token":"{token}"}}"#)),
                "/token" => reply(401),
                _ if with_token && login == format!("Bearer {token}") => reply(200).body("{}"),
                _ if with_token => reply(401).header("www-authenticate", own),
                _ if login == password => reply(200).body("{}"),
                _ => reply(401).header("www-authenticate", "Basic realm=r"),
            }
        });
        let client = builder().credentials(Kept::default()).build().unwrap();
        let repository = client
            .repository(&format!("{}/team/app", registry.host()))
            .unwrap();

        repository.manifest("v1").await.unwrap();
        is_changed.store(true, Ordering::SeqCst);
        repository.manifest("v2").await.unwrap();
    }
}

#[tokio::test]
async fn a_password_is_not_sent_before_a_challenge_nor_to_another_host() {
    let open = Scripted::start(|_| reply(200).body("{}"));
    logged_in(&open, password()).manifest("v1").await.unwrap();
    assert_eq!(authorizations(&open), [None]);

    let store = Arc::new(Scripted::start(guarded("Basic realm=\"r\"".into(), ANN)));
    let location = store.url("/blob");
    let registry = Scripted::start(move |received| match received.header("authorization") {
        Some(_) => reply(307).header("location", location.clone()),
        None => reply(401).header("www-authenticate", "Basic realm=r"),
    });

    let error = logged_in(&registry, password()).manifest("v1").await.unwrap_err();

    // The other host gets no password, and may not ask for it either.
    let without = matches!(
        error,
        Error::Unauthorized {
            with_credential: false,
            ..
        }
    );
    assert!(without, "{error:?}");
    assert_eq!(authorizations(&store), [None]);
}

#[tokio::test]
async fn another_host_may_not_ask_for_the_password_of_the_registry() {
    let thief = Arc::new(Scripted::start(|_| reply(200).body(r#"{"token":"t"}"#)));
    for challenge in [
        "Basic realm=r".to_owned(),
        format!("Bearer realm=\"{}\"", thief.url("/token")),
    ] {
        let store = Arc::new(Scripted::start(move |_| {
            reply(401).header("www-authenticate", challenge.clone())
        }));
        let location = store.url("/blob");
        let registry = Scripted::start(move |_| reply(307).header("location", location.clone()));

        let error = logged_in(&registry, password()).manifest("v1").await.unwrap_err();

        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(authorizations(&store), [None]);
        assert_eq!(authorizations(&registry), [None]);
    }
    assert!(thief.received().is_empty());
}

/// Token service that counts its tokens: `t1`, `t2` and so on.
fn token_service(lifetime: u32) -> Arc<Scripted> {
    let count = AtomicUsize::new(0);
    Arc::new(Scripted::start(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        reply(200).body(format!(r#"{{"token":"t{number}","expires_in":{lifetime}}}"#))
    }))
}

fn bearer(tokens: &Scripted) -> String {
    let realm = tokens.url("/token?x=1");
    format!(r#"Bearer realm="{realm}",service="the registry",scope="repository:team/app:pull""#)
}

#[tokio::test]
async fn a_token_is_fetched_once_for_the_pulls_of_a_repository() {
    let tokens = token_service(300);
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1"));
    let repository = logged_in(&registry, password());

    repository.manifest("v1").await.unwrap();
    repository.manifest("v2").await.unwrap();

    let t1 = Some("Bearer t1".to_owned());
    assert_eq!(authorizations(&registry), [None, t1.clone(), t1]);
    let [asked] = &tokens.received()[..] else {
        panic!("one token is enough");
    };
    assert_eq!(asked.method, "GET");
    assert_eq!(
        asked.target,
        "/token?x=1&service=the%20registry&scope=repository%3Ateam%2Fapp%3Apull&account=ann"
    );
    assert_eq!(asked.header("authorization"), Some(ANN));
}

#[tokio::test]
async fn a_token_service_that_is_not_there_says_nothing_about_content() {
    for status in [404, 405, 302] {
        let body = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no such page"}]}"#;
        let tokens = Arc::new(Scripted::start(move |_| reply(status).body(body)));
        let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1"));
        let repository = logged_in(&registry, password());
        let subject = descriptor(b"subject").digest;

        let error = repository.manifest("v1").await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
        assert!(error.to_string().contains("no such page"), "{error}");
        let error = repository.referrers(&subject, None).await.unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn another_repository_has_a_token_of_its_own() {
    let tokens = token_service(300);
    let challenge = bearer(&tokens);
    let registry = Scripted::start(move |received| match received.header("authorization") {
        Some(_) => reply(200).body("{}"),
        None => reply(401).header("www-authenticate", challenge.clone()),
    });
    let (host, client) = (registry.host(), client(&registry.host(), None));

    for name in ["team/app", "team/web", "team/app"] {
        client
            .repository(&format!("{host}/{name}"))
            .unwrap()
            .manifest("v1")
            .await
            .unwrap();
    }

    let sent: Vec<_> = authorizations(&registry).into_iter().flatten().collect();
    assert_eq!(sent, ["Bearer t1", "Bearer t2", "Bearer t1"]);
    // An anonymous user sends no password.
    assert_eq!(authorizations(&tokens), [None, None]);
}

#[tokio::test]
async fn a_token_that_the_registry_no_longer_accepts_is_replaced_once() {
    let tokens = token_service(300);
    let accepted = Arc::new(AtomicUsize::new(1));
    let (now, challenge) = (Arc::clone(&accepted), bearer(&tokens));
    let registry = Scripted::start(move |received| {
        let accepted = format!("Bearer t{}", now.load(Ordering::SeqCst));
        match received.header("authorization") == Some(&accepted) {
            true => reply(200).body("{}"),
            false => reply(401).header("www-authenticate", challenge.clone()),
        }
    });
    let repository = logged_in(&registry, password());
    repository.manifest("v1").await.unwrap();

    accepted.store(2, Ordering::SeqCst);
    repository.manifest("v1").await.unwrap();
    assert_eq!(tokens.received().len(), 2);

    accepted.store(9, Ordering::SeqCst);
    let error = repository.manifest("v1").await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
    assert_eq!(tokens.received().len(), 3);
}

#[tokio::test]
async fn concurrent_pulls_share_one_token() {
    let tokens = token_service(300);
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1"));
    let repository = logged_in(&registry, password());

    let (one, other) = tokio::join!(repository.manifest("v1"), repository.manifest("v2"));

    one.unwrap();
    other.unwrap();
    assert_eq!(tokens.received().len(), 1);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_with_a_form() {
    let tokens = token_service(300);
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t1"));

    logged_in(&registry, Credential::identity_token("id&t"))
        .manifest("v1")
        .await
        .unwrap();

    let [asked] = &tokens.received()[..] else {
        panic!("one token is enough");
    };
    assert_eq!(asked.method, "POST");
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let form = String::from_utf8(asked.body.clone()).unwrap();
    assert!(form.contains("grant_type=refresh%5Ftoken"), "{form}");
    assert!(form.contains("refresh_token=id%26t"), "{form}");
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test]
async fn a_registry_token_needs_no_token_service() {
    let registry = Scripted::start(guarded(
        "Bearer realm=\"http://127.0.0.1:1/\"".into(),
        "Bearer own",
    ));

    logged_in(&registry, Credential::registry_token("own"))
        .manifest("v1")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_token_service_is_tried_again_and_may_refuse() {
    let count = AtomicUsize::new(0);
    let tokens = Arc::new(Scripted::start(move |_| {
        match count.fetch_add(1, Ordering::SeqCst) {
            0 => reply(503),
            1 => reply(200).body(r#"{"access_token":"t"}"#),
            _ => reply(401),
        }
    }));
    let registry = Scripted::start(guarded(bearer(&tokens), "Bearer t"));
    logged_in(&registry, password()).manifest("v1").await.unwrap();

    let error = logged_in(&registry, password()).manifest("v1").await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unauthorized {
                with_credential: true,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(error.to_string().contains("/token"), "{error}");
}

#[tokio::test]
async fn a_token_service_without_tls_elsewhere_gets_no_password() {
    let challenge = r#"Bearer realm="http://tokens.example/""#;
    let registry = Scripted::start(guarded(challenge.into(), "never"));

    let error = logged_in(&registry, password()).manifest("v1").await.unwrap_err();

    assert!(error.to_string().contains("without TLS"), "{error}");
}

#[tokio::test]
async fn an_auth_file_has_logins_by_the_longest_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let registry = Scripted::start(guarded("Basic realm=r".into(), ANN));
    let host = registry.host();
    let client = builder().credentials(AuthFile::new(&path)).build().unwrap();
    let pull = async || {
        client
            .repository(&format!("{host}/team/app"))
            .unwrap()
            .manifest("v1")
            .await
    };

    // A missing file has no logins.
    let error = pull().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Unauthorized {
                with_credential: false,
                ..
            }
        ),
        "{error:?}"
    );

    let of = |name: &str, auth: &str| format!(r#""{name}":{{"auth":"{auth}"}}"#);
    let right = of(&format!("{host}/team"), "YW5uOnB3");
    let wrong = [of(&host, "eDp5"), of(&format!("{host}/other"), "eDp5")].join(",");
    fs::write(
        &path,
        format!(r#"{{"auths":{{{wrong},{right}}},"HttpHeaders":{{}}}}"#),
    )
    .unwrap();
    pull().await.unwrap();

    fs::write(&path, "{\"auths\": 1}").unwrap();
    let error = pull().await.unwrap_err();
    assert!(matches!(error, Error::Credentials { .. }), "{error:?}");
    fs::write(&path, format!(r#"{{"auths":{{{}}}}}"#, of(&host, "eA=="))).unwrap();
    let error = pull().await.unwrap_err().to_string();
    assert!(error.contains("base64"), "{error}");
}

#[tokio::test]
async fn a_whole_push_and_pull_works_with_the_docker_config_of_a_registry() {
    let basic = TestRegistry::builder().basic("ann", "pw");
    let bearer = TestRegistry::builder().bearer("ann", "pw");
    for registry in [basic, bearer].map(Builder::start) {
        let file = AuthFile::new(registry.docker_config_dir().join("config.json"));
        let client = builder().credentials(file).build().unwrap();
        let repository = client
            .repository(&format!("{}/team/app", registry.host()))
            .unwrap();
        let blob = content(9000);

        repository
            .push_blob(Bytes::from(blob.clone()), &descriptor(&blob))
            .await
            .unwrap();
        // As in a push that takes longer than a token lives.
        registry.expire_tokens();
        let index =
            r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        let tag = Tag::parse("v1").unwrap();
        repository
            .put_manifest(index, &media_type, &[tag], None)
            .await
            .unwrap();

        let pulled = repository.blob(&descriptor(&blob).digest, 9000).await.unwrap();
        assert!(pulled == blob);
        assert_eq!(repository.manifest("v1").await.unwrap().bytes, index);
        client.ping(repository.host()).await.unwrap();
        let stranger = builder()
            .build()
            .unwrap()
            .repository_of(repository.host().clone(), repository.name().clone());
        let error = stranger.manifest("v1").await.unwrap_err();
        assert!(
            matches!(error, Error::Unauthorized { .. } | Error::Denied { .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_mount_has_one_token_with_two_scopes() {
    let registry = TestRegistry::builder().bearer("ann", "pw").start();
    let client = client(registry.host(), Some(password()));
    let repository = |name: &str| client.repository(&format!("{}/{name}", registry.host())).unwrap();
    let blob = content(10);
    let base = repository("team/base");
    base.push_blob(Bytes::from(blob.clone()), &descriptor(&blob))
        .await
        .unwrap();

    let mounted = repository("team/app")
        .mount(&descriptor(&blob).digest, base.name())
        .await
        .unwrap();

    assert!(mounted);
}
