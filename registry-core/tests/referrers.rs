//! Tests of referrers in the service: manifests that name their subject, and manifests in an index under a
//! tag.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use registry_core::{
    Algorithm, Digest, Limits, MediaType, Registry, Repository, Storage, StorageWrite, Tag,
    service::ManifestPush,
    storage::{MemoryStorage, PutManifest, TagMove, Verified},
};
use serde_json::{Value, json};

const SBOM: &str = "application/vnd.example.sbom";

struct Fixture {
    storage: MemoryStorage,
    registry: Registry,
    repository: Repository,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let storage = MemoryStorage::new();
        let registry = Registry::builder(storage.clone())
            .limits(limits)
            .allow_anonymous_push()
            .build();
        let repository = registry.repository("team/app").unwrap();
        Self {
            storage,
            registry,
            repository,
        }
    }

    /// Pushes an artifact by digest and returns its descriptor. `name` makes its digest distinct.
    async fn artifact(&self, name: &str, subject: Option<&Value>) -> Value {
        let config = self.repository.push_blob("{}", None).await.unwrap();
        let empty = json!({
            "mediaType": "application/vnd.oci.empty.v1+json", "digest": config.digest.to_string(), "size": 2,
        });
        let mut document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OCI_MANIFEST,
            "artifactType": "application/vnd.example.own",
            "config": empty,
            "layers": [],
            "annotations": {"name": name},
        });
        if let Some(subject) = subject {
            document["subject"] = subject.clone();
        }
        self.put(&document).await
    }

    async fn put(&self, document: &Value) -> Value {
        let bytes = document.to_string();
        let digest = Digest::of(Algorithm::Sha256, bytes.as_bytes());
        let size = bytes.len();
        self.repository
            .put_manifest(ManifestPush::new(digest, bytes))
            .await
            .unwrap();
        json!({"mediaType": document["mediaType"], "digest": digest.to_string(), "size": size})
    }

    /// Puts any bytes under the tag of a subject's referrers, as an older registry may have stored them.
    async fn keep(&self, subject: &Value, bytes: impl Into<Bytes>) {
        let media_type = MediaType::parse(MediaType::OCI_INDEX).unwrap();
        let mut put = PutManifest::new(Verified::of(Algorithm::Sha256, bytes.into()), media_type);
        put.tags.push(TagMove::new(Tag::of_referrers(&digest(subject))));
        let write: &dyn StorageWrite = self.storage.write().unwrap();
        write.put_manifest(self.repository.name(), put).await.unwrap();
    }

    async fn get(&self, target: &str) -> (HeaderMap, Vec<Value>) {
        let (status, headers, body) = send(&self.registry, Method::GET, target, "").await;
        assert_eq!(status, StatusCode::OK);
        let body: Value = serde_json::from_slice(&body).unwrap();
        (headers, body["manifests"].as_array().unwrap().clone())
    }

    async fn list(&self, subject: &Value) -> Vec<Value> {
        let target = format!("/v2/team/app/referrers/{}", digest(subject));
        self.get(&target).await.1
    }

    async fn pages(&self, target: String) -> Vec<Vec<Value>> {
        let mut pages = Vec::new();
        let mut next = Some(target);
        while let Some(target) = next {
            let (headers, page) = self.get(&target).await;
            pages.push(page);
            next = headers.get(header::LINK).map(|link| {
                let link = link.to_str().unwrap();
                link[1..link.find('>').unwrap()].to_owned()
            });
        }
        pages
    }
}

async fn send(
    registry: &Registry,
    method: Method,
    target: &str,
    body: &str,
) -> (StatusCode, HeaderMap, Bytes) {
    let request = Request::builder().method(method).uri(target);
    let response = registry.handle(request.body(body.to_owned()).unwrap()).await;
    let (parts, body) = response.into_parts();
    (
        parts.status,
        parts.headers,
        body.collect().await.unwrap().to_bytes(),
    )
}

fn digest(descriptor: &Value) -> Digest {
    Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap()
}

/// Returns the descriptor as an older client wrote it into its index.
fn described(descriptor: &Value, name: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["artifactType"] = SBOM.into();
    descriptor["annotations"] = json!({"name": name});
    descriptor
}

/// Returns the descriptor as the list shows a manifest with all fields of its own.
fn own(descriptor: &Value, name: &str) -> Value {
    let mut descriptor = described(descriptor, name);
    descriptor["artifactType"] = "application/vnd.example.own".into();
    descriptor
}

fn index(manifests: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": MediaType::OCI_INDEX, "manifests": manifests})
}

fn sorted(mut entries: Vec<Value>) -> Vec<Value> {
    entries.sort_by_key(digest);
    entries
}

#[tokio::test]
async fn an_index_that_was_kept_under_the_tag_is_merged() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let names_it = all.artifact("names it", Some(&subject)).await;
    let kept = all.artifact("kept", None).await;
    let of_another = all.artifact("of another", Some(&kept)).await;
    let gone = all.artifact("gone", None).await;
    all.repository.delete_manifest(digest(&gone)).await.unwrap();
    let entries = [
        described(&kept, "as kept"),
        described(&names_it, "as kept"),
        described(&of_another, "as kept"),
        described(&gone, "as kept"),
        described(&kept, "twice"),
        json!({"mediaType": "a/b", "digest": "blake3:00", "size": 1}),
    ];
    all.keep(&subject, index(&entries).to_string()).await;

    let expected = sorted(vec![own(&names_it, "names it"), described(&kept, "as kept")]);
    assert_eq!(all.list(&subject).await, expected);

    let target = format!("/v2/team/app/referrers/{}", digest(&subject));
    let (headers, sboms) = all.get(&format!("{target}?artifactType={SBOM}")).await;
    assert_eq!(headers["oci-filters-applied"], "artifactType");
    assert_eq!(sboms, [described(&kept, "as kept")]);
    let (_, own_type) = all
        .get(&format!("{target}?artifactType=application/vnd.example.own"))
        .await;
    assert_eq!(own_type, [own(&names_it, "names it")]);
    // An empty filter.
    let (_, unfiltered) = all.get(&format!("{target}?artifactType=")).await;
    assert_eq!(unfiltered, expected);
}

#[tokio::test]
async fn the_size_and_type_of_what_was_kept_are_those_of_what_is_stored() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let kept = all.artifact("kept", None).await;
    let mut lie = json!({"mediaType": "application/lie", "digest": kept["digest"], "size": 1});
    lie["annotations"] = "no object".into();
    all.keep(&subject, index(&[lie]).to_string()).await;

    assert_eq!(all.list(&subject).await, [own(&kept, "kept")]);
}

/// Checks that one malformed entry does not prevent a client from decoding the list.
#[tokio::test]
async fn annotations_that_clients_could_not_decode_are_left_out_and_odd_types_are_listed() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let kept = all.artifact("kept", None).await;
    let mut entry = described(&kept, "as kept");
    entry["annotations"] = json!({"name": "as kept", "number": 5});
    entry["artifactType"] = "no media type".into();
    let mut expected = own(&kept, "kept");
    expected["artifactType"] = "no media type".into();
    all.keep(&subject, index(&[entry]).to_string()).await;

    assert_eq!(all.list(&subject).await, [expected]);
}

#[tokio::test]
async fn pages_go_through_both_in_one_order() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let mut expected = Vec::new();
    let mut entries = Vec::new();
    for number in 0..7 {
        let name = number.to_string();
        let referrer = all.artifact(&name, Some(&subject)).await;
        expected.push(own(&referrer, &name));
        let kept = all.artifact(&format!("kept {name}"), None).await;
        entries.push(described(&kept, &name));
        let gone = all.artifact(&format!("gone {name}"), None).await;
        all.repository.delete_manifest(digest(&gone)).await.unwrap();
        entries.push(described(&gone, &name));
    }
    expected.extend(entries.iter().step_by(2).cloned());
    let expected = sorted(expected);
    entries.extend(expected.iter().cloned());
    all.keep(&subject, index(&entries).to_string()).await;

    for n in [1, 2, 3, 13, 14, 15] {
        let target = format!("/v2/team/app/referrers/{}?n={n}", digest(&subject));
        let pages = all.pages(target).await;
        let full = pages.len() - 1;
        assert!(pages[..full].iter().all(|page| page.len() == n), "{n}");
        assert!(
            !pages[full].is_empty(),
            "a link to an empty page, with {n} on each"
        );
        assert_eq!(pages.concat(), expected, "{n}");
    }
    assert!(
        all.pages(format!("/v2/team/app/referrers/{}?n=0", digest(&subject)))
            .await
            .concat()
            .is_empty()
    );
}

#[tokio::test]
async fn an_index_that_cannot_be_read_or_is_too_large_is_left_out() {
    let limits = {
        let mut limits = Limits::default();
        limits.referrers_in_tag = 2;
        limits.manifest_bytes = 4000;
        limits
    };
    let all = Fixture::with(limits);
    let subject = all.artifact("subject", None).await;
    let referrer = all.artifact("referrer", Some(&subject)).await;
    let kept = all.artifact("kept", None).await;
    let entry = described(&kept, "as kept");
    let only = [own(&referrer, "referrer")];
    let both = sorted(vec![own(&referrer, "referrer"), entry.clone()]);
    let padded = |length: usize| {
        let text = index(std::slice::from_ref(&entry)).to_string();
        text.clone() + &" ".repeat(length - text.len())
    };

    for (bytes, expected) in [
        (index(&vec![entry.clone(); 2]).to_string(), &both[..]),
        (index(&vec![entry.clone(); 3]).to_string(), &only),
        (padded(4000), &both),
        (padded(4001), &only),
        (String::from("{"), &only),
        (String::from("[]"), &only),
        (json!({"manifests": null}).to_string(), &only),
        (
            json!({"manifests": [{"digest": "sha256:short"}]}).to_string(),
            &only,
        ),
        (json!({"manifests": [{"digest": 5}]}).to_string(), &only),
    ] {
        all.keep(&subject, bytes.clone()).await;
        assert_eq!(all.list(&subject).await, expected, "{bytes}");
    }
}

#[tokio::test]
async fn a_page_of_referrers_is_no_larger_than_a_manifest_may_be() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let mut expected = Vec::new();
    for number in 0..9 {
        let name = format!("{number}{}", "x".repeat(1 << 20));
        let referrer = all.artifact(&name, Some(&subject)).await;
        expected.push(own(&referrer, &name));
    }

    let pages = all
        .pages(format!("/v2/team/app/referrers/{}", digest(&subject)))
        .await;

    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 3]);
    assert_eq!(pages.concat(), sorted(expected));
}

/// Checks the number of bytes read from manifests of an index under a tag, even for a short or empty page.
#[tokio::test]
async fn a_page_of_referrers_reads_so_many_bytes_and_says_where_to_go_on() {
    let limits = {
        let mut limits = Limits::default();
        limits.referrers_bytes = 2 << 20;
        limits
    };
    let all = Fixture::with(limits);
    let subject = all.artifact("subject", None).await;
    let other = all.artifact("other", None).await;
    let mut expected = vec![own(&all.artifact("small", Some(&subject)).await, "small")];
    let mut entries = Vec::new();
    for number in 0..9 {
        let name = format!("{number}{}", "x".repeat(1 << 20));
        let kept = all
            .artifact(&name, Some(if number % 3 == 0 { &subject } else { &other }))
            .await;
        if number % 3 == 0 {
            expected.push(own(&kept, &name));
        }
        entries.push(kept);
    }
    all.keep(&subject, index(&entries).to_string()).await;

    let target = format!("/v2/team/app/referrers/{}", digest(&subject));
    let pages = all.pages(target.clone()).await;
    assert_eq!(pages.concat(), sorted(expected));

    let none = all.pages(format!("{target}?artifactType={SBOM}")).await;
    assert!(none.len() > 2, "{}", none.len());
    assert!(none.concat().is_empty());
}

#[tokio::test]
async fn who_keeps_an_index_of_referrers_is_told_that_there_is_a_list() {
    let all = Fixture::new();
    let subject = all.artifact("subject", None).await;
    let kept = all.artifact("kept", None).await;
    let tag = Tag::of_referrers(&digest(&subject));
    let index = index(&[described(&kept, "as kept")]).to_string();
    let warned = async |target: String, body: String| {
        let (status, headers, _) = send(&all.registry, Method::PUT, &target, &body).await;
        assert_eq!(status, StatusCode::CREATED);
        headers
            .get(header::WARNING)
            .map(|warning| warning.to_str().unwrap().to_owned())
    };

    let warning = warned(format!("/v2/team/app/manifests/{tag}"), index.clone())
        .await
        .unwrap();
    assert!(
        warning.starts_with("299 - \"") && warning.ends_with('"') && warning.len() < 256,
        "{warning}"
    );
    let by_digest = format!("{}?tag={tag}", Digest::of(Algorithm::Sha256, index.as_bytes()));
    assert!(
        warned(format!("/v2/team/app/manifests/{by_digest}"), index.clone())
            .await
            .is_some()
    );
    assert_eq!(all.list(&subject).await, [described(&kept, "as kept")]);

    let (_, _, image) = send(
        &all.registry,
        Method::GET,
        &format!("/v2/team/app/manifests/{}", digest(&kept)),
        "",
    )
    .await;
    let image = String::from_utf8(image.to_vec()).unwrap();
    for (tag, body) in [
        ("latest".to_owned(), &index),
        (format!("{tag}.sig"), &index),
        (tag.to_string(), &image),
    ] {
        assert_eq!(
            warned(format!("/v2/team/app/manifests/{tag}"), body.clone()).await,
            None,
            "{tag}"
        );
    }
}
