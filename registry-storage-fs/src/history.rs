//! `_history/<name>/_tags/<tag>`: the moves and deletions of a tag, each a line of JSON.
//!
//! A push syncs none of this. A power loss can cost the newest lines, and lines that it has damaged are skipped. Each
//! line begins with the end of the one before, so that damage to a line does not extend to the next one.

use crate::{
    error::{Context as _, FsError},
    links,
    moves::{create_all, is_there, parent},
    names::{digests_in, names_after, parsed, read_dir},
    pauses::Point,
    seams,
    store::Store,
    stored_file, time,
    walk::Whom,
};
use registry_core::{
    Algorithm, Digest, RepositoryName, Tag,
    storage::{Listing, Page, Result, Seen, TagEvent},
};
use serde_json::{Map, Value};
use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, Write as _},
    path::Path,
    time::SystemTime,
};

/// Size at which a history loses its older half: about 1,000 moves of a tag.
const LONGEST: u64 = 128 << 10;

/// Maximum length of the name of a user, in characters. A token can contain any name.
const LONGEST_NAME: usize = 128;

/// Maximum number of attempts to create a history in a directory that goes meanwhile.
const ATTEMPTS: usize = 10;

/// A change of a tag, as its history has it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    /// It points at this manifest now.
    Moved(&'a Digest),
    /// It points at this manifest again, because its deletion was undone.
    Restored(&'a Digest),
    /// It was put with this manifest, at which it had pointed.
    PutAgain(&'a Digest),
    /// It was deleted. It had pointed at this manifest, if that is known.
    Deleted(Option<&'a Digest>),
}

impl Change<'_> {
    /// Returns the line of the change, made now by a user.
    fn line(self, by: Option<&str>) -> String {
        let mut fields = Map::new();
        let mut set = |field: &str, value: Value| fields.insert(field.to_owned(), value);
        set("at", time::format(SystemTime::now()).into());
        if let Self::Moved(target) | Self::Restored(target) | Self::PutAgain(target) = self {
            set("target", target.to_string().into());
        }
        if let Self::Deleted(Some(was)) = self {
            set("was", was.to_string().into());
        }
        if let Some(name) = by.filter(|_| !matches!(self, Self::PutAgain(_))) {
            set("by", name.chars().take(LONGEST_NAME).collect::<String>().into());
        }
        match self {
            Self::PutAgain(_) => set("again", true.into()),
            Self::Restored(_) => set("restored", true.into()),
            Self::Moved(_) | Self::Deleted(_) => None,
        };
        Value::Object(fields).to_string()
    }
}

/// A line of a history.
struct Line {
    event: TagEvent,
    /// True if the tag had pointed at this manifest before.
    again: bool,
}

/// Parses a line; `None` if it is damaged. Without a target, the tag was deleted.
fn parse(line: &[u8]) -> Option<Line> {
    let json: Value = str::from_utf8(line).ok()?.parse().ok()?;
    let at = time::parse(json.get("at")?.as_str()?)?;
    let target = match json.get("target") {
        Some(target) => Some(Digest::parse(target.as_str()?).ok()?),
        None => None,
    };
    let by = match json.get("by") {
        Some(name) => Some(name.as_str()?.into()),
        None => None,
    };
    let was = json.get("was").and_then(|was| Digest::parse(was.as_str()?).ok());
    let is_set = |field: &str| target.is_some() && json.get(field).is_some_and(|value| *value == true);
    Some(Line {
        event: TagEvent::new(at, target, by)
            .with_was(was)
            .with_restored(is_set("restored")),
        again: is_set("again"),
    })
}

/// Returns the events in a history. A put of the manifest at which a tag points already is part of the event before.
fn events(text: &[u8]) -> Vec<TagEvent> {
    let mut events: Vec<TagEvent> = Vec::new();
    for Line { mut event, again } in text.split(|byte| *byte == b'\n').filter_map(parse) {
        match events.last_mut() {
            Some(last) if again && last.target == event.target => last.put_again = event.at,
            // Another program had moved it there.
            _ if again => {
                event.put_again = event.at.take();
                events.push(event);
            }
            _ => events.push(event),
        }
    }
    events
}

/// Returns the newer part of a history, of half the maximum length, without what later lines make superfluous.
fn newest(text: &[u8]) -> Vec<u8> {
    let mut lines: Vec<(&[u8], bool)> = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let Some(Line { again, .. }) = parse(line) else {
            continue;
        };
        if again && lines.last().is_some_and(|(_, again)| *again) {
            lines.pop();
        }
        lines.push((line, again));
    }
    let mut left = usize::try_from(LONGEST / 2).unwrap_or_default();
    let mut kept: Vec<&[u8]> = Vec::new();
    for (line, _) in lines.into_iter().rev() {
        let Some(rest) = left.checked_sub(line.len() + 1) else {
            break;
        };
        left = rest;
        kept.push(line);
    }
    kept.reverse();
    kept.join(&b'\n')
}

impl Store {
    /// Adds a change to the history of a tag. The caller holds the tag's lock. A failure
    /// is logged, because the tag itself was changed; once for all tags, until its cause changes or a history that could
    /// not be written is written again.
    pub(crate) fn add_to_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        change: Change<'_>,
        by: Option<&str>,
    ) {
        // The log has the failure.
        _ = self.try_to_add(repository, tag, change, by, false);
    }

    /// Does the same with a deletion, and syncs it. Fails if the history neither has the deletion nor is removed, so that
    /// the tag may be taken for lost.
    pub(crate) fn add_deletion_durably(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        was: Option<&Digest>,
        by: Option<&str>,
    ) -> Result<(), FsError> {
        self.try_to_add(repository, tag, Change::Deleted(was), by, true)
    }

    fn try_to_add(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        change: Change<'_>,
        by: Option<&str>,
        syncs: bool,
    ) -> Result<(), FsError> {
        let (all, path) = (self.layout.all_histories(), self.layout.history(repository, tag));
        let added = self.append_event(&path, &change.line(by), syncs);
        match added {
            Ok(()) => {
                if self.reported.forget(&path) {
                    self.reported.forget(&all);
                }
                Ok(())
            }
            Err(error) => {
                self.reported.is_news(&path, error.code());
                if self.reported.is_news(&all, error.code()) {
                    tracing::warn!(
                        %repository, %tag, %error, cause = %error.source(),
                        "the history of a tag lacks an event; the tag itself was changed. Events that are missing for the \
                         same cause are not logged"
                    );
                }
                match change {
                    Change::Deleted(_) => self.drop_history(&path),
                    Change::Moved(_) | Change::Restored(_) | Change::PutAgain(_) => Err(error),
                }
            }
        }
    }

    /// Removes a history that cannot have the deletion of its tag: the tag would be taken for lost. A full disk does not
    /// prevent that.
    pub(crate) fn drop_history(&self, path: &Path) -> Result<(), FsError> {
        let mut changes = self.disk.changes();
        changes.remove(path)?;
        changes.settle()
    }

    fn append_event(&self, path: &Path, line: &str, syncs: bool) -> Result<(), FsError> {
        self.disk.require_owned()?;
        let mut file = open_to_append(path)?;
        let length = file.metadata().at("read the metadata of", path)?.len();
        if length >= LONGEST {
            self.shorten(path)?;
            self.pauses.reach(Point::HistoryShortened);
            file = open_to_append(path)?;
        }
        let separator = if length > 0 { "\n" } else { "" };
        file.write_all(format!("{separator}{line}").as_bytes())
            .at("write", path)?;
        match syncs {
            true => self.disk.sync_data(&file, path),
            false => Ok(()),
        }
    }

    /// Reads the events of a tag that this software has written, the oldest first.
    pub(crate) fn own_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Vec<TagEvent>, FsError> {
        let path = self.layout.history(repository, tag);
        let text = stored_file::read(&path).if_there("read", &path)?;
        Ok(events(text.as_deref().unwrap_or_default()))
    }

    /// Removes the older part of a history.
    fn shorten(&self, path: &Path) -> Result<(), FsError> {
        let text = stored_file::read(path).at("read", path)?;
        self.disk.replace(path, &newest(&text))
    }

    /// Reads the history of a tag. Moves by registry:2, which keeps every target in `index/`, have no time. They are
    /// the oldest, except for one that the tag still shows.
    pub(crate) fn history(&self, repository: &RepositoryName, tag: &Tag) -> Result<Vec<TagEvent>> {
        let own = self.own_history(repository, tag)?;
        let paths = self.layout.tag(repository, tag);
        let current = links::read(&paths.current())?;
        let is_last = own.last().is_some_and(|event| event.target == current);
        let newest = current.filter(|_| !is_last);
        let mut events = Vec::new();
        for algorithm in Algorithm::ALL {
            for target in digests_in(&paths.targets(algorithm), algorithm)? {
                let is_known = own.iter().any(|event| event.target == Some(target));
                if !is_known && newest != Some(target) {
                    events.push(TagEvent::undated(target));
                }
            }
        }
        events.extend(own);
        events.extend(newest.map(TagEvent::undated));
        Ok(events)
    }

    /// Lists the repositories with the history of a tag.
    pub(crate) fn with_histories(
        &self,
        page: &Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        self.repositories_below(&self.layout.all_histories(), page, Whom::Inspection, &|path| {
            let histories = path.join("_tags");
            let mut entries = read_dir(&histories).if_there("list", &histories)?;
            Ok(entries.as_mut().is_some_and(|entries| entries.next().is_some()))
        })
    }

    /// Removes the history of a tag that does not exist, unless the tag was lost, or the history was written to at
    /// `ended_before` or later. Then removes the directories that are empty.
    pub(crate) fn forget_history(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        ended_before: SystemTime,
    ) -> Result<bool> {
        let _lock = self.tags.lock((repository.clone(), tag.clone()));
        // Moves by registry:2 are in the directory of the tag.
        if is_there(&self.layout.tag(repository, tag).directory)? || self.lost_at(repository, tag)?.is_some()
        {
            return Ok(false);
        }
        let path = self.layout.history(repository, tag);
        let Some(text) = stored_file::read(&path).if_there("read", &path)? else {
            return Ok(false);
        };
        let mut lines = text.split(|byte| *byte == b'\n').filter_map(parse);
        if lines.any(|line| line.event.at >= Some(ended_before)) {
            return Ok(false);
        }
        let mut changes = self.disk.changes();
        let removed = changes.remove(&path)?;
        self.pauses.reach(Point::HistoryForgotten);
        self.disk
            .remove_empty(&self.layout.histories(repository), &self.layout.all_histories());
        changes.settle()?;
        Ok(removed)
    }

    /// Lists the tags that have a history or exist.
    pub(crate) fn with_history(
        &self,
        repository: &RepositoryName,
        page: &Page<'_, Tag>,
    ) -> Result<Listing<Tag>> {
        let directory = self.layout.histories(repository);
        let names = names_after(&directory, page.after.map(Tag::as_str))?;
        let mut tags: BTreeSet<Tag> = parsed(directory, names, |name| Tag::parse(name).ok()).collect();
        tags.extend(self.tag_names(repository, page.after)?);
        Ok(Listing::first(page.limit, tags))
    }
}

fn open_to_append(path: &Path) -> Result<File, FsError> {
    seams::opened(path);
    let open = || File::options().append(true).create(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut opened = Err(error);
            // Another tag's history may go meanwhile, and take the empty directory along.
            for _ in 0..ATTEMPTS {
                create_all(parent(path))?;
                opened = open();
                if !matches!(&opened, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                    break;
                }
            }
            opened.at("open", path)
        }
        opened => opened.at("open", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FsStorage,
        faults::fail,
        support::{log::Log, manifest, name, put, tag, top},
    };
    use registry_core::{Reference, Storage as _, maintenance::expire_histories};
    use rustix::io::Errno;
    use std::{fs, time::Duration};

    fn targets(events: &[TagEvent]) -> Vec<Option<Digest>> {
        events.iter().map(|event| event.target).collect()
    }

    #[tokio::test]
    async fn the_history_of_a_tag_is_bounded_and_the_newest_events_stay() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (store, a, v1) = (storage.store(), name("a"), tag("v1"));
        let mut moves = Vec::new();
        for number in 0..3000 {
            let target = Digest::of(Algorithm::Sha512, &[number.to_string().as_bytes(), &[0]].concat());
            store.add_to_history(
                &a,
                &v1,
                Change::Moved(&target),
                Some("a user with quite a long name"),
            );
            moves.push(Some(target));
        }

        let length = fs::metadata(store.layout.history(&a, &v1)).unwrap().len();
        let kept = targets(&store.history(&a, &v1).unwrap());

        assert!(length < LONGEST + 1000, "{length}");
        assert!(kept.len() >= 200, "{}", kept.len());
        assert_eq!(kept, moves[moves.len() - kept.len()..]);
    }

    #[tokio::test]
    async fn puts_of_the_same_manifest_drive_no_move_out_of_a_history() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (store, a, v1) = (storage.store(), name("a"), tag("v1"));
        let moves: Vec<Digest> = (0..50_u8)
            .map(|number| Digest::of(Algorithm::Sha256, &[number]))
            .collect();
        for target in &moves {
            store.add_to_history(&a, &v1, Change::Moved(target), Some("ann"));
        }
        let before = SystemTime::now();
        for _ in 0..2000 {
            store.add_to_history(&a, &v1, Change::PutAgain(&moves[49]), Some("ann"));
        }

        let events = store.history(&a, &v1).unwrap();

        assert_eq!(
            targets(&events),
            moves.iter().copied().map(Some).collect::<Vec<_>>()
        );
        let put_again: Vec<_> = events.iter().map(|event| event.put_again).collect();
        assert!(put_again[..49].iter().all(Option::is_none));
        // Times are in whole seconds.
        assert!(put_again[49] > Some(before - Duration::from_secs(1)));
        let length = fs::metadata(store.layout.history(&a, &v1)).unwrap().len();
        assert!(length < LONGEST + 1000, "{length}");
    }

    #[tokio::test]
    async fn damage_to_a_line_does_not_extend_to_the_next_one() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (store, a, v1) = (storage.store(), name("a"), tag("v1"));
        let path = store.layout.history(&a, &v1);
        let moved = [1, 2, 3].map(|number: u8| Digest::of(Algorithm::Sha256, &[number]));
        store.add_to_history(&a, &v1, Change::Moved(&moved[0]), Some("ann"));
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() - 1], &[0; 100], b"\xff{", b"\n\n"] {
            fs::write(&path, [&whole, &b"\n"[..], damaged].concat()).unwrap();

            store.add_to_history(&a, &v1, Change::Moved(&moved[2]), None);

            let events = store.history(&a, &v1).unwrap();
            assert_eq!(targets(&events), [Some(moved[0]), Some(moved[2])]);
        }
        // Nothing of it has reached the disk.
        fs::write(&path, "").unwrap();
        assert_eq!(store.history(&a, &v1).unwrap(), []);
    }

    /// registry:2 writes no history of this kind, and may move a tag at any time.
    #[tokio::test]
    async fn moves_of_registry_2_have_no_time() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (a, v1) = (name("a"), tag("v1"));
        let images = ["1", "2", "3"].map(manifest);
        let digests: Vec<Digest> = images.iter().map(|image| *image.digest()).collect();
        let registry_2_moves = |to: &Digest| {
            let paths = storage.store().layout.tag(&a, &v1);
            for link in [paths.index(to), paths.current()] {
                fs::create_dir_all(link.parent().unwrap()).unwrap();
                fs::write(link, to.to_string()).unwrap();
            }
        };
        registry_2_moves(&digests[0]);
        assert_eq!(
            storage.store().history(&a, &v1).unwrap(),
            [TagEvent::undated(digests[0])]
        );
        // A put of the manifest to which registry:2 has moved the tag is no move.
        put(&storage, &a, images[0].clone(), &["v1"]).await;
        let history = storage.store().history(&a, &v1).unwrap();
        assert_eq!(targets(&history), [Some(digests[0])]);
        assert!(history[0].at.is_none() && history[0].put_again.is_some());

        put(&storage, &a, images[1].clone(), &["v1"]).await;
        registry_2_moves(&digests[2]);

        let history = storage.store().history(&a, &v1).unwrap();
        assert_eq!(
            targets(&history),
            digests.iter().copied().map(Some).collect::<Vec<_>>()
        );
        let dated: Vec<bool> = history.iter().map(|event| event.at.is_some()).collect();
        assert_eq!(dated, [false, true, false]);
    }

    #[tokio::test]
    async fn a_move_opens_one_file_of_the_history_whatever_its_length() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let histories = top(root.path()).join("_history");
        seams::watch(&histories);
        for number in 0..20 {
            put(&storage, &name("a"), manifest(&number.to_string()), &["v1"]).await;

            let costs = seams::watch(&histories);
            assert_eq!((costs.files, costs.entries), (1, 0));
        }
        // A push that moves nothing.
        put(&storage, &name("a"), manifest("19"), &["v1"]).await;
        let costs = seams::watch(&histories);
        assert_eq!((costs.files, costs.entries), (1, 0));
    }

    #[tokio::test]
    async fn a_search_for_old_histories_lists_the_tags_of_a_repository_once() {
        const TAGS: usize = 2500;
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        for number in 0..TAGS {
            let store = storage.store();
            store.add_to_history(
                &name("a"),
                &tag(&format!("v{number}")),
                Change::Deleted(None),
                None,
            );
        }
        let histories = top(root.path()).join("_history");
        seams::watch(&histories);

        let report = expire_histories(&storage, SystemTime::UNIX_EPOCH).await.unwrap();

        assert_eq!((report.expired, report.failed), (0, 0));
        let costs = seams::watch(&histories);
        assert!(costs.entries < TAGS + 10, "{}", costs.entries);
    }

    #[test]
    fn histories_that_cannot_be_written_are_logged_once_for_each_cause() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let (store, a) = (storage.store(), name("a"));
        let log = Log::capture();
        let failing = |errno, tags: &[&str]| -> Vec<_> {
            let paths = tags.iter().map(|name| store.layout.history(&a, &tag(name)));
            paths.map(|path| fail(&path, errno)).collect()
        };
        let logged = |tags: &[&str]| {
            for name in tags {
                store.add_to_history(&a, &tag(name), Change::Deleted(None), None);
            }
            log.take().matches("lacks an event").count()
        };

        for errno in [Errno::NOSPC, Errno::IO] {
            let _faults = failing(errno, &["v1", "v2", "v3"]);
            assert_eq!(logged(&["v1", "v2", "v1", "v3"]), 1, "{errno}");
        }
        assert_eq!(logged(&["v1", "v2", "v3", "v4"]), 0);
        let faults = failing(Errno::IO, &["v1", "v2"]);
        assert_eq!(logged(&["v2", "v1"]), 1, "again");
        drop(faults);
        // Only one of them can be written again.
        let _faults = failing(Errno::IO, &["v2"]);
        assert_eq!(logged(&["v1", "v2", "v1", "v2"]), 1);
    }

    #[tokio::test]
    async fn a_push_succeeds_although_its_history_cannot_be_written() {
        let root = tempfile::tempdir().unwrap();
        let storage = FsStorage::open(root.path()).unwrap();
        let a = name("a");
        let image = manifest("1");
        let digest = *image.digest();
        let _fault = fail(&top(root.path()).join("_history/a/_tags/v1"), Errno::IO);

        put(&storage, &a, image, &["v1"]).await;

        let found = storage.manifest(&a, &Reference::Tag(tag("v1"))).await.unwrap();
        assert_eq!(found.unwrap().digest, digest);
    }
}
