//! Marks of links that are about to be removed by request.
//!
//! A removal may take effect late: its answer is lost and the replica dies, or something on the way to the store sends it
//! twice. Somebody may have pushed the same content again meanwhile, and an object with the same bytes has the same
//! version on many stores.
//!
//! So a deletion first *marks* the link: it adds a random text to the digest. Then it removes the link with this mark, and no
//! other. Whoever pushes the content writes the link without a mark, which costs a push nothing: a removal that is still on
//! its way is refused. Whoever relies on a link that has a mark takes the mark off first, or waits for the deletion. A deletion
//! whose mark has gone begins again.
//!
//! registry:2 cannot read a link that has a mark. A deletion that fails takes its mark off, and one that finds a mark goes on
//! with it. The mark of a replica that has died stays until the content is pushed, named by a manifest, or, if it is a blob,
//! asked for, or until a collection or a repair. Reads pass over it.
//!
//! Stores without preconditions of removals have [notes](crate::deleting) instead. One that looks and then removes (versitygw) can
//! remove what is written in between: then the push came before the deletion, which has ended or may take effect at any time. A put
//! of a manifest looks at its record at the end.
//!
//! Not covered: something on the way to the store writes a mark a second time after the push, while the removal by a replica
//! that has died is on its way as well. And a client that pushes a manifest without a tag, asks for it first and finds it, while
//! such a removal is on its way, which it is for some seconds: a look would hold up the deletion of a manifest that is pulled.
//!
//! Requests: 3 for a mark, and 1 or 2 for the removal. 2 to take one off.

use crate::{
    bucket::{Condition, Object, Sent, Version},
    error::restart,
    nonce::nonce,
    rung::Rung,
    store::Store,
};
use bytes::Bytes;
use registry_core::{Digest, storage::Result};
use std::time::Duration;
use tokio::time::Instant;

/// Validity of the removal of a record. Short, because a put of the manifest may wait for the end of it.
pub(crate) const REMOVAL: Duration = Duration::from_secs(5);

/// Time for which a link is changed again that others change at the same time.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time after that a link is looked at again which somebody else has changed.
const PAUSE: Duration = Duration::from_millis(50);

/// Text of a mark in the place of a digest, on a link without one.
const GARBLED: &str = "-";

/// A link that has a mark.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    key: String,
    /// Text of the link without the mark.
    text: String,
    version: Version,
}

impl Marked {
    fn of(key: &str, object: &Object) -> Option<Self> {
        let text = str::from_utf8(&object.bytes).ok()?;
        let (text, _) = text.split_once(' ')?;
        Some(Self {
            key: key.to_owned(),
            text: text.to_owned(),
            version: object.version.clone(),
        })
    }
}

/// Returns true if a link has a mark.
pub(crate) fn is_marked(link: &[u8]) -> bool {
    link.contains(&b' ')
}

impl Store {
    /// Returns true if deletions mark what they remove. Otherwise they write notes.
    pub(crate) fn has_marks(&self) -> bool {
        self.rung == Rung::Conditional
    }

    /// Marks a link, which then can be removed. Returns `None` if there is no link.
    pub(crate) async fn mark_link(&self, key: &str) -> Result<Option<Marked>> {
        let began = Instant::now();
        loop {
            let Some(object) = self.bucket.get_link(key).await? else {
                return Ok(None);
            };
            // Another deletion may be going on. Both remove the same link.
            if let Some(marked) = Marked::of(key, &object) {
                return Ok(Some(marked));
            }
            if began.elapsed() > PATIENCE {
                return Err(restart(&format!("mark {key}")));
            }
            let text = str::from_utf8(&object.bytes).ok();
            let text = text.filter(|text| Digest::parse(text).is_ok());
            let text = format!("{} {}", text.unwrap_or(GARBLED), nonce()?);
            // A look tells the outcome, and the version.
            self.replace_link(key, text.into(), object.version).await?;
        }
    }

    /// Removes a link as it was marked. Returns false if it has been written meanwhile.
    pub(crate) async fn remove_marked(&self, marked: &Marked) -> Result<bool> {
        let condition = Condition::Is(marked.version.clone());
        let fence = self.fence_of(REMOVAL);
        match self.bucket.delete_once(&marked.key, &condition, fence).await? {
            Sent::Done(_) => Ok(true),
            // One that is late removes the same link, or nothing.
            Sent::Refused | Sent::Expired | Sent::Unclear => {
                Ok(self.bucket.head(&marked.key).await?.is_none())
            }
        }
    }

    /// Takes the mark of a deletion off that has failed, unless somebody has written the link meanwhile. If this fails, the mark
    /// stays.
    pub(crate) async fn unmark(&self, marked: &Marked) {
        if marked.text == GARBLED {
            return;
        }
        let (text, version) = (marked.text.clone().into(), marked.version.clone());
        if let Err(error) = self.replace_link(&marked.key, text, version).await {
            tracing::debug!(
                key = marked.key,
                error = &error as &dyn std::error::Error,
                "cannot take the mark of a deletion off a link"
            );
        }
    }

    /// Removes a link by request.
    pub(crate) async fn remove_by_mark(&self, key: &str) -> Result<()> {
        let began = Instant::now();
        while let Some(marked) = self.mark_link(key).await? {
            match self.remove_marked(&marked).await {
                Ok(true) => break,
                Ok(false) if began.elapsed() > PATIENCE => return Err(restart(&format!("remove {key}"))),
                Ok(false) => tokio::time::sleep(PAUSE).await,
                Err(error) => {
                    self.unmark(&marked).await;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Takes the mark off a link on which somebody relies. Returns false if it has gone.
    pub(crate) async fn keep_link(&self, key: &str) -> Result<bool> {
        let began = Instant::now();
        loop {
            let Some(object) = self.bucket.get_link(key).await? else {
                return Ok(false);
            };
            let Some(marked) = Marked::of(key, &object).filter(|marked| marked.text != GARBLED) else {
                return Ok(true);
            };
            if began.elapsed() > PATIENCE {
                return Err(restart(&format!("take the mark of a deletion off {key}")));
            }
            self.replace_link(key, marked.text.into(), marked.version).await?;
        }
    }

    /// Replaces a link. The outcome may be unknown: the caller looks.
    async fn replace_link(&self, key: &str, text: Bytes, version: Version) -> Result<()> {
        let condition = Condition::Is(version);
        let fence = self.fence_of(REMOVAL);
        match self.bucket.put_once(key, text, &condition, fence).await? {
            Sent::Done(_) => {}
            Sent::Refused | Sent::Expired | Sent::Unclear => tokio::time::sleep(PAUSE).await,
        }
        Ok(())
    }
}
