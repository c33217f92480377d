//! [`Probe`]: what an object store can do, found out by trying.
//!
//! A store may answer one request after the other correctly and still let several of many simultaneous ones win. So the
//! probe races.

use crate::{
    bucket::{Bucket, Condition, Meta, Sent, StoreTime, Version},
    gate::now,
    keys,
    nonce::nonce,
    rung::Rung,
};
use bytes::Bytes;
use futures_util::{TryStreamExt as _, future::join_all};
use registry_core::storage::{Result, StorageError};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Number of simultaneous writers of a race.
const RACERS: usize = 16;
/// Age from which on the keys of a probe are those of a process that died.
const ABANDONED: Duration = Duration::from_secs(60 * 60);
/// Time for which a result counts.
pub(crate) const LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// Least number of races of a kind. A store that looks and then writes lets two writers win in some races only, so there are
/// more as long as the probe waits for its URLs to expire.
const ROUNDS: usize = 4;
const MOST_ROUNDS: usize = 32;
/// Number of bytes that a racer writes. A store takes some time to receive them, in which others may look.
const RACING: usize = 16 << 10;

/// Extent to which a store keeps one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// Always, also under simultaneous requests.
    Always,
    /// One request after the other, but not under simultaneous ones.
    #[non_exhaustive]
    Races {
        /// Number of simultaneous writers of which one should have won.
        racers: usize,
        /// Number of those that won.
        winners: usize,
    },
    /// Never.
    Never,
    /// The store does not accept such requests, with this message.
    Refused(String),
}

impl Kept {
    const fn is_always(&self) -> bool {
        matches!(self, Self::Always)
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("yes"),
            Self::Races { racers, winners } => {
                write!(f, "no: {winners} of {racers} simultaneous writers won")
            }
            Self::Never => f.write_str("no"),
            Self::Refused(message) => write!(f, "refused: {message}"),
        }
    }
}

/// Abilities of an object store.
///
/// Its text form is a table for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Probe {
    /// PUT of an object only if there is none: `If-None-Match: *`, or a generation of 0.
    pub create: Kept,
    /// PUT of an object only if it has not changed: `If-Match`, or a generation.
    pub update: Kept,
    /// DELETE of an object only if it has not changed.
    pub delete: Kept,
    /// Refusal of signed URLs that have expired, for PUT and DELETE.
    pub expiry: Kept,
    /// Objects are listed as soon as they are written, and no more once they are removed.
    pub listed_at_once: Kept,
    /// Objects are listed in byte order of their keys, and a listing that starts after a key loses none.
    pub byte_order: Kept,
    /// Common prefixes of objects that were all removed are not listed.
    pub prefixes_vanish: Kept,
}

impl Probe {
    /// Tries everything below a directory of its own, and removes it.
    pub(crate) async fn run(bucket: &Bucket) -> Result<Self> {
        let directory = format!("{}/{}", keys::PROBE, nonce()?);
        let trial = Trial {
            bucket,
            directory: &directory,
            is_waiting: AtomicBool::new(true),
        };
        let found = trial.all().await;
        // What others left is of names that nobody uses again. A probe takes seconds.
        let now = now(bucket);
        let left: Vec<_> = bucket.list(keys::PROBE).try_collect().await.unwrap_or_default();
        for object in left {
            let lasts = match object.key.starts_with(keys::KEPT_PROBES) {
                true => LASTS,
                false => ABANDONED,
            };
            let is_old = now.since(StoreTime::of(object.modified)) > lasts;
            if is_old || object.key.starts_with(&directory) {
                let _ = bucket.delete(&object.key).await;
            }
        }
        found
    }

    /// Returns the means by which records are moved, or `None` if the store has none for more than one process.
    pub(crate) const fn rung(&self) -> Option<Rung> {
        match (
            self.create.is_always(),
            self.update.is_always(),
            self.delete.is_always(),
        ) {
            (true, true, true) => Some(Rung::Conditional),
            (true, _, _) => Some(Rung::Log),
            _ => None,
        }
    }

    /// Returns true if any number of processes may write to the bucket at once.
    #[must_use]
    pub fn supports_replicas(&self) -> bool {
        self.rung().is_some()
    }

    const fn means(&self) -> &'static str {
        match self.rung() {
            Some(Rung::Conditional) => "any number of replicas; tags are moved by preconditions",
            Some(Rung::Log) => "any number of replicas; tags are numbered logs",
            Some(Rung::Sole) | None => "one replica only",
        }
    }

    /// Logs the result, and the abilities that the store lacks.
    pub(crate) fn log(&self) {
        let mut lacks = Vec::new();
        for (name, kept, _) in self.rows() {
            tracing::debug!("the object store: {name}: {kept}");
            if !kept.is_always() {
                lacks.push(name);
            }
        }
        let means = self.means();
        match lacks.is_empty() {
            true => tracing::info!("the object store suits {means}"),
            false => tracing::info!("the object store suits {means}; it does not {}", lacks.join(", ")),
        }
    }

    /// Returns the abilities in the order of the fields.
    pub(crate) const fn all(&self) -> [&Kept; 7] {
        [
            &self.create,
            &self.update,
            &self.delete,
            &self.expiry,
            &self.listed_at_once,
            &self.byte_order,
            &self.prefixes_vanish,
        ]
    }

    /// Makes a result of its abilities in the order of the fields.
    pub(crate) fn of(all: [Kept; 7]) -> Self {
        let [
            create,
            update,
            delete,
            expiry,
            listed_at_once,
            byte_order,
            prefixes_vanish,
        ] = all;
        Self {
            create,
            update,
            delete,
            expiry,
            listed_at_once,
            byte_order,
            prefixes_vanish,
        }
    }

    fn rows(&self) -> [(&'static str, &Kept, &'static str); 7] {
        [
            (
                "create only if absent",
                &self.create,
                "needed for more than one replica",
            ),
            (
                "update only if unchanged",
                &self.update,
                "without it, tags are numbered logs",
            ),
            (
                "delete only if unchanged",
                &self.delete,
                "without it, tags are numbered logs",
            ),
            (
                "refuse expired URLs",
                &self.expiry,
                "without it, a stalled replica may write late",
            ),
            (
                "list what was just written",
                &self.listed_at_once,
                "needed for collections",
            ),
            (
                "list in byte order",
                &self.byte_order,
                "without it, pages of listings cost more requests",
            ),
            (
                "forget prefixes of removed objects",
                &self.prefixes_vanish,
                "without it, prefixes are checked",
            ),
        ]
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, kept, meaning) in self.rows() {
            match kept {
                Kept::Always => writeln!(f, "{name:36} {kept}")?,
                _ => writeln!(f, "{name:36} {kept} ({meaning})")?,
            }
        }
        write!(f, "{:36} {}", "result", self.means())
    }
}

/// The bucket under trial, with a directory for it.
struct Trial<'a> {
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

impl Trial<'_> {
    async fn all(&self) -> Result<Probe> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    #[tokio::test]
    async fn memory_keeps_everything() {
        let bucket = Location::memory().bucket("").unwrap();
        let probe = Probe::run(&bucket).await.unwrap();
        assert_eq!(probe.rung(), Some(Rung::Conditional), "{probe}");
        assert!(
            probe.rows().iter().all(|(_, kept, _)| kept.is_always()),
            "{probe}"
        );
        let left: Vec<_> = bucket.list(keys::TOP).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}
