//! The text of a record of a deletion, for backends that store it, and [`TrashIds`].

use super::trash::{TrashId, Trashed};
use crate::{digest::Digest, media_type::MediaType, name::RepositoryName, reference::Tag};
use serde_json::{Map, Value};
use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Issues the ids of the records of one process, each later than the one before.
#[derive(Debug, Default)]
pub struct TrashIds(Mutex<Option<TrashId>>);

impl TrashIds {
    /// Returns an id of about that time, as [`TrashId::following`] the last one does.
    pub fn next(&self, time: SystemTime) -> TrashId {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = TrashId::following(time, *last);
        *last = Some(id);
        id
    }
}

impl Trashed {
    /// Returns the text of a record, in JSON. It does not contain the id, by which the backend finds it.
    ///
    /// A `nonce` distinguishes the text from that of another writer who records the same.
    #[must_use]
    pub fn to_record(&self, repository: &RepositoryName, nonce: Option<&str>) -> String {
        let mut fields = Map::new();
        let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        // For people who find the record elsewhere.
        set("repository", repository.as_str().into());
        set("digest", self.digest.to_string().into());
        if self.stored != self.digest {
            set("stored", self.stored.to_string().into());
        }
        if let Some(media_type) = &self.media_type {
            set("media_type", media_type.as_str().into());
        }
        let tags = self.tags.iter().map(|tag| Value::from(tag.as_str()));
        set("tags", Value::Array(tags.collect()));
        set("manifest_deleted", self.manifest_deleted.into());
        if let Some(name) = &self.by {
            set("by", (**name).into());
        }
        if let Some(nonce) = nonce {
            set("nonce", nonce.into());
        }
        Value::Object(fields).to_string()
    }

    /// Parses the text of a record. Returns `None` for other texts. Fields that later versions may add are ignored.
    #[must_use]
    pub fn from_record(id: TrashId, text: &[u8]) -> Option<Self> {
        let json: Value = serde_json::from_slice(text).ok()?;
        let digest = Digest::parse(json.get("digest")?.as_str()?).ok()?;
        let stored = match json.get("stored") {
            Some(stored) => Digest::parse(stored.as_str()?).ok()?,
            None => digest,
        };
        let media_type = match json.get("media_type") {
            Some(media_type) => Some(MediaType::parse(media_type.as_str()?).ok()?),
            None => None,
        };
        let tags = json.get("tags")?.as_array()?.iter();
        let tags: Option<Vec<Tag>> = tags.map(|tag| Tag::parse(tag.as_str()?).ok()).collect();
        let by = match json.get("by") {
            Some(name) => Some(name.as_str()?.into()),
            None => None,
        };
        let trashed = Self::manifest(id, digest, tags?).stored_as(stored);
        let mut trashed = trashed.of_type(media_type).by(by);
        trashed.manifest_deleted = json.get("manifest_deleted")?.as_bool()?;
        Some(trashed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;
    use std::time::UNIX_EPOCH;

    fn id() -> TrashId {
        TrashId::at(UNIX_EPOCH)
    }

    #[test]
    fn a_record_comes_back_from_its_text() {
        let [digest, stored] = ["a", "b"].map(|content| Digest::of(Algorithm::Sha256, content.as_bytes()));
        let tag = Tag::parse("v1").unwrap();
        let repository = RepositoryName::parse("team/app").unwrap();
        let records = [
            Trashed::tag(id(), tag.clone(), digest),
            Trashed::manifest(id(), digest, vec![tag])
                .stored_as(stored)
                .of_type(MediaType::parse(MediaType::OCI_INDEX).ok())
                .by(Some("alice".into())),
        ];
        for record in records {
            for nonce in [None, Some("1")] {
                let text = record.to_record(&repository, nonce);
                assert_eq!(
                    Trashed::from_record(id(), text.as_bytes()),
                    Some(record.clone()),
                    "{text}"
                );
            }
            assert_ne!(
                record.to_record(&repository, Some("1")),
                record.to_record(&repository, Some("2"))
            );
        }
    }

    #[test]
    fn other_texts_are_no_records() {
        let digest = Digest::of(Algorithm::Sha256, b"a");
        let with = |tags: &str| format!(r#"{{"digest":"{digest}","tags":{tags},"manifest_deleted":true}}"#);
        assert!(Trashed::from_record(id(), with(r#"["v1"]"#).as_bytes()).is_some());
        for text in ["", "{", "{}", &with("[1]"), &with(r#"["a b"]"#), &with("1")] {
            assert_eq!(Trashed::from_record(id(), text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn ids_of_one_tick_of_a_clock_are_issued_in_order() {
        let ids = TrashIds::default();
        assert!(ids.next(UNIX_EPOCH) < ids.next(UNIX_EPOCH));
    }
}
