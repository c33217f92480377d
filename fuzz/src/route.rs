//! Paths, read from the right, and printed as they were read.

use registry_core::{
    Digest, Reference, RepositoryName, UploadId,
    error::ErrorCode,
    protocol::{Endpoint, Links},
};

/// Checks a path against `candidates`, and that its printed form parses to the same endpoint.
pub fn route(data: &[u8]) {
    let Ok(path) = str::from_utf8(data) else { return };
    let read = Endpoint::parse(path);
    if !path.contains('%') {
        let mut expected = candidates(path);
        let endpoint = expected.pop();
        assert!(expected.is_empty(), "{path:?} is ambiguous");
        assert_eq!(read.as_ref().ok(), endpoint.as_ref(), "{path:?}");
    }
    match read {
        Ok(endpoint) => {
            let printed = endpoint.to_string();
            assert!(
                printed.bytes().all(|b| b.is_ascii_graphic() && b != b'%'),
                "{printed:?}"
            );
            assert_eq!(
                Endpoint::parse(&printed).as_ref().ok(),
                Some(&endpoint),
                "{path:?}"
            );
            assert_eq!(Links::default().to(&endpoint), printed);
            assert!(!endpoint.methods().is_empty());
        }
        Err(error) => {
            let (status, code) = error.wire();
            assert!(status.is_client_error());
            // What has no form of an endpoint is a 404; what has one is named for its malformed part.
            assert_eq!(
                status == 404,
                matches!(code, ErrorCode::Unsupported | ErrorCode::BlobUploadUnknown)
            );
        }
    }
}

/// Returns the endpoints found by trial: every way to cut a path without escapes into a name and the rest.
fn candidates(path: &str) -> Vec<Endpoint> {
    match path {
        "/v2" | "/v2/" => return vec![Endpoint::Base],
        "/v2/_catalog" => return vec![Endpoint::Catalog],
        _ => {}
    }
    let Some(rest) = path.strip_prefix("/v2/") else {
        return Vec::new();
    };
    rest.match_indices('/')
        .filter_map(|(at, _)| {
            let (name, rest) = rest.split_at(at);
            endpoint(RepositoryName::parse(name).ok()?, rest.get(1..)?)
        })
        .collect()
}

fn endpoint(name: RepositoryName, rest: &str) -> Option<Endpoint> {
    match rest {
        "tags/list" => return Some(Endpoint::Tags(name)),
        "blobs/uploads" | "blobs/uploads/" => return Some(Endpoint::Uploads(name)),
        _ => {}
    }
    if let Some(id) = rest.strip_prefix("blobs/uploads/") {
        return Some(Endpoint::Upload(name, UploadId::parse(id).ok()?));
    }
    match rest.split_once('/')? {
        ("manifests", reference) => Some(Endpoint::Manifest(name, Reference::parse(reference).ok()?)),
        ("blobs", digest) => Some(Endpoint::Blob(name, Digest::parse(digest).ok()?)),
        ("referrers", digest) => Some(Endpoint::Referrers(name, Digest::parse(digest).ok()?)),
        _ => None,
    }
}
