//! `registry retention`: shows what rules of retention keep and drop, and applies them to a directory.

use super::{
    cli::{Retention, RetentionPlace},
    sources::sources,
};
use crate::{
    Config, access,
    config::StorageKind,
    printable,
    retention::{Immutable, RetentionFile},
};
use registry_core::{
    Registry, RepositoryName, Tag,
    maintenance::retention::{Decision, Retain, Retained, Rules, Survey, survey},
};
use registry_storage_fs::{FsOptions, FsStorage};
use serde_json::json;
use std::{
    error::Error,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

type BoxError = Box<dyn Error + Send + Sync>;

/// Runs one of the commands. The exit code of `run` is 1 if the rules would drop too much, or if something failed.
pub(crate) fn run(command: Retention) -> Result<ExitCode, BoxError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Retention::Explain {
            place,
            repository,
            json,
        } => runtime.block_on(explain(&place, repository.as_deref(), json)),
        Retention::Run { place, force } => runtime.block_on(apply(&place, force)),
    }
}

/// Rules, and the directory to apply them to.
struct Opened {
    rules: Arc<Rules>,
    immutable: Immutable,
    root: PathBuf,
    min_free: u64,
}

impl Opened {
    fn of(place: &RetentionPlace) -> Result<Self, BoxError> {
        let flags = [
            ("storage.filesystem.rootdirectory", "--root", &place.root),
            ("storage.maintenance.retention.rules", "--rules", &place.rules),
        ];
        let given = flags
            .into_iter()
            .filter_map(|(key, flag, value)| Some((key, flag, value.clone()?)));
        let sources = given.fold(sources(place.config.clone()), |sources, (key, flag, value)| {
            sources.set(key, flag, value)
        });
        let settings = Config::load(sources)?.settings;
        let path = settings.storage.retention.rules.as_deref();
        let path =
            path.ok_or("no rules of retention: set `storage.maintenance.retention.rules`, or --rules FILE")?;
        let immutable = match &settings.access {
            Some(rules) => Immutable::ByRules(access::open(rules)?),
            None => Immutable::None,
        };
        match settings.storage.kind {
            StorageKind::Directory { root, min_free, .. } => Ok(Self {
                rules: RetentionFile::open(path)?.rules(),
                immutable,
                root,
                min_free,
            }),
            StorageKind::Memory => Err("images in memory end with the server, and have no directory".into()),
        }
    }

    fn open(&self, options: FsOptions) -> Result<FsStorage, BoxError> {
        Ok(options.open(&self.root)?)
    }
}

async fn explain(place: &RetentionPlace, only: Option<&str>, json: bool) -> Result<ExitCode, BoxError> {
    let opened = Opened::of(place)?;
    let only = only.map(RepositoryName::parse).transpose();
    let only = only.map_err(|error| format!("the repository: {error}"))?;
    let storage = opened.open(FsStorage::options().read_only())?;
    let is_immutable = |repository: &RepositoryName, _: &Tag| opened.immutable.contains(repository);
    let retain = Retain::new(&opened.rules, Some(SystemTime::now()))
        .immutable(&is_immutable)
        .only(only.as_ref());
    // Written at once, so that a slow reader of a pipe holds nothing up.
    let mut lines = String::new();
    let survey = survey(&storage, &retain, &mut |repository, decision| {
        lines += &line(&opened.rules, repository, decision, json);
        lines.push('\n');
    })
    .await?;
    let mut out = io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    if !json {
        summarize(&mut out, &survey, &opened.rules)?;
    }
    out.flush()?;
    Ok(if survey.failed > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn line(rules: &Rules, repository: &RepositoryName, decision: &Decision, json: bool) -> String {
    let Decision {
        state, rule, verdict, ..
    } = decision;
    let origin = rule.and_then(|rule| rules.rules().get(rule)?.origin());
    if json {
        let moved = state
            .moved
            .and_then(|moved| moved.duration_since(UNIX_EPOCH).ok());
        return json!({
            "repository": repository.as_str(),
            "tag": state.tag.as_str(),
            "digest": state.digest.to_string(),
            "moved": moved.map(|moved| moved.as_secs()),
            "action": if verdict.drops() { "drop" } else { "keep" },
            "rule": rule.map(|rule| rule + 1),
            "origin": origin,
            "reason": verdict.to_string(),
        })
        .to_string();
    }
    let action = if verdict.drops() { "drop" } else { "keep" };
    let by = match (rule, origin) {
        (Some(rule), Some(origin)) => format!(" (rule {}, {})", rule + 1, printable::Line(origin)),
        _ => String::new(),
    };
    format!("{action}  {repository}:{}  {verdict}{by}", state.tag)
}

fn summarize(out: &mut impl io::Write, survey: &Survey, rules: &Rules) -> io::Result<()> {
    let kept: u64 = survey.rules.iter().map(|rule| rule.kept).sum();
    let (kept, dropped) = (kept + survey.undecided, survey.dropped());
    writeln!(
        out,
        "{kept} tags are kept, {dropped} are dropped; nothing was changed"
    )?;
    if let Some(rule) = survey.excessive() {
        writeln!(
            out,
            "a run drops nothing without --force: more than half of its tags are dropped by {}",
            printable::Line(rules.describe(rule))
        )?;
    }
    Ok(())
}

async fn apply(place: &RetentionPlace, force: bool) -> Result<ExitCode, BoxError> {
    let opened = Opened::of(place)?;
    let storage = opened.open(FsStorage::options().min_free(opened.min_free))?;
    let registry = Registry::builder(storage).build();
    let is_immutable = |repository: &RepositoryName, _: &Tag| opened.immutable.contains(repository);
    let retain = Retain::new(&opened.rules, Some(SystemTime::now()))
        .immutable(&is_immutable)
        .force(force);
    let report = registry.retain(&retain).await?;
    let mut out = io::stdout().lock();
    let Retained {
        tags,
        manifests,
        left,
        failed,
        ref survey,
        excessive,
        ..
    } = report;
    if let Some(rule) = excessive {
        let rule = printable::Line(opened.rules.describe(rule)).to_string();
        return Err(format!("nothing was dropped: more than half of its tags would be dropped by {rule}; add --force if that is intended").into());
    }
    writeln!(out, "{tags} tags and {manifests} manifests were dropped")?;
    if left > 0 {
        writeln!(
            out,
            "{left} manifests have lost their last tag and are still there"
        )?;
    }
    out.flush()?;
    let failures = failed + survey.failed;
    if failures > 0 {
        return Err(format!("{failures} tags or repositories could not be dropped or read").into());
    }
    Ok(ExitCode::SUCCESS)
}
