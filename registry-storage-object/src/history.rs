//! Histories of tags: each move and deletion is a key of its own, `_history/<name>/_tags/<tag>/<entry>`.
//!
//! # Order
//!
//! An entry is written *before* the tag is moved or removed, and taken back if the tag is not changed. Two promises
//! rest on that:
//!
//! - Each put of a tag that exists changes its [version](Entries::version), before any replica can see the put: a deletion
//!   of an unchanged tag therefore notices a put of the same manifest, which does not change the link.
//! - A tag that was deleted is never taken for lost: the last entry of its history is the deletion.
//!
//! A replica that dies between the two leaves an entry of something that did not happen. The tag itself tells the truth.
//!
//! The entry of a new tag is written *after* the tag is there. Otherwise, a replica that dies between the two would leave
//! the history of a tag that seems to be lost. One that dies now leaves a tag whose history lacks this event.
//!
//! [`Entries::last_seen`] tells if a tag without a link has existed since its last deletion.
//!
//! Entries sort by the time of the store's clock. A deletion sorts after all entries that were there before, whatever
//! the clock says. Of moves by different replicas within a second, the order may be another one; nothing but the display
//! depends on it.
//!
//! # Costs
//!
//! The name of an entry has all but the user, so a history is read with one request for a listing. An entry costs one
//! request for each put of a tag. The newest 100 events are kept: about every 32nd move removes older ones.

use crate::{keys, nonce::nonce, scans::at_once, store::Store};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Result, TagEvent, TagVersion},
};
use serde_json::{Map, Value};
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Age below which a move or a deletion in a history may still be under way. More than the time until which it may be
/// published.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(10 * 60);

/// Number of events that are kept.
const KEPT: usize = 100;

/// Average number of moves after which older events are removed.
const TRIM_EVERY: u64 = 32;

/// Maximum length of the name of a user, in characters. A token can contain any name.
const LONGEST_NAME: usize = 128;

/// A change of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It has come into being, and points at this manifest. A history from a directory says the same of each move.
    Created(Digest),
    /// It existed, and points at this manifest from then on.
    Moved(Digest),
    /// It has come into being again, because its deletion was undone.
    Restored(Digest),
    /// It was put with this manifest, at which it had pointed. Part of the event before.
    PutAgain(Digest),
    /// Its deletion was undone once more. No event.
    RestoredAgain(Digest),
    /// It was deleted. It had pointed at this manifest, if that is known.
    Deleted(Option<Digest>),
}

impl Change {
    const fn letter(self) -> &'static str {
        match self {
            Self::Created(_) => "m",
            Self::Moved(_) => "n",
            Self::Restored(_) => "r",
            Self::PutAgain(_) => "a",
            Self::RestoredAgain(_) => "s",
            Self::Deleted(_) => "d",
        }
    }

    /// Returns the manifest that it names.
    const fn digest(self) -> Option<Digest> {
        match self {
            Self::Created(digest)
            | Self::Moved(digest)
            | Self::Restored(digest)
            | Self::PutAgain(digest)
            | Self::RestoredAgain(digest) => Some(digest),
            Self::Deleted(digest) => digest,
        }
    }

    /// Returns the manifest that the tag points at afterwards.
    pub(crate) const fn target(self) -> Option<Digest> {
        match self {
            Self::Deleted(_) => None,
            other => other.digest(),
        }
    }
}

/// One entry of a history: the name of its object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Nanoseconds since 1970.
    number: u64,
    nonce: u64,
    pub(crate) change: Change,
    /// True if its object names a user.
    named: bool,
}

impl Entry {
    pub(crate) fn at(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_nanos(self.number)
    }

    /// Returns true if it is older.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        (self.number, self.nonce) < (other.number, other.nonce)
    }

    /// Returns the name, which sorts by time.
    fn name(&self) -> String {
        let digest = self.change.digest().map_or_else(String::new, |digest| {
            format!("-{}-{}", digest.algorithm().as_str(), digest.hex())
        });
        let by = if self.named { "-by" } else { "" };
        format!(
            "{:020}-{:016x}-{}{digest}{by}",
            self.number,
            self.nonce,
            self.change.letter()
        )
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        let (name, named) = match name.strip_suffix("-by") {
            Some(name) => (name, true),
            None => (name, false),
        };
        let mut parts = name.split('-');
        let (number, nonce, letter) = (parts.next()?, parts.next()?, parts.next()?);
        let digest = match parts.next() {
            None => None,
            Some(algorithm) => {
                let algorithm = Algorithm::ALL
                    .into_iter()
                    .find(|known| known.as_str() == algorithm)?;
                Some(Digest::from_hex(algorithm, parts.next()?).ok()?)
            }
        };
        if number.len() != 20 || nonce.len() != 16 || parts.next().is_some() {
            return None;
        }
        let change = match (letter, digest) {
            ("m", Some(digest)) => Change::Created(digest),
            ("n", Some(digest)) => Change::Moved(digest),
            ("r", Some(digest)) => Change::Restored(digest),
            ("a", Some(digest)) => Change::PutAgain(digest),
            ("s", Some(digest)) => Change::RestoredAgain(digest),
            ("d", digest) => Change::Deleted(digest),
            _ => return None,
        };
        Some(Self {
            number: number.parse().ok()?,
            nonce: u64::from_str_radix(nonce, 16).ok()?,
            change,
            named,
        })
    }
}

/// The entries of the history of a tag, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entries(Vec<Entry>);

impl Entries {
    /// Sorts the names of objects. Other names are of other programs.
    pub(crate) fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut entries: Vec<Entry> = names.into_iter().filter_map(Entry::parse).collect();
        entries.sort_unstable_by_key(|entry| (entry.number, entry.nonce));
        Self(entries)
    }

    pub(crate) fn last(&self) -> Option<&Entry> {
        self.0.last()
    }

    /// Returns the manifest that the tag pointed at last.
    pub(crate) fn last_target(&self) -> Option<Digest> {
        self.0.iter().rev().find_map(|entry| entry.change.target())
    }

    /// Returns true if the tag has pointed at a manifest.
    pub(crate) fn name(&self, target: &Digest) -> bool {
        self.0.iter().any(|entry| entry.change.target() == Some(*target))
    }

    /// Returns the version of the tag: other entries, other version.
    pub(crate) fn version(&self) -> TagVersion {
        let names: Vec<String> = self.0.iter().map(Entry::name).collect();
        let hash = Digest::of(Algorithm::Sha256, names.join("\n").as_bytes());
        let first = hash.as_bytes().first_chunk().copied().unwrap_or_default();
        TagVersion::new(u64::from_be_bytes(first))
    }

    /// Returns the time of the last move of a tag that points at `target`. `None` if that is not in the history.
    pub(crate) fn moved(&self, target: &Digest) -> Option<SystemTime> {
        let is_again =
            |entry: &&Entry| matches!(entry.change, Change::PutAgain(_) | Change::RestoredAgain(_));
        // A deletion has no target: the tag that came after it is not in the history.
        let last = self.0.iter().rev().find(|entry| !is_again(entry))?;
        (last.change.target() == Some(*target)).then(|| last.at())
    }

    /// Returns the last entry if the tag existed then, as far as the history tells.
    ///
    /// A move may have found the tag gone, and its replica may have died before it took the entry back. So a move after a
    /// deletion counts only if it was begun when that could no longer be under way: its replica has seen the tag. The oldest
    /// entries are removed: a tag without a deletion existed.
    pub(crate) fn last_seen(&self) -> Option<&Entry> {
        let is_begin = |change| {
            matches!(
                change,
                Change::Created(_) | Change::Restored(_) | Change::Deleted(_)
            )
        };
        let begin = self.0.iter().rposition(|entry| is_begin(entry.change));
        let since = self.0.get(begin.unwrap_or_default()..).unwrap_or_default();
        let was_there = match since.first() {
            Some(gone) if gone.change.target().is_none() => {
                since.iter().any(|put| put.at() > gone.at() + UNDER_WAY)
            }
            first => first.is_some(),
        };
        self.last().filter(|_| was_there)
    }

    /// Returns true if it has a put that an earlier reading had not.
    fn has_put_since(&self, earlier: &Self) -> bool {
        self.0
            .iter()
            .any(|entry| entry.change.target().is_some() && !earlier.0.contains(entry))
    }

    /// Returns the events, each with the entry that began it.
    fn events(&self) -> Vec<(TagEvent, Entry)> {
        let mut events: Vec<(TagEvent, Entry)> = Vec::new();
        for entry in &self.0 {
            let at = entry.at();
            let event = match entry.change {
                Change::RestoredAgain(_) => continue,
                Change::PutAgain(target) => {
                    if let Some((last, _)) = events.last_mut()
                        && last.target == Some(target)
                    {
                        last.put_again = Some(at);
                        continue;
                    }
                    // Another program had moved it there.
                    let mut event = TagEvent::undated(target);
                    event.put_again = Some(at);
                    event
                }
                Change::Created(target) | Change::Moved(target) => TagEvent::new(at, Some(target), None),
                Change::Restored(target) => TagEvent::new(at, Some(target), None).with_restored(true),
                Change::Deleted(was) => TagEvent::new(at, None, None).with_was(was),
            };
            events.push((event, *entry));
        }
        events
    }

    /// Returns the entries that a history does not need: those that later ones make superfluous, and those of events
    /// before the newest [`KEPT`].
    fn superfluous(&self) -> Vec<Entry> {
        let events = self.events();
        let first = events.len().checked_sub(KEPT).and_then(|first| events.get(first));
        let oldest = first.map_or((0, 0), |(_, entry)| (entry.number, entry.nonce));
        let followers = self.0.iter().skip(1).map(Some).chain([None]);
        self.0
            .iter()
            .zip(followers)
            .filter(|(entry, next)| {
                let is_same =
                    |next: &&Entry| matches!(next.change, Change::PutAgain(_) | Change::RestoredAgain(_));
                let is_again = matches!(entry.change, Change::PutAgain(_) | Change::RestoredAgain(_));
                (entry.number, entry.nonce) < oldest || (is_again && next.as_ref().is_some_and(is_same))
            })
            .map(|(entry, _)| *entry)
            .collect()
    }
}

/// An entry that was written, and may be taken back.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    key: String,
    nonce: u64,
}

impl Store {
    /// Returns the time by the store's clock. That tells whole seconds: where the local clock agrees with it, that has the
    /// fraction.
    pub(crate) fn stamp(&self) -> SystemTime {
        let here = SystemTime::now();
        match self.bucket.observed().latest().map(|told| told.time()) {
            Some(told) if here < told || here > told + Duration::from_secs(60) => told,
            _ => here,
        }
    }

    /// Lists the entries of the history of a tag.
    pub(crate) async fn entries(&self, repository: &RepositoryName, tag: &Tag) -> Result<Entries> {
        let directory = keys::history(repository, tag);
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let page = self.bucket.page(&directory, token).await?;
            names.extend(page.objects.into_iter().filter_map(|meta| last_part(&meta.key)));
            token = page.next;
            if token.is_none() {
                break;
            }
        }
        Ok(Entries::of(names.iter().map(String::as_str)))
    }

    /// Writes an entry, after those that were read before, if they were.
    pub(crate) async fn write_entry(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        change: Change,
        by: Option<&str>,
        before: Option<&Entries>,
    ) -> Result<Written> {
        let last = before.and_then(Entries::last).map_or(0, |last| last.number);
        self.write_entry_of(repository, tag, change, by, (self.stamp(), last))
            .await
    }

    /// Writes an entry of a change at a time, which sorts after the one with the number `last`.
    pub(crate) async fn write_entry_of(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        change: Change,
        by: Option<&str>,
        (at, last): (SystemTime, u64),
    ) -> Result<Written> {
        let now = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let by = by.filter(|_| !matches!(change, Change::PutAgain(_) | Change::RestoredAgain(_)));
        let entry = Entry {
            number: now.max(last.saturating_add(1)),
            nonce: u64::from_str_radix(&nonce()?, 16).unwrap_or_default(),
            change,
            named: by.is_some(),
        };
        let key = format!("{}/{}", keys::history(repository, tag), entry.name());
        self.bucket
            .put(&key, content(repository, tag, change, by))
            .await?;
        Ok(Written {
            key,
            nonce: entry.nonce,
        })
    }

    /// Takes an entry back whose change did not happen. A failure leaves an event too many.
    pub(crate) async fn take_back(&self, written: Written) {
        if let Err(error) = self.bucket.delete(&written.key).await {
            tracing::warn!(
                key = written.key,
                error = &error as &dyn std::error::Error,
                "cannot take back an entry in the history of a tag; it shows an event that did not happen"
            );
        }
    }

    /// Removes older entries of a history, now and then. A failure is mended next time.
    pub(crate) async fn trim_sometimes(&self, repository: &RepositoryName, tag: &Tag, written: &Written) {
        if !written.nonce.is_multiple_of(TRIM_EVERY) {
            return;
        }
        match self.entries(repository, tag).await {
            Ok(entries) => self.trim(repository, tag, &entries).await,
            Err(error) => tracing::debug!(
                %repository, %tag, error = &error as &dyn std::error::Error, "cannot shorten the history of a tag"
            ),
        }
    }

    /// Removes older entries of a history.
    pub(crate) async fn trim(&self, repository: &RepositoryName, tag: &Tag, entries: &Entries) {
        self.remove_entries(repository, tag, &entries.superfluous())
            .await
            .unwrap_or_else(|error| {
                tracing::debug!(
                    %repository, %tag, error = &error as &dyn std::error::Error, "cannot shorten the history of a tag"
                );
            });
    }

    /// Removes these entries of a history, which are all.
    pub(crate) async fn remove_all(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        entries: &Entries,
    ) -> Result<()> {
        self.remove_entries(repository, tag, &entries.0).await
    }

    async fn remove_entries(&self, repository: &RepositoryName, tag: &Tag, entries: &[Entry]) -> Result<()> {
        let directory = keys::history(repository, tag);
        let removals = entries.iter().map(|entry| {
            let key = format!("{directory}/{}", entry.name());
            async move { self.bucket.delete(&key).await }
        });
        at_once(removals).await.map(drop)
    }

    /// Returns true if a tag was put since its history was read.
    pub(crate) async fn was_put_since(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        seen: &Entries,
    ) -> Result<bool> {
        Ok(self.entries(repository, tag).await?.has_put_since(seen))
    }

    /// Reads the events that this software has written, the oldest first.
    pub(crate) async fn own_events(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        entries: &Entries,
    ) -> Result<Vec<TagEvent>> {
        let directory = keys::history(repository, tag);
        let events = entries.events().into_iter().map(|(mut event, entry)| {
            let key = format!("{directory}/{}", entry.name());
            async move {
                if entry.named {
                    let object = self.bucket.get(&key).await?;
                    event.by = object.and_then(|object| user(&object.bytes));
                }
                Ok(event)
            }
        });
        at_once(events).await
    }
}

/// Returns what follows the last slash of a key.
pub(crate) fn last_part(key: &str) -> Option<String> {
    key.rsplit_once('/').map(|(_, name)| name.to_owned())
}

/// Returns the content of an entry, for people who look at the bucket. Only the user is read.
fn content(repository: &RepositoryName, tag: &Tag, change: Change, by: Option<&str>) -> String {
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
    set("repository", repository.as_str().into());
    set("tag", tag.as_str().into());
    match (change, change.digest()) {
        (Change::Deleted(_), Some(was)) => set("was", was.to_string().into()),
        (_, Some(target)) => set("target", target.to_string().into()),
        (_, None) => None,
    };
    if let Some(name) = by {
        set("by", name.chars().take(LONGEST_NAME).collect::<String>().into());
    }
    Value::Object(fields).to_string()
}

fn user(content: &[u8]) -> Option<Arc<str>> {
    let json: Value = serde_json::from_slice(content).ok()?;
    Some(json.get("by")?.as_str()?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(seed: usize) -> Digest {
        Digest::of(Algorithm::ALL[seed % 2], seed.to_string().as_bytes())
    }

    fn entry(number: usize, change: Change) -> Entry {
        Entry {
            number: number as u64,
            nonce: u64::MAX - number as u64,
            change,
            named: number.is_multiple_of(2),
        }
    }

    #[test]
    fn entries_come_back_from_their_names_and_sort_by_time() {
        let changes = [
            Change::Created(digest(0)),
            Change::Moved(digest(1)),
            Change::Restored(digest(2)),
            Change::PutAgain(digest(3)),
            Change::RestoredAgain(digest(4)),
            Change::Deleted(Some(digest(5))),
            Change::Deleted(None),
        ];
        let entries: Vec<Entry> = (9..).zip(changes).map(|(n, change)| entry(n, change)).collect();
        let names: Vec<String> = entries.iter().map(Entry::name).collect();

        assert!(names.is_sorted());
        assert!(names.iter().all(|name| name.len() <= 240), "{names:?}");
        let read = Entries::of(names.iter().rev().map(String::as_str));
        assert_eq!(read.0, entries);
    }

    #[test]
    fn other_names_are_no_entries() {
        let name = entry(1, Change::Created(digest(2))).name();
        for other in [
            "",
            "link",
            &name[1..],
            &name[..name.len() - 1],
            &format!("{name}-x"),
            &name.replace("-m-", "-x-"),
            &name.replace("-m-", "-m-m-"),
        ] {
            assert_eq!(Entries::of([other]), Entries::default(), "{other}");
        }
    }

    #[test]
    fn every_entry_changes_the_version() {
        let entries: Vec<Entry> = (0..5).map(|n| entry(n, Change::PutAgain(digest(1)))).collect();
        let versions: Vec<TagVersion> = (0..=5)
            .map(|end| Entries(entries[..end].to_vec()).version())
            .collect();
        for (n, version) in versions.iter().enumerate() {
            assert!(!versions[..n].contains(version));
            assert_eq!(*version, Entries(entries[..n].to_vec()).version());
        }
    }

    #[test]
    fn a_tag_is_seen_last_after_it_has_come_into_being() {
        let [created, moved, again, restored] = [
            Change::Created(digest(1)),
            Change::Moved(digest(2)),
            Change::PutAgain(digest(2)),
            Change::Restored(digest(3)),
        ];
        let deleted = Change::Deleted(Some(digest(1)));
        let late = usize::try_from(UNDER_WAY.as_nanos()).unwrap() + 10;
        for (changes, is_seen) in [
            (&[(0, created)][..], true),
            (&[(0, moved)], true),
            (&[(0, created), (1, moved), (2, again)], true),
            (&[(0, created), (1, deleted)], false),
            (&[(0, created), (1, deleted), (2, created)], true),
            (&[(0, created), (1, deleted), (2, restored), (3, moved)], true),
            // Replicas that found the tag gone, and died.
            (&[(0, created), (1, deleted), (2, moved)], false),
            (&[(0, created), (1, deleted), (2, moved), (3, again)], false),
            // The deletion has not happened, or the tag was created by a replica that has died.
            (&[(0, created), (1, deleted), (2, moved), (late, again)], true),
            (
                &[(0, created), (1, deleted), (late, moved), (late + 1, again)],
                true,
            ),
            (&[(0, deleted), (late, moved), (late + 1, deleted)], false),
        ] {
            let entries: Vec<Entry> = changes.iter().map(|(n, change)| entry(*n, *change)).collect();
            let last = entries.last().copied();
            let entries = Entries(entries);
            assert_eq!(
                entries.last_seen(),
                last.as_ref().filter(|_| is_seen),
                "{changes:?}"
            );
        }
        assert_eq!(Entries::default().last_seen(), None);
    }

    #[test]
    fn what_has_come_into_being_after_the_last_deletion_has_no_time() {
        let changes = [
            Change::Created(digest(1)),
            Change::PutAgain(digest(1)),
            Change::Deleted(Some(digest(1))),
            Change::PutAgain(digest(1)),
        ];
        let entries: Vec<Entry> = (0..).zip(changes).map(|(n, change)| entry(n, change)).collect();
        let moved = |end: usize| Entries(entries[..end].to_vec()).moved(&digest(1));
        assert_eq!([moved(1), moved(2)], [Some(entries[0].at()); 2]);
        assert_eq!([moved(3), moved(4)], [None; 2]);
    }

    #[test]
    fn a_put_of_another_program_that_is_repeated_has_no_time_of_its_own() {
        let entries = Entries(vec![
            entry(1, Change::Moved(digest(1))),
            entry(2, Change::PutAgain(digest(2))),
        ]);
        let events: Vec<TagEvent> = entries.events().into_iter().map(|(event, _)| event).collect();
        assert_eq!(events[1].at, None);
        assert_eq!(events[1].put_again, Some(entries.0[1].at()));
    }

    #[test]
    fn the_newest_events_stay_whatever_is_put_again() {
        let mut entries = Vec::new();
        for n in 0..KEPT + 20 {
            entries.push(entry(entries.len(), Change::Moved(digest(n))));
            for _ in 0..5 {
                entries.push(entry(entries.len(), Change::PutAgain(digest(n))));
            }
        }
        let all = Entries(entries.clone());
        let gone = all.superfluous();
        entries.retain(|entry| !gone.contains(entry));
        let left = Entries(entries);

        let events = |entries: &Entries| -> Vec<TagEvent> {
            entries.events().into_iter().map(|(event, _)| event).collect()
        };
        assert_eq!(events(&left), events(&all)[20..]);
        assert_eq!(left.0.len(), 2 * KEPT);
        assert!(left.superfluous().is_empty());
    }
}
