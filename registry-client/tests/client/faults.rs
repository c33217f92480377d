//! Whole pushes and pulls of an image, through every fault and quirk that a client can survive.

use crate::support::{builder, content, descriptor};
use bytes::Bytes;
use registry_client::{AuthFile, Error, RemoteRepository};
use registry_core::{Algorithm, Digest, MediaType, Tag, manifest::Manifest};
use registry_test::{
    Quirk, TestRegistry, artifact,
    fault::{
        GET, HEAD, Location, PATCH, POST, PUT, Redirect, Rule, Side, Token, cut, location, lost_answer, on,
        preset, redirect, refuse, slow, status, token, wrong_bytes, wrong_length,
    },
    image,
};

/// More than one piece of every storage, and more than the size that is sent with one request.
const LAYER: usize = 2_500_000;

fn repository(registry: &TestRegistry) -> RemoteRepository {
    let file = AuthFile::new(registry.docker_config_dir().join("config.json"));
    let client = builder().credentials(file).build().unwrap();
    client
        .repository(&format!("{}/team/app", registry.host()))
        .unwrap()
}

async fn push(repository: &RemoteRepository) -> Result<(), Error> {
    let layer = content(LAYER);
    let described = descriptor(&layer);
    for blob in [Bytes::from("{}"), Bytes::from(layer)] {
        repository.push_blob(blob.clone(), &descriptor(&blob)).await?;
    }
    let config = Digest::of(Algorithm::Sha256, b"{}");
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}",
        "config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{config}","size":2}},
        "layers":[{{"mediaType":"application/octet-stream","digest":"{}","size":{LAYER}}}]}}"#,
        MediaType::OCI_MANIFEST,
        described.digest,
    );
    let media_type = MediaType::parse(MediaType::OCI_MANIFEST).unwrap();
    repository
        .put_manifest(manifest, &media_type, &[Tag::parse("v1").unwrap()], None)
        .await?;
    Ok(())
}

/// Pulls the image, and returns its layer.
async fn pull(repository: &RemoteRepository) -> Result<Vec<u8>, Error> {
    let manifest = repository.manifest("v1").await?;
    let manifest = Manifest::parse_stored(&manifest.bytes, &manifest.media_type).unwrap();
    assert_eq!(
        repository
            .blob(manifest.blobs()[0].digest.known().unwrap(), 2)
            .await?,
        "{}"
    );
    let mut stream = repository.open_blob(&descriptor(&content(LAYER)), 0);
    let mut layer = Vec::new();
    while let Some(bytes) = stream.next().await? {
        layer.extend_from_slice(&bytes);
    }
    Ok(layer)
}

/// Pushes and pulls an image. The registry panics in the end if a fault has not happened.
async fn survives(fault: impl Into<Rule>) {
    let registry = TestRegistry::builder().bearer("ann", "pw").start();
    let repository = repository(&registry);
    let _ = registry.add_fault(fault);
    push(&repository).await.unwrap();
    registry.assert_pushed("team/app:v1");
    registry.assert_no_open_uploads();
    assert!(pull(&repository).await.unwrap() == content(LAYER));
}

#[tokio::test]
async fn refusals_for_a_while_are_survived() {
    survives((on(PUT).manifest().first(2), status(429).retry_after(0))).await;
    survives((on(GET).blob().first(3), status(429).retry_after(0))).await;
    survives((on(GET).manifest(), status(503))).await;
    survives((on(POST).upload(), status(500))).await;
    survives((on(PATCH).upload(), status(502))).await;
    survives((on(HEAD).blob(), status(408))).await;
}

#[tokio::test]
async fn broken_connections_are_survived() {
    survives((on(GET).blob().each_first(), cut(Side::Response).after(1).reset())).await;
    survives((on(GET).blob().first(3), cut(Side::Response).after(700_000))).await;
    survives((on(GET).manifest(), cut(Side::Response).after(100).reset())).await;
    survives((on(PATCH).upload(), cut(Side::Request).after(1_500_000).reset())).await;
    survives((on(POST).upload(), refuse())).await;
    survives((on(GET).blob(), slow(50_000_000))).await;
}

#[tokio::test]
async fn lost_answers_are_survived() {
    survives((on(POST).upload().optional(), cut(Side::Request))).await;
    survives((on(PATCH).upload(), lost_answer())).await;
    survives((on(PUT).upload().first(2), lost_answer())).await;
    survives((on(PUT).manifest(), lost_answer())).await;
}

#[tokio::test]
async fn other_locations_and_redirects_are_followed() {
    for form in [Location::Absolute, Location::Relative, Location::WithQuery] {
        survives((on(POST).upload().first(2), location(form))).await;
    }
    survives((on(GET).blob().always(), redirect(Redirect::SameHost))).await;
    let store = Redirect::OtherHost {
        refuse_authorization: true,
        expires: Some(1),
    };
    survives((on(GET).blob().always(), redirect(store))).await;
}

#[tokio::test]
async fn troubles_of_the_login_are_survived() {
    survives((on(PATCH).upload(), token(Token::Expire))).await;
    survives((on(PUT).manifest(), token(Token::Expire))).await;
    survives((on(GET).token(), token(Token::Fails(503)))).await;
    survives((on(GET).token().first(2), token(Token::NoExpiresIn))).await;
    survives((on(GET).token().first(2), token(Token::AccessTokenOnly))).await;
}

#[tokio::test]
async fn headers_that_other_clients_need_are_not_needed() {
    survives(preset::without_content_digest()).await;
    survives(preset::manifests_without_content_type()).await;
    survives(preset::chunks_without_range()).await;
    survives(preset::chunks_with_a_range_unit()).await;
    survives(preset::heads_without_content_length()).await;
    survives(preset::bodies_in_chunks()).await;
}

#[tokio::test]
async fn wrong_content_is_never_returned() {
    let registry = TestRegistry::start();
    let repository = repository(&registry);
    push(&repository).await.unwrap();
    let digest = descriptor(&content(LAYER)).digest;

    let _ = registry.fault(on(GET).blob().digest(&digest).always(), wrong_bytes());
    let error = pull(&repository).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    registry.clear_faults();
    let _ = registry.fault(on(GET).blob().digest(&digest).always(), wrong_length(-1));
    assert!(pull(&repository).await.is_err());
    registry.clear_faults();
    let _ = registry.fault(on(GET).blob().always(), redirect(Redirect::Loop));
    let error = pull(&repository).await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn a_registry_without_ranges_or_with_large_chunks_is_served() {
    let registry = TestRegistry::builder().quirk(Quirk::WithoutRanges).start();
    let own = repository(&registry);
    push(&own).await.unwrap();
    let _ = registry.fault(on(GET).blob().each_first(), cut(Side::Response).after(1000));
    let blob = descriptor(&content(LAYER));
    assert!(pull(&own).await.unwrap() == content(LAYER));
    assert_eq!(own.abilities().ranges, Some(false));
    assert_eq!(own.blob_info(&blob.digest).await.unwrap().size, blob.size);

    let registry = TestRegistry::builder()
        .quirk(Quirk::SmallestChunk(20 << 20))
        .start();
    let own = repository(&registry);
    let stream = http_body_util::Full::new(Bytes::from(content(45 << 20)));
    let pushed = own.push_stream(stream, Algorithm::Sha256).await.unwrap();
    assert_eq!(pushed.size, 45 << 20);
    assert_eq!(own.abilities().min_chunk, Some(20 << 20));
    let chunks = registry.requests().method("PATCH").count();
    assert_eq!(chunks, 3);
}

#[tokio::test]
async fn a_registry_without_referrers_mounts_or_catalog_is_told_apart() {
    let registry = TestRegistry::builder()
        .quirk(Quirk::WithoutReferrers)
        .quirk(Quirk::WithoutMount)
        .quirk(Quirk::WithoutDelete)
        .quirk(Quirk::UnsortedTags)
        .quirk(Quirk::PageSize(2))
        .start();
    let subject = registry.seed("team/app:v1", image().files([("a", "1")]));
    for tag in ["v2", "v3", "v0", "v9"] {
        registry.seed(&format!("team/app:{tag}"), image().files([("a", tag)]));
    }
    let own = repository(&registry);

    let mut tags = own.tags().all(9).await.unwrap();
    tags.sort();
    assert_eq!(
        tags,
        ["v0", "v1", "v2", "v3", "v9"].map(|tag| Tag::parse(tag).unwrap())
    );
    assert!(own.referrers(&subject, None).await.unwrap().is_empty());
    assert_eq!(own.abilities().referrers, Some(false));
    let error = own.delete_manifest(&subject).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");

    let source = TestRegistry::start();
    source.seed("team/app:v1", image().files([("a", "1")]));
    source.seed("team/app:signature", artifact("application/x").subject(subject));
    let signature = repository(&source).manifest("signature").await.unwrap();
    let parsed = Manifest::parse(&signature.bytes, None).unwrap();
    for blob in parsed.blobs() {
        let bytes = source.blob("team/app", blob.digest.known().unwrap()).unwrap();
        own.push_blob(Bytes::from(bytes.clone()), &descriptor(&bytes))
            .await
            .unwrap();
    }
    let pushed = own
        .put_manifest(signature.bytes, &signature.media_type, &[], None)
        .await
        .unwrap();
    let found = own.referrers(&subject, Some("application/x")).await.unwrap();
    assert_eq!(
        found.iter().map(|found| found.digest).collect::<Vec<_>>(),
        [pushed.digest]
    );
}
