//! Requests for objects that arrive in parts.

use super::{
    answer::{Refusal, respond},
    bucket::{Bucket, Write},
    object,
    parts::{Multipart, Part},
    signature::hex,
};
use crate::{
    call::{Call, Query},
    xml,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use jiff::Timestamp;
use md5::{Digest as _, Md5};
use std::{collections::BTreeMap, time::SystemTime};

/// Maximum number of multipart uploads in one answer. Few, so that tests have several pages.
const MULTIPARTS: usize = 2;

impl Bucket {
    pub(super) fn create_multipart(
        &mut self,
        call: &Call,
        request: &Request<Bytes>,
        id: u64,
    ) -> Response<Bytes> {
        let id = format!("multipart-{id}");
        let multipart = Multipart {
            key: call.key.clone(),
            began: SystemTime::now(),
            kept: object::kept(request.headers()),
            parts: BTreeMap::new(),
        };
        self.multiparts.insert(id.clone(), multipart);
        let body = format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        );
        respond(StatusCode::OK, body)
    }

    /// Lists multipart uploads, in the order of keys and ids.
    pub(super) fn list_multiparts(&self, query: &Query<'_>) -> Response<Bytes> {
        let prefix = query.get("prefix").unwrap_or_default();
        let after = query.get("key-marker").map(|key| {
            let id = query.get("upload-id-marker").unwrap_or_default();
            (key, id)
        });
        let mut listed: Vec<(&str, &str, SystemTime)> = self
            .multiparts
            .iter()
            .map(|(id, multipart)| (multipart.key.as_str(), id.as_str(), multipart.began))
            .filter(|(key, id, _)| {
                let is_after = after
                    .as_ref()
                    .is_none_or(|(last, last_id)| (*key, *id) > (last.as_str(), last_id.as_str()));
                is_after && key.starts_with(&prefix)
            })
            .collect();
        listed.sort_unstable();
        let rest = listed.len() > MULTIPARTS;
        listed.truncate(MULTIPARTS);
        let mut body = format!("<ListMultipartUploadsResult><IsTruncated>{rest}</IsTruncated>");
        for (key, id, began) in &listed {
            let (key, began) = (xml::escape(key), Timestamp::try_from(*began).unwrap_or_default());
            body.push_str(&format!(
                "<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{began:.3}</Initiated></Upload>"
            ));
        }
        if let Some((key, id, _)) = listed.last().filter(|_| rest) {
            let key = xml::escape(key);
            body.push_str(&format!(
                "<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>"
            ));
        }
        body.push_str("</ListMultipartUploadsResult>");
        respond(StatusCode::OK, body)
    }

    pub(super) fn put_part(
        &mut self,
        key: &str,
        query: &Query<'_>,
        bytes: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let number = query.get("partNumber").and_then(|number| number.parse().ok());
        let number = number
            .filter(|number| (1..=10_000).contains(number))
            .ok_or(Refusal::INVALID)?;
        let (_, multipart) = self.multipart(key, query)?;
        let tag = format!("\"{}\"", hex(&Md5::digest(&bytes)));
        let mut response = respond(StatusCode::OK, Bytes::new());
        let value = tag.parse().expect("a tag is ASCII");
        response.headers_mut().insert("etag", value);
        multipart.parts.insert(number, Part { tag, bytes });
        Ok(response)
    }

    /// Makes the object of the parts that the request lists. Another request for the same upload finds none.
    pub(super) fn complete_multipart(
        &mut self,
        write: &Write<'_>,
        query: &Query<'_>,
        listed: &Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let listed = std::str::from_utf8(listed).map_err(|_invalid| Refusal::INVALID)?;
        let (id, multipart) = self.multipart(write.key, query)?;
        let bytes = multipart.joined(listed)?;
        let headers = multipart.kept.clone();
        object::check(write.headers, self.objects.get(write.key))?;
        let whole = Write {
            headers: &headers,
            ..*write
        };
        // No digest of the content, as for all objects of several parts.
        let tag = format!("\"parts-{}\"", write.generation);
        let object = self.store(&whole, bytes, tag)?;
        let mut response = object.stored();
        *response.body_mut() = format!(
            "<CompleteMultipartUploadResult><ETag>{}</ETag></CompleteMultipartUploadResult>",
            xml::escape(&object.tag)
        )
        .into();
        self.multiparts.remove(&id);
        Ok(response)
    }

    pub(super) fn abort_multipart(
        &mut self,
        key: &str,
        query: &Query<'_>,
    ) -> Result<Response<Bytes>, Refusal> {
        let (id, _) = self.multipart(key, query)?;
        self.multiparts.remove(&id);
        Ok(respond(StatusCode::NO_CONTENT, Bytes::new()))
    }

    fn multipart(&mut self, key: &str, query: &Query<'_>) -> Result<(String, &mut Multipart), Refusal> {
        let id = query.get("uploadId").ok_or(Refusal::INVALID)?;
        let multipart = self
            .multiparts
            .get_mut(&id)
            .filter(|multipart| multipart.key == key);
        Ok((id, multipart.ok_or(Refusal::NO_UPLOAD)?))
    }
}
