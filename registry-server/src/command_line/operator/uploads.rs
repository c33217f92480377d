//! `registry uploads`: prints open upload sessions, or ends one.

use super::{
    Session, print_json, report,
    table::{Cell, Column, Table, size},
};
use crate::{
    command_line::cli,
    control::{BoxError, EndUpload, ListUploads, UploadItem},
    printable,
};
use std::{
    io::{self, Write as _},
    process::ExitCode,
};

const COLUMNS: &[Column] = &[
    Column::Text("ID"),
    Column::Text("REPOSITORY"),
    Column::Number("SIZE"),
    Column::Text("STARTED"),
    Column::Text("LAST DATA"),
    Column::Text("BY"),
];

/// Prints the sessions, or that one was ended. The exit code is 1 if something in the list cannot be read.
pub(crate) fn uploads(options: cli::Uploads) -> Result<ExitCode, BoxError> {
    let cli::Uploads { end, json, storage } = options;
    let mut session = Session::open(storage)?;
    if let Some(id) = end {
        session.run(EndUpload { id }, |item| match json {
            true => print_json(&item),
            false => print_ended(&item),
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(COLUMNS);
    let mut unreadable = false;
    let each = |item: UploadItem| {
        if let Some(problem) = &item.problem {
            unreadable = true;
            report(item.id.as_deref().unwrap_or(&item.repository), problem);
        }
        match json {
            true => print_json(&item),
            false => Ok(table.row(row(item))?),
        }
    };
    session.run(ListUploads {}, each)?;
    table.end()?;
    Ok(match unreadable {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

fn print_ended(item: &UploadItem) -> Result<(), BoxError> {
    let id = item.id.as_deref().unwrap_or_default();
    let line = match item.bytes {
        Some(bytes) => format!("ended {id} in {}: {} dropped", item.repository, size(bytes)),
        None => format!("ended {id} in {}, which could not be read", item.repository),
    };
    Ok(writeln!(io::stdout(), "{}", printable::Line(&line))?)
}

fn row(item: UploadItem) -> [Cell; 6] {
    let text = |text: Option<String>| text.map_or(Cell::None, Cell::text);
    [
        text(item.id),
        Cell::text(item.repository),
        item.bytes.map_or(Cell::None, Cell::Bytes),
        text(item.started),
        text(item.last),
        text(item.uploader),
    ]
}
