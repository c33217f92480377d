//! Lists of referrers, with any document of a client in an index under the tag.

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header;
use http_body_util::{BodyExt as _, Empty};
use registry_core::{
    Algorithm, Digest, MediaType, Registry, RepositoryName, Storage, Tag,
    manifest::Manifest,
    storage::{MemoryStorage, PutManifest, TagMove, Verified},
};
use serde_json::Value;

/// Documents of which the first names the subject, the second names nothing, and the third names another subject.
const DOCUMENTS: [&str; 3] = [
    r#"{"mediaType":"application/vnd.example+json","artifactType":"a/names","annotations":{"a":"b"},"subject":{"mediaType":"a/b","size":7,"digest":"sha256:ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"}}"#,
    r#"{"mediaType":"application/vnd.example+json","artifactType":"a/silent"}"#,
    r#"{"mediaType":"application/vnd.example+json","subject":{"mediaType":"a/b","size":7,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}}"#,
];

/// Checks the list of referrers with any content under the tag. It is ordered, without duplicates, and contains only
/// existing referrers of this subject. Pages of one entry give the same list, and a type gives a part of it.
pub fn referrers(data: &[u8]) {
    let subject = Digest::of(Algorithm::Sha256, b"content");
    let storage = MemoryStorage::new();
    for document in DOCUMENTS {
        put(&storage, Bytes::from_static(document.as_bytes()), None);
    }
    put(
        &storage,
        Bytes::copy_from_slice(data),
        Some(Tag::of_referrers(&subject)),
    );
    let registry = Registry::builder(storage).allow_anonymous_push().build();

    let target = format!("/v2/a/referrers/{subject}");
    let whole = pages(&registry, &target);
    assert_eq!(pages(&registry, &format!("{target}?n=1")), whole);
    let digests: Vec<&str> = whole
        .iter()
        .filter_map(|entry| entry["digest"].as_str())
        .collect();
    assert!(
        digests.len() == whole.len() && digests.is_sorted_by(|a, b| a < b),
        "{digests:?}"
    );

    let [names, silent, _] =
        DOCUMENTS.map(|document| Digest::of(Algorithm::Sha256, document.as_bytes()).to_string());
    assert!(digests.contains(&names.as_str()));
    for entry in &whole {
        let document = DOCUMENTS[usize::from(entry["digest"] != *names)];
        assert!(entry["digest"] == *names || entry["digest"] == *silent, "{entry}");
        assert_eq!(entry["size"], document.len());
        assert_eq!(entry["mediaType"], "application/vnd.example+json");
        assert!(entry.get("annotations").is_none_or(Value::is_object));
        if entry["digest"] == *names {
            assert_eq!(
                (&entry["artifactType"], &entry["annotations"]["a"]),
                (&"a/names".into(), &"b".into())
            );
        }
    }
    let of_type = pages(&registry, &format!("{target}?artifactType=a/silent"));
    assert!(
        of_type
            .iter()
            .all(|entry| entry["artifactType"] == "a/silent" && whole.contains(entry))
    );
    let all = whole
        .iter()
        .filter(|entry| entry["artifactType"] == "a/silent")
        .count();
    assert_eq!(of_type.len(), all);
}

fn put(storage: &MemoryStorage, bytes: Bytes, tag: Option<Tag>) {
    let index = MediaType::parse(MediaType::OCI_INDEX).expect("a media type");
    let own = tag
        .is_none()
        .then(|| Manifest::parse(&bytes, None).expect("a manifest"));
    let manifest = Verified::of(Algorithm::Sha256, bytes);
    let (digest, size) = (*manifest.digest(), manifest.size());
    let media_type = own.as_ref().map_or(index, |own| own.media_type().clone());
    let mut put = PutManifest::new(manifest, media_type);
    put.referrer = own.and_then(|own| own.referrer(digest, size));
    put.tags.extend(tag.map(TagMove::new));
    let repository = RepositoryName::parse("a").expect("a name");
    let write = storage.write().expect("memory is writable");
    write
        .put_manifest(&repository, put)
        .now_or_never()
        .expect("nothing here waits")
        .expect("memory keeps it");
}

fn pages(registry: &Registry, target: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut next = Some(target.to_owned());
    while let Some(target) = next {
        let mut request = http::Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = target.parse().expect("a link is a path");
        let response = registry
            .handle(request)
            .now_or_never()
            .expect("nothing here waits");
        assert_eq!(response.status(), 200);
        next = response.headers().get(header::LINK).map(|link| {
            let link = link.to_str().expect("a link is text");
            let path = link.strip_prefix('<').and_then(|link| link.split_once('>'));
            path.expect("a link is in brackets").0.to_owned()
        });
        let body = response
            .into_body()
            .collect()
            .now_or_never()
            .expect("nothing here waits");
        let body = body.expect("the body is in memory").to_bytes();
        let index: Value = serde_json::from_slice(&body).expect("a list is JSON");
        let found = index["manifests"].as_array().expect("a list has manifests");
        assert!(next.is_none() || !found.is_empty(), "a link from an empty page");
        all.extend(found.iter().cloned());
    }
    all
}
