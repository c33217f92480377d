//! Referrers: by the registry's list, or else by the tag scheme.
//!
//! Specification: "Listing Referrers", "Referrers Tag Schema".

use super::RemoteRepository;
use crate::{
    call::Call,
    error::{Error, Result},
    pages::Pages,
    transport::Answered,
};
use registry_core::{
    Algorithm, Descriptor, Digest, MediaType, Tag,
    manifest::Manifest,
    protocol::{PageQuery, Precondition, Request},
};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Maximum number of referrers of a manifest.
const MOST: usize = 100_000;
/// Number of attempts to change an index that others change at the same time.
const ATTEMPTS: usize = 5;

impl RemoteRepository {
    /// Returns the manifests whose subject is `subject`, or only those with `artifact_type`.
    ///
    /// If the registry does not list referrers, the index under the tag of the subject's referrers is read, which other
    /// clients keep. The client filters in any case.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::TooLong`] for more than 100 000 referrers, [`Error::Protocol`] if the list is malformed,
    /// [`Error::Denied`] and [`Error::Unauthorized`], and the failures of connections.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let found = self.find_referrers(subject, artifact_type).await?;
        Ok(found.unwrap_or_default())
    }

    /// Returns the referrers; `None` if neither the list nor the tag is found and the registry does not say that the
    /// content is missing, so that the repository may be hidden.
    pub(crate) async fn find_referrers(
        &self,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Option<Vec<Descriptor>>> {
        let request = Request::Referrers {
            repository: self.name.clone(),
            subject: *subject,
            artifact_type: artifact_type.map(Arc::from),
            page: PageQuery::default(),
        };
        let call = Call::new(&self.host, request).accepting(MediaType::OCI_INDEX);
        let mut pages = Pages::new(self.client.clone(), call, parse);
        let (first, certain) = match pages.next().await {
            Ok(first) => (first.unwrap_or_default().into_iter().collect(), true),
            // An empty list is no `404`.
            Err(error @ (Error::NotFound { .. } | Error::Unsupported { .. })) => (None, error.is_absence()),
            Err(error) => return Err(error),
        };
        self.learned
            .note(|abilities| abilities.referrers = Some(first.is_some()));
        let all: Option<Vec<Descriptor>> = match first {
            Some(first) => Some(self.further_pages(subject, first, pages).await?),
            None => self.referrers_by_tag(subject, certain).await?,
        };
        let selected = |all: Vec<Descriptor>| all.into_iter().filter(|found| found.is_of(artifact_type));
        Ok(all.map(|all| selected(all).collect()))
    }

    /// Reads the pages after the first one. Their failures do not mean that there is no list.
    async fn further_pages(
        &self,
        subject: &Digest,
        mut all: Vec<Descriptor>,
        pages: Pages<Option<Descriptor>>,
    ) -> Result<Vec<Descriptor>> {
        let left = MOST.saturating_sub(all.len());
        let too_long = |error| match error {
            Error::TooLong { url, .. } => Error::TooLong { url, limit: MOST },
            error => error,
        };
        for found in pages.all(left).await.map_err(too_long)? {
            let malformed = || {
                let place = format!("{}/{}@{subject}", self.host, self.name);
                Error::protocol(place, "a page of the list of referrers is no index")
            };
            all.push(found.ok_or_else(malformed)?);
        }
        Ok(all)
    }

    /// Reads the index under the tag. `certain` is true if its absence alone means that there are no referrers.
    async fn referrers_by_tag(&self, subject: &Digest, certain: bool) -> Result<Option<Vec<Descriptor>>> {
        match self.manifest(Tag::of_referrers(subject)).await {
            Ok(index) => {
                let all = descriptors(&index.bytes).ok_or_else(|| self.malformed(subject))?;
                Ok(Some(all))
            }
            Err(error @ Error::NotFound { .. }) => Ok((certain || error.is_absence()).then(Vec::new)),
            Err(error) => Err(error),
        }
    }

    /// Adds a manifest to the index under the tag of its subject's referrers.
    pub(super) async fn add_to_referrers_tag(&self, subject: &Digest, referrer: &Descriptor) -> Result<()> {
        let add = |entries: &mut Vec<Value>| {
            let is_new = !entries.iter().any(|entry| is_of(entry, &referrer.digest));
            if is_new {
                entries.push(entry(referrer));
            }
            is_new
        };
        self.change_referrers_tag(subject, &add).await
    }

    /// Removes a manifest from the index under the tag of its subject's referrers, if there is one.
    pub(super) async fn remove_from_referrers_tag(&self, subject: &Digest, referrer: &Digest) -> Result<()> {
        let remove = |entries: &mut Vec<Value>| {
            let before = entries.len();
            entries.retain(|entry| !is_of(entry, referrer));
            entries.len() < before
        };
        self.change_referrers_tag(subject, &remove).await
    }

    /// Changes the index under the tag of the referrers of `subject`. A `change` that returns false has changed nothing.
    async fn change_referrers_tag(
        &self,
        subject: &Digest,
        change: &(dyn Fn(&mut Vec<Value>) -> bool + Sync),
    ) -> Result<()> {
        let tag = Tag::of_referrers(subject);
        let media_type = MediaType::parse(MediaType::OCI_INDEX).expect("it is a media type");
        // Other clients find the index by its tag alone.
        let repository = self.clone().with_algorithm(Algorithm::Sha256);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let (mut entries, condition) = match self.manifest(&tag).await {
                Ok(index) => {
                    let entries = entries(&index.bytes).ok_or_else(|| self.malformed(subject))?;
                    (entries, Precondition::Is(index.digest))
                }
                Err(Error::NotFound { .. }) => (Vec::new(), Precondition::Absent),
                Err(error) => return Err(error),
            };
            if !change(&mut entries) {
                return Ok(());
            }
            let index = json!({
                "schemaVersion": 2,
                "mediaType": MediaType::OCI_INDEX,
                "manifests": entries,
            });
            let put = repository.put_manifest(
                index.to_string(),
                &media_type,
                std::slice::from_ref(&tag),
                Some(condition),
            );
            match Box::pin(put).await {
                Ok(_) => return Ok(()),
                // Another client was faster.
                Err(Error::ConditionFailed { .. }) if attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn malformed(&self, subject: &Digest) -> Error {
        let place = format!("{}/{}:{}", self.host, self.name, Tag::of_referrers(subject));
        Error::protocol(place, "the index of referrers is malformed")
    }
}

/// Reads a page of the registry's list. Registries without it may answer with a page of another kind.
fn parse(answered: &Answered, body: &[u8]) -> Result<Vec<Option<Descriptor>>> {
    let is_index = answered
        .answer()
        .media_type()
        .is_some_and(|media_type| media_type.as_str() == MediaType::OCI_INDEX);
    if !is_index {
        return Ok(vec![None]);
    }
    let all = descriptors(body)
        .ok_or_else(|| Error::protocol(&*answered.named, "the list of referrers is malformed"))?;
    Ok(all.into_iter().map(Some).collect())
}

/// Reads the descriptors of an index. Those that cannot be pulled by this client are left out.
fn descriptors(index: &[u8]) -> Option<Vec<Descriptor>> {
    let media_type = MediaType::parse(MediaType::OCI_INDEX).ok()?;
    let index = Manifest::parse_stored(index, &media_type).ok()?;
    let of_child = |child: &registry_core::manifest::Child| {
        let mut descriptor = Descriptor::new(child.media_type.clone()?, *child.digest.known()?, child.size);
        descriptor.artifact_type.clone_from(&child.artifact_type);
        descriptor.annotations.clone_from(&child.annotations);
        Some(descriptor)
    };
    Some(index.manifests().iter().filter_map(of_child).collect())
}

/// Reads the entries of an index as they are, so that unknown fields are kept.
fn entries(index: &[u8]) -> Option<Vec<Value>> {
    let mut index: Map<String, Value> = serde_json::from_slice(index).ok()?;
    match index.remove("manifests")? {
        Value::Array(entries) => Some(entries),
        _ => None,
    }
}

/// Returns true if an entry of an index has this digest.
fn is_of(entry: &Value, digest: &Digest) -> bool {
    let found = entry.get("digest").and_then(Value::as_str);
    found.is_some_and(|found| found == digest.to_string())
}

fn entry(referrer: &Descriptor) -> Value {
    let mut entry = Map::new();
    let mut set = |name: &str, value: Value| _ = entry.insert(name.to_owned(), value);
    set("mediaType", referrer.media_type.as_str().into());
    set("digest", referrer.digest.to_string().into());
    set("size", referrer.size.into());
    if let Some(artifact_type) = &referrer.artifact_type {
        set("artifactType", Value::from(&**artifact_type));
    }
    if let Some(annotations) = &referrer.annotations {
        set("annotations", json!(annotations.to_map()));
    }
    entry.into()
}
