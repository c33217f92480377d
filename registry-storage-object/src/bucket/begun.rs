//! Listings of objects in parts that were begun, and neither made nor dropped. The client library has none.

use super::{Bucket, Dialect, signed::Answer};
use bytes::Bytes;
use http::{HeaderMap, Method};
use jiff::Timestamp;
use object_store::path::Path;
use registry_core::storage::{Result, StorageError};
use serde::Deserialize;
use std::time::SystemTime;

/// Maximum number of pages of a listing. A store that always has a next page is not trusted.
const PAGES: usize = 10_000;

/// An object in parts that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Key below the root.
    pub(crate) key: String,
    pub(crate) id: String,
    /// `None` if the store does not say when.
    pub(crate) began: Option<SystemTime>,
}

/// Answer of a store.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Page {
    #[serde(rename = "Upload")]
    uploads: Vec<Upload>,
    is_truncated: bool,
    next_key_marker: String,
    next_upload_id_marker: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Upload {
    key: String,
    upload_id: String,
    initiated: Option<String>,
}

impl Bucket {
    /// Lists the objects in parts below a directory that were begun. 1 request for 1,000. Azure has none: what it has of a
    /// blob that was not made, it drops after a week.
    pub(crate) async fn begun_parts(&self, directory: &str) -> Result<Vec<Begun>> {
        let mut found = Vec::new();
        if !matches!(self.dialect(), Dialect::S3 | Dialect::Gcs) {
            return Ok(found);
        }
        let prefix = format!("{}/", self.path(directory));
        let (mut key, mut id) = (String::new(), String::new());
        for _ in 0..PAGES {
            let mut query = vec![("uploads", String::new()), ("prefix", prefix.clone())];
            if !key.is_empty() {
                query.extend([("key-marker", key), ("upload-id-marker", id)]);
            }
            let none = (HeaderMap::new(), Bytes::new());
            let answer = self
                .signed_request(Method::GET, &Path::default(), &query, none.0, none.1)
                .await?;
            let Answer::Done(text) = answer else {
                return Err(StorageError::Unsupported("list objects in parts"));
            };
            let page = page(&text)?;
            let begun = page.uploads.into_iter().map(|upload| self.begun(upload));
            // Some stores ignore the prefix.
            found.extend(begun.filter(|begun| begun.key.starts_with(directory)));
            if !page.is_truncated || page.next_key_marker.is_empty() {
                break;
            }
            (key, id) = (page.next_key_marker, page.next_upload_id_marker);
        }
        Ok(found)
    }

    fn begun(&self, upload: Upload) -> Begun {
        let began = upload.initiated.and_then(|text| text.parse::<Timestamp>().ok());
        Begun {
            key: self.key(&Path::from(upload.key.trim_start_matches('/'))),
            id: upload.upload_id,
            began: began.map(Into::into),
        }
    }
}

fn page(text: &str) -> Result<Page> {
    quick_xml::de::from_str(text).map_err(|error| {
        StorageError::failed(
            "the object store lists objects in parts in a form that is not S3's",
            error,
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::{Asking, Location};

    #[test]
    fn a_page_is_read_as_stores_write_it() {
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
            <ListMultipartUploadsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
              <Bucket>images</Bucket>
              <KeyMarker></KeyMarker>
              <NextKeyMarker>a/b&amp;c</NextKeyMarker>
              <NextUploadIdMarker>7</NextUploadIdMarker>
              <MaxUploads>1000</MaxUploads>
              <IsTruncated>true</IsTruncated>
              <Upload>
                <Key>a/b&amp;c</Key>
                <UploadId>7</UploadId>
                <Initiator><ID>x</ID></Initiator>
                <StorageClass>STANDARD</StorageClass>
                <Initiated>2026-11-30T12:00:00.000Z</Initiated>
              </Upload>
              <Upload><Key>a/c</Key><UploadId>8</UploadId></Upload>
            </ListMultipartUploadsResult>"#;
        let read = page(text).unwrap();
        assert!(read.is_truncated);
        assert_eq!(
            (&*read.next_key_marker, &*read.next_upload_id_marker),
            ("a/b&c", "7")
        );
        let bucket = Location::memory().bucket("", &Asking::default()).unwrap();
        let begun: Vec<Begun> = read
            .uploads
            .into_iter()
            .map(|upload| bucket.begun(upload))
            .collect();
        assert_eq!((&*begun[0].key, &*begun[0].id), ("a/b&c", "7"));
        let noon: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        assert_eq!(begun[0].began, Some(noon.into()));
        assert_eq!(begun[1].began, None);

        let empty = page("<ListMultipartUploadsResult></ListMultipartUploadsResult>").unwrap();
        assert!(empty.uploads.is_empty() && !empty.is_truncated);
        assert!(page("{}").is_err());
    }
}
