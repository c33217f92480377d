//! The trials of the probe.

use super::{
    kept::{Kept, Probe},
    races::Race,
    setting::{Trial, unanswered},
};
use crate::bucket::{Condition, Meta, Sent};
use bytes::Bytes;
use futures_util::TryStreamExt as _;
use registry_core::storage::Result;

impl Trial<'_> {
    pub(super) async fn all(&self) -> Result<Probe> {
        let expiry = async {
            let found = self.expiry().await;
            let _ = self.refuses_expired.set(matches!(found, Ok(Kept::Always)));
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

    async fn create(&self) -> Result<Kept> {
        let key = self.key("create");
        self.bucket.put(&key, Bytes::from_static(b"first")).await?;
        match self.put(&key, "second", &Condition::Absent).await {
            Ok(Sent::Refused) => {}
            Ok(Sent::Done(_)) => return Ok(Kept::Never),
            Ok(Sent::Unclear | Sent::Expired) => return Err(unanswered()),
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        self.races("create", Race::Create).await
    }

    async fn update(&self) -> Result<Kept> {
        let key = self.key("update");
        let first = self.version(&key, "first").await?;
        match self.put(&key, "second", &Condition::Is(first.clone())).await {
            Ok(Sent::Done(_)) => {}
            Ok(Sent::Refused) => {
                return Ok(Kept::Refused(
                    "an update of an object that has not changed".to_owned(),
                ));
            }
            Ok(Sent::Unclear | Sent::Expired) => return Err(unanswered()),
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        let missing = self.key("missing");
        for key in [&key, &missing] {
            match self.put(key, "third", &Condition::Is(first.clone())).await {
                Ok(Sent::Refused) => {}
                Ok(Sent::Unclear | Sent::Expired) => return Err(unanswered()),
                Ok(Sent::Done(_)) | Err(_) => return Ok(Kept::Never),
            }
        }
        self.races("update", Race::Update).await
    }

    async fn delete(&self) -> Result<Kept> {
        let key = self.key("delete");
        let first = self.version(&key, "first").await?;
        let second = self.version(&key, "second").await?;
        match self.bucket.delete_once(&key, &Condition::Is(first), None).await {
            Ok(Sent::Refused) => {}
            Ok(Sent::Done(_)) => return Ok(Kept::Never),
            Ok(Sent::Unclear | Sent::Expired) => return Err(unanswered()),
            Err(error) => return Ok(Kept::Refused(error.to_string())),
        }
        if self.bucket.head(&key).await?.is_none() {
            return Ok(Kept::Never);
        }
        match self.bucket.delete_once(&key, &Condition::Is(second), None).await {
            Ok(Sent::Done(_)) if self.bucket.head(&key).await?.is_none() => {
                self.races("delete", Race::Delete).await
            }
            Ok(Sent::Done(_) | Sent::Refused) => Ok(Kept::Refused(
                "a deletion of an object that has not changed".to_owned(),
            )),
            Ok(Sent::Unclear | Sent::Expired) => Err(unanswered()),
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
