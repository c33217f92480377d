//! Refusals: the right status, the right code, and a body that a client can read.

use super::{
    data_sets::over_any_limit,
    list::List,
    steps::{push_blobs, pushed_blob, tagged_image},
};
use crate::wire::{
    client::Answer,
    content::{DataSet, OCI_INDEX, OCI_MANIFEST},
    failure::{Failure, Outcome},
    session::{Repository, Session},
};
use bytes::Bytes;
use serde_json::{Value, json};

pub(super) fn add(list: &mut List) {
    list.add("answers/blob-unknown", blob_unknown);
    list.add("answers/manifest-unknown", manifest_unknown);
    list.add("answers/tags-of-unknown-repository", tags_of_unknown_repository);
    list.add("answers/digest-malformed", digest_malformed);
    list.add("answers/digest-unsupported", digest_unsupported);
    list.add("answers/method-not-allowed", method_not_allowed);
    list.add("answers/path-unknown", path_unknown);
    list.add("answers/manifest-not-json", |session| {
        manifest_refused(session, |_| Bytes::from_static(b"{"))
    });
    list.add("answers/manifest-empty", |session| {
        manifest_refused(session, |_| Bytes::new())
    });
    list.add("answers/manifest-of-schema-1", manifest_of_schema_1);
    list.add("answers/manifest-of-another-type", manifest_of_another_type);
    list.add("answers/manifest-over-limit", manifest_over_limit);
    list.add("answers/manifest-over-limit-chunked", manifest_over_limit_chunked);
    list.add("answers/errors-have-no-secrets", errors_have_no_secrets);
    list.add("answers/warning", warning);
    list.add("answers/redirects-are-none", redirects_are_none);
    list.add("extra/answers/name-malformed", name_malformed);
    list.add("extra/answers/name-too-long", name_too_long);
    list.add("extra/answers/tag-malformed", tag_malformed);
    list.add("extra/answers/tag-param-malformed", tag_param_malformed);
    list.add("extra/answers/n-malformed", n_malformed);
    list.add("extra/answers/last-malformed", last_malformed);
    list.add(
        "extra/answers/digest-malformed-everywhere",
        digest_malformed_everywhere,
    );
    list.add("extra/answers/options", options);
    list.add("extra/answers/options-of-nothing", options_of_nothing);
    list.add("extra/answers/path-unknown-is-json", path_unknown_is_json);
    list.add(
        "extra/answers/method-not-allowed-is-json",
        method_not_allowed_is_json,
    );
    for (name, bend) in BENT_MANIFESTS {
        list.add(&format!("extra/answers/manifest-{name}"), move |session| {
            manifest_refused(session, move |mut value| {
                bend(&mut value);
                Bytes::from(value.to_string())
            })
        });
    }
}

async fn blob_unknown(session: Session) -> Outcome {
    let (repository, digest) = (session.repository(), session.unknown_digest());
    repository.head_blob(&digest).await?.is(404)?;
    repository
        .get_blob(&digest)
        .await?
        .error(404, &["BLOB_UNKNOWN", "NAME_UNKNOWN"])?;
    let (repository, _) = pushed_blob(&session, 10).await?;
    repository
        .get_blob(&digest)
        .await?
        .error(404, &["BLOB_UNKNOWN"])?;
    repository
        .delete_blob(&digest)
        .await?
        .error(404, &["BLOB_UNKNOWN"])?;
    Ok(())
}

async fn manifest_unknown(session: Session) -> Outcome {
    let codes = &["MANIFEST_UNKNOWN", "NAME_UNKNOWN"];
    let repository = session.repository();
    repository.get_manifest("latest").await?.error(404, codes)?;
    repository
        .get_manifest(session.unknown_digest())
        .await?
        .error(404, codes)?;
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    repository
        .get_manifest("latest")
        .await?
        .error(404, &["MANIFEST_UNKNOWN"])?;
    repository
        .delete_manifest(session.unknown_digest())
        .await?
        .error(404, &["MANIFEST_UNKNOWN"])?;
    Ok(())
}

async fn tags_of_unknown_repository(session: Session) -> Outcome {
    let answer = session.repository().get("tags/list").await?;
    answer.error(404, &["NAME_UNKNOWN"])?;
    Ok(())
}

const MALFORMED_DIGESTS: [&str; 5] = [
    "sha256:totallywrong",
    "sha256:0123456789abcdef",
    "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    "sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
];

/// At the close of an upload, the client must learn that its digest is invalid.
async fn digest_malformed(session: Session) -> Outcome {
    let repository = session.repository();
    for digest in MALFORMED_DIGESTS {
        let upload = repository.open_upload().await?;
        let request = upload.close_request(digest).sized(session.blob(10).bytes);
        repository.send(request).await?.error(400, &["DIGEST_INVALID"])?;
    }
    Ok(())
}

/// The digest is well formed, in an algorithm that no registry computes.
async fn digest_unsupported(session: Session) -> Outcome {
    let repository = session.repository();
    let mut upload = repository.open_upload().await?;
    let request = upload.close_request("md5:d41d8cd98f00b204e9800998ecf8427e");
    let answer = upload.send(request.sized(Bytes::new())).await?;
    answer.error(400, &["DIGEST_INVALID", "UNSUPPORTED"])?;
    Ok(())
}

async fn digest_malformed_everywhere(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let codes = &["DIGEST_INVALID"];
    for digest in MALFORMED_DIGESTS {
        for method in ["GET", "DELETE"] {
            let request = repository.request(method, &format!("blobs/{digest}"));
            repository.send(request).await?.error(400, codes)?;
            repository
                .send(repository.manifest_request(method, digest))
                .await?
                .error(400, codes)?;
        }
        let put = repository.put_request(digest, OCI_MANIFEST, &set.top().body);
        repository.send(put).await?.error(400, codes)?;
        let post = repository.request("POST", &format!("blobs/uploads/?digest={digest}"));
        repository
            .send(post.sized(Bytes::new()))
            .await?
            .error(400, codes)?;
    }
    Ok(())
}

/// Sends methods that no path of the API has; RFC 9110 demands the allowed ones in `Allow`.
async fn not_allowed(session: &Session) -> Result<Vec<Answer>, Failure> {
    let (repository, set) = tagged_image(session, &["tagged"]).await?;
    let digest = set.top().digest;
    let mut answers = Vec::new();
    for request in [
        session.request("DELETE", "/v2/_catalog"),
        repository.request("DELETE", "tags/list"),
        repository.request("POST", "manifests/tagged").sized(Bytes::new()),
        repository
            .request("PATCH", "manifests/tagged")
            .sized(Bytes::new()),
        repository
            .request("PUT", &format!("blobs/{digest}"))
            .sized(Bytes::new()),
    ] {
        answers.push(session.send(request).await?.is(405)?);
    }
    Ok(answers)
}

async fn method_not_allowed(session: Session) -> Outcome {
    for answer in not_allowed(&session).await? {
        answer.check("Allow with the methods that are allowed", |answer| {
            answer.header("allow").is_some_and(|allow| allow.contains("GET"))
        })?;
    }
    Ok(())
}

async fn method_not_allowed_is_json(session: Session) -> Outcome {
    for answer in not_allowed(&session).await? {
        answer.error(405, &["UNSUPPORTED"])?;
    }
    Ok(())
}

/// Checks the methods of an endpoint, whether or not its content exists.
async fn options(session: Session) -> Outcome {
    let (filled, empty) = (pushed_blob(&session, 10).await?.0, session.repository());
    let digest = session.unknown_digest();
    let mut asked = vec![("/v2/".to_owned(), "GET"), ("/v2/_catalog".to_owned(), "GET")];
    for repository in [filled, empty] {
        asked.extend([
            (repository.path("tags/list"), "GET"),
            (repository.path("manifests/tagged"), "DELETE"),
            (repository.path(&format!("blobs/{digest}")), "DELETE"),
            (repository.path(&format!("referrers/{digest}")), "GET"),
            (repository.path("blobs/uploads/"), "POST"),
        ]);
    }
    for (path, method) in asked {
        let answer = session.send(session.request("OPTIONS", &path)).await?.is(204)?;
        answer.check(&format!("Allow with {method} and OPTIONS"), |answer| {
            let allow = answer.header("allow").unwrap_or_default();
            let methods: Vec<&str> = allow.split(',').map(str::trim).collect();
            methods.contains(&method) && methods.contains(&"OPTIONS")
        })?;
    }
    Ok(())
}

async fn options_of_nothing(session: Session) -> Outcome {
    for path in UNKNOWN_PATHS {
        let answer = session.send(session.request("OPTIONS", path)).await?;
        answer.error(404, &["UNSUPPORTED"])?;
    }
    let malformed = session.request("OPTIONS", "/v2/Upper/case/tags/list");
    session.send(malformed).await?.error(400, &["NAME_INVALID"])?;
    Ok(())
}

const UNKNOWN_PATHS: [&str; 5] = [
    "/v2/a",
    "/v2/a/b/c",
    "/v2/a/manifests",
    "/v2/a/tags/of",
    "/v2/a/_extension/thing",
];

async fn path_unknown(session: Session) -> Outcome {
    for path in UNKNOWN_PATHS {
        session.get(path).await?.is(404)?;
    }
    Ok(())
}

async fn path_unknown_is_json(session: Session) -> Outcome {
    for path in UNKNOWN_PATHS {
        session.get(path).await?.error(404, &["UNSUPPORTED"])?;
    }
    Ok(())
}

/// Checks that a changed manifest, whose blobs exist, is refused and not stored.
async fn manifest_refused<F>(session: Session, bend: F) -> Outcome
where
    F: Fn(Value) -> Bytes + Send,
{
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let body = bend(set.top().value.clone());
    let request = repository.put_request("bent", OCI_MANIFEST, &body);
    repository
        .send(request)
        .await?
        .error(400, &["MANIFEST_INVALID"])?;
    repository.head_manifest("bent").await?.is(404)?;
    Ok(())
}

/// A change to a document that stays JSON, but is not an image manifest any more.
type Bend = fn(&mut Value);

const BENT_MANIFESTS: [(&str, Bend); 19] = [
    ("with-manifests-too", |value| value["manifests"] = json!([])),
    ("of-schema-version-3", |value| value["schemaVersion"] = json!(3)),
    ("without-schema-version", |value| remove(value, "schemaVersion")),
    ("without-config", |value| remove(value, "config")),
    ("without-layers", |value| remove(value, "layers")),
    ("that-is-a-list", |value| *value = json!([])),
    ("with-negative-size", |value| value["config"]["size"] = json!(-1)),
    ("with-malformed-digest", |value| {
        value["config"]["digest"] = json!("sha256:nothex")
    }),
    ("with-a-type-that-is-not-its-own", |value| {
        value["mediaType"] = json!(OCI_INDEX)
    }),
    // Clients in Go match keys with fields regardless of case.
    ("with-manifests-in-another-case", |value| {
        value["Manifests"] = json!([])
    }),
    ("with-media-type-in-another-case", |value| {
        value["MediaType"] = json!(OCI_INDEX)
    }),
    ("with-config-in-another-case", |value| {
        value["CONFIG"] = value["config"].clone()
    }),
    ("with-size-in-another-case", |value| {
        value["config"]["Size"] = value["config"]["size"].clone()
    }),
    ("with-annotations-that-are-no-strings", |value| {
        value["annotations"] = json!({ "number": 5 })
    }),
    ("with-annotations-of-a-layer-that-are-no-strings", |value| {
        value["layers"][0]["annotations"] = json!({ "number": 5 })
    }),
    ("with-annotations-that-are-no-object", |value| {
        value["annotations"] = json!(["text"])
    }),
    ("with-a-descriptor-that-is-a-list", |value| {
        let config = &value["config"];
        value["config"] = json!([config["mediaType"], config["digest"], config["size"], null])
    }),
    ("with-data-that-is-no-text", |value| {
        value["config"]["data"] = json!(5)
    }),
    ("with-an-artifact-type-that-is-no-media-type", |value| {
        value["artifactType"] = json!("signature")
    }),
];

fn remove(value: &mut Value, key: &str) {
    value
        .as_object_mut()
        .expect("a manifest is an object")
        .remove(key);
}

async fn manifest_of_schema_1(session: Session) -> Outcome {
    let repository = session.repository();
    let body =
        json!({ "schemaVersion": 1, "name": repository.name, "tag": "old", "fsLayers": [], "history": [] });
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/json",
    ] {
        let request = repository.put_request("old", media_type, &Bytes::from(body.to_string()));
        repository
            .send(request)
            .await?
            .error(400, &["MANIFEST_INVALID", "UNSUPPORTED"])?;
    }
    Ok(())
}

/// The type that the document names is not the one that it was sent with.
async fn manifest_of_another_type(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    let request = repository.put_request("bent", OCI_INDEX, &set.top().body);
    repository
        .send(request)
        .await?
        .error(400, &["MANIFEST_INVALID"])?;
    Ok(())
}

async fn over_limit(session: &Session) -> Result<(Repository, DataSet), Failure> {
    let (repository, set) = (session.repository(), over_any_limit(session));
    push_blobs(&repository, &set).await?;
    Ok((repository, set))
}

async fn manifest_over_limit(session: Session) -> Outcome {
    let (repository, set) = over_limit(&session).await?;
    let request = repository.put_request("large", OCI_MANIFEST, &set.top().body);
    repository.send(request).await?.error(413, &["SIZE_INVALID"])?;
    repository.head_manifest("large").await?.is(404)?;
    Ok(())
}

async fn manifest_over_limit_chunked(session: Session) -> Outcome {
    let (repository, set) = over_limit(&session).await?;
    let request = repository
        .request("PUT", "manifests/large")
        .header("Content-Type", OCI_MANIFEST)
        .chunked(set.top().body.clone());
    repository.send(request).await?.error(413, &["SIZE_INVALID"])?;
    repository.head_manifest("large").await?.is(404)?;
    Ok(())
}

/// Errors name the request, never files or internals of the program.
async fn errors_have_no_secrets(session: Session) -> Outcome {
    let repository = session.repository();
    let upload = repository.open_upload().await?;
    let close = upload.close_request("sha256:nothex").sized(Bytes::new());
    for answer in [
        repository.get_manifest("missing").await?,
        repository.get_blob(&session.unknown_digest()).await?,
        repository.get("tags/list").await?,
        repository.send(close).await?,
    ] {
        let text = String::from_utf8_lossy(&answer.body).to_lowercase();
        let leaks = [
            "docker/registry/v2",
            "panicked",
            "os error",
            "no such file",
            ".rs:",
            ".go:",
            "0x",
        ];
        if leaks.iter().any(|leak| text.contains(leak)) {
            return Err(answer.fail("no internals of the server"));
        }
    }
    Ok(())
}

/// `Warning` is optional; each one reads `299 - "text"`, and all of them have at most 4096 bytes.
async fn warning(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let blob = set.blobs.first().expect("an image has blobs");
    for answer in [
        session.get("/v2/").await?,
        repository.push_blob(blob).await?,
        repository.get_blob(&blob.digest).await?,
        super::steps::put(&repository, "tagged", set.top()).await?,
        repository.get_manifest("tagged").await?,
        repository.get("tags/list").await?,
        repository.delete_manifest(set.top().digest).await?,
    ] {
        let warnings = || {
            answer
                .headers
                .get_all("warning")
                .iter()
                .map(|value| value.as_bytes())
        };
        let well_formed =
            |value: &[u8]| value.len() > 8 && value.starts_with(b"299 - \"") && value.ends_with(b"\"");
        if !warnings().all(well_formed) || warnings().map(<[u8]>::len).sum::<usize>() > 4096 {
            return Err(answer.fail("Warning: 299 - \"text\""));
        }
    }
    Ok(())
}

/// A path of the specification is not redirected to another form of the path.
async fn redirects_are_none(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    for answer in [
        session.get("/v2/").await?,
        repository.get("tags/list").await?,
        repository.get_manifest("tagged").await?,
        repository.get_manifest(set.top().digest).await?,
    ] {
        answer.is(200)?;
    }
    Ok(())
}

async fn name_is_refused(session: &Session, name: &str) -> Outcome {
    let repository = session.repository_named(name);
    let digest = session.unknown_digest();
    let codes = &["NAME_INVALID"];
    repository.get("tags/list").await?.error(400, codes)?;
    repository.get_manifest("tagged").await?.error(400, codes)?;
    repository.get_blob(&digest).await?.error(400, codes)?;
    repository
        .get(&format!("referrers/{digest}"))
        .await?
        .error(400, codes)?;
    let post = repository.request("POST", "blobs/uploads/").sized(Bytes::new());
    repository.send(post).await?.error(400, codes)?;
    let put = repository.put_request("tagged", OCI_MANIFEST, &Bytes::from_static(b"{}"));
    repository.send(put).await?.error(400, codes)?;
    Ok(())
}

async fn name_malformed(session: Session) -> Outcome {
    for name in [
        "Upper/case",
        "a/-b",
        "a/b-",
        "a/.b",
        "a/b.",
        "a/_b",
        "a/b_",
        "a..b",
        "a___b",
        "a._b",
        "a/b%20c",
        "a:5000/b",
        "a/%C3%A9",
    ] {
        name_is_refused(&session, name).await?;
    }
    Ok(())
}

async fn name_too_long(session: Session) -> Outcome {
    name_is_refused(&session, &"x".repeat(256)).await?;
    name_is_refused(&session, &["abc"; 100].join("/")).await
}

fn malformed_tags() -> Vec<String> {
    let tags = [
        ".hidden", "-dash", "a%20b", "a%2Bb", "a%00b", "%C3%A9", "a@b", "a~b",
    ];
    let mut tags: Vec<String> = tags.map(str::to_owned).into();
    tags.push("x".repeat(129));
    tags
}

async fn tag_malformed(session: Session) -> Outcome {
    let (repository, set) = tagged_image(&session, &["tagged"]).await?;
    let codes = &["MANIFEST_INVALID", "TAG_INVALID"];
    for tag in malformed_tags() {
        // The released official suites ask for such a tag to see how an unknown one is answered.
        repository
            .get_manifest(&tag)
            .await?
            .error(404, &["MANIFEST_UNKNOWN"])?;
        repository.head_manifest(&tag).await?.is(404)?;
        let request = repository.put_request(&tag, OCI_MANIFEST, &set.top().body);
        repository.send(request).await?.error(400, codes)?;
        repository
            .delete_manifest(&tag)
            .await?
            .error(404, &["MANIFEST_UNKNOWN"])?;
    }
    Ok(())
}

/// With one bad tag among good ones, nothing is changed.
async fn tag_param_malformed(session: Session) -> Outcome {
    let (repository, set) = (session.repository(), DataSet::image(&session));
    push_blobs(&repository, &set).await?;
    for tag in malformed_tags() {
        let reference = format!("{}?tag=good&tag={tag}", set.top().digest);
        let request = repository.put_request(reference, OCI_MANIFEST, &set.top().body);
        repository
            .send(request)
            .await?
            .error(400, &["MANIFEST_INVALID", "TAG_INVALID"])?;
    }
    repository.head_manifest(set.top().digest).await?.is(404)?;
    repository.head_manifest("good").await?.is(404)?;
    Ok(())
}

async fn n_malformed(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    let digest = session.unknown_digest();
    for list in ["tags/list", &format!("referrers/{digest}")] {
        for n in ["-1", "abc", "1.5", "%2B1", "18446744073709551616"] {
            let answer = repository.get(&format!("{list}?n={n}")).await?;
            answer.error(400, &["PAGINATION_NUMBER_INVALID"])?;
        }
    }
    Ok(())
}

async fn last_malformed(session: Session) -> Outcome {
    let (repository, _) = tagged_image(&session, &["tagged"]).await?;
    for last in ["%FF", "a%00b", "%C3%28"] {
        let answer = repository.get(&format!("tags/list?last={last}")).await?;
        answer.error(400, &["UNSUPPORTED"])?;
    }
    Ok(())
}
