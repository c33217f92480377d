//! `registry verify`: prints the damage of everything stored.

use super::{Session, print_json, progress::Progress, table::size};
use crate::{
    command_line::cli,
    control::{BoxError, Verify, VerifyItem, VerifySummary},
    counted::counted,
    printable,
};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

/// Prints what is wrong, and a summary. The exit code is 1 if something is wrong, repaired or not.
pub(crate) fn verify(options: cli::Verify) -> Result<ExitCode, BoxError> {
    let cli::Verify {
        file,
        repair,
        force,
        json,
        storage,
    } = options;
    let storage = cli::Storage {
        config: file.or(storage.config),
        ..storage
    };
    let mut session = Session::open(storage)?;
    let mut progress = Progress::new();
    let mut wrong = 0;
    session.run(Verify { repair, force }, |item: VerifyItem| {
        match &item {
            VerifyItem::Progress(summary) => {
                progress.show(&progress_of(summary));
                return Ok(());
            }
            VerifyItem::Finding(_) => {}
            VerifyItem::Summary(summary) => wrong = summary.wrong,
        }
        progress.clear();
        let line = match item {
            item if json => return print_json(&item),
            VerifyItem::Finding(finding) => finding.text,
            VerifyItem::Progress(summary) | VerifyItem::Summary(summary) => text(&summary, repair),
        };
        Ok(writeln!(io::stdout(), "{}", printable::Lines(line))?)
    })?;
    Ok(match wrong {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

fn progress_of(summary: &VerifySummary) -> String {
    let VerifySummary {
        blobs, repositories, ..
    } = summary;
    format!(
        "{} ({}), {}",
        counted(*blobs, "blob", "blobs"),
        size(summary.bytes),
        counted(*repositories, "repository", "repositories")
    )
}

fn text(summary: &VerifySummary, repair: bool) -> String {
    let kinds = summary.kinds.iter();
    let kinds: String = kinds.map(|(kind, count)| format!("{kind}: {count}\n")).collect();
    let wrong = match summary.wrong {
        1 => "1 thing is wrong".to_owned(),
        wrong => format!("{wrong} things are wrong"),
    };
    let outcome = match summary.wrong {
        0 => "nothing is wrong".to_owned(),
        _ if summary.stopped => format!(
            "{wrong}, and nothing was repaired: so much is corrupt that a disk, a controller or memory is likely at fault; check them, or use --force"
        ),
        _ if repair => format!("{wrong}, {} repaired", summary.repaired),
        _ => format!("{wrong}; nothing was changed"),
    };
    format!(
        "verified {} ({}), {}, {}, {}\n{kinds}{outcome}",
        counted(summary.blobs, "blob", "blobs"),
        size(summary.bytes),
        counted(summary.repositories, "repository", "repositories"),
        counted(summary.manifests, "manifest", "manifests"),
        counted(summary.tags, "tag", "tags")
    )
}
