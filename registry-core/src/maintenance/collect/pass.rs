//! [`Pass`]: one look at everything, which removes what nothing refers to, or finds out what a removal would do.

use super::{
    graph::{Graph, Removal},
    lost::Lost,
    marks::{Hold, Marks, Salt},
    options::CollectOptions,
    pin::{Pin, PinCause},
    report::{CollectEvent, CollectReport, Why},
    survey::{PAGE, Rules, Survey, Surveyor},
    unhurried::Unhurried,
};
use crate::{
    digest::{Algorithm, Digest},
    maintenance::{clock::Clock, repositories::Remembered},
    name::RepositoryName,
    storage::{
        Due, Page, Reclaimed, Result, Run, Seen, Storage, StorageCollect, StorageError, StorageInspect,
        StorageTrash, Terms, Victim, Waiting,
    },
};
use std::{iter, time::Duration};

/// Maximum number of items that are removed at once.
const BATCH: usize = 256;

/// Number of items that are announced at once.
const ANNOUNCED: usize = 1 << 16;

/// Bytes of the sha256 digest after which there are only those of other algorithms.
const LAST_SHA256: [u8; 32] = [0xff; 32];

/// Function that is called with each step of a run.
pub(super) type Told<'a> = &'a (dyn Fn(&CollectEvent<'_>) + Send + Sync);

/// Storage, options and clock of a run.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) inspect: &'a dyn StorageInspect,
    /// `None` if the run hurries.
    pub(super) unhurried: Option<&'a Unhurried<'a>>,
    pub(super) collect: &'a dyn StorageCollect,
    pub(super) options: &'a CollectOptions,
    pub(super) clock: &'a dyn Clock,
    pub(super) told: Told<'a>,
}

/// Treatment of items that nothing refers to.
#[derive(Clone, Copy)]
pub(super) enum Act<'a> {
    /// Reports what a removal would do.
    Preview,
    /// Announces the removal.
    Condemn(&'a Run),
    /// Removes it.
    Remove(&'a Run),
}

/// Result for one item, or the result that a removal would have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Removed,
    /// It had gone before.
    Absent,
    /// It goes later, unless it is used again.
    Later,
    Stays,
}

impl Fate {
    const fn hold(self) -> Option<Hold> {
        match self {
            Self::Removed | Self::Absent => None,
            Self::Later => Some(Hold::Due),
            Self::Stays => Some(Hold::Use),
        }
    }
}

/// One look at everything.
pub(super) struct Pass<'a> {
    means: Means<'a>,
    act: Act<'a>,
    salt: Salt,
    /// Bytes that stay.
    data: Marks,
    /// True if no bytes are removed, because a link that cannot be read may lead to any of them.
    keeps_all_data: bool,
    /// True if a repository keeps blobs that no manifest names.
    pub(super) keeps_unnamed: bool,
    empty: Vec<RepositoryName>,
    /// Items that are going to be announced.
    announced: Vec<Victim>,
    pub(super) report: CollectReport,
    /// Time that has to pass before the announced removals.
    pub(super) wait: Duration,
    /// Number of all blobs.
    pub(super) blobs: u64,
    /// Number of bytes of all blobs.
    pub(super) stored: u64,
    /// Number of bytes that go, although no deletion has released them.
    pub(super) unaccounted: u64,
    /// Content that the records of deletions name which the run is going to forget.
    forgotten: Marks,
}

impl<'a> Pass<'a> {
    pub(super) fn new(means: Means<'a>, act: Act<'a>) -> Self {
        Self {
            means,
            act,
            salt: Salt::default(),
            data: Marks::new(),
            keeps_all_data: false,
            keeps_unnamed: false,
            empty: Vec::new(),
            announced: Vec::new(),
            report: CollectReport {
                dry_run: means.options.dry_run,
                ..CollectReport::default()
            },
            wait: Duration::ZERO,
            blobs: 0,
            stored: 0,
            unaccounted: 0,
            forgotten: Marks::new(),
        }
    }

    /// Looks at everything. Manifests and links go first, one repository after the other; then bytes, once all
    /// repositories have been looked at; then empty repositories.
    pub(super) async fn run(&mut self) -> Result<()> {
        let mut remembered = Remembered::of(self.means.storage.trash());
        let mut after: Option<RepositoryName> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.means.inspect.all_repositories(page).await?;
            for item in listing.items {
                let name = match item {
                    Seen::Whole(name) => name,
                    Seen::Unreadable { key, reason } => {
                        let context = format!("cannot list the repository {key}: {reason}");
                        return Err(StorageError::internal(context));
                    }
                };
                self.gone_repositories(&mut remembered, Some(&name)).await?;
                self.repository(&name).await?;
                after = Some(name);
            }
            if !listing.more {
                break;
            }
        }
        self.gone_repositories(&mut remembered, None).await?;
        self.deleted().await?;
        self.data().await?;
        let empty = std::mem::take(&mut self.empty);
        let empty = empty.into_iter().map(Victim::Repository).collect();
        self.dispose(empty, Why::Empty).await?;
        self.announce().await
    }

    /// Looks for lost tags in repositories that do not exist, up to the next one that exists. Without a repository it is
    /// not known which bytes belong to them.
    async fn gone_repositories(
        &mut self,
        remembered: &mut Remembered<'_>,
        existing: Option<&RepositoryName>,
    ) -> Result<()> {
        while let Some(name) = remembered.before(existing).await? {
            if let Some(histories) = self.means.storage.trash() {
                let lost = Lost::of(histories, &name).await;
                self.keeps_all_data |= !lost.pins.is_empty();
                for pin in lost.pins {
                    self.pin(pin);
                }
            }
        }
        Ok(())
    }

    async fn repository(&mut self, name: &RepositoryName) -> Result<()> {
        let mut survey = self.surveyor().survey(name).await?;
        let manifests = survey.manifests;
        self.report.repositories += 1;
        self.report.manifests += manifests;
        (self.means.told)(&CollectEvent::Repository { name, manifests });
        self.keeps_all_data |= survey.keeps_all_data;
        for pin in std::mem::take(&mut survey.pins) {
            self.pin(pin);
        }
        self.untagged(name, &survey.graph).await?;
        self.manifests(name, &mut survey).await?;
        let has_links = self.links(name, &survey).await?;
        // After the last manifest is gone.
        for (key, hold) in survey.held(&self.salt) {
            self.data.add(key, hold);
        }
        let is_full = survey.graph.nodes().any(|(_, node)| node.hold.is_some());
        if !is_full && !has_links && !survey.is_occupied {
            self.empty.push(name.clone());
        }
        Ok(())
    }

    fn surveyor(&self) -> Surveyor<'_> {
        Surveyor {
            inspect: self.means.inspect,
            trash: self.trash(),
            histories: self.means.storage.trash(),
            salt: &self.salt,
            rules: Rules {
                untagged: self.means.options.untagged,
                uploading: self.means.options.terms.uploading,
                now: self.means.clock.now(),
            },
        }
    }

    /// Returns the records of deletions that keep content. Those that the run is going to forget keep nothing.
    fn trash(&self) -> Option<&'a dyn StorageTrash> {
        self.means.storage.trash().filter(|_| !self.is_going_to_forget())
    }

    const fn is_going_to_forget(&self) -> bool {
        self.means.options.terms.permanent && !matches!(self.act, Act::Remove(_))
    }

    /// Keeps the bytes of everything that can be restored, also in repositories that no longer exist.
    async fn deleted(&mut self) -> Result<()> {
        let Some(trash) = self.means.storage.trash() else {
            return Ok(());
        };
        let mut after: Option<RepositoryName> = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = trash.with_deleted(page).await?;
            for item in &listing.items {
                let kept = self.surveyor().trashed(trash, item.key()).await?;
                let marks = if self.is_going_to_forget() {
                    &mut self.forgotten
                } else {
                    // Pins of repositories that exist were counted before.
                    self.keeps_all_data |= !kept.pins.is_empty();
                    self.report.restorable.tags += kept.tags;
                    self.report.restorable.manifests += kept.manifests;
                    &mut self.data
                };
                for digest in &kept.named {
                    marks.add(self.salt.key(digest), Hold::Trash);
                }
            }
            after = listing.items.last().map(|item| item.key().clone());
            if !listing.more {
                return Ok(());
            }
        }
    }

    fn pin(&mut self, pin: Pin) {
        if self.is_told() {
            (self.means.told)(&CollectEvent::Pin(&pin));
        }
        self.report.pin(pin);
    }

    /// Counts the manifests that stay only because untagged ones do.
    async fn untagged(&mut self, name: &RepositoryName, graph: &Graph) -> Result<()> {
        let kept = graph
            .nodes()
            .filter(|(_, node)| node.hold == Some(Hold::Untagged));
        let kept: Vec<Victim> = kept
            .map(|(_, node)| Victim::Manifest(name.clone(), node.digest))
            .collect();
        self.report.untagged += kept.len() as u64;
        if !self.is_told() {
            return Ok(());
        }
        for batch in kept.chunks(BATCH) {
            for due in self.means.collect.due(&Terms::new(), batch).await? {
                if let Due::Now { bytes } = due {
                    self.report.untagged_bytes += bytes;
                }
            }
        }
        Ok(())
    }

    /// Removes the manifests that nothing keeps. Afterwards, all that are left have a hold or are gone.
    async fn manifests(&mut self, name: &RepositoryName, survey: &mut Survey) -> Result<()> {
        let keeps_deleted = self.means.storage.trash().is_some() && !self.means.options.terms.permanent;
        let Survey { graph, extra, .. } = survey;
        let mut removal = Removal::of(graph);
        loop {
            let batch = removal.take(self.batch());
            if batch.is_empty() {
                return Ok(());
            }
            let victims = batch.iter().filter_map(|index| graph.node(*index));
            let victims = victims.map(|node| (Victim::Manifest(name.clone(), node.digest), 0));
            let victims: Vec<_> = victims.collect();
            let fates = self.dispose_sized(&victims, Why::Untagged).await?;
            for (index, fate) in batch.into_iter().zip(fates) {
                // It can be restored, with everything that it names. What has gone otherwise, a request has deleted.
                if fate == Fate::Absent || fate == Fate::Removed && keeps_deleted {
                    extra.extend(graph.held_by(index, &self.salt));
                }
                match fate.hold() {
                    None => removal.removed(graph, index),
                    Some(hold) => removal.spared(graph, index, hold),
                }
            }
        }
    }

    /// Removes the links to blobs that no manifest names. Returns true if any link is left.
    async fn links(&mut self, name: &RepositoryName, survey: &Survey) -> Result<bool> {
        let mut named = survey.named(&self.salt);
        self.targets(name, &mut named).await?;
        self.keeps_unnamed |= survey.keeps_unnamed().is_some();
        let (mut has_links, mut after) = (false, None);
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.means.inspect.held_blobs(name, page).await?;
            let mut dead = Vec::new();
            for item in listing.items {
                let held = match item {
                    Seen::Whole(held) => held,
                    Seen::Unreadable { key, reason } => {
                        self.unreadable_link(name, key, reason);
                        has_links = true;
                        after = Some(key);
                        continue;
                    }
                };
                after = Some(held.digest);
                let hold = named.hold(self.salt.key(&held.digest));
                let hold = hold.or_else(|| survey.keeps_unnamed());
                match hold {
                    Some(hold) => {
                        has_links = true;
                        self.data.add(self.salt.key(&held.digest), hold);
                        self.data.add(self.salt.key(&held.stored), hold);
                    }
                    None => dead.push(held),
                }
            }
            for dead in dead.chunks(self.batch()) {
                let victims = dead.iter();
                let victims = victims.map(|held| (Victim::Link(name.clone(), held.digest), 0));
                let victims: Vec<_> = victims.collect();
                let fates = self.dispose_sized(&victims, Why::Unnamed).await?;
                for (held, fate) in dead.iter().zip(fates) {
                    if let Some(hold) = fate.hold() {
                        has_links = true;
                        self.data.add(self.salt.key(&held.digest), hold);
                        self.data.add(self.salt.key(&held.stored), hold);
                    }
                }
            }
            if !listing.more {
                return Ok(has_links);
            }
        }
    }

    /// Marks the blobs to which the links of named blobs lead. Registry:2 stores a blob of a sha512 digest by its sha256 one,
    /// with a link of each, and serves it only while it has both.
    async fn targets(&self, name: &RepositoryName, named: &mut Marks) -> Result<()> {
        let mut after = Digest::from_hash(Algorithm::Sha256, &LAST_SHA256);
        loop {
            let page = Page::first(PAGE).after(Some(&after));
            let listing = self.means.inspect.held_blobs(name, page).await?;
            for item in listing.items {
                match item {
                    Seen::Whole(held) => {
                        if let Some(hold) = named.hold(self.salt.key(&held.digest)) {
                            named.add(self.salt.key(&held.stored), hold);
                        }
                        after = held.digest;
                    }
                    // It keeps all bytes.
                    Seen::Unreadable { key, .. } => after = key,
                }
            }
            if !listing.more {
                return Ok(());
            }
        }
    }

    /// Keeps the bytes that a link may lead to. Registry:2 has links from other digests to sha256 ones.
    fn unreadable_link(&mut self, name: &RepositoryName, digest: Digest, reason: String) {
        self.data.add(self.salt.key(&digest), Hold::Pin);
        self.keeps_all_data |= digest.algorithm() != Algorithm::Sha256;
        self.pin(Pin::new(name, PinCause::Link(digest), reason));
    }

    /// Removes the bytes that nothing refers to.
    async fn data(&mut self) -> Result<()> {
        let mut after = None;
        loop {
            let page = Page::first(PAGE).after(after.as_ref());
            let listing = self.means.inspect.blobs(page).await?;
            let mut dead = Vec::new();
            for item in listing.items {
                let blob = match item {
                    Seen::Whole(blob) => blob,
                    // It is removed once it can be read.
                    Seen::Unreadable { key, .. } => {
                        after = Some(key);
                        continue;
                    }
                };
                after = Some(blob.digest);
                self.blobs += 1;
                self.stored += blob.size;
                let hold = self.data.hold(self.salt.key(&blob.digest));
                match hold.or_else(|| self.keeps_all_data.then_some(Hold::Pin)) {
                    Some(Hold::Use) => {}
                    Some(Hold::Due) => self.report.later.bytes += blob.size,
                    Some(Hold::Trash) => self.report.restorable.bytes += blob.size,
                    Some(Hold::Untagged) => self.report.untagged_bytes += blob.size,
                    Some(Hold::Pin) => self.report.pinned_bytes += blob.size,
                    None => dead.push((Victim::Data(blob.digest), blob.size)),
                }
            }
            for dead in dead.chunks(self.batch()) {
                let fates = self.dispose_sized(dead, Why::Unreferenced).await?;
                self.account(dead, &fates).await?;
            }
            if !listing.more {
                return Ok(());
            }
        }
    }

    /// Counts the bytes that go without a deletion that accounts for them, before a run that nobody asked for removes
    /// anything.
    async fn account(&mut self, dead: &[(Victim, u64)], fates: &[Fate]) -> Result<()> {
        if matches!(self.act, Act::Remove(_)) || !self.means.options.automatic {
            return Ok(());
        }
        let gone = dead.iter().zip(fates).filter(|(_, fate)| fate.hold().is_none());
        let gone = gone.filter_map(|((victim, size), _)| match victim {
            Victim::Data(digest) if !self.is_forgotten(digest) => Some((*digest, *size)),
            _ => None,
        });
        let (digests, sizes): (Vec<_>, Vec<_>) = gone.unzip();
        let released = self.means.collect.released(&digests).await?;
        let is_released = released.into_iter().chain(iter::repeat(false));
        self.unaccounted += sizes
            .iter()
            .zip(is_released)
            .filter(|(_, is_released)| !is_released)
            .map(|(size, _)| size)
            .sum::<u64>();
        Ok(())
    }

    /// Returns true if the bytes belong to a deletion whose record the run is going to forget.
    fn is_forgotten(&self, digest: &Digest) -> bool {
        self.forgotten.hold(self.salt.key(digest)).is_some()
    }

    async fn dispose(&mut self, victims: Vec<Victim>, why: Why) -> Result<()> {
        let victims: Vec<_> = victims.into_iter().map(|victim| (victim, 0)).collect();
        for batch in victims.chunks(self.batch()) {
            self.dispose_sized(batch, why).await?;
        }
        Ok(())
    }

    /// Removes items, or finds out what a removal would do. Returns the fate of each.
    async fn dispose_sized(&mut self, sized: &[(Victim, u64)], why: Why) -> Result<Vec<Fate>> {
        if sized.is_empty() {
            return Ok(Vec::new());
        }
        let victims: Vec<Victim> = sized.iter().map(|(victim, _)| victim.clone()).collect();
        let results = self.results(&victims).await?;
        if results.len() != victims.len() {
            return Err(StorageError::internal(format!(
                "the storage has {} results for {} items",
                results.len(),
                victims.len()
            )));
        }
        let (mut fates, mut failure) = (Vec::with_capacity(results.len()), None);
        let mut removed = 0;
        for ((victim, size), result) in sized.iter().zip(results) {
            self.report.count(victim, *size, &result);
            if self.is_told() && !matches!(result, Reclaimed::Absent) {
                let result = &result;
                (self.means.told)(&CollectEvent::Item { victim, why, result });
            }
            removed += u32::from(matches!(result, Reclaimed::Removed { .. }));
            fates.push(match result {
                Reclaimed::Removed { .. } => Fate::Removed,
                Reclaimed::Absent => Fate::Absent,
                Reclaimed::Later(_) => Fate::Later,
                _ => Fate::Stays,
            });
            if let Reclaimed::Failed(error) = result {
                failure = Some(StorageError::failed(format!("cannot remove the {victim}"), error));
            }
        }
        match failure {
            Some(failure) => Err(failure),
            None => {
                self.pace(removed).await;
                Ok(fates)
            }
        }
    }

    async fn results(&mut self, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        if let Act::Remove(run) = self.act {
            return self.means.collect.reclaim(run, victims).await;
        }
        let unhurried = self.means.unhurried;
        let look = self.look(victims);
        match unhurried {
            Some(unhurried) => unhurried.rested("look", look).await,
            None => look.await,
        }
    }

    /// Announces the items that were found to go. An announcement may take several requests to a store, whatever it has.
    async fn announce(&mut self) -> Result<()> {
        let announced = std::mem::take(&mut self.announced);
        if let Act::Condemn(run) = self.act
            && !announced.is_empty()
            && let Waiting::Until(wait) = self.means.collect.condemn(run, &announced).await?
        {
            self.wait = self.wait.max(wait);
        }
        Ok(())
    }

    /// Returns the results that a removal would have, and notes it for the announcement.
    async fn look(&mut self, victims: &[Victim]) -> Result<Vec<Reclaimed>> {
        let collect = self.means.collect;
        let due = collect.due(&self.means.options.terms, victims).await?;
        if matches!(self.act, Act::Condemn(_)) {
            let due = victims.iter().zip(&due);
            let due = due.filter(|(_, due)| matches!(due, Due::Now { .. }));
            self.announced.extend(due.map(|(victim, _)| victim.clone()));
            if self.announced.len() >= ANNOUNCED {
                self.announce().await?;
            }
        }
        Ok(due
            .into_iter()
            .map(|due| match due {
                Due::Now { bytes } => Reclaimed::removed(bytes),
                Due::Later(after) => Reclaimed::Later(after),
                Due::InUse => Reclaimed::InUse,
                Due::Absent => Reclaimed::Absent,
            })
            .collect())
    }

    /// Waits as long as this number of removals has to take.
    async fn pace(&self, removed: u32) {
        if let (Act::Remove(_), Some(rate)) = (self.act, self.means.options.rate)
            && removed > 0
        {
            self.means
                .clock
                .sleep(Duration::from_secs(1) * removed / rate.get())
                .await;
        }
    }

    /// Returns the number of items to remove at once: at most what may be removed in a quarter of a second.
    fn batch(&self) -> usize {
        let rate = self.means.options.rate.map(|rate| rate.get() / 4);
        let rate = rate.and_then(|rate| usize::try_from(rate).ok());
        rate.unwrap_or(BATCH).clamp(1, BATCH)
    }

    /// Returns true if the results of this pass are those of the run.
    const fn is_told(&self) -> bool {
        !matches!(self.act, Act::Condemn(_))
    }
}

impl Survey {
    /// Returns the hold of blobs that nothing names.
    const fn keeps_unnamed(&self) -> Option<Hold> {
        if self.is_uploading {
            Some(Hold::Use)
        } else if self.is_pinned {
            Some(Hold::Pin)
        } else {
            None
        }
    }
}
