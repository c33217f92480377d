//! `registry retention`: shows what rules of retention keep and drop, and applies them.

use super::{Session, print_json};
use crate::{
    Config, Sources,
    bucket::{self, Use},
    clock::TrustedClock,
    command_line::{cli, sources::sources},
    config::{Settings, StorageKind},
    control::{
        ApplyRules, BoxError, DecisionItem, Excess, FailureItem, RetentionItem, RetentionSummary, TagAction,
        ages_ignored,
    },
    counted::counted,
    printable,
    retention::{Immutable, RetentionFile, text_of},
};
use registry_core::{
    RepositoryName, Storage, Tag,
    maintenance::{
        Notes,
        retention::{Retain, Rules, Survey, survey},
    },
};
use registry_storage_fs::FsStorage;
use std::{
    fmt,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

/// Runs one of the commands. The exit code of `run` is 1 if the rules would drop too much, or if something failed.
pub(crate) fn retention(command: cli::Retention) -> Result<ExitCode, BoxError> {
    match command {
        cli::Retention::Explain {
            place,
            repository,
            json,
        } => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(explain(place, repository.as_deref(), json)),
        cli::Retention::Run(options) => run(options),
    }
}

/// Returns the configuration with the directory and the rules.
fn configured(place: cli::RetentionPlace) -> Result<(Settings, PathBuf), BoxError> {
    let cli::RetentionPlace { storage, rules } = place;
    let settings = Config::load(sources_of(storage, rules))?.settings;
    let rules = settings.storage.retention.rules.clone();
    let rules =
        rules.ok_or("no rules of retention: set `storage.maintenance.retention.rules`, or --rules FILE")?;
    Ok((settings, rules))
}

/// Returns the sources of the configuration. Beside a directory, the one that a configuration file names also has rules.
fn sources_of(storage: cli::Storage, rules: Option<String>) -> Sources {
    let sources = match storage {
        cli::Storage {
            config: Some(file),
            root: Some(root),
        } => sources(Some(file)).set("storage.filesystem.rootdirectory", "--root", root),
        storage => super::chosen(storage),
    };
    match rules {
        Some(rules) => sources.set("storage.maintenance.retention.rules", "--rules", rules),
        None => sources,
    }
}

async fn explain(place: cli::RetentionPlace, only: Option<&str>, json: bool) -> Result<ExitCode, BoxError> {
    let (settings, rules) = configured(place)?;
    let rules = RetentionFile::open(&rules)?.rules();
    let immutable = Immutable::of(settings.access.as_deref())?;
    let only = only.map(RepositoryName::parse).transpose();
    let only = only.map_err(|error| format!("the repository: {error}"))?;
    let (storage, notes): (Arc<dyn Storage>, Arc<dyn Notes>) = match &settings.storage.kind {
        StorageKind::Directory { root, .. } => {
            let storage = FsStorage::options().read_only().open(root)?;
            (Arc::new(storage.clone()), Arc::new(storage))
        }
        StorageKind::Bucket(bucket) => {
            let opened = bucket::open_for_command(bucket, Use::Read).await;
            let opened = opened.map_err(|error| bucket::explained(bucket, &error))?;
            (opened.storage, opened.notes)
        }
        StorageKind::Memory => {
            return Err("images in memory end with the server, and nothing else can read them".into());
        }
    };
    let is_immutable = |repository: &RepositoryName, _: &Tag| immutable.contains(repository);
    let now = TrustedClock::start(&*notes).await.now();
    let retain = Retain::new(&rules, now.ok())
        .immutable(&is_immutable)
        .only(only.as_ref());
    // Printed at once, so that a slow reader of a pipe holds nothing up.
    let mut items = Vec::new();
    let survey = survey(&*storage, &retain, &mut |repository, decision| {
        items.push(DecisionItem::of(&rules, repository, decision));
    })
    .await?;
    for item in &items {
        print(item, json)?;
    }
    if let Some(why) = ages_ignored(&rules, now) {
        writeln!(io::stderr(), "registry: no tag is too old: {why}")?;
    }
    for failure in &survey.failures {
        print_failure(&FailureItem::of(failure), json)?;
    }
    if !json {
        summarize(&survey, &rules)?;
    }
    Ok(if survey.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn print(item: &DecisionItem, json: bool) -> Result<(), BoxError> {
    if json {
        return print_json(item);
    }
    let DecisionItem {
        repository,
        tag,
        reason,
        ..
    } = item;
    let action = match item.action {
        TagAction::Keep => "keep",
        TagAction::Drop => "drop",
    };
    let by = match (item.rule, &item.origin) {
        (Some(rule), Some(origin)) => format!(" (rule {rule}, {})", printable::Line(origin)),
        _ => String::new(),
    };
    Ok(writeln!(
        io::stdout(),
        "{action}  {repository}:{tag}  {reason}{by}"
    )?)
}

/// Prints a failure on standard error, and for programs on standard output.
fn print_failure(failure: &FailureItem, json: bool) -> Result<(), BoxError> {
    if json {
        print_json(&RetentionItem::Failure(failure.clone()))?;
    }
    Ok(writeln!(io::stderr(), "registry: {failure}")?)
}

fn summarize(survey: &Survey, rules: &Rules) -> io::Result<()> {
    let kept: u64 = survey.rules.iter().map(|rule| rule.kept).sum();
    let (kept, dropped) = (kept + survey.undecided, survey.dropped());
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{} kept, {dropped} dropped; nothing was changed",
        counted(kept, "tag", "tags")
    )?;
    if let Some(index) = survey.excessive() {
        let counts = survey.rules.get(index).copied().unwrap_or_default();
        let excess = Excess {
            rule: rules.describe(index),
            drops: counts.dropped,
            keeps: counts.kept,
        };
        writeln!(out, "a run drops nothing without --force: {excess}")?;
    }
    out.flush()
}

/// Drops tags, or prints what would be dropped.
fn run(options: cli::RetentionRun) -> Result<ExitCode, BoxError> {
    let cli::RetentionRun {
        place,
        dry_run,
        force,
        json,
    } = options;
    let (settings, rules) = configured(place)?;
    // A mistake in the access rules is told before anything is dropped.
    Immutable::of(settings.access.as_deref())?;
    let operation = ApplyRules {
        rules: text_of(&rules)?,
        file: rules.display().to_string(),
        dry_run,
        force,
    };
    let mut session = Session::of(settings)?;
    let mut summary = RetentionSummary::default();
    session.run(operation, |item| {
        if let RetentionItem::Report(report) = &item {
            summary = report.clone();
        }
        match item {
            RetentionItem::Failure(failure) => print_failure(&failure, json),
            item if json => print_json(&item),
            RetentionItem::Tag(tag) => print(&tag, false),
            RetentionItem::Report(report) => Ok(write!(io::stdout(), "{report}")?),
        }
    })?;
    if let Some(excess) = summary.excessive.filter(|_| !dry_run) {
        let message = format!(
            "nothing was dropped: {excess}; look at `registry retention explain`, and add --force if that is intended, \
             for example because all tags of the rule have expired"
        );
        return Err(message.into());
    }
    match summary.failed {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(format!(
            "{} could not be dropped or read",
            counted(failed, "tag or repository", "tags or repositories")
        )
        .into()),
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, drops, keeps } = self;
        write!(
            f,
            "more than half of its tags, {drops} of {}, would be dropped by {}",
            drops + keeps,
            printable::Line(rule)
        )
    }
}

/// Shows the counts, with a line for each kind.
impl fmt::Display for RetentionSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (tags, manifests) = (
            counted(self.tags, "tag", "tags"),
            counted(self.manifests, "manifest", "manifests"),
        );
        match (self.dry_run, &self.excessive) {
            (true, Some(excess)) => writeln!(f, "a run drops nothing without --force: {excess}"),
            (false, Some(_)) => Ok(()),
            (true, None) => writeln!(f, "would drop {tags} and {manifests}; nothing was changed"),
            (false, None) => writeln!(f, "dropped {tags} and {manifests}"),
        }?;
        if self.left > 0 {
            writeln!(
                f,
                "{} without a tag stay for now, because they were used recently or something else needs them; a later run removes them",
                counted(self.left, "manifest", "manifests")
            )?;
        }
        if let Some(why) = &self.ages_ignored {
            writeln!(f, "no tag was too old: {}", printable::Line(why))?;
        }
        Ok(())
    }
}
