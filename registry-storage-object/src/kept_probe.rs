//! [`KeptProbe`]: the result of a probe, kept in the bucket for the next openings.
//!
//! A probe takes seconds, because it races and waits until URLs expire. A replica that was killed should serve again at once,
//! and so should a command. So a result is kept for a day, for each address of the bucket: another
//! gateway may keep other promises.
//!
//! It counts only if the store refuses to create the record once more: so a store that ignores preconditions is found out although
//! another one had its address before. A record that was copied with its bucket does not count either: it was not written
//! when the store says.
//!
//! A store that looks and then writes is found out by chance. So an opening that probes again remembers the races that an
//! earlier one has lost: replicas on one bucket have to move records by the same means. A probe that is asked for begins anew.
//!
//! Cost of an opening with a result: a GET and a PUT.

use crate::{
    bucket::{Bucket, Condition, MARGIN, Sent, StoreTime},
    gate::now,
    keys,
    probe::{
        LASTS,
        kept::{Kept, Probe},
    },
};
use bytes::Bytes;
use registry_core::{
    Algorithm, Digest,
    storage::{Result, StorageError},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Version of the probe. Results of another one do not count.
const VERSION: u32 = 2;

/// Validity of a URL that nobody asks for.
const UNUSED: Duration = Duration::from_secs(60);

/// The record of one address.
pub(crate) struct KeptProbe<'a> {
    bucket: &'a Bucket,
    key: String,
}

#[derive(Deserialize, Serialize)]
struct Record {
    version: u32,
    /// Time of the store at which it was written, in seconds.
    written: u64,
    /// In the order of [`Probe::all`].
    kept: [String; 7],
}

impl<'a> KeptProbe<'a> {
    /// Names the record of the address by which a bucket is reached. `None` if it is in memory, whose probe is quick.
    pub(crate) async fn of(bucket: &'a Bucket) -> Result<Option<Self>> {
        if !bucket.signs() {
            return Ok(None);
        }
        let url = bucket.signed_get(keys::PROBE, UNUSED).await?;
        let address = format!(
            "{}://{}{}",
            url.scheme_str().unwrap_or_default(),
            url.authority().map_or("", |authority| authority.as_str()),
            url.path()
        );
        let digest = Digest::of(Algorithm::Sha256, address.as_bytes());
        Ok(Some(Self {
            bucket,
            key: keys::kept_probe(&digest),
        }))
    }

    /// Reads the result, if there is one that still counts and lets replicas in.
    ///
    /// A failure is that of a store that the probe will report.
    pub(crate) async fn read(&self) -> Option<Probe> {
        let found = self.bucket.get(&self.key).await.ok()??;
        let record: Record = serde_json::from_slice(&found.bytes).ok()?;
        if !record.counts(StoreTime::of(found.modified), now(self.bucket)) {
            return None;
        }
        let probe = record.probe().filter(Probe::supports_replicas)?;
        let again = Bytes::from_static(b"written by a trial: this store ignores preconditions");
        let sent = self.bucket.put_once(&self.key, again, &Condition::Absent, None);
        matches!(sent.await, Ok(Sent::Refused)).then_some(probe)
    }

    /// Reads the result of the last probe, however old it is.
    pub(crate) async fn read_earlier(&self) -> Option<Probe> {
        let found = self.bucket.get(&self.key).await.ok()??;
        let record: Record = serde_json::from_slice(&found.bytes).ok()?;
        let modified = StoreTime::of(found.modified);
        record.counts(modified, modified).then(|| record.probe())?
    }

    /// Keeps a result.
    pub(crate) async fn write(&self, probe: &Probe) -> Result<()> {
        let record = Record {
            version: VERSION,
            written: now(self.bucket).since(StoreTime::default()).as_secs(),
            kept: probe.all().map(text),
        };
        let bytes = serde_json::to_vec(&record).expect("a record of texts and numbers is valid JSON");
        self.bucket.put(&self.key, bytes).await
    }
}

/// Returns the result of a probe, with the races that an earlier one has lost.
///
/// # Errors
///
/// [`StorageError::Denied`] if replicas that run since then move their records by other means.
pub(crate) fn agreed(mut probe: Probe, earlier: Option<Probe>) -> Result<Probe> {
    let Some(earlier) = earlier else {
        return Ok(probe);
    };
    let means = earlier.rung();
    probe.remember_races(earlier);
    if means.is_some() && probe.rung().is_some() && means != probe.rung() {
        return Err(StorageError::denied(format!(
            "the object store keeps other promises than an earlier check has found, and servers that run since then keep their \
             records at other keys: stop all servers of this bucket, run `registry storage check`, and start them again\n{probe}"
        )));
    }
    Ok(probe)
}

impl Record {
    /// Returns true if a record that the store wrote at a time counts at another one.
    fn counts(&self, modified: StoreTime, now: StoreTime) -> bool {
        let written = StoreTime::default().after(Duration::from_secs(self.written));
        let is_own = written.since(modified).max(modified.since(written)) <= MARGIN;
        self.version == VERSION && is_own && now.since(modified) < LASTS
    }

    fn probe(self) -> Option<Probe> {
        let mut kept = Vec::new();
        for text in self.kept {
            kept.push(parse(&text)?);
        }
        Some(Probe::of(kept.try_into().ok()?))
    }
}

fn text(kept: &Kept) -> String {
    match kept {
        Kept::Always => "yes".to_owned(),
        Kept::Never => "no".to_owned(),
        Kept::Races { racers, winners } => format!("races {racers} {winners}"),
        Kept::Refused(message) => format!("refused {message}"),
    }
}

fn parse(text: &str) -> Option<Kept> {
    Some(match text.split_once(' ') {
        None if text == "yes" => Kept::Always,
        None if text == "no" => Kept::Never,
        Some(("races", numbers)) => {
            let (racers, winners) = numbers.split_once(' ')?;
            let (racers, winners) = (racers.parse().ok()?, winners.parse().ok()?);
            Kept::Races { racers, winners }
        }
        Some(("refused", message)) => Kept::Refused(message.to_owned()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gcs, Location, ObjectStorage, location::Asking, support::Remote};
    use http::StatusCode;
    use object_stores::proxy::{Fault, Kind, on};

    #[test]
    fn results_are_read_as_they_were_written() {
        let refused = Kept::Refused("405 Method Not Allowed: not here".to_owned());
        let raced = Kept::Races {
            racers: 16,
            winners: 3,
        };
        for kept in [Kept::Always, Kept::Never, raced, refused] {
            assert_eq!(parse(&text(&kept)), Some(kept));
        }
        assert_eq!(parse("perhaps"), None);
        assert_eq!(parse("races many"), None);
    }

    #[test]
    fn a_record_counts_for_a_day_and_where_it_was_written() {
        let at = |seconds| StoreTime::default().after(Duration::from_secs(seconds));
        let record = Record {
            version: VERSION,
            written: 1_000_000,
            kept: [const { String::new() }; 7],
        };
        let day = LASTS.as_secs();
        assert!(record.counts(at(1_000_001), at(1_000_002)));
        assert!(record.counts(at(1_000_001), at(1_000_000 + day)));
        assert!(!record.counts(at(1_000_001), at(1_000_001 + day)));
        // A copy of the bucket has objects of later times.
        assert!(!record.counts(at(1_000_400), at(1_000_401)));
        let newer = Record {
            version: VERSION + 1,
            ..record
        };
        assert!(!newer.counts(at(1_000_001), at(1_000_002)));
    }

    #[tokio::test]
    async fn an_opening_remembers_the_races_that_an_earlier_probe_has_lost() {
        let remote = Remote::start().await;
        let location = || Location::from(Gcs::new("bucket").key(remote.key()));
        let raced = Probe {
            create: Kept::Races {
                racers: 16,
                winners: 2,
            },
            ..ObjectStorage::options().probe(&Location::memory()).await.unwrap()
        };
        let bucket = location().bucket("", &Asking::default()).unwrap();
        let record = KeptProbe::of(&bucket).await.unwrap().unwrap();
        record.write(&raced).await.unwrap();

        let refused = open(&remote).await.unwrap_err();

        assert!(refused.to_string().contains("2 of 16"), "{refused}");
        // Who asks for a probe wants to know what is true now.
        let probe = ObjectStorage::options().probe(&location()).await.unwrap();
        assert!(probe.supports_replicas(), "{probe}");
        open(&remote).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_that_is_lost_is_no_missing_ability() {
        let remote = Remote::start().await;
        for (kind, key) in [
            (Kind::ConditionalPut, "/create"),
            (Kind::ConditionalPut, "/update"),
            (Kind::ConditionalDelete, "/delete"),
        ] {
            let one = remote.proxy.fault(on(kind).key(key).first(1), Fault::Cut);
            let opened = open(&remote).await;
            assert_eq!(one.happened(), 1, "{key}");
            assert!(
                matches!(opened, Err(StorageError::Unavailable { .. })),
                "{key}: {opened:?}"
            );
        }
        open(&remote).await.unwrap();
    }

    #[tokio::test]
    async fn an_opening_keeps_to_the_means_of_an_earlier_probe() {
        let all = ObjectStorage::options().probe(&Location::memory()).await.unwrap();
        let logs = Probe {
            delete: Kept::Never,
            ..all.clone()
        };
        let refused = agreed(all.clone(), Some(logs.clone())).unwrap_err();
        assert!(
            refused.to_string().contains("`registry storage check`"),
            "{refused}"
        );
        assert!(agreed(logs.clone(), Some(all.clone())).is_err());

        agreed(logs.clone(), Some(logs.clone())).unwrap();
        agreed(logs, None).unwrap();
        // No replicas were let in.
        let none = Probe {
            create: Kept::Never,
            ..all.clone()
        };
        agreed(all, Some(none)).unwrap();
    }

    async fn open(remote: &Remote) -> Result<ObjectStorage> {
        let bucket = Gcs::new("bucket").key(remote.key());
        ObjectStorage::options().open(bucket.into()).await
    }

    #[tokio::test]
    async fn a_store_that_answers_no_writer_of_three_races_is_away() {
        let remote = Remote::start().await;
        let location: Location = Gcs::new("bucket").key(remote.key()).into();
        for (races, is_away) in [(2, false), (3, true)] {
            // One write overtakes another one first. Then, 16 race at a time.
            let writes = on(Kind::ConditionalPut).key("/create-").first(2 + 16 * races);
            let fault = Fault::Answer(StatusCode::SERVICE_UNAVAILABLE);
            let rule = remote.proxy.fault(writes, fault);

            let probed = ObjectStorage::options().probe(&location).await;

            assert_eq!(rule.happened(), 2 + 16 * races);
            let unavailable = matches!(probed, Err(StorageError::Unavailable { .. }));
            assert_eq!(unavailable, is_away, "{races} races: {probed:?}");
        }
    }

    #[tokio::test]
    async fn an_opening_takes_the_result_of_the_last_one_while_the_store_keeps_conditions() {
        let remote = Remote::start().await;
        open(&remote).await.unwrap();
        remote.proxy.forget();
        open(&remote).await.unwrap();
        let seen = remote.proxy.seen();
        assert!(seen.len() <= 5, "{seen:?}");

        // Another store has the address now.
        let ignoring = on(Kind::ConditionalPut).always();
        remote.proxy.fault(ignoring, Fault::IgnoreConditions);
        let refused = open(&remote).await.unwrap_err();
        assert!(refused.to_string().contains("replicas: 1"), "{refused}");
    }
}
