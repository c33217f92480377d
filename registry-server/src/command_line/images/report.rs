//! [`Reporter`]: prints the steps and results of copies.

use super::{failure::Failure, plan::shown, progress::Progress, source::Batch};
use crate::printable;
use registry_core::{Digest, Tag};
use registry_image::{Copied, Event, NotCopied, Report};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Interval at which the bytes so far are told.
const TOLD: Duration = Duration::from_secs(1);

/// Form of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Quiet,
    Lines,
    Json,
}

/// Printer of steps and results.
#[derive(Debug)]
pub(super) struct Reporter {
    form: Form,
    /// True if standard output has the archive.
    to_stderr: bool,
    progress: Progress,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    totals: Totals,
    digests: Vec<Digest>,
    /// Bytes of blobs so far, and the time at which they were told.
    transferred: u64,
    told: Option<Instant>,
    /// True if an image failed for good.
    has_failed_for_good: bool,
    /// Absent images with the indexes that list them.
    absent: BTreeSet<(Digest, Digest)>,
    /// Referrers that are not copied, by their subjects.
    left: BTreeMap<Digest, BTreeSet<Digest>>,
}

/// Counts of everything that was copied.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) images: u64,
    pub(super) failed: u64,
    /// Blobs that were transferred, and their bytes.
    blobs: u64,
    bytes: u64,
    /// Blobs that the target had.
    skipped: u64,
    /// Blobs that the target took over from another repository.
    mounted: u64,
    /// Referrers of originals whose copies have another digest.
    referrers_not_copied: u64,
}

impl Reporter {
    pub(super) fn new(form: Form, to_stderr: bool) -> Self {
        Self {
            form,
            to_stderr,
            progress: Progress::new(form == Form::Lines && io::stderr().is_terminal()),
            seen: Mutex::default(),
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn totals(&self) -> Totals {
        self.seen().totals.clone()
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        self.seen().digests.clone()
    }

    /// Returns true if a later attempt may succeed for every image that failed.
    pub(super) fn all_transient(&self) -> bool {
        !self.seen().has_failed_for_good
    }

    /// Takes the absent images that were not taken before.
    pub(super) fn take_absent(&self) -> BTreeSet<(Digest, Digest)> {
        std::mem::take(&mut self.seen().absent)
    }

    /// Takes the referrers that are not copied, by their subjects, and counts them.
    pub(super) fn take_left(&self) -> BTreeMap<Digest, BTreeSet<Digest>> {
        let mut seen = self.seen();
        let left = std::mem::take(&mut seen.left);
        seen.totals.referrers_not_copied += left.values().map(|left| left.len() as u64).sum::<u64>();
        left
    }

    /// Reports a step.
    pub(super) fn event(&self, event: &Event) {
        self.progress.event(event);
        if let Event::BlobBytes { bytes, .. } = event {
            self.transferred(*bytes);
            return;
        }
        let blob = |digest: &Digest, size: &u64, state| json!({"type": "blob", "digest": digest.to_string(), "size": size, "state": state});
        let line = match event {
            Event::ImageAbsent { index, digest, .. } => {
                self.seen().absent.insert((*index, *digest));
                return;
            }
            Event::ReferrerNotCopied { subject, digest, .. } => {
                self.seen().left.entry(*subject).or_default().insert(*digest);
                return;
            }
            Event::BlobStarted { digest, size, .. } => blob(digest, size, "started"),
            Event::BlobCopied { digest, size, .. } => blob(digest, size, "copied"),
            Event::BlobSkipped { digest, size, .. } => blob(digest, size, "skipped"),
            Event::BlobMounted { digest, size, .. } => blob(digest, size, "mounted"),
            Event::BlobAbsent { digest, size, .. } => blob(digest, size, "absent"),
            _ => return,
        };
        if self.form == Form::Json {
            // An output that is gone is reported with the next result.
            _ = self.print(&printable::json(&line.to_string()));
        }
    }

    /// Reports the bytes so far, at most once a second.
    fn transferred(&self, bytes: u64) {
        let mut seen = self.seen();
        seen.transferred += bytes;
        if self.form != Form::Json || seen.told.is_some_and(|told| told.elapsed() < TOLD) {
            return;
        }
        seen.told = Some(Instant::now());
        let line = json!({"type": "progress", "bytes": seen.transferred});
        drop(seen);
        // An output that is gone is reported with the next result.
        _ = self.json(line);
    }

    /// Reports why the command failed.
    pub(super) fn failure(&self, failure: &Failure) {
        if self.form == Form::Json {
            let transient = failure.is_transient;
            _ = self.json(json!({"type": "error", "message": failure.message, "transient": transient}));
        }
        for line in failure.message.lines() {
            self.tell(format_args!("{line}"));
        }
    }

    /// Reports a warning.
    pub(super) fn warn(&self, message: &str) {
        if self.form == Form::Json {
            _ = self.json(json!({"type": "warning", "message": message}));
            return;
        }
        self.tell(format_args!("warning: {message}"));
    }

    /// Reports a copied image, with both digests if they differ.
    pub(super) fn image(&self, batch: &Batch, copied: &Copied) -> io::Result<()> {
        let repository = batch.repository.as_deref();
        let digest = copied.target;
        let mut names: Vec<_> = copied
            .tags
            .iter()
            .map(|tag: &Tag| shown(repository, Some(tag), digest))
            .collect();
        if names.is_empty() {
            names.push(shown(repository, None, digest));
        }
        {
            let mut seen = self.seen();
            seen.totals.images += 1;
            seen.digests.push(digest);
        }
        match self.form {
            Form::Quiet => Ok(()),
            Form::Json => self.json(json!({
                "type": "image",
                "source": batch.source.describe(),
                "source_digest": copied.source.to_string(),
                "names": names,
                "digest": digest.to_string(),
            })),
            Form::Lines => {
                for name in names {
                    let name = printable::Line(name);
                    match copied.source == digest {
                        true => self.print(&format!("{name}\t{digest}"))?,
                        false => self.print(&format!("{name}\t{digest}\t{}", copied.source))?,
                    }
                }
                Ok(())
            }
        }
    }

    /// Reports an image that was not copied, before others are.
    pub(super) fn failed(&self, batch: &Batch, failed: NotCopied) -> io::Result<()> {
        let from = failed.from;
        let failure = Failure::from(failed.error);
        {
            let mut seen = self.seen();
            seen.totals.failed += 1;
            seen.has_failed_for_good |= !failure.is_transient;
        }
        let message = format!("{}: {}", from, failure.message);
        if self.form == Form::Json {
            return self.json(json!({
                "type": "failed",
                "source": batch.source.describe(),
                "reference": from.to_string(),
                "error": failure.message,
                "transient": failure.is_transient,
            }));
        }
        self.tell(format_args!("{message}"));
        Ok(())
    }

    /// Adds the counts of a copy.
    pub(super) fn add(&self, report: &Report) {
        let totals = &mut self.seen().totals;
        totals.blobs += report.blobs;
        totals.bytes += report.bytes;
        totals.skipped += report.skipped;
        totals.mounted += report.mounted;
    }

    /// Adds the counts of an archive.
    pub(super) fn add_archive(&self, blobs: u64, bytes: u64) {
        let totals = &mut self.seen().totals;
        totals.blobs += blobs;
        totals.bytes += bytes;
    }

    /// Reports the end.
    pub(super) fn end(&self) -> io::Result<()> {
        if self.form != Form::Json {
            return Ok(());
        }
        let mut summary = serde_json::to_value(self.totals()).unwrap_or_default();
        if let Value::Object(members) = &mut summary {
            members.insert("type".to_owned(), "summary".into());
        }
        self.json(summary)
    }

    #[expect(clippy::needless_pass_by_value, reason = "values are made for the call")]
    fn json(&self, line: Value) -> io::Result<()> {
        self.print(&printable::json(&line.to_string()))
    }

    fn print(&self, line: &str) -> io::Result<()> {
        self.progress.without(|| match self.to_stderr {
            true => writeln!(io::stderr(), "{line}"),
            false => writeln!(io::stdout(), "{line}"),
        })
    }

    /// Prints a message on standard error.
    pub(super) fn tell(&self, message: std::fmt::Arguments<'_>) {
        // Nothing is left to tell it to if standard error is gone.
        self.progress
            .without(|| _ = writeln!(io::stderr(), "registry: {}", printable::Line(message)));
    }
}
