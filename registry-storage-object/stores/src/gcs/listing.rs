//! Listings, in the order of bytes.

use super::{
    answer::{Refusal, respond},
    bucket::Bucket,
    object::Object,
};
use crate::{call::Query, xml::escape};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Response, StatusCode};
use jiff::Timestamp;

/// Maximum number of keys and common prefixes in one answer.
const PAGE: usize = 1000;

/// A key or a common prefix of a listing.
enum Item<'a> {
    Key(&'a str, &'a Object),
    Prefix(&'a str),
}

impl Bucket {
    pub(super) fn list(&self, query: &Query<'_>) -> Result<Response<Bytes>, Refusal> {
        let prefix = query.get("prefix").unwrap_or_default();
        let delimiter = query.get("delimiter").filter(|delimiter| !delimiter.is_empty());
        let start_after = query.get("start-after").unwrap_or_default();
        let token = match query.get("continuation-token") {
            Some(token) => Some(read_token(&token).ok_or(Refusal::INVALID)?),
            None => None,
        };
        let most = match query.get("max-keys") {
            Some(most) => most.parse().map_err(|_invalid| Refusal::INVALID)?,
            None => PAGE,
        };
        let mut items = self.items(&prefix, delimiter.as_deref(), &start_after);
        if let Some(last) = &token {
            items.retain(|item| item.name() > last.as_str());
        }
        let rest = items.len() > most.min(PAGE);
        items.truncate(most.min(PAGE));
        let mut body = format!(
            "<ListBucketResult><KeyCount>{}</KeyCount><IsTruncated>{rest}</IsTruncated>",
            items.len()
        );
        body.extend(items.iter().map(Item::element));
        if let Some(last) = items.last().filter(|_| rest) {
            let token = BASE64_URL_SAFE_NO_PAD.encode(last.name());
            body.push_str(&format!("<NextContinuationToken>{token}</NextContinuationToken>"));
        }
        body.push_str("</ListBucketResult>");
        Ok(respond(StatusCode::OK, body))
    }

    /// Returns what a listing has, each common prefix once.
    fn items<'a>(&'a self, prefix: &str, delimiter: Option<&str>, start_after: &str) -> Vec<Item<'a>> {
        let keys = self.objects.iter().filter(|(key, _)| key.starts_with(prefix));
        let mut items: Vec<Item<'a>> = Vec::new();
        for (key, object) in keys.filter(|(key, _)| start_after.is_empty() || key.as_str() > start_after) {
            let below = key.get(prefix.len()..).unwrap_or_default();
            let common = delimiter
                .and_then(|delimiter| Some(prefix.len() + below.find(delimiter)? + delimiter.len()))
                .and_then(|end| key.get(..end));
            match common {
                None => items.push(Item::Key(key, object)),
                Some(common) if items.last().is_some_and(|item| item.name() == common) => {}
                Some(common) => items.push(Item::Prefix(common)),
            }
        }
        items
    }
}

impl Item<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Key(name, _) | Self::Prefix(name) => name,
        }
    }

    fn element(&self) -> String {
        let name = escape(self.name());
        match self {
            Self::Prefix(_) => format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>"),
            Self::Key(_, object) => {
                let modified = Timestamp::try_from(object.modified).unwrap_or_default();
                let (tag, size) = (escape(&object.tag), object.bytes.len());
                format!(
                    "<Contents><Key>{name}</Key><LastModified>{modified:.3}</LastModified><ETag>{tag}</ETag><Size>{size}</Size></Contents>"
                )
            }
        }
    }
}

fn read_token(token: &str) -> Option<String> {
    String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(token).ok()?).ok()
}
