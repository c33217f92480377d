//! What the probe tries.

use super::{Kept, Probe};
use crate::bucket::{Bucket, Condition, Meta, Sent, Version};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::join_all};
use registry_core::storage::{Result, StorageError};
use std::sync::atomic::{AtomicBool, Ordering};

/// Number of simultaneous writers of a race.
const RACERS: usize = 16;
/// Least number of races of a kind. A store that looks and then writes lets two writers win in some races only, so there are
/// more as long as the probe waits for its URLs to expire.
const ROUNDS: usize = 4;
const MOST_ROUNDS: usize = 32;
/// Number of bytes that a racer writes. A store takes some time to receive them, in which others may look.
const RACING: usize = 16 << 10;

/// The bucket under trial, with a directory for it.
pub(super) struct Trial<'a> {
    bucket: &'a Bucket,
    directory: &'a str,
    /// True until expired URLs have been tried.
    is_waiting: AtomicBool,
}

/// Number of winners, or why no request was accepted.
enum Raced {
    Winners(usize),
    Refused(String),
}

impl<'a> Trial<'a> {
    pub(super) const fn new(bucket: &'a Bucket, directory: &'a str) -> Self {
        Self {
            bucket,
            directory,
            is_waiting: AtomicBool::new(true),
        }
    }

    pub(super) async fn all(&self) -> Result<Probe> {
        let expiry = async {
            let found = self.expiry().await;
            self.is_waiting.store(false, Ordering::Relaxed);
            found
        };
        let (expiry, create, update, delete, order, listed) = tokio::join!(
            expiry,
            self.create(),
            self.update(),
            self.delete(),
            self.byte_order(),
            self.listed(),
        );
        let (listed_at_once, prefixes_vanish) = listed?;
        Ok(Probe {
            create: create?,
            update: update?,
            delete: delete?,
            expiry: expiry?,
            listed_at_once,
            byte_order: order?,
            prefixes_vanish,
        })
    }

    fn key(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    async fn put(&self, key: &str, text: &str, condition: &Condition) -> Result<Sent> {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.bucket.put_once(key, bytes, condition, None).await
    }

    /// Writes a key and returns its version.
    async fn version(&self, key: &str, text: &str) -> Result<Version> {
        self.bucket
            .put(key, Bytes::copy_from_slice(text.as_bytes()))
            .await?;
        let found = self.bucket.head(key).await?;
        found.map(|meta| meta.version).ok_or_else(|| {
            StorageError::unavailable(
                format!("the object store does not have {key}, which was just written"),
                None,
                None,
            )
        })
    }

    /// Sends the same conditional write from all racers at once.
    async fn race(&self, key: &str, condition: &Condition) -> Raced {
        let racers = (0..RACERS).map(|racer| async move {
            let text = format!("{racer:0RACING$}");
            self.put(key, &text, condition).await
        });
        let (mut winners, mut unclear, mut refusal) = (0, 0, None);
        for sent in join_all(racers).await {
            match sent {
                Ok(Sent::Done(_)) => winners += 1,
                Ok(Sent::Unclear) => unclear += 1,
                Ok(Sent::Refused | Sent::Expired) => {}
                Err(error) => refusal = Some(error.to_string()),
            }
        }
        match refusal {
            Some(message) if winners == 0 => Raced::Refused(message),
            // The winner may be one whose answer was lost.
            _ if winners == 0 && unclear > 0 => Raced::Winners(1),
            _ => Raced::Winners(winners),
        }
    }

    /// Lets writers race for one key after the other. `before` gives the condition for a key.
    async fn races<F>(&self, name: &str, before: impl Fn(String) -> F) -> Result<Kept>
    where
        F: Future<Output = Result<Condition>>,
    {
        let mut worst = 1;
        for round in 0..MOST_ROUNDS {
            if round >= ROUNDS && !self.is_waiting.load(Ordering::Relaxed) {
                break;
            }
            let key = self.key(&format!("{name}-{round}"));
            let condition = before(key.clone()).await?;
            match self.race(&key, &condition).await {
                Raced::Refused(message) => return Ok(Kept::Refused(message)),
                Raced::Winners(winners) if winners != 1 => worst = winners.max(worst),
                Raced::Winners(_) => {}
            }
        }
        Ok(match worst {
            1 => Kept::Always,
            winners => Kept::Races {
                racers: RACERS,
                winners,
            },
        })
    }

    async fn create(&self) -> Result<Kept> {
        let key = self.key("create");
        self.bucket.put(&key, Bytes::from_static(b"first")).await?;
        match self.put(&key, "second", &Condition::Absent).await {
            Ok(Sent::Refused) => {}
            Ok(_) => return Ok(Kept::Never),
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        self.races("create", |_| async { Ok(Condition::Absent) }).await
    }

    async fn update(&self) -> Result<Kept> {
        let key = self.key("update");
        let first = self.version(&key, "first").await?;
        match self.put(&key, "second", &Condition::Is(first.clone())).await {
            Ok(Sent::Done(_)) => {}
            Ok(_) => {
                return Ok(Kept::Refused(
                    "an update of an object that has not changed".to_owned(),
                ));
            }
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        let missing = self.key("missing");
        for key in [&key, &missing] {
            if !matches!(
                self.put(key, "third", &Condition::Is(first.clone())).await,
                Ok(Sent::Refused)
            ) {
                return Ok(Kept::Never);
            }
        }
        let unchanged = |key: String| async move { Ok(Condition::Is(self.version(&key, "first").await?)) };
        self.races("update", unchanged).await
    }

    async fn delete(&self) -> Result<Kept> {
        let key = self.key("delete");
        let first = self.version(&key, "first").await?;
        let second = self.version(&key, "second").await?;
        match self.bucket.delete_once(&key, &Condition::Is(first), None).await {
            Ok(Sent::Refused) => {}
            Ok(_) => return Ok(Kept::Never),
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        if self.bucket.head(&key).await?.is_none() {
            return Ok(Kept::Never);
        }
        match self.bucket.delete_once(&key, &Condition::Is(second), None).await {
            Ok(Sent::Done(_)) if self.bucket.head(&key).await?.is_none() => Ok(Kept::Always),
            Ok(_) => Ok(Kept::Refused(
                "a deletion of an object that has not changed".to_owned(),
            )),
            Err(error) => Ok(Kept::Refused(error.to_string())),
        }
    }

    async fn expiry(&self) -> Result<Kept> {
        let (created, updated, deleted) = (
            self.key("late-create"),
            self.key("late-update"),
            self.key("late-delete"),
        );
        let version = self.version(&updated, "first").await?;
        self.version(&deleted, "first").await?;
        let late = Bytes::from_static(b"late");
        let is = Condition::Is(version.clone());
        let (create, update, delete) = tokio::join!(
            self.bucket
                .send_late(&created, Some(late.clone()), &Condition::Absent),
            self.bucket.send_late(&updated, Some(late.clone()), &is),
            self.bucket.send_late(&deleted, None, &Condition::Any),
        );
        for sent in [create, update, delete] {
            match sent {
                Ok(Some(Sent::Expired)) => {}
                Ok(Some(_)) => return Ok(Kept::Never),
                Ok(None) => {
                    let why =
                        "the clock in its answers does not move, or is behind the clock of this machine";
                    return Ok(Kept::Refused(why.to_owned()));
                }
                Err(error) => return Ok(Kept::Refused(error.to_string())),
            }
        }
        let kept = self.bucket.head(&created).await?.is_none()
            && self
                .bucket
                .head(&updated)
                .await?
                .is_some_and(|meta| meta.version == version)
            && self.bucket.head(&deleted).await?.is_some();
        Ok(if kept { Kept::Always } else { Kept::Never })
    }

    /// The order of `/` among the bytes that may follow a name is what differs.
    async fn byte_order(&self) -> Result<Kept> {
        let directory = self.key("order");
        let mut expected = Vec::new();
        for name in ["1-alpine", "1.2", "1", "10"] {
            let key = format!("{directory}/{name}/x");
            self.bucket.put(&key, Bytes::from_static(b"x")).await?;
            expected.push(key);
        }
        let keys = |listed: Vec<Meta>| -> Vec<String> { listed.into_iter().map(|meta| meta.key).collect() };
        let listed = keys(self.bucket.list(&directory).try_collect().await?);
        let after = keys(
            self.bucket
                .list_after(&directory, &format!("{directory}/1."))
                .await?,
        );
        let kept = listed == expected && expected.get(1..).is_some_and(|rest| after == rest);
        Ok(if kept { Kept::Always } else { Kept::Never })
    }

    async fn listed(&self) -> Result<(Kept, Kept)> {
        let directory = self.key("listed");
        let mut at_once = true;
        for round in 0..4 {
            let key = format!("{directory}/{round}/x");
            self.bucket.put(&key, Bytes::from_static(b"x")).await?;
            let listed: Vec<_> = self.bucket.list(&directory).try_collect().await?;
            at_once &= listed.len() == 1;
            self.bucket.delete(&key).await?;
            let listed: Vec<_> = self.bucket.list(&directory).try_collect().await?;
            at_once &= listed.is_empty();
        }
        let prefixes = self.bucket.directory(&directory).await?.directories;
        let kept = |yes| if yes { Kept::Always } else { Kept::Never };
        Ok((kept(at_once), kept(prefixes.is_empty())))
    }
}
