//! Grammars of digests, tags, references, repository names, media types and ids.

use registry_core::{
    Algorithm, AnyDigest, Digest, MediaType, Reference, RepositoryName, Tag, UploadId, digest::InvalidDigest,
};

/// Checks digests: they agree with `is_digest`, print as they were read, and sort as their texts do.
pub fn digest(data: &[u8]) {
    order(data);
    let Ok(text) = str::from_utf8(data) else { return };
    let read = Digest::parse(text);
    assert_eq!(read.is_ok(), is_digest(text), "{text:?}");
    if let Ok(digest) = &read {
        assert_eq!(digest.to_string(), text);
        assert_eq!(Digest::from_hex(digest.algorithm(), &digest.hex()), Ok(*digest));
        assert_eq!(digest.as_bytes().len(), digest.algorithm().len());
    }
    match AnyDigest::parse(text) {
        Ok(any) => {
            assert_eq!(any.to_string(), text);
            assert_eq!(any.known(), read.as_ref().ok());
            assert!(any.known().is_some() || matches!(read, Err(InvalidDigest::UnknownAlgorithm(_))));
        }
        Err(invalid) => assert!(
            invalid.to_string().len() < 256,
            "a message without bound: {invalid}"
        ),
    }
}

/// Checks that digests made of two halves of the data compare as their texts do.
fn order(data: &[u8]) {
    let (left, right) = data.split_at(data.len() / 2);
    let of = |half: &[u8]| {
        let sha512 = half.first().is_some_and(|byte| byte % 2 == 1);
        Digest::of(
            if sha512 {
                Algorithm::Sha512
            } else {
                Algorithm::Sha256
            },
            half,
        )
    };
    let (left, right) = (of(left), of(right));
    assert_eq!(left.cmp(&right), left.to_string().cmp(&right.to_string()));
}

fn is_digest(text: &str) -> bool {
    let hex =
        |length: usize, hex: &str| hex.len() == length && hex.chars().all(|c| "0123456789abcdef".contains(c));
    text.strip_prefix("sha256:").is_some_and(|rest| hex(64, rest))
        || text.strip_prefix("sha512:").is_some_and(|rest| hex(128, rest))
}

/// Checks references against digests and tags, and names against `is_name`; all print as they were read.
pub fn reference(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    assert_eq!(Tag::parse(text).is_ok(), is_tag(text), "{text:?}");
    match Reference::parse(text) {
        Ok(reference) => {
            assert_eq!(reference.to_string(), text);
            assert_eq!(matches!(reference, Reference::Digest(_)), is_digest(text));
            assert_eq!(matches!(reference, Reference::Tag(_)), is_tag(text));
        }
        Err(_) => assert!(!is_tag(text) && !is_digest(text), "{text:?}"),
    }

    let name = RepositoryName::parse(text);
    assert_eq!(name.is_ok(), is_name(text), "{text:?}");
    if let Ok(name) = name {
        assert_eq!(name.as_str(), text);
        assert!(!text.starts_with('/') && !text.contains("..") && !text.contains("//"));
    }
    if let Ok(id) = UploadId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.len(), 36);
    }
    if let Ok(media_type) = MediaType::parse(text) {
        assert_eq!(MediaType::parse(media_type.as_str()), Ok(media_type.clone()));
        assert!(text.contains(media_type.as_str()) && media_type.as_str().len() <= 255);
        assert!(http::HeaderValue::from_str(media_type.as_str()).is_ok());
    }
}

fn is_tag(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    (1..=128).contains(&text.len()) && text.chars().all(legal) && !text.starts_with(['.', '-'])
}

/// Returns true if every part between slashes begins and ends with a letter or digit, with legal separators between
/// those.
fn is_name(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |run: &str| matches!(run, "." | "_" | "__") || run.chars().all(|c| c == '-');
    let part = |part: &str| {
        part.starts_with(alphanumeric)
            && part.ends_with(alphanumeric)
            && part.split(alphanumeric).all(separator)
    };
    (1..=255).contains(&text.len()) && text.split('/').all(part)
}
