//! `registry garbage-collect`: prints what a collection removes, or holds collections.

use super::{
    Session, print_json,
    progress::Progress,
    report,
    table::{Cell, Column, Table, size},
};
use crate::{
    command_line::cli,
    control::{BoxError, Collect, CollectItem, Collected, Hold, HoldItem, Kind, Outcome, Summary},
    counted::counted,
};
use std::{
    io::{self, Write as _},
    process::ExitCode,
    time::{Duration, SystemTime},
};

const COLUMNS: &[Column] = &[
    Column::Text("RESULT"),
    Column::Text("KIND"),
    Column::Text("ITEM"),
    Column::Number("SIZE"),
    Column::Text("WHY"),
];

/// Collects, or holds collections. The exit code is 1 if the collection ended early.
pub(crate) fn collect(options: cli::GarbageCollect) -> Result<ExitCode, BoxError> {
    let cli::GarbageCollect {
        file,
        dry_run,
        delete_untagged,
        quiet,
        keep_trash,
        force,
        hold: held,
        json,
        mut storage,
    } = options;
    storage.config = file.or(storage.config);
    let mut session = Session::open(storage)?;
    if let Some(time) = held {
        return hold(&mut session, time, json);
    }
    let operation = Collect {
        dry_run,
        untagged: delete_untagged,
        keep_trash,
        force,
    };
    let mut output = Output::new(json, quiet);
    match session.run_or_end(operation, |item| output.print(item))? {
        None => output.end(),
        Some(code) => {
            output.progress.clear();
            if output.has_announced {
                report("interrupted", "the next collection goes on with the removals");
            }
            Ok(code)
        }
    }
}

fn hold(session: &mut Session, time: Duration, json: bool) -> Result<ExitCode, BoxError> {
    if session.place.is_bucket() {
        return Err(
            "collections of a bucket cannot be held, since any server and any command may run one: set `storage.maintenance.collect.enabled: false` for all servers, restart them, and run no collection meanwhile"
                .into(),
        );
    }
    let operation = Hold {
        seconds: time.as_secs(),
    };
    session.run(operation, |item: HoldItem| {
        if json {
            return print_json(&item);
        }
        let text = match &item {
            HoldItem::Held { until } => {
                format!("no collection removes anything until {until}, or until the server ends")
            }
            HoldItem::Ended => "collections are not held any more".to_owned(),
            HoldItem::NoServer => {
                "no server runs, so that nothing is held; a collection that is started meanwhile is not prevented"
                    .to_owned()
            }
        };
        Ok(writeln!(io::stdout(), "{text}")?)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Printed lines of a run.
struct Output {
    /// `None` for JSON.
    table: Option<Table>,
    is_quiet: bool,
    progress: Progress,
    has_announced: bool,
    summary: Option<Summary>,
}

impl Output {
    fn new(json: bool, is_quiet: bool) -> Self {
        Self {
            table: (!json).then(|| Table::new(COLUMNS)),
            is_quiet,
            progress: Progress::new(),
            has_announced: false,
            summary: None,
        }
    }

    fn print(&mut self, item: CollectItem) -> Result<(), BoxError> {
        match &item {
            CollectItem::Repository { name, .. } => {
                self.progress.show(name);
                return Ok(());
            }
            CollectItem::Report(summary) => self.summary = Some(summary.clone()),
            CollectItem::Pin(pin) => {
                self.progress.clear();
                report("kept", pin);
            }
            CollectItem::Announced { seconds } => {
                self.has_announced = true;
                self.progress.clear();
                let minutes = seconds.div_ceil(60);
                let told = format!(
                    "the removals are announced to all replicas and begin in {minutes} minutes; if you interrupt this run, the \
                     next one goes on with them, and the time counts"
                );
                report("waiting", &told);
            }
            CollectItem::Item(_) => {}
        }
        let Some(table) = &mut self.table else {
            return match item {
                CollectItem::Item(_) if self.is_quiet => Ok(()),
                item => print_json(&item),
            };
        };
        if let CollectItem::Item(collected) = item
            && !self.is_quiet
        {
            self.progress.clear();
            table.row(row(collected))?;
        }
        Ok(())
    }

    fn end(mut self) -> Result<ExitCode, BoxError> {
        self.progress.clear();
        let summary = self.summary.unwrap_or_default();
        if let Some(table) = self.table {
            table.end()?;
            print_summary(&summary)?;
        }
        Ok(match &summary.stopped {
            None => ExitCode::SUCCESS,
            Some(stopped) => {
                report("garbage-collect", stopped);
                ExitCode::FAILURE
            }
        })
    }
}

fn row(item: Collected) -> [Cell; 5] {
    let kind = match item.kind {
        Kind::Manifest => "manifest",
        Kind::Link => "link",
        Kind::Data => "data",
        Kind::Repository => "repository",
    };
    let name = match (item.repository, item.digest) {
        (Some(repository), Some(digest)) => format!("{repository}@{digest}"),
        (repository, digest) => repository.or(digest).unwrap_or_default(),
    };
    let (result, bytes) = match item.result {
        Outcome::WouldRemove(bytes) => ("would be removed".to_owned(), Cell::Bytes(bytes)),
        Outcome::Removed(bytes) => ("removed".to_owned(), Cell::Bytes(bytes)),
        Outcome::Later(seconds) => (format!("free at {}", due(seconds)), Cell::None),
        Outcome::InUse => ("in use".to_owned(), Cell::None),
        Outcome::Failed(error) => (format!("failed: {error}"), Cell::None),
    };
    [
        Cell::text(result),
        Cell::text(kind),
        Cell::text(name),
        bytes,
        Cell::text(item.why),
    ]
}

fn print_summary(summary: &Summary) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let [free, remove] = match summary.dry_run {
        true => ["would free", "would remove"],
        false => ["freed", "removed"],
    };
    writeln!(
        out,
        "{free} {}: {remove} {}, {}, {}, {}",
        size(summary.bytes),
        counted(summary.manifests, "manifest", "manifests"),
        counted(summary.links, "link", "links"),
        counted(summary.data, "blob", "blobs"),
        counted(summary.repositories, "repository", "repositories")
    )?;
    if summary.forgotten_tags > 0 {
        let tags = counted(summary.forgotten_tags, "tag", "tags");
        let can = if summary.dry_run { "could" } else { "can" };
        writeln!(out, "{tags} {can} no longer be restored")?;
    }
    if summary.restorable.tags + summary.restorable.manifests > 0 {
        writeln!(
            out,
            "can be restored: {} and {} with {}; free with a collection without --keep-trash",
            counted(summary.restorable.tags, "tag", "tags"),
            counted(summary.restorable.manifests, "manifest", "manifests"),
            size(summary.restorable.bytes)
        )?;
    }
    if let Some(seconds) = summary.later.seconds {
        writeln!(
            out,
            "used recently: {} with {}; free at {}, unless used again",
            counted(summary.later.items, "item", "items"),
            size(summary.later.bytes),
            due(seconds)
        )?;
    }
    if summary.in_use > 0 {
        let items = counted(summary.in_use, "item", "items");
        writeln!(out, "in use at the moment: {items}")?;
    }
    if summary.untagged > 0 {
        writeln!(
            out,
            "without a tag: {} with {}; remove with -m (--delete-untagged)",
            counted(summary.untagged, "manifest", "manifests"),
            size(summary.untagged_bytes)
        )?;
    }
    if summary.pinned > 0 {
        writeln!(
            out,
            "unreadable or lost: {}, listed before, which may refer to {}",
            counted(summary.pinned, "item", "items"),
            size(summary.pinned_bytes)
        )?;
    }
    out.flush()
}

/// Returns the time in so many seconds.
fn due(seconds: u64) -> String {
    let time = SystemTime::now().checked_add(Duration::from_secs(seconds));
    let time = time.and_then(|time| jiff::Timestamp::try_from(time).ok());
    time.map_or_else(
        || "an unknown time".to_owned(),
        |time| time.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}
