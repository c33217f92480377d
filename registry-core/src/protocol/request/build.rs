//! Target and headers of a request that a client builds.

use super::Request;
use crate::{
    digest::Algorithm,
    name::RepositoryName,
    protocol::{condition::Precondition, query::Target},
    range::RangeSpec,
};
use http::{HeaderMap, HeaderName, HeaderValue, header};

impl Request {
    /// Returns its path and query. For an upload session, use the latest `Location` instead, because other
    /// registries keep state there.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = Target::new(self.endpoint().to_string());
        match self {
            Self::Catalog { page } => target.page(page),
            Self::Tags { page, .. } => target.page(page),
            Self::Referrers {
                page, artifact_type, ..
            } => {
                target.set("artifactType", artifact_type.as_deref());
                target.page(page);
            }
            Self::PutManifest { tags, .. } => {
                for tag in tags {
                    target.set("tag", Some(tag.as_str()));
                }
            }
            Self::OpenUpload { algorithm, .. } => {
                target.set("digest-algorithm", algorithm.map(Algorithm::as_str));
            }
            Self::PushBlob { digest, .. } | Self::Close { digest, .. } => {
                target.set("digest", Some(&digest.to_string()));
            }
            Self::Mount { digest, from, .. } => {
                target.set("mount", Some(&digest.to_string()));
                target.set("from", from.as_ref().map(RepositoryName::as_str));
            }
            Self::Options { .. }
            | Self::Ping
            | Self::Blob { .. }
            | Self::DeleteBlob { .. }
            | Self::Manifest { .. }
            | Self::DeleteManifest { .. }
            | Self::UploadStatus { .. }
            | Self::Append { .. }
            | Self::Cancel { .. } => {}
        }
        target.into_text()
    }

    /// Returns its headers, except those of its body.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<String>| {
            if let Some(value) = value.and_then(|value| HeaderValue::try_from(value).ok()) {
                headers.insert(name, value);
            }
        };
        match self {
            Self::Blob { ranges, known, .. } => {
                set(header::RANGE, spell_ranges(ranges));
                set(header::IF_NONE_MATCH, known.as_ref().map(ToString::to_string));
            }
            Self::Manifest { known, .. } => {
                set(header::IF_NONE_MATCH, known.as_ref().map(ToString::to_string))
            }
            Self::PutManifest {
                media_type,
                precondition,
                ..
            } => {
                set(header::CONTENT_TYPE, media_type.as_ref().map(ToString::to_string));
                match precondition {
                    Some(Precondition::Present) => set(header::IF_MATCH, Some("*".into())),
                    Some(Precondition::Absent) => set(header::IF_NONE_MATCH, Some("*".into())),
                    Some(Precondition::Is(digest)) => set(header::IF_MATCH, Some(format!("\"{digest}\""))),
                    None => {}
                }
            }
            Self::Append { chunk, .. } | Self::Close { chunk, .. } => {
                set(header::CONTENT_RANGE, chunk.map(|chunk| chunk.to_string()));
            }
            _ => {}
        }
        headers
    }
}

fn spell_ranges(ranges: &[RangeSpec]) -> Option<String> {
    let spell = |range: &RangeSpec| match range {
        RangeSpec::From(first) => format!("{first}-"),
        RangeSpec::FromTo(first, last) => format!("{first}-{last}"),
        RangeSpec::Last(count) => format!("-{count}"),
    };
    let spelled: Vec<String> = ranges.iter().map(spell).collect();
    (!spelled.is_empty()).then(|| format!("bytes={}", spelled.join(",")))
}
