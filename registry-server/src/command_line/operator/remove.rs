//! `registry rm`: shows what a removal concerns, asks, and removes it.

use super::{
    Session, agreement,
    image::Image,
    print_json, quarantine,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{BoxError, Effect, PreviewRemoval, RemovalItem, Remove, Target, rfc3339},
};
use std::{
    io::{self, Write as _},
    time::SystemTime,
};

const COLUMNS: &[Column] = &[Column::Text("EFFECT"), Column::Text("IMAGE")];

/// Removes content, if the operator agrees.
pub(crate) fn remove(options: cli::Remove) -> Result<(), BoxError> {
    let cli::Remove {
        image,
        repository,
        quarantined,
        yes,
        now,
        json,
        storage,
    } = options;
    if let Some(digest) = quarantined {
        return quarantine::remove(digest, yes, json, storage);
    }
    let target = match (image, repository) {
        (_, Some(repository)) => Target {
            repository,
            reference: None,
        },
        (image, None) => target(&image.unwrap_or_default())?,
    };
    let mut session = Session::open(storage)?;
    let mut expected = None;
    if !yes {
        let mut output = Output::new(json, &target.repository);
        let preview = PreviewRemoval {
            target: target.clone(),
        };
        session.run(preview, |item| {
            if item.tag.is_some() && item.tag == target.reference {
                expected.clone_from(&item.digest);
            }
            output.print(&item)
        })?;
        output.end()?;
        agreement::require(now)?;
    }
    let mut output = Output::new(json, &target.repository);
    let removal = Remove {
        target: target.clone(),
        permanent: now,
        expected,
    };
    let began = rfc3339(SystemTime::now());
    session.run(removal, |item| output.print(&item))?;
    output.end()?;
    if !json && !now && target.reference.is_none() {
        let repository = &target.repository;
        writeln!(
            io::stderr(),
            "undo: registry restore --repository {repository} --since {began}"
        )?;
    }
    Ok(())
}

/// Parses `REPOSITORY:TAG` or `REPOSITORY@DIGEST`.
fn target(image: &str) -> Result<Target, BoxError> {
    let Image {
        repository,
        reference,
    } = Image::parse(image)?;
    if reference.is_none() {
        return Err(format!(
            "{image}: a tag or a digest is missing, as in {image}:TAG; --repository {image} removes all of it"
        )
        .into());
    }
    Ok(Target {
        repository,
        reference,
    })
}

/// Printed items.
struct Output<'a> {
    /// `None` for JSON.
    table: Option<Table>,
    repository: &'a str,
}

impl<'a> Output<'a> {
    fn new(json: bool, repository: &'a str) -> Self {
        Self {
            table: (!json).then(|| Table::new(COLUMNS)),
            repository,
        }
    }

    fn print(&mut self, item: &RemovalItem) -> Result<(), BoxError> {
        let Some(table) = &mut self.table else {
            return print_json(item);
        };
        let effect = match item.effect {
            Effect::Removes => "removes",
            Effect::Removed if item.permanent => "removed for good",
            Effect::Removed => "removed",
            Effect::Untagged => "leaves without a tag",
            Effect::LosesSubject => "takes the subject of",
            Effect::LosesPart => "breaks the index",
        };
        let repository = self.repository;
        let image = match (&item.tag, &item.digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, digest) => format!("{repository}@{}", digest.as_deref().unwrap_or_default()),
        };
        Ok(table.row([Cell::text(effect), Cell::text(image)])?)
    }

    fn end(self) -> Result<(), BoxError> {
        if let Some(table) = self.table {
            table.end()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_not_removed_by_mistake() {
        let refused = target("team/app").unwrap_err().to_string();
        assert!(refused.contains("--repository team/app"), "{refused}");
    }
}
