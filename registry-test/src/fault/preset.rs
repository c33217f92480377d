//! Answers that deviate from what some clients depend on.
//!
//! The specification requires few headers, and proxies drop or change some. These rules do the same, each time. They
//! were measured with docker 20.10, podman 4.3, containerd 1.6 (ctr) and helm 3.18:
//!
//! | preset | docker | podman | ctr | helm |
//! |---|---|---|---|---|
//! | [`without_content_digest`] | push fails | works | push fails | works |
//! | [`manifests_without_content_type`] | pull fails | pull fails | pull fails | push and pull fail |
//! | [`chunks_without_range`] | push fails | works | works | works |
//! | [`chunks_with_a_range_unit`] | push fails | works | works | works |
//! | [`heads_without_content_length`] | push and pull fail | works | works | push fails |
//! | [`without_optional_headers`] | works | works | works | works |
//! | [`bodies_in_chunks`] | works | works | works | works |
//!
//! ```
//! use registry_test::{TestRegistry, fault::preset};
//!
//! let registry = TestRegistry::start();
//! registry.add_fault(preset::bodies_in_chunks());
//! registry.add_faults(preset::without_optional_headers());
//! # registry.clear_faults();
//! ```

use super::{Fault, GET, HEAD, PATCH, PUT, Rule, drop_header, on, on_any};

/// Removes `Docker-Content-Digest` from all answers. docker and ctr cannot push.
pub fn without_content_digest() -> Rule {
    Rule::from((on_any().always(), drop_header("docker-content-digest")))
}

/// Removes `Content-Type` from manifests. docker, podman and ctr cannot pull; helm cannot push or pull.
pub fn manifests_without_content_type() -> Rule {
    Rule::from((on_any().manifest().always(), drop_header("content-type")))
}

/// Removes `Range` from the answers to chunks of an upload. docker cannot push.
pub fn chunks_without_range() -> Rule {
    Rule::from((on(PATCH).upload().always(), drop_header("range")))
}

/// Writes `Range: bytes=0-N` in the answers to chunks of an upload, in place of `0-N`. docker cannot push.
pub fn chunks_with_a_range_unit() -> Rule {
    Rule::from((on(PATCH).upload().always(), Fault::RangeUnit))
}

/// Removes `Content-Length` from the answers to `HEAD`. docker cannot push or pull;
/// helm cannot push.
pub fn heads_without_content_length() -> Rule {
    Rule::from((on(HEAD).always(), drop_header("content-length")))
}

/// Removes headers that no client is known to need: `Location` from the answers to `PUT`, and `Docker-Upload-UUID`,
/// `ETag` and `Docker-Distribution-Api-Version` from all. The rules are optional, since few exchanges have all headers.
#[must_use]
pub fn without_optional_headers() -> Vec<Rule> {
    let everywhere = ["docker-upload-uuid", "etag", "docker-distribution-api-version"];
    let mut rules = vec![Rule::from((on(PUT).always().optional(), drop_header("location")))];
    rules.extend(everywhere.map(|name| Rule::from((on_any().always().optional(), drop_header(name)))));
    rules
}

/// Sends the bodies of answers to `GET` in chunks, without `Content-Length`. All clients that were tried accept it.
pub fn bodies_in_chunks() -> Rule {
    Rule::from((on(GET).always(), drop_header("content-length")))
}
