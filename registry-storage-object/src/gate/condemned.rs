//! [`Condemned`]: the items that a collection has announced to remove.

use super::mark::{self, Mark};
use crate::{
    bucket::{Bucket, RETRY_AFTER},
    keys,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use registry_core::storage::{Result, StorageError};
use std::sync::Arc;

/// Number of lists that are read at once.
const PARALLEL: usize = 8;

/// The lists of announced items. 8 bytes of memory for each item.
#[derive(Clone, Debug, Default)]
pub(crate) struct Condemned(Vec<List>);

#[derive(Clone, Debug)]
struct List {
    name: String,
    /// In order.
    marks: Arc<[Mark]>,
}

impl Condemned {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn contains(&self, mark: Mark) -> bool {
        self.0.iter().any(|list| list.marks.binary_search(&mark).is_ok())
    }

    /// Reads the lists of these names, except those that are known. Returns `None` if one of them has gone: then the
    /// collection has ended since the names were read.
    pub(crate) async fn read(bucket: &Bucket, names: &[String], known: &Self) -> Result<Option<Self>> {
        let mut lists = Vec::with_capacity(names.len());
        for names in names.chunks(PARALLEL) {
            let mut reads = Vec::new();
            for name in names {
                let known = known.0.iter().find(|list| list.name == *name).cloned();
                reads.push(async move {
                    match known {
                        Some(list) => Ok(Some(list)),
                        None => List::read(bucket, name).await,
                    }
                });
            }
            lists.extend(try_join_all(reads).await?);
        }
        Ok(lists.into_iter().collect::<Option<Vec<_>>>().map(Self))
    }

    /// Adds a list, and returns its content.
    pub(crate) fn add(&mut self, name: &str, marks: Vec<Mark>) -> Bytes {
        let list = List::new(name, marks);
        let bytes = mark::to_bytes(&list.marks).into();
        self.0.push(list);
        bytes
    }
}

impl List {
    async fn read(bucket: &Bucket, name: &str) -> Result<Option<Self>> {
        let key = keys::condemned(name);
        let Some(object) = bucket.get(&key).await? else {
            return Ok(None);
        };
        let marks = mark::from_bytes(&object.bytes).ok_or_else(|| {
            let size = object.bytes.len();
            StorageError::unavailable(
                format!("the list {key} of a collection is damaged: it has {size} bytes"),
                Some(RETRY_AFTER),
                None,
            )
        })?;
        Ok(Some(Self::new(name, marks)))
    }

    fn new(name: &str, mut marks: Vec<Mark>) -> Self {
        marks.sort_unstable();
        Self {
            name: name.to_owned(),
            marks: marks.into(),
        }
    }
}
