//! `registry rm --quarantined`: shows the content in quarantine, asks, and removes it.

use super::{
    Session, agreement, print_json,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{BoxError, ListQuarantined, QuarantinedItem, RemoveQuarantined},
};
use serde::Serialize;
use std::io::{self, Write as _};

const COLUMNS: &[Column] = &[
    Column::Text("EFFECT"),
    Column::Text("DIGEST"),
    Column::Number("SIZE"),
    Column::Text("SINCE"),
    Column::Text("DAMAGE"),
    Column::Text("PLACE"),
];

/// Number of items that are removed by one request.
const BATCH: usize = 1000;

/// Removes all items of the quarantine, or those of a digest, if the operator agrees. Removes nothing that was not there
/// before.
pub(super) fn remove(
    digest: Option<String>,
    yes: bool,
    json: bool,
    storage: cli::Storage,
) -> Result<(), BoxError> {
    let mut session = Session::open(storage)?;
    let mut found = Vec::new();
    let listing = ListQuarantined {
        digest: digest.clone(),
    };
    session.run(listing, |item| {
        found.push(item);
        Ok(())
    })?;
    match digest {
        Some(digest) if found.is_empty() => return Err(format!("{digest} is not in quarantine").into()),
        None if found.is_empty() => return Ok(writeln!(io::stderr(), "registry: the quarantine is empty")?),
        _ => {}
    }
    if !yes {
        let mut output = Output::new(json, "removes");
        found.iter().try_for_each(|item| output.print(item))?;
        output.end()?;
        agreement::require(true)?;
    }
    let mut output = Output::new(json, "removed");
    while !found.is_empty() {
        let items = found.drain(..found.len().min(BATCH)).collect();
        session.run(RemoveQuarantined { items }, |item| output.print(&item))?;
    }
    output.end()
}

/// Line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    effect: &'static str,
    #[serde(flatten)]
    item: &'a QuarantinedItem,
}

/// Printed items.
struct Output {
    /// `None` for JSON.
    table: Option<Table>,
    effect: &'static str,
}

impl Output {
    fn new(json: bool, effect: &'static str) -> Self {
        Self {
            table: (!json).then(|| Table::new(COLUMNS)),
            effect,
        }
    }

    fn print(&mut self, item: &QuarantinedItem) -> Result<(), BoxError> {
        let Some(table) = &mut self.table else {
            return print_json(&Line {
                effect: self.effect,
                item,
            });
        };
        Ok(table.row([
            Cell::text(self.effect),
            Cell::text(&item.digest),
            Cell::Bytes(item.bytes),
            item.since.as_deref().map_or(Cell::None, Cell::text),
            Cell::text(&item.reason),
            Cell::text(&item.place),
        ])?)
    }

    fn end(self) -> Result<(), BoxError> {
        if let Some(table) = self.table {
            table.end()?;
        }
        Ok(())
    }
}
