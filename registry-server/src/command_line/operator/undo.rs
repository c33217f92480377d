//! `registry history` and `registry restore`: prints where tags pointed, and undoes a deletion.

use super::{
    Session,
    image::Image,
    print_json, report,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{
        BoxError, DeletedItem, HistoryItem, ListDeleted, ListHistory, RestoredItem, UndoDeletion,
        UndoDeletions, UndoneItem, parse_rfc3339,
    },
    counted::counted,
    printable,
};
use std::io::{self, Write as _};

const EVENTS: &[Column] = &[
    Column::Text("TIME"),
    Column::Text("TAG"),
    Column::Text("TARGET"),
    Column::Text("BY"),
];

const DELETED: &[Column] = &[
    Column::Text("TIME"),
    Column::Text("DIGEST"),
    Column::Text("TAGS"),
    Column::Text("DELETED"),
    Column::Text("BY"),
];

/// Prints the moves and deletions of tags, or what can be restored.
pub(crate) fn history(options: cli::History) -> Result<(), BoxError> {
    let cli::History {
        image,
        deleted,
        json,
        storage,
    } = options;
    let Image {
        repository,
        reference: tag,
    } = Image::parse(&image)?;
    if tag.as_ref().is_some_and(|tag| tag.contains(':')) {
        return Err(
            format!("{image}: only tags have a history; pass {repository} or {repository}:TAG").into(),
        );
    }
    let mut session = Session::open(storage)?;
    if deleted {
        return list_deleted(&mut session, ListDeleted { repository, tag }, json);
    }
    let mut table = Table::new(EVENTS);
    session.run(ListHistory { repository, tag }, |item| match json {
        true => print_json(&item),
        false => Ok(table.row(row(item))?),
    })?;
    Ok(table.end()?)
}

/// Prints what can be restored. The exit code is 1 if a record cannot be read.
fn list_deleted(session: &mut Session, operation: ListDeleted, json: bool) -> Result<(), BoxError> {
    let mut table = Table::new(DELETED);
    let mut unreadable = 0;
    session.run(operation, |item| {
        if let Some(problem) = &item.problem {
            unreadable += 1;
            report(&item.time, problem);
        }
        match json {
            true => print_json(&item),
            false if item.problem.is_some() => Ok(()),
            false => Ok(table.row(deleted_row(item))?),
        }
    })?;
    table.end()?;
    match unreadable {
        0 => Ok(()),
        records => Err(format!("cannot read {}", counted(records, "record", "records")).into()),
    }
}

fn deleted_row(item: DeletedItem) -> [Cell; 5] {
    [
        Cell::text(item.time),
        item.digest.map_or(Cell::None, Cell::text),
        Cell::text(item.tags.join(",")),
        Cell::text(match item.manifest {
            true => "manifest".to_owned(),
            false => "tag".to_owned(),
        }),
        item.by.map_or(Cell::None, Cell::text),
    ]
}

fn row(item: HistoryItem) -> [Cell; 4] {
    [
        Cell::text(item.time.unwrap_or_else(|| "time unknown".to_owned())),
        Cell::text(item.tag),
        Cell::text(item.digest.unwrap_or_else(|| "deleted".to_owned())),
        item.by.map_or(Cell::None, Cell::text),
    ]
}

/// Undoes a deletion, and prints what was restored.
pub(crate) fn restore(options: cli::Restore) -> Result<(), BoxError> {
    let cli::Restore {
        image,
        repository,
        since,
        under,
        json,
        storage,
    } = options;
    if let Some(repository) = repository {
        if let Some(since) = &since {
            parse_rfc3339(since)?;
        }
        return restore_all(storage, UndoDeletions { repository, since }, json);
    }
    let image = image.unwrap_or_default();
    let Image {
        repository,
        reference,
    } = Image::parse(&image)?;
    let reference = reference.ok_or_else(|| {
        format!("{image}: the deleted tag or digest is missing, as in {image}:TAG or {image}@DIGEST")
    })?;
    let operation = UndoDeletion {
        repository: repository.clone(),
        reference,
        under,
    };
    let mut session = Session::open(storage)?;
    session.run(operation, |item| {
        match json {
            true => print_json(&item),
            false => print(&repository, &item),
        }?;
        for left in &item.left {
            let line = format!(
                "{repository}@{} refers, or may refer, to what was restored, and stays deleted: {}",
                left.digest, left.reason
            );
            writeln!(io::stderr(), "registry: {}", printable::Line(&line))?;
        }
        if let Some(reason) = &item.unreadable {
            let line = format!(
                "a newer record of a deletion in {repository} cannot be read, and may be of the same image: {reason}; `registry history {repository}` shows where the tags pointed"
            );
            writeln!(io::stderr(), "registry: {}", printable::Line(&line))?;
        }
        Ok(())
    })
}

/// Undoes all deletions in a repository, and prints what was restored. The exit code is 1 if something stays deleted.
fn restore_all(storage: cli::Storage, operation: UndoDeletions, json: bool) -> Result<(), BoxError> {
    let repository = operation.repository.clone();
    let mut session = Session::open(storage)?;
    let (mut restored, mut left) = (0_u64, 0);
    session.run(operation, |item| match item {
        UndoneItem::Restored(item) => {
            restored += 1;
            match json {
                true => print_json(&item),
                false => print(&repository, &item),
            }
        }
        UndoneItem::Failed(item) => {
            left += 1;
            if json {
                print_json(&item)?;
            }
            let image = match (&*item.tags, &item.digest) {
                ([tag, ..], _) => format!("{repository}:{tag}"),
                ([], Some(digest)) => format!("{repository}@{digest}"),
                ([], None) => format!("{repository}: a record of {}", item.time),
            };
            report(&image, &format!("stays deleted: {}", item.error));
            Ok(())
        }
    })?;
    match (restored, left) {
        (0, 0) => Err(format!("nothing that was deleted in {repository} can be restored").into()),
        (_, 0) => Ok(()),
        (_, left) => Err(format!("{} not undone", counted(left, "deletion was", "deletions were")).into()),
    }
}

fn print(repository: &str, item: &RestoredItem) -> Result<(), BoxError> {
    let mut out = io::stdout();
    for tag in &item.tags {
        let line = format!("{repository}:{tag} points at {} again", item.digest);
        writeln!(out, "{}", printable::Line(&line))?;
    }
    if item.tags.is_empty() {
        let line = format!("{repository}@{} is there again, without a tag", item.digest);
        writeln!(out, "{}", printable::Line(&line))?;
    }
    Ok(())
}
