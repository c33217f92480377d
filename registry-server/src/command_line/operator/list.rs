//! `registry ls`: prints repositories, or the tags of a repository.

use super::{
    Session, print_json, report,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{BoxError, ListRepositories, ListTags, RepositoryItem, TagItem},
};
use std::process::ExitCode;

/// Prints the list. The exit code is 1 if something in it cannot be read.
pub(crate) fn list(options: cli::List) -> Result<ExitCode, BoxError> {
    let cli::List {
        repository,
        long,
        all,
        json,
        storage,
    } = options;
    let mut session = Session::open(storage)?;
    let mut unreadable = false;
    match repository {
        None => {
            let mut table = Table::new(if long { REPOSITORIES } else { NAMES });
            session.run(ListRepositories { long }, |item: RepositoryItem| {
                if let Some(problem) = &item.problem {
                    unreadable = true;
                    report(&item.repository, problem);
                }
                match json {
                    true => print_json(&item),
                    false => Ok(table.row(of_repository(item, long))?),
                }
            })?;
            table.end()?;
        }
        Some(repository) => {
            let mut table = Table::new(if long {
                TAGS
            } else if all {
                DIGESTS
            } else {
                NAMES
            });
            let operation = ListTags {
                repository: repository.clone(),
                long,
                all,
            };
            session.run(operation, |item: TagItem| {
                if let Some(problem) = &item.problem {
                    unreadable = true;
                    report(&image(&repository, &item), problem);
                }
                match json {
                    true => print_json(&item),
                    false => Ok(table.row(of_tag(item, long, all))?),
                }
            })?;
            table.end()?;
        }
    }
    Ok(match unreadable {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}

const NAMES: &[Column] = &[Column::Text("NAME")];
const REPOSITORIES: &[Column] = &[
    Column::Text("REPOSITORY"),
    Column::Number("TAGS"),
    Column::Number("MANIFESTS"),
    Column::Number("SIZE"),
];
const DIGESTS: &[Column] = &[Column::Text("TAG"), Column::Text("DIGEST")];
const TAGS: &[Column] = &[
    Column::Text("TAG"),
    Column::Text("DIGEST"),
    Column::Number("SIZE"),
    Column::Text("MEDIA TYPE"),
];

fn of_repository(item: RepositoryItem, long: bool) -> Vec<Cell> {
    let mut cells = vec![Cell::text(item.repository)];
    match item.counts {
        _ if !long => {}
        Some(counts) => cells.extend([
            Cell::Count(counts.tags),
            Cell::Count(counts.manifests),
            Cell::Bytes(counts.bytes),
        ]),
        None => cells.extend([Cell::None, Cell::None, Cell::None]),
    }
    cells
}

fn of_tag(item: TagItem, long: bool, all: bool) -> Vec<Cell> {
    let text = |text: Option<String>| text.map_or(Cell::None, Cell::text);
    let mut cells = vec![text(item.tag)];
    if long || all {
        cells.push(text(item.digest));
    }
    if long {
        let (bytes, media_type) = item.manifest.map_or((Cell::None, Cell::None), |manifest| {
            (Cell::Bytes(manifest.bytes), Cell::text(manifest.media_type))
        });
        cells.extend([bytes, media_type]);
    }
    cells
}

/// Returns the name of an image, as in a command.
fn image(repository: &str, item: &TagItem) -> String {
    match (&item.tag, &item.digest) {
        (Some(tag), _) => format!("{repository}:{tag}"),
        (None, Some(digest)) => format!("{repository}@{digest}"),
        (None, None) => repository.to_owned(),
    }
}
