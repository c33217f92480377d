//! Repositories that have something below a directory of ours.

use crate::{scans::at_once, store::Store};
use futures_util::TryStreamExt as _;
use registry_core::{
    RepositoryName,
    storage::{Listing, Page, Result, Seen},
};
use std::collections::BTreeSet;

/// A directory that was listed.
struct Listed {
    /// The repository that it is of, if that has what was looked for.
    found: Option<RepositoryName>,
    below: Vec<String>,
}

impl Store {
    /// Lists the repositories whose directory below `top` has an object in `inside`, in byte order.
    ///
    /// Costs a listing for each part of their names, and one more for each repository: common prefixes alone may be of
    /// objects that have gone.
    pub(crate) async fn repositories_below(
        &self,
        top: &str,
        inside: &str,
        page: Page<'_, RepositoryName>,
    ) -> Result<Listing<Seen<RepositoryName>>> {
        let (mut found, mut level) = (BTreeSet::new(), vec![top.to_owned()]);
        while !level.is_empty() {
            let directories = std::mem::take(&mut level).into_iter();
            let looks = directories.map(|directory| self.look_below(top, inside, directory));
            let listed: Vec<Listed> = at_once(looks).await?;
            for Listed { found: name, below } in listed {
                found.extend(name);
                level.extend(below);
            }
        }
        let beyond = found
            .into_iter()
            .filter(|name| page.after.is_none_or(|after| name.as_str() > after.as_str()));
        Ok(Listing::first(page.limit, beyond.map(Seen::Whole)))
    }

    async fn look_below(&self, top: &str, inside: &str, directory: String) -> Result<Listed> {
        let listed = self.bucket.directory(&directory).await?;
        let (mut below, mut has) = (Vec::new(), false);
        for path in listed.directories {
            match path.rsplit_once('/') {
                Some((_, name)) if name == inside => {
                    has = self.bucket.list(&path).try_next().await?.is_some();
                }
                // No part of a name begins with this.
                Some((_, name)) if name.starts_with('_') => {}
                _ => below.push(path),
            }
        }
        let name = directory.strip_prefix(top).and_then(|rest| rest.get(1..));
        let name = name.and_then(|name| RepositoryName::parse(name).ok());
        Ok(Listed {
            found: name.filter(|_| has),
            below,
        })
    }
}
