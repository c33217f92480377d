//! [`Buckets`]: the state of the store, and what changes single objects.

use super::{
    answer::{Refusal, respond},
    object::{self, Object},
    parts::Multipart,
    signature::hex,
};
use crate::call::Call;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use md5::{Digest as _, Md5};
use percent_encoding::percent_decode_str;
use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

/// All buckets.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Generation of the last write.
    generation: u64,
    buckets: BTreeMap<String, Bucket>,
}

/// One bucket.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) multiparts: BTreeMap<String, Multipart>,
}

/// A write of one object.
pub(super) struct Write<'a> {
    pub(super) key: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) generation: u64,
}

impl Buckets {
    pub(super) fn make(&mut self, name: &str) {
        self.buckets.entry(name.to_owned()).or_default();
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Result<&mut Bucket, Refusal> {
        self.buckets.get_mut(name).ok_or(Refusal::NO_BUCKET)
    }

    /// Returns a generation that no object has had.
    pub(super) fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    pub(super) fn keys(&self, bucket: &str) -> Vec<String> {
        let bucket = self.buckets.get(bucket);
        bucket
            .map(|bucket| bucket.objects.keys().cloned().collect())
            .unwrap_or_default()
    }

    pub(super) fn open_multiparts(&self, bucket: &str) -> usize {
        self.buckets
            .get(bucket)
            .map_or(0, |bucket| bucket.multiparts.len())
    }

    pub(super) fn age_multiparts(&mut self, bucket: &str, by: Duration) {
        let bucket = self.buckets.get_mut(bucket);
        for multipart in bucket
            .into_iter()
            .flat_map(|bucket| bucket.multiparts.values_mut())
        {
            multipart.began -= by;
        }
    }

    /// Copies an object, also from another bucket.
    pub(super) fn copy(
        &mut self,
        call: &Call,
        headers: &HeaderMap,
        generation: u64,
    ) -> Result<Response<Bytes>, Refusal> {
        let source = headers
            .get("x-goog-copy-source")
            .and_then(|source| source.to_str().ok());
        let source = percent_decode_str(source.ok_or(Refusal::INVALID)?).decode_utf8_lossy();
        let (bucket, key) = source
            .trim_start_matches('/')
            .split_once('/')
            .ok_or(Refusal::INVALID)?;
        let source = self
            .get_mut(bucket)?
            .objects
            .get(key)
            .ok_or(Refusal::NO_KEY)?
            .clone();
        let write = Write {
            key: &call.key,
            headers: &source.kept,
            generation,
        };
        let target = self.get_mut(&call.bucket)?;
        object::check(headers, target.objects.get(&call.key))?;
        let copied = target.put(&write, source.bytes)?;
        let tag = &copied.tag;
        Ok(respond(
            StatusCode::OK,
            format!("<CopyObjectResult><ETag>{tag}</ETag></CopyObjectResult>"),
        ))
    }
}

impl Bucket {
    pub(super) fn read(&self, key: &str, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        self.objects.get(key).ok_or(Refusal::NO_KEY)?.read(request)
    }

    pub(super) fn put(&mut self, write: &Write<'_>, bytes: Bytes) -> Result<&Object, Refusal> {
        let tag = format!("\"{}\"", hex(&Md5::digest(&bytes)));
        self.store(write, bytes, tag)
    }

    /// Stores content with this entity tag.
    pub(super) fn store(&mut self, write: &Write<'_>, bytes: Bytes, tag: String) -> Result<&Object, Refusal> {
        object::check(write.headers, self.objects.get(write.key))?;
        let object = Object {
            bytes,
            generation: write.generation,
            tag,
            modified: SystemTime::now(),
            kept: object::kept(write.headers),
        };
        let entry = self.objects.entry(write.key.to_owned());
        Ok(entry.insert_entry(object).into_mut())
    }

    pub(super) fn delete(&mut self, key: &str, headers: &HeaderMap) -> Result<Response<Bytes>, Refusal> {
        object::check(headers, self.objects.get(key))?;
        match self.objects.remove(key) {
            Some(_) => Ok(respond(StatusCode::NO_CONTENT, Bytes::new())),
            None => Err(Refusal::NO_KEY),
        }
    }
}
