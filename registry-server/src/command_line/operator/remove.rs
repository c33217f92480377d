//! `registry rm`: shows what a removal concerns, asks, and removes it.

use super::{
    Session, agreement,
    image::Image,
    print_json, quarantine,
    table::{Cell, Column, Table},
};
use crate::{
    command_line::cli,
    control::{
        BoxError, Effect, ListLost, LossItem, LostItem, PreviewRemoval, RemovalItem, Remove, Target, rfc3339,
    },
};
use serde::Serialize;
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
        lost,
        yes,
        now,
        json,
        storage,
    } = options;
    if let Some(digest) = quarantined {
        return quarantine::remove(digest, yes, json, storage);
    }
    if lost {
        return remove_lost(yes, now, json, storage);
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

/// Removes all lost tags, if the operator agrees.
fn remove_lost(yes: bool, now: bool, json: bool, storage: cli::Storage) -> Result<(), BoxError> {
    let mut session = Session::open(storage)?;
    let (mut found, mut unreadable) = (Vec::new(), 0);
    session.run(ListLost {}, |item| {
        match item {
            LossItem::Lost(lost) => found.push(lost),
            LossItem::Unreadable { tag, reason } => {
                unreadable += 1;
                writeln!(
                    io::stderr(),
                    "registry: cannot read the history of {tag}: {reason}; `registry rm {tag}` accepts its loss"
                )?;
            }
        }
        Ok(())
    })?;
    if found.is_empty() && unreadable == 0 {
        return Ok(writeln!(io::stderr(), "registry: no tag is lost")?);
    }
    if !found.is_empty() {
        remove_found(&mut session, found, yes, now, json)?;
    }
    match unreadable {
        0 => Ok(()),
        count => Err(format!("{count} tags whose histories cannot be read are left, listed before").into()),
    }
}

fn remove_found(
    session: &mut Session,
    found: Vec<LostItem>,
    yes: bool,
    now: bool,
    json: bool,
) -> Result<(), BoxError> {
    if !yes {
        let mut output = Output::new(json, "");
        found
            .iter()
            .try_for_each(|lost| output.lost(lost, Effect::Removes, false))?;
        output.end()?;
        agreement::require(now)?;
    }
    let mut output = Output::new(json, "");
    for lost in found {
        let removal = Remove {
            target: Target {
                repository: lost.repository.clone(),
                reference: Some(lost.tag.clone()),
            },
            permanent: now,
            expected: Some(lost.digest.clone()),
        };
        session.run(removal, |item| output.lost(&lost, item.effect, item.permanent))?;
    }
    output.end()
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

const fn name_of(effect: Effect, permanent: bool) -> &'static str {
    match effect {
        Effect::Removes => "removes",
        Effect::Removed if permanent => "removed for good",
        Effect::Removed => "removed",
        Effect::Untagged => "leaves without a tag",
        Effect::LosesSubject => "takes the subject of",
        Effect::LosesPart => "breaks the index",
    }
}

/// Line of JSON for a lost tag.
#[derive(Serialize)]
struct Lost<'a> {
    effect: Effect,
    #[serde(flatten)]
    lost: &'a LostItem,
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
        let repository = self.repository;
        let image = match (&item.tag, &item.digest) {
            (Some(tag), _) => format!("{repository}:{tag}"),
            (None, digest) => format!("{repository}@{}", digest.as_deref().unwrap_or_default()),
        };
        Ok(table.row([
            Cell::text(name_of(item.effect, item.permanent)),
            Cell::text(image),
        ])?)
    }

    fn lost(&mut self, lost: &LostItem, effect: Effect, permanent: bool) -> Result<(), BoxError> {
        let Some(table) = &mut self.table else {
            return print_json(&Lost { effect, lost });
        };
        let image = format!("{}:{}", lost.repository, lost.tag);
        Ok(table.row([Cell::text(name_of(effect, permanent)), Cell::text(image)])?)
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
