//! `registry history` and `registry restore`: prints where tags pointed, and undoes a deletion.

use super::{
    Session, print_json,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{BoxError, HistoryItem, ListHistory, RestoredItem, UndoDeletion},
    printable,
};
use std::io::{self, Write as _};

const EVENTS: &[Column] = &[
    Column::Text("TIME"),
    Column::Text("TAG"),
    Column::Text("TARGET"),
    Column::Text("BY"),
];

/// Prints the moves and deletions of tags.
pub(crate) fn history(options: cli::History) -> Result<(), BoxError> {
    let cli::History { image, json, storage } = options;
    let (repository, tag) = match image.rsplit_once(':') {
        Some((repository, tag)) => (repository.to_owned(), Some(tag.to_owned())),
        None => (image, None),
    };
    let mut session = Session::open(storage)?;
    let mut table = Table::new(EVENTS);
    session.run(ListHistory { repository, tag }, |item| match json {
        true => print_json(&item),
        false => Ok(table.row(row(item))?),
    })?;
    Ok(table.end()?)
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
        under,
        json,
        storage,
    } = options;
    let (repository, reference) = split(&image)?;
    let operation = UndoDeletion {
        repository: repository.to_owned(),
        reference: reference.to_owned(),
        under,
    };
    let mut session = Session::open(storage)?;
    session.run(operation, |item| match json {
        true => print_json(&item),
        false => print(repository, &item),
    })
}

/// Splits `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
fn split(image: &str) -> Result<(&str, &str), BoxError> {
    let parts = image.split_once('@').or_else(|| image.rsplit_once(':'));
    parts.ok_or_else(|| {
        format!("{image}: the deleted tag or digest is missing, as in {image}:TAG or {image}@DIGEST").into()
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_restore_is_a_tag_or_a_digest() {
        let digest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let image = format!("team/app@{digest}");
        assert_eq!(split("team/app:v1").unwrap(), ("team/app", "v1"));
        assert_eq!(split(&image).unwrap(), ("team/app", digest));
        let refused = split("team/app").unwrap_err().to_string();
        assert!(refused.contains("team/app@DIGEST"), "{refused}");
    }
}
