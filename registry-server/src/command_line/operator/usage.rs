//! `registry du`: prints the space that repositories take.

use super::{
    Session, print_json, report,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{BoxError, Measure, UsageItem},
};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    Column::Number("CHARGED"),
    Column::Number("PHYSICAL"),
    Column::Text("REPOSITORY"),
];

/// Prints the numbers. The exit code is 1 if some are incomplete.
pub(crate) fn usage(options: cli::Usage) -> Result<ExitCode, BoxError> {
    let cli::Usage {
        repository,
        json,
        storage,
    } = options;
    let mut session = Session::open(storage)?;
    let mut table = Table::new(COLUMNS);
    let mut incomplete = false;
    session.run(Measure { repository }, |item: UsageItem| {
        let name = item.repository.as_deref().unwrap_or("total");
        if let Some(problem) = &item.problem {
            incomplete = true;
            report(name, problem);
        }
        match json {
            true => print_json(&item),
            false => Ok(table.row([
                Cell::Bytes(item.charged),
                Cell::Bytes(item.physical),
                Cell::text(name),
            ])?),
        }
    })?;
    table.end()?;
    Ok(match incomplete {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
